//! One version of one object.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use netpol::read::strict::DecodeError;
use netpol::selector::labels_of;
use serde_json::{Map, Value, json};

use super::kind::{Key, Kind};
use super::names::SERVICE_NAME_LABEL;
use super::typed::Typed;

/// One version of an object: its JSON, in which no null is left, and the same as the type of its kind.
#[derive(Clone)]
pub struct Object {
    kind: Kind,
    value: Value,
    typed: Box<dyn Typed>,
    size: usize,
}

/// Why some JSON is no object of a kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} in version \"v1\" cannot be handled as a {kind}: {error}", kind = .kind.resource().kind)]
pub struct Unreadable {
    /// The kind.
    pub kind: Kind,
    /// What is wrong.
    pub error: DecodeError,
}

impl Object {
    /// A version of an object, unless its JSON cannot be read as the type of its kind. Fields that the
    /// type does not have are the API's to refuse ([`Kind::check_fields`]).
    pub fn new(kind: Kind, mut value: Value) -> Result<Self, Unreadable> {
        let (typed, _) = kind.decode(&mut value).map_err(|error| Unreadable { kind, error })?;
        // So that what belongs there can be written there.
        if metadata_mut(&mut value).is_none() {
            value["metadata"] = json!({});
        }
        let size = size_of(&value);
        Ok(Self { kind, value, typed, size })
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
        presented(self.kind, &self.value)
    }

    /// The object as the type of its kind.
    ///
    /// # Panics
    ///
    /// When `T` is not the type of its kind.
    #[must_use]
    pub fn typed<T: 'static>(&self) -> &T {
        let typed: &dyn Any = &*self.typed;
        #[expect(clippy::expect_used, reason = "a fault of this program, whatever the object is")]
        typed.downcast_ref().expect("one type for each kind")
    }

    /// About how many bytes its JSON has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
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

    /// Whether this EndpointSlice is one of `service`'s.
    #[must_use]
    pub fn is_slice_of(&self, service: &Object) -> bool {
        self.namespace() == service.namespace()
            && self.labels().get(SERVICE_NAME_LABEL).is_some_and(|name| name == service.name())
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.value["metadata"]["deletionTimestamp"].is_string()
    }

    /// The uid of the owner that controls it.
    #[must_use]
    pub fn controller(&self) -> Option<&str> {
        self.controller_reference()?["uid"].as_str()
    }

    /// The reference to the owner that controls it.
    #[must_use]
    pub fn controller_reference(&self) -> Option<&Value> {
        let owners = self.value["metadata"]["ownerReferences"].as_array()?;
        owners.iter().find(|owner| owner["controller"] == true)
    }

    /// Sets `metadata.generation`.
    pub(super) fn set_generation(&mut self, generation: i64) {
        self.value["metadata"]["generation"] = generation.into();
        self.typed.metadata_mut().generation = Some(generation);
    }

    /// Sets `metadata.resourceVersion`.
    pub(super) fn set_version(&mut self, version: u64) {
        let version = version.to_string();
        self.value["metadata"]["resourceVersion"] = version.as_str().into();
        self.typed.metadata_mut().resource_version = Some(version);
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

/// `metadata` of an object's JSON, made where it is missing; none where something else stands there.
pub(super) fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object.as_object_mut()?.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut()
}

/// An object's JSON as clients see it: with `apiVersion` and `kind`.
#[must_use]
pub fn presented(kind: Kind, value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("apiVersion".to_owned(), kind.api_version().into());
        fields.insert("kind".to_owned(), kind.resource().kind.into());
    }
    value
}

/// Removes a field, where there is one.
pub fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

/// About how many bytes a value has as JSON.
fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 6,
        Value::String(text) => text.len() + 3,
        Value::Array(elements) => 2 + elements.iter().map(size_of).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields.iter().map(|(name, value)| name.len() + 3 + size_of(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    #[test]
    fn an_object_and_its_type_are_one() {
        let value = json!({
            "metadata": {"name": "p", "labels": {"team": null}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "0.10"}}}]},
        });
        let mut pod = Object::new(Kind::Pod, value).unwrap();
        pod.set_version(7);
        pod.set_generation(3);
        assert_eq!(pod.labels()["team"], "");
        let quantity = &pod.value()["spec"]["containers"][0]["resources"]["limits"]["cpu"];
        assert_eq!(quantity, "0.10", "what was written stays");
        let typed: Pod = serde_json::from_value(pod.value().clone()).unwrap();
        assert_eq!(pod.typed::<Pod>(), &typed);
        assert_eq!(typed.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn what_cannot_be_read_is_no_object() {
        for value in [
            json!("text"),
            json!([]),
            json!({"metadata": "text"}),
            json!({"metadata": {"labels": {"a": 1}}}),
            json!({"spec": {"containers": {}}}),
        ] {
            assert!(Object::new(Kind::Pod, value.clone()).is_err(), "{value}");
        }
        assert!(Object::new(Kind::Pod, Value::Null).is_ok(), "Go reads null as an empty object");
    }
}
