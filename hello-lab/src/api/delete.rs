//! DELETE of one object and of many.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::json_response;
use super::call::{Api, Call};
use super::error::ApiError;
use super::options::DeleteOptions;
use super::read;
use crate::objects::deletion::{self, Deletion};
use crate::objects::{Kind, Object, Store, StoreError};

/// Namespaces that stay (`NamespaceLifecycle` of k8s.io/apiserver's admission plugins).
const IMMORTAL_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn one(api: &Api, call: &Call, name: &str, body: &[u8]) -> Result<Response, ApiError> {
    let (DeleteOptions { dry_run, deletion }, form) =
        (DeleteOptions::read(call, body)?, call.form()?);
    let key = call.key(name);
    let object = api.store.get(&key)?;
    let (object, gone) = if dry_run {
        refuse(&object, &deletion)?;
        (object, true)
    } else {
        delete(&api.store, &object, &deletion)?
    };
    if !gone || matches!(object.kind(), Kind::Pod | Kind::Namespace) {
        return Ok(json_response(StatusCode::OK, &form.of_one(&object, true)));
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
    if call.target.kind.resource().namespaced && call.target.namespace.is_none() {
        return Err(ApiError::MethodNotAllowed);
    }
    let (DeleteOptions { dry_run, deletion }, form) =
        (DeleteOptions::read(call, body)?, call.form()?);
    let (objects, version) = read::selected(&api.store, call)?;
    for object in &objects {
        if dry_run {
            refuse(object, &deletion)?;
            continue;
        }
        match delete(&api.store, object, &deletion) {
            // Somebody else was faster.
            Ok(_) | Err(ApiError::Store(StoreError::NotFound(_))) => {}
            Err(error) => return Err(error),
        }
    }
    let objects: Vec<_> = objects.iter().map(AsRef::as_ref).collect();
    let metadata = json!({"resourceVersion": version.to_string()});
    Ok(json_response(StatusCode::OK, &form.of_list(call.target.kind, &objects, metadata)))
}

fn delete(
    store: &Store,
    object: &Object,
    deletion: &Deletion,
) -> Result<(std::sync::Arc<Object>, bool), ApiError> {
    refuse(object, deletion)?;
    Ok(deletion::delete(store, &object.key(), deletion)?)
}

/// Refuses what may not be deleted, or is not what is meant.
pub(super) fn refuse(object: &Object, deletion: &Deletion) -> Result<(), ApiError> {
    let name = object.name();
    if object.kind() == Kind::Namespace && IMMORTAL_NAMESPACES.contains(&name) {
        return Err(ApiError::Forbidden(format!(
            "namespaces {name:?} is forbidden: this namespace may not be deleted"
        )));
    }
    let metadata = &object.value()["metadata"];
    for (what, wanted, field) in
        [("UID", &deletion.uid, "uid"), ("ResourceVersion", &deletion.version, "resourceVersion")]
    {
        if let Some(wanted) = wanted
            && metadata[field] != **wanted
        {
            let (key, wanted) = (object.key(), wanted.clone());
            let is = metadata[field].as_str().unwrap_or_default().to_owned();
            return Err(ApiError::Precondition { key, what, wanted, is });
        }
    }
    Ok(())
}
