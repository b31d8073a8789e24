//! Protobuf bodies (`application/vnd.kubernetes.protobuf`), which Kubernetes' own clients send and may ask
//! for: to JSON and back, by one table of all types (`hello-lab/protobuf`), which is Go's own.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>

mod from_json;
mod to_json;
mod types;

use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

use self::types::{Fault, Types};

/// What protobuf bodies begin with (`k8s.io/apimachinery/pkg/runtime/serializer/protobuf`).
const MAGIC: &[u8] = b"k8s\0";

/// Its media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// `runtime.Unknown`, the envelope of every body.
#[derive(Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// An event of a watch (`metav1.WatchEvent`), whose object is a body with an envelope.
#[derive(Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    change: String,
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

#[derive(Message)]
struct RawExtension {
    #[prost(bytes = "vec", tag = "1")]
    raw: Vec<u8>,
}

/// Why a body cannot be read or written as protobuf.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtobufError {
    /// It does not begin as one.
    #[error("it does not begin with \"k8s\\0\"")]
    NoMagic,
    /// It is none.
    #[error(transparent)]
    Broken(#[from] prost::DecodeError),
    /// A kind that the table does not have.
    #[error("hello-lab has no {kind} of {api_version}")]
    UnknownKind {
        /// `v1` or `GROUP/v1`.
        api_version: String,
        /// The kind's name.
        kind: String,
    },
    /// What stands there is not of its type.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Reads a body as the JSON that the same client would have sent.
pub(super) fn read(body: &[u8]) -> Result<Value, ProtobufError> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let unknown = Unknown::decode(body)?;
    let TypeMeta { api_version, kind } = unknown.type_meta.unwrap_or_default();
    let types = Types::get();
    let Some(name) = types.message_of(&api_version, &kind) else {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    let message = DynamicMessage::decode(types.descriptor(name)?, unknown.raw.as_slice())?;
    let mut object = json!({"apiVersion": api_version, "kind": kind});
    to_json::add(types, name, &message, &mut object)?;
    Ok(object)
}

/// Writes an object, a list or a status, which says its `apiVersion` and `kind`.
pub(super) fn write(object: &Value) -> Result<Vec<u8>, ProtobufError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let types = Types::get();
    let Some(name) = types.message_of(&api_version, &kind) else {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    let raw = from_json::message(types, name, object)?.encode_to_vec();
    let unknown = Unknown { type_meta: Some(TypeMeta { api_version, kind }), raw };
    Ok([MAGIC, &unknown.encode_to_vec()].concat())
}

/// Writes an event of a watch, with its length before it, as such a stream has them (`LengthDelimitedFramer`
/// of k8s.io/apimachinery/pkg/util/framer).
pub(super) fn write_event(event: &Value) -> Result<Vec<u8>, ProtobufError> {
    let change = event["type"].as_str().unwrap_or_default().to_owned();
    let object = RawExtension { raw: write(&event["object"])? };
    let bytes = WatchEvent { change, object: Some(object) }.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Ok([&length.to_be_bytes()[..], &bytes].concat())
}

#[cfg(test)]
mod tests;
