//! Bodies of requests: JSON, and from kubectl 1.32 on, for `kubectl create namespace`,
//! protobuf.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use prost::Message;
use serde_json::{Value, json};

use super::error::ApiError;
pub(super) use super::json::Document;

/// The largest body that is read; etcd's limit for an object is 1.5 MiB.
pub const LIMIT: usize = 3 << 20;

/// A body that has not come within this time does not come; as long as an API server gives a request.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What protobuf bodies begin with (`k8s.io/apimachinery/pkg/runtime/serializer/protobuf`).
const PROTOBUF_MAGIC: &[u8] = b"k8s\0";

/// Reads an object.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Document, ApiError> {
    if let Some(message) = body.strip_prefix(PROTOBUF_MAGIC) {
        return Ok(Document { value: protobuf(message)?, duplicates: BTreeSet::new() });
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
        // Some clients name no type, and kubectl's PUT of a scale has none.
        "" | "application/json" => json(body),
        other => Err(ApiError::UnsupportedMediaType(format!(
            "hello-lab reads application/json, not {other}"
        ))),
    }
}

/// Reads JSON, whatever the type says.
pub(super) fn json(body: &[u8]) -> Result<Document, ApiError> {
    super::json::read(body)
        .map_err(|error| ApiError::BadRequest(format!("the body is not JSON: {error}")))
}

/// `runtime.Unknown`, the envelope of every protobuf body.
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

/// An object of which only the metadata is read.
#[derive(Message)]
struct MetadataOnly {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(map = "string, string", tag = "11")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "12")]
    annotations: HashMap<String, String>,
}

/// Kinds that are nothing but metadata for a client that makes one.
const METADATA_KINDS: [&str; 2] = ["Namespace", "ServiceAccount"];

fn protobuf(body: &[u8]) -> Result<Value, ApiError> {
    let broken = |error| ApiError::BadRequest(format!("the body is not protobuf: {error}"));
    let unknown = Unknown::decode(body).map_err(broken)?;
    let TypeMeta { api_version, kind } = unknown.type_meta.unwrap_or_default();
    if !METADATA_KINDS.contains(&kind.as_str()) {
        return Err(ApiError::UnsupportedMediaType(format!(
            "hello-lab reads a {kind} as JSON only: write it to a file, with --dry-run=client -o yaml, \
             and use kubectl apply -f"
        )));
    }
    let object = MetadataOnly::decode(unknown.raw.as_slice()).map_err(broken)?;
    let given = object.metadata.unwrap_or_default();
    let mut metadata = json!({"name": given.name});
    if !given.namespace.is_empty() {
        metadata["namespace"] = given.namespace.into();
    }
    if !given.labels.is_empty() {
        metadata["labels"] = json!(given.labels);
    }
    if !given.annotations.is_empty() {
        metadata["annotations"] = json!(given.annotations);
    }
    Ok(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protobuf_body(kind: &str) -> Vec<u8> {
        let labels = HashMap::from([("team".to_owned(), "hello".to_owned())]);
        let metadata = ObjectMeta { name: "n".into(), labels, ..ObjectMeta::default() };
        let raw = MetadataOnly { metadata: Some(metadata) }.encode_to_vec();
        let type_meta = TypeMeta { api_version: "v1".into(), kind: kind.into() };
        let unknown = Unknown { type_meta: Some(type_meta), raw };
        [PROTOBUF_MAGIC, &unknown.encode_to_vec()].concat()
    }

    #[test]
    fn a_namespace_may_come_as_protobuf() {
        let namespace = parse(&HeaderMap::new(), &protobuf_body("Namespace")).unwrap().value;
        let metadata = json!({"name": "n", "labels": {"team": "hello"}});
        assert_eq!(
            namespace,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(parse(&HeaderMap::new(), &protobuf_body("Deployment")).is_err());
        assert!(parse(&HeaderMap::new(), b"k8s\0\xff\xff").is_err());
        assert!(parse(&HeaderMap::new(), b"{").is_err());
        let yaml = HeaderMap::from_iter([(CONTENT_TYPE, "application/yaml".parse().unwrap())]);
        assert!(parse(&yaml, b"a: b").is_err());
    }
}
