//! POST: a new object. Nothing is stored unless all of it is valid.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::written;
use super::body;
use super::call::{Api, Call};
use super::error::ApiError;
use super::fields::{cannot_be_handled, check_fields, refuse_invalid};
use super::path::check_identity;
use crate::objects::admission::{admit, check_namespace};
use crate::objects::meta::{now, random_suffix};
use crate::objects::validation::validate;
use crate::objects::{Object, StoreError};

pub(super) fn create(api: &Api, call: &Call, body: &[u8]) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let mut object = body::parse(&call.headers, body)?;
    check_identity(&call.target, &mut object, None)?;
    if object["metadata"]["name"].as_str().unwrap_or_default().is_empty()
        && let Some(prefix) = object["metadata"]["generateName"].as_str()
    {
        object["metadata"]["name"] = format!("{prefix}{}", random_suffix(5)).into();
    }
    let warnings = check_fields(kind, &mut object, call.parameter("fieldValidation"))
        .map_err(|error| ApiError::BadRequest(cannot_be_handled(kind, &error)))?;
    check_namespace(&api.store, &object, kind)?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| field != "resourceVersion");
    }
    // Kept until the object is stored.
    let _admitted = admit(&api.store, kind, &mut object)?;
    refuse_invalid(kind, &object, validate(kind, &object))?;
    let created = if call.is_dry_run() {
        let key = call.key(object["metadata"]["name"].as_str().unwrap_or_default());
        if api.store.get(&key).is_ok() {
            return Err(StoreError::AlreadyExists(key).into());
        }
        object["metadata"]["creationTimestamp"] = now().into();
        Arc::new(Object::new(kind, object).map_err(StoreError::from)?)
    } else {
        api.store.create(kind, object)?
    };
    Ok(written(call, StatusCode::CREATED, &created, warnings))
}
