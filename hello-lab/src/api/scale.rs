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

/// Makes the wanted Scale of an object.
type Edit = dyn Fn(&Object) -> Result<Value, ApiError>;

/// GET, PUT and PATCH of `scale`: an `autoscaling/v1` Scale, which shows `spec.replicas`.
pub(super) fn scale(
    api: &Api,
    call: &Call,
    name: &str,
    method: &Method,
    body: &[u8],
) -> Result<Response, ApiError> {
    let key = call.key(name);
    let wrong_type = |detail: String| match *method {
        Method::PATCH => ApiError::CannotPatch(detail),
        _ => ApiError::BadRequest(detail),
    };
    let (options, edit): (_, Box<Edit>) = match *method {
        Method::GET => {
            let object = api.store.get(&key)?;
            return Ok(json_response(StatusCode::OK, &scale_of(&object)));
        }
        Method::PUT => {
            let scale = body::json(body)?.value;
            (WriteOptions::read(call, "UpdateOptions")?, Box::new(move |_| Ok(scale.clone())))
        }
        Method::PATCH => {
            let patch = Patch::read(&call.headers, body)?;
            let edit = move |object: &Object| {
                let mut scale = scale_of(object);
                patch.apply(object.kind(), &mut scale)?;
                Ok(scale)
            };
            (WriteOptions::read(call, "PatchOptions")?, Box::new(edit))
        }
        _ => return Err(ApiError::MethodNotAllowed),
    };
    loop {
        let before = api.store.get(&key)?;
        let scale = edit(&before)?;
        for (field, is) in [("name", before.name()), ("namespace", before.namespace())] {
            if scale["metadata"][field].as_str().is_some_and(|given| given != is) {
                return Err(ApiError::BadRequest(format!(
                    "the {field} of the object ({}) does not match the {field} on the URL ({is})",
                    scale["metadata"][field].as_str().unwrap_or_default()
                )));
            }
        }
        let version = match &scale["metadata"]["resourceVersion"] {
            Value::String(version) if !version.is_empty() => Some(version.clone()),
            _ => None,
        };
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
            return Err(ApiError::Invalid(key, vec![error]));
        }
        if version.is_some_and(|version| before.value()["metadata"]["resourceVersion"] != version) {
            return Err(StoreError::Conflict(key).into());
        }
        let mut changed = before.value().clone();
        changed["spec"]["replicas"] = replicas.into();
        if options.dry_run {
            let changed = Object::new(before.kind(), changed).map_err(StoreError::from)?;
            return Ok(json_response(StatusCode::OK, &scale_of(&changed)));
        }
        // The change names the version that it is of: if somebody else was faster, all of it is done again.
        match api.store.update(&key, |value| {
            value.clone_from(&changed);
            Ok::<_, StoreError>(())
        }) {
            Ok(changed) => return Ok(json_response(StatusCode::OK, &scale_of(&changed))),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn scale_of(object: &Object) -> Value {
    let value = object.value();
    let metadata = &value["metadata"];
    let selector = serde_json::from_value(value["spec"]["selector"].clone())
        .ok()
        .and_then(|selector| netpol::selector::Selector::from_api("", &selector).ok());
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": object.name(),
            "namespace": object.namespace(),
            "uid": object.uid(),
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
