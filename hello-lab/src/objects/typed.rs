//! Objects as the Rust types of the API, whichever type that is.

use std::any::Any;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use netpol::read::strict::{DecodeError, UnknownField, decode_nulls};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object as the type of its kind.
pub(super) trait Typed: Any + Send + Sync {
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    fn boxed_clone(&self) -> Box<dyn Typed>;
}

impl<T: Metadata<Ty = ObjectMeta> + Any + Clone + Send + Sync> Typed for T {
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        Metadata::metadata_mut(self)
    }

    fn boxed_clone(&self) -> Box<dyn Typed> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Typed> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}

/// What an object is read as, and the fields that its type does not have.
pub(super) type Decoded = (Box<dyn Typed>, Vec<UnknownField>);

/// Decodes `value`, and writes there what its nulls were read as.
pub(super) fn decode<T>(value: &mut Value) -> Result<Decoded, DecodeError>
where
    T: Metadata<Ty = ObjectMeta> + DeserializeOwned + Any + Clone + Send + Sync,
{
    let (object, unknown) = decode_nulls::<T>(value)?;
    Ok((Box::new(object), unknown))
}
