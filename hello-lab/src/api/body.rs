//! Bodies of requests: JSON, or protobuf.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use hello_common::error::Chain;

use super::error::ApiError;
pub(super) use super::json::Document;
use super::protobuf::{self, ProtobufError};

/// The largest body that is read; etcd's limit for an object is 1.5 MiB.
pub const LIMIT: usize = 3 << 20;

/// So much of a longer one is read before the connection is closed.
pub const LONGEST: usize = 32 << 20;

/// A body that has not come within this time does not come; as long as an API server gives a request.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Reads an object.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Document, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
        // Some clients name no type, and kubectl's PUT of a scale has none.
        "" | "application/json" | protobuf::MEDIA_TYPE => any(body),
        other => Err(ApiError::UnsupportedMediaType(format!(
            "hello-lab reads application/json and {}, not {other}",
            protobuf::MEDIA_TYPE
        ))),
    }
}

/// Reads JSON or protobuf, whatever the type says.
pub(super) fn any(body: &[u8]) -> Result<Document, ApiError> {
    match protobuf::read(body) {
        Ok(value) => Ok(Document { value, duplicates: BTreeSet::new() }),
        Err(ProtobufError::NoMagic) => json(body),
        Err(error @ ProtobufError::UnknownKind { .. }) => {
            Err(ApiError::UnsupportedMediaType(error.to_string()))
        }
        Err(error) => {
            let why = Chain(&error);
            Err(ApiError::BadRequest(format!("the body is not protobuf: {why}")))
        }
    }
}

/// Reads JSON, whatever the type says.
pub(super) fn json(body: &[u8]) -> Result<Document, ApiError> {
    super::json::read(body)
        .map_err(|error| ApiError::BadRequest(format!("the body is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(parse(&HeaderMap::new(), b"k8s\0\xff\xff").is_err());
        assert!(parse(&HeaderMap::new(), b"{").is_err());
        let yaml = HeaderMap::from_iter([(CONTENT_TYPE, "application/yaml".parse().unwrap())]);
        assert!(parse(&yaml, b"a: b").is_err());
    }
}
