//! The subresource `eviction` of pods, by which `kubectl drain` empties a node: a deletion that a
//! `PodDisruptionBudget` may forbid, of which the lab has none (pkg/registry/core/pod/storage/eviction.go).

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer::json_response;
use super::body;
use super::call::{Api, Call};
use super::delete;
use super::error::ApiError;
use super::options::{DeleteOptions, WriteOptions};

pub(super) fn evict(
    api: &Api,
    call: &Call,
    name: &str,
    bytes: &[u8],
) -> Result<Response, ApiError> {
    let options = WriteOptions::read(call, "CreateOptions")?;
    let eviction = body::parse(&call.headers, bytes)?.value;
    let is = |field: &str, expected: &[&str]| {
        eviction[field].as_str().is_none_or(|given| given.is_empty() || expected.contains(&given))
    };
    let versions = ["policy/v1", "policy/v1beta1"];
    if !eviction.is_object() || !is("kind", &["Eviction"]) || !is("apiVersion", &versions) {
        return Err(ApiError::BadRequest("the body is no Eviction of policy/v1".to_owned()));
    }
    let given = eviction["metadata"]["name"].as_str().unwrap_or(name);
    if given != name {
        return Err(ApiError::BadRequest(
            "name in URL does not match name in Eviction object".to_owned(),
        ));
    }
    let deletion = match &eviction["deleteOptions"] {
        serde_json::Value::Null => Vec::new(),
        deletion => deletion.to_string().into_bytes(),
    };
    let DeleteOptions { dry_run, deletion } = DeleteOptions::read(call, &deletion)?;
    let pod = api.store.get(&call.key(name))?;
    delete::refuse(&pod, &deletion)?;
    if !dry_run && !options.dry_run {
        crate::objects::deletion::delete(&api.store, &pod.key(), &deletion)?;
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(json_response(StatusCode::CREATED, &status))
}
