//! What every verb answers with.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::form::Form;
use crate::objects::Object;

/// A response's warnings: kubectl prints them (RFC 9111, 5.5 of its predecessor RFC 7234).
pub(super) type Warnings = Vec<String>;

/// JSON with a status code.
pub(super) fn json_response(code: StatusCode, value: &Value) -> Response {
    (code, [(CONTENT_TYPE, "application/json")], Body::from(value.to_string())).into_response()
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
