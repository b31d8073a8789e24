//! What every verb answers with.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use hello_common::error::Chain;
use http_body_util::BodyExt;
use serde_json::Value;

use super::error::ApiError;
use super::form::{Encoding, Form};
use super::protobuf::{self, ProtobufError};
use crate::objects::Object;

/// A response's warnings: kubectl prints them (RFC 9111, 5.5 of its predecessor RFC 7234).
pub(super) type Warnings = Vec<String>;

/// Marks an answer that is not the API's own.
#[derive(Clone, Copy)]
pub(super) struct AsItIs;

/// JSON with a status code.
pub(super) fn json_response(code: StatusCode, value: &Value) -> Response {
    (code, [(CONTENT_TYPE, "application/json")], Body::from(value.to_string())).into_response()
}

/// An answer in the client's own encoding: what is JSON as protobuf, where the client reads nothing else and
/// there is such a message. Discovery is JSON for everybody.
pub(super) async fn encoded(response: Response, encoding: Encoding) -> Response {
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|is| is == "application/json");
    let is_as_it_is = response.extensions().get::<AsItIs>().is_some();
    if encoding == Encoding::Json || !is_json || is_as_it_is {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It is in memory.
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return ApiError::Internal(error.to_string()).into_response(),
    };
    match serde_json::from_slice(&bytes).ok().map(|value| protobuf::write(&value)) {
        Some(Ok(message)) => {
            parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(protobuf::MEDIA_TYPE));
            Response::from_parts(parts, Body::from(message))
        }
        Some(Err(ProtobufError::UnknownKind { .. })) | None => {
            Response::from_parts(parts, Body::from(bytes))
        }
        Some(Err(error)) => {
            let why = Chain(&error).to_string();
            tracing::error!("an answer cannot be written as protobuf: {why}");
            ApiError::Internal(why).into_response()
        }
    }
}

/// An object that was created or changed, as the client asked to see it.
pub(super) fn written(
    form: Form,
    code: StatusCode,
    object: &Object,
    warnings: Warnings,
) -> Response {
    let mut response = json_response(code, &form.of_one(object, true)).into_response();
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(HeaderName::from_static("warning"), value);
        }
    }
    response
}
