//! PUT and PATCH: changes of an object. Nothing is stored unless all of it is valid.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde_json::Value;

use super::answer::{Warnings, written};
use super::call::{Api, Call};
use super::error::ApiError;
use super::fields::{check_fields, field_errors, refuse_invalid};
use super::path::check_identity;
use super::{body, strategic};
use crate::objects::admission::admit_change;
use crate::objects::object::presented;
use crate::objects::validation::{validate, validate_change};
use crate::objects::{Object, StoreError};

/// A change of an object in place.
type Edit = dyn Fn(&mut Value) -> Result<(), ApiError>;

pub(super) fn replace(
    api: &Api,
    call: &Call,
    name: &str,
    body: &[u8],
) -> Result<Response, ApiError> {
    let mut object = body::parse(&call.headers, body)?;
    check_identity(&call.target, &mut object, Some(name))?;
    change(api, call, name, |_| Ok(object.clone()))
}

pub(super) fn patch(api: &Api, call: &Call, name: &str, body: &[u8]) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let content_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    let patch: Box<Edit> = match content_type {
        "application/strategic-merge-patch+json" => {
            let patch = body::json(body)?;
            Box::new(move |object| {
                strategic::apply(kind, object, &patch);
                Ok(())
            })
        }
        "application/merge-patch+json" => {
            let patch = body::json(body)?;
            Box::new(move |object| {
                json_patch::merge(object, &patch);
                Ok(())
            })
        }
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(body)
                .map_err(|error| ApiError::BadRequest(format!("not a JSON patch: {error}")))?;
            Box::new(move |object| {
                json_patch::patch(object, &patch)
                    .map_err(|error| ApiError::BadRequest(error.to_string()))
            })
        }
        "application/apply-patch+yaml" => {
            return Err(ApiError::UnsupportedMediaType(
                "hello-lab has no server-side apply; leave --server-side out".to_owned(),
            ));
        }
        other => {
            return Err(ApiError::UnsupportedMediaType(format!("no patch of type {other:?}")));
        }
    };
    change(api, call, name, |mut object| {
        patch(&mut object)?;
        check_identity(&call.target, &mut object, Some(name))?;
        Ok(object)
    })
}

/// Changes an object by `edit`, which gets it as clients see it.
fn change(
    api: &Api,
    call: &Call,
    name: &str,
    edit: impl Fn(Value) -> Result<Value, ApiError>,
) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let key = call.key(name);
    let mut warnings = Warnings::new();
    let mut apply = |value: &mut Value| -> Result<(), ApiError> {
        let before = value.clone();
        let mut after = edit(presented(kind, &before))?;
        warnings = check_fields(kind, &mut after, call.parameter("fieldValidation"))
            .map_err(|error| ApiError::Invalid(key.clone(), field_errors(&error)))?;
        admit_change(kind, &before, &mut after);
        let mut errors = validate(kind, &after);
        errors.extend(validate_change(kind, &before, &after));
        refuse_invalid(kind, &after, errors)?;
        *value = after;
        Ok(())
    };
    let changed = if call.is_dry_run() {
        let mut value = api.store.get(&key)?.value().clone();
        apply(&mut value)?;
        Arc::new(Object::new(kind, value).map_err(StoreError::from)?)
    } else {
        api.store.update(&key, apply)?
    };
    Ok(written(call, StatusCode::OK, &changed, warnings))
}
