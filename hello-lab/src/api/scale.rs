//! The subresource `scale`.

use axum::http::{Method, StatusCode};
use axum::response::Response;
use netpol::field_error::FieldError;
use serde_json::{Value, json};

use super::answer::json_response;
use super::body;
use super::call::{Api, Call};
use super::error::ApiError;
use super::options::WriteOptions;
use super::patch::Patch;
use crate::objects::{Object, StoreError};

/// Makes the wanted Scale of an object's JSON.
type Edit = dyn Fn(&Value) -> Result<Value, ApiError>;

/// GET, PUT and PATCH of `scale`: an `autoscaling/v1` Scale, which shows `spec.replicas`.
pub(super) fn scale(
    api: &Api,
    call: &Call,
    name: &str,
    method: &Method,
    body: &[u8],
) -> Result<Response, ApiError> {
    let (kind, key) = (call.target.kind, call.key(name));
    let wrong_type = |detail: String| match *method {
        Method::PATCH => ApiError::CannotPatch(detail),
        _ => ApiError::BadRequest(detail),
    };
    let (options, edit): (_, Box<Edit>) = match *method {
        Method::GET => {
            let object = api.store.get(&key)?;
            return Ok(json_response(StatusCode::OK, &scale_of(object.value())));
        }
        Method::PUT => {
            let scale = body::json(body)?.value;
            (WriteOptions::read(call, "UpdateOptions")?, Box::new(move |_| Ok(scale.clone())))
        }
        Method::PATCH => {
            let patch = Patch::read(&call.headers, body)?;
            let edit = move |object: &Value| {
                let mut scale = scale_of(object);
                patch.apply(kind, &mut scale)?;
                Ok(scale)
            };
            (WriteOptions::read(call, "PatchOptions")?, Box::new(edit))
        }
        _ => return Err(ApiError::MethodNotAllowed),
    };
    let set = |object: &mut Value| -> Result<(), ApiError> {
        let scale = edit(object)?;
        let (metadata, own) = (&scale["metadata"], &object["metadata"]);
        for field in ["name", "namespace"] {
            let is = own[field].as_str().unwrap_or_default();
            if let Some(given) = metadata[field].as_str().filter(|given| *given != is) {
                return Err(ApiError::BadRequest(format!(
                    "the {field} of the object ({given}) does not match the {field} on the URL ({is})"
                )));
            }
        }
        let replicas = match &scale["spec"]["replicas"] {
            // As Go reads it.
            Value::Null => 0,
            replicas => replicas.as_i64().ok_or_else(|| {
                wrong_type(format!("spec.replicas: {replicas} is no whole number"))
            })?,
        };
        if i32::try_from(replicas).is_err() || replicas < 0 {
            let detail = "must be greater than or equal to 0";
            let error = FieldError::invalid("spec.replicas", replicas, detail);
            return Err(ApiError::Invalid(key.clone(), vec![error]));
        }
        let version = metadata["resourceVersion"].as_str().filter(|version| !version.is_empty());
        if version.is_some_and(|version| own["resourceVersion"] != version) {
            return Err(StoreError::Conflict(key.clone()).into());
        }
        object["spec"]["replicas"] = replicas.into();
        Ok(())
    };
    let changed = if options.dry_run {
        let mut value = api.store.get(&key)?.value().clone();
        set(&mut value)?;
        Object::new(kind, value).map_err(StoreError::from)?.into()
    } else {
        api.store.update(&key, set)?
    };
    Ok(json_response(StatusCode::OK, &scale_of(changed.value())))
}

fn scale_of(value: &Value) -> Value {
    let metadata = &value["metadata"];
    let selector = serde_json::from_value(value["spec"]["selector"].clone())
        .ok()
        .and_then(|selector| netpol::selector::Selector::from_api("", &selector).ok());
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {},
        "status": {
            "replicas": value["status"]["replicas"].as_u64().unwrap_or(0),
            "selector": selector.map_or_else(String::new, |selector| selector.to_string()),
        },
    });
    // None is 0, as Go writes it.
    if value["spec"]["replicas"] != 0 {
        scale["spec"]["replicas"] = value["spec"]["replicas"].clone();
    }
    scale
}
