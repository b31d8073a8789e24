//! One version of one object.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use netpol::selector::labels_of;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::kind::{Key, Kind};

/// One version of an object: its JSON as it was stored, and, once somebody asked, its type.
pub struct Object {
    kind: Kind,
    value: Value,
    typed: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Object {
    /// A version of an object. Its fields must have been checked ([`Kind::check_fields`]).
    #[must_use]
    pub fn new(kind: Kind, value: Value) -> Self {
        Self { kind, value, typed: OnceLock::new() }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its JSON, without `apiVersion` and `kind` unless its creator sent them.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Its JSON as clients see it: with `apiVersion` and `kind`.
    #[must_use]
    pub fn presented(&self) -> Value {
        let mut value = self.value.clone();
        value["apiVersion"] = self.kind.api_version().into();
        value["kind"] = self.kind.resource().kind.into();
        value
    }

    /// The object as the type of its kind. Decoded once for each version.
    ///
    /// # Panics
    ///
    /// When `T` is not the type of its kind.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> &T {
        let decode = || -> Box<dyn Any + Send + Sync> {
            Box::new(serde_json::from_value::<T>(self.value.clone()).expect("fields were checked"))
        };
        self.typed.get_or_init(decode).downcast_ref().expect("one type for each kind")
    }

    /// Where it is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.kind, self.namespace(), self.name())
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata("name")
    }

    /// `metadata.namespace`; empty for kinds that are in none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    /// `metadata.uid`.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.metadata("uid")
    }

    /// `metadata.creationTimestamp`.
    #[must_use]
    pub fn created(&self) -> &str {
        self.metadata("creationTimestamp")
    }

    /// `metadata.generation`.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.value["metadata"]["generation"].as_i64().unwrap_or_default()
    }

    /// `metadata.labels`.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        labels_of(&self.value["metadata"])
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.value["metadata"]["deletionTimestamp"].is_string()
    }

    /// The uid of the owner that controls it.
    #[must_use]
    pub fn controller(&self) -> Option<&str> {
        self.value["metadata"]["ownerReferences"]
            .as_array()?
            .iter()
            .find(|owner| owner["controller"] == true)?["uid"]
            .as_str()
    }

    fn metadata(&self, field: &str) -> &str {
        self.value["metadata"][field].as_str().unwrap_or_default()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.value)
    }
}

/// Removes a field, where there is one.
pub fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}
