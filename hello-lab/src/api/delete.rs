//! DELETE of one object and of many.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::json_response;
use super::call::{Api, Call};
use super::error::ApiError;
use super::{body, read};
use crate::objects::deletion;
use crate::objects::meta::now;
use crate::objects::object::remove;
use crate::objects::{Kind, Object, Store, StoreError};

pub(super) fn one(api: &Api, call: &Call, name: &str, body: &[u8]) -> Result<Response, ApiError> {
    let options = delete_options(call, body)?;
    let key = call.key(name);
    let object = api.store.get(&key)?;
    if let Some(uid) = options["preconditions"]["uid"].as_str()
        && uid != object.uid()
    {
        return Err(StoreError::Conflict(key).into());
    }
    if !call.is_dry_run() {
        delete_object(&api.store, &object, &options)?;
    }
    if matches!(object.kind(), Kind::Pod | Kind::Namespace) {
        // Another may have taken its place already: kubectl would wait for that one's end.
        let left = api.store.get(&key).ok().filter(|left| left.uid() == object.uid());
        let left = left.unwrap_or(object);
        return Ok(json_response(StatusCode::OK, &left.presented()));
    }
    let resource = object.kind().resource();
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": object.name(),
            "group": resource.group,
            "kind": resource.plural,
            "uid": object.uid(),
        },
    });
    Ok(json_response(StatusCode::OK, &status))
}

pub(super) fn many(api: &Api, call: &Call, body: &[u8]) -> Result<Response, ApiError> {
    let options = delete_options(call, body)?;
    let (objects, version) = read::selected(&api.store, call)?;
    if !call.is_dry_run() {
        for object in &objects {
            match delete_object(&api.store, object, &options) {
                // Somebody else was faster.
                Ok(()) | Err(ApiError::Store(StoreError::NotFound(_))) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let kind = call.target.kind;
    let list = json!({
        "kind": format!("{}List", kind.resource().kind),
        "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": version.to_string()},
        "items": objects.iter().map(|object| object.presented()).collect::<Vec<_>>(),
    });
    Ok(json_response(StatusCode::OK, &list))
}

/// `metav1.DeleteOptions`, from the body or else from the query.
fn delete_options(call: &Call, body: &[u8]) -> Result<Value, ApiError> {
    let mut options = if body.is_empty() { json!({}) } else { body::json(body)? };
    if let Ok(seconds) = call.parameter("gracePeriodSeconds").parse::<u64>() {
        options["gracePeriodSeconds"] = seconds.into();
    }
    if !call.parameter("propagationPolicy").is_empty() {
        options["propagationPolicy"] = call.parameter("propagationPolicy").into();
    }
    Ok(options)
}

fn delete_object(store: &Store, object: &Object, options: &Value) -> Result<(), ApiError> {
    let key = object.key();
    if options["propagationPolicy"] == "Orphan" {
        orphan(store, object);
    }
    match object.kind() {
        Kind::Pod => {
            deletion::terminate_pod(store, &key, options["gracePeriodSeconds"].as_u64())?;
        }
        Kind::Namespace if matches!(object.name(), "default" | "kube-system" | "kube-public") => {
            let name = object.name();
            return Err(ApiError::Forbidden(format!(
                "namespaces {name:?} is forbidden: this namespace may not be deleted"
            )));
        }
        // Its controller removes it when it is empty.
        Kind::Namespace => {
            store.change(&key, |namespace| {
                if namespace["metadata"]["deletionTimestamp"].is_null() {
                    namespace["metadata"]["deletionTimestamp"] = now().into();
                }
                namespace["status"]["phase"] = "Terminating".into();
            })?;
        }
        _ => {
            store.remove(&key)?;
        }
    }
    Ok(())
}

/// Lets go of what an object owns, so that it outlives the object.
fn orphan(store: &Store, owner: &Object) {
    for kind in [Kind::ReplicaSet, Kind::Pod, Kind::EndpointSlice] {
        for object in store.list(kind, Some(owner.namespace())).0 {
            if object.controller() == Some(owner.uid()) {
                // One that is gone needs no owner.
                let _ = store.change(&object.key(), |object| {
                    remove(&mut object["metadata"], "ownerReferences");
                });
            }
        }
    }
}
