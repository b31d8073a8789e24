//! PUT and PATCH: changes of an object. Nothing is stored unless all of it is valid.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::answer::{Warnings, written};
use super::body;
use super::call::{Api, Call};
use super::error::ApiError;
use super::fields::{FieldFault, cannot_be_handled, check_fields, field_errors, refuse_invalid};
use super::not_done;
use super::options::WriteOptions;
use super::patch::Patch;
use super::path::check_identity;
use crate::objects::admission::{Admitted, Part, admit_change};
use crate::objects::object::{presented, remove};
use crate::objects::validation::{ephemeral, validate, validate_change};
use crate::objects::{Key, Object, StoreError, deletion};

pub(super) fn replace(
    api: &Api,
    call: &Call,
    name: &str,
    body: &[u8],
) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let options = WriteOptions::read(call, "UpdateOptions")?;
    let mut document = body::parse(&call.headers, body)?;
    let object = &mut document.value;
    let given = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (given_name, uid) = (given("name"), given("uid"));
    check_identity(&call.target, object, Some(name))?;
    if given_name.is_empty() {
        return Err(ApiError::BadRequest(
            "the name of the object (based on its metadata) was undeterminable: name must be provided"
                .to_owned(),
        ));
    }
    let key = call.key(name);
    let edit = |before: &Value| {
        if !uid.is_empty() && before["metadata"]["uid"] != *uid {
            let (key, wanted) = (key.clone(), uid.clone());
            let is = before["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            return Err(ApiError::Precondition { key, what: "UID", wanted, is });
        }
        Ok(document.value.clone())
    };
    let wrong = |_: &Key, fault: &FieldFault| cannot_be_handled(kind, fault);
    change(api, call, &key, options, &document.duplicates, edit, wrong)
}

pub(super) fn patch(api: &Api, call: &Call, name: &str, body: &[u8]) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let options = WriteOptions::read(call, "PatchOptions")?;
    let patch = Patch::read(&call.headers, body)?;
    let edit = |before: &Value| {
        let mut object = presented(kind, before);
        patch.apply(kind, &mut object)?;
        for (field, is) in [("apiVersion", &*kind.api_version()), ("kind", kind.resource().kind)] {
            if object.is_object() && object[field] != is {
                return Err(ApiError::CannotPatch(format!(
                    "the patch makes {field} {}, and the object is of {is}",
                    object[field]
                )));
            }
        }
        check_identity(&call.target, &mut object, Some(name))?;
        Ok(object)
    };
    let wrong = |key: &Key, fault: &FieldFault| ApiError::Invalid(key.clone(), field_errors(fault));
    change(api, call, &call.key(name), options, &patch.duplicates, edit, wrong)
}

/// A pod with the ephemeral containers of another, of which nothing else is taken
/// (`dropNonEphemeralContainerUpdates` of pkg/registry/core/pod).
fn with_ephemeral_containers(pod: &Value, other: &Value) -> Value {
    let mut pod = pod.clone();
    for (parent, field) in [("spec", "ephemeralContainers"), ("metadata", "resourceVersion")] {
        match &other[parent][field] {
            Value::Null => remove(&mut pod[parent], field),
            value => pod[parent][field] = value.clone(),
        }
    }
    pod
}

/// Changes an object by `edit`. What is `wrong` with its fields is told so.
fn change(
    api: &Api,
    call: &Call,
    key: &Key,
    options: WriteOptions,
    duplicates: &BTreeSet<String>,
    edit: impl Fn(&Value) -> Result<Value, ApiError>,
    wrong: impl Fn(&Key, &FieldFault) -> ApiError,
) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let form = call.form()?;
    let subresource = call.target.subresource.as_deref();
    let is_ephemeral = subresource == Some("ephemeralcontainers");
    let part = Part::of_subresource(subresource);
    let mut warnings = Warnings::new();
    // What it was given is its own until it is stored.
    let mut admitted = Admitted::default();
    let mut apply = |value: &mut Value| -> Result<(), ApiError> {
        let before = value.clone();
        let mut after = edit(&before)?;
        if is_ephemeral {
            after = with_ephemeral_containers(&before, &after);
        }
        warnings = check_fields(kind, &mut after, duplicates, options.fields)
            .map_err(|fault| wrong(key, &fault))?;
        check_version(&after)?;
        admitted = admit_change(&api.store, kind, part, &before, &mut after)?;
        let mut errors = validate(kind, &after);
        errors.extend(if is_ephemeral {
            ephemeral::check_change(&before, &after)
        } else {
            validate_change(kind, &before, &after)
        });
        refuse_invalid(kind, &after, errors)?;
        *value = after;
        Ok(())
    };
    let changed = if options.dry_run {
        let mut value = api.store.get(key)?.value().clone();
        let version = value["metadata"]["resourceVersion"].clone();
        apply(&mut value)?;
        let given = value["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !given.is_empty() && version != given {
            return Err(StoreError::Conflict(key.clone()).into());
        }
        value["metadata"]["resourceVersion"] = version;
        Arc::new(Object::new(kind, value).map_err(StoreError::from)?)
    } else {
        let changed = api.store.update(key, apply)?;
        // Its last finalizer may be what was taken away.
        deletion::finish(&api.store, key);
        changed
    };
    warnings.extend(not_done::warnings(kind, changed.value()));
    Ok(written(form, StatusCode::OK, &changed, warnings))
}

/// A version that a client expects is a number (`ParseResourceVersion`).
fn check_version(object: &Value) -> Result<(), ApiError> {
    match object["metadata"]["resourceVersion"].as_str() {
        Some(text) if !text.is_empty() && text.parse::<u64>().is_err() => {
            Err(ApiError::Internal(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")))
        }
        _ => Ok(()),
    }
}
