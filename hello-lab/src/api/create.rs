//! POST: a new object. Nothing is stored unless all of it is valid.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::written;
use super::body;
use super::call::{Api, Call};
use super::error::ApiError;
use super::fields::{cannot_be_handled, check_fields, refuse_invalid};
use super::not_done;
use super::options::WriteOptions;
use super::path::check_identity;
use crate::objects::admission::{admit, check_namespace};
use crate::objects::meta::{now, random_suffix};
use crate::objects::validation::validate_new;
use crate::objects::{Object, StoreError};

pub(super) fn create(api: &Api, call: &Call, body: &[u8]) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let (options, form) = (WriteOptions::read(call, "CreateOptions")?, call.form()?);
    let mut document = body::parse(&call.headers, body)?;
    let object = &mut document.value;
    if object.is_null() {
        // As Go reads it.
        *object = json!({});
    }
    check_identity(&call.target, object, None)?;
    if object["metadata"]["name"].as_str().unwrap_or_default().is_empty()
        && let Some(prefix) = object["metadata"]["generateName"].as_str()
        && !prefix.is_empty()
    {
        object["metadata"]["name"] = format!("{prefix}{}", random_suffix(5)).into();
    }
    let mut warnings = check_fields(kind, object, &document.duplicates, options.fields)
        .map_err(|fault| cannot_be_handled(kind, &fault))?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        let version = metadata.remove("resourceVersion");
        if version.is_some_and(|version| version != "" && version != "0") {
            // Its words and its code, which is that of a fault of its own (`etcd3.store.Create`).
            return Err(ApiError::Internal(
                "resourceVersion should not be set on objects to be created".to_owned(),
            ));
        }
    }
    check_namespace(&api.store, object, kind)?;
    // Kept until the object is stored.
    let _admitted = admit(&api.store, kind, object)?;
    refuse_invalid(kind, object, validate_new(kind, object))?;
    let mut object = document.value;
    let created = if options.dry_run {
        let key = call.key(object["metadata"]["name"].as_str().unwrap_or_default());
        if api.store.get(&key).is_ok() {
            return Err(StoreError::AlreadyExists(key).into());
        }
        object["metadata"]["creationTimestamp"] = now().into();
        Arc::new(Object::new(kind, object).map_err(StoreError::from)?)
    } else {
        api.store.create(kind, object)?
    };
    warnings.extend(not_done::warnings(kind, created.value()));
    Ok(written(form, StatusCode::CREATED, &created, warnings))
}
