//! The subresource `scale`.

use axum::http::{Method, StatusCode};
use axum::response::Response;
use netpol::field_error::FieldError;
use serde_json::{Value, json};

use super::answer::json_response;
use super::body;
use super::call::{Api, Call};
use super::error::ApiError;
use crate::objects::Object;

/// GET, PUT and PATCH of `scale`: an `autoscaling/v1` Scale, which shows `spec.replicas`.
pub(super) fn scale(
    api: &Api,
    call: &Call,
    name: &str,
    method: &Method,
    body: &[u8],
) -> Result<Response, ApiError> {
    let key = call.key(name);
    let object = api.store.get(&key)?;
    let mut scale = scale_of(&object);
    match *method {
        Method::GET => return Ok(json_response(StatusCode::OK, &scale)),
        Method::PUT => scale = body::json(body)?,
        Method::PATCH => json_patch::merge(&mut scale, &body::json(body)?),
        _ => return Err(ApiError::MethodNotAllowed),
    }
    let version = scale["metadata"]["resourceVersion"].clone();
    let replicas = scale["spec"]["replicas"].clone();
    if replicas.as_u64().is_none() {
        let detail = "must be greater than or equal to 0";
        let error = FieldError::invalid("spec.replicas", replicas, detail);
        return Err(ApiError::Invalid(key, vec![error]));
    }
    let set = |object: &mut Value| -> Result<(), ApiError> {
        if version.is_string() {
            object["metadata"]["resourceVersion"] = version.clone();
        }
        object["spec"]["replicas"] = replicas.clone();
        Ok(())
    };
    let changed = if call.is_dry_run() { object } else { api.store.update(&key, set)? };
    Ok(json_response(StatusCode::OK, &scale_of(&changed)))
}

fn scale_of(object: &Object) -> Value {
    let value = object.value();
    let metadata = &value["metadata"];
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": object.name(),
            "namespace": object.namespace(),
            "uid": object.uid(),
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": value["spec"]["replicas"]},
        "status": {"replicas": value["status"]["replicas"].as_u64().unwrap_or(0)},
    })
}
