//! POST, PUT and PATCH. Nothing is stored unless all of it is valid.

use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use netpol::field_error::FieldError;
use netpol::read::strict::{DecodeError, prune};
use serde_json::{Value, json};

use super::error::ApiError;
use super::target::Target;
use super::{Api, Call, body, json_response, present, strategic, table};
use crate::controllers::random_suffix;
use crate::store::{Key, Kind, Object, Store, StoreError, now};
use crate::validation::{validate, validate_change};
use crate::{defaults, system};

/// A response's warnings: kubectl prints them (RFC 9111, 5.5 of its predecessor RFC 7234).
type Warnings = Vec<String>;

/// A change of an object in place.
type Edit = dyn FnOnce(&mut Value) -> Result<(), ApiError>;

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
    admit(&api.store, kind, &mut object);
    refuse_invalid(kind, &object, validate(kind, &object))?;
    let created = if call.is_dry_run() {
        let key = call.key(object["metadata"]["name"].as_str().unwrap_or_default());
        if api.store.get(&key).is_ok() {
            return Err(StoreError::AlreadyExists(key).into());
        }
        object["metadata"]["creationTimestamp"] = now().into();
        Arc::new(Object::new(kind, object))
    } else {
        api.store.create(kind, object)?
    };
    Ok(written(call, StatusCode::CREATED, &created, warnings))
}

pub(super) fn replace(
    api: &Api,
    call: &Call,
    name: &str,
    body: &[u8],
) -> Result<Response, ApiError> {
    let mut object = body::parse(&call.headers, body)?;
    check_identity(&call.target, &mut object, Some(name))?;
    change(api, call, name, |_| Ok(object))
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
    edit: impl FnOnce(Value) -> Result<Value, ApiError>,
) -> Result<Response, ApiError> {
    let kind = call.target.kind;
    let key = call.key(name);
    let mut warnings = Warnings::new();
    let apply = |value: &mut Value| -> Result<(), ApiError> {
        let before = value.clone();
        let mut after = edit(present(&Object::new(kind, before.clone())))?;
        warnings = check_fields(kind, &mut after, call.parameter("fieldValidation"))
            .map_err(|error| ApiError::Invalid(key.clone(), field_errors(&error)))?;
        strip_type(&mut after);
        // Only the system changes what has been seen of an object.
        match before.get("status") {
            Some(status) => after["status"] = status.clone(),
            None => remove(&mut after, "status"),
        }
        admit(&api.store, kind, &mut after);
        let mut errors = validate(kind, &after);
        errors.extend(validate_change(kind, &before, &after));
        refuse_invalid(kind, &after, errors)?;
        *value = after;
        Ok(())
    };
    let changed = if call.is_dry_run() {
        let mut value = api.store.get(&key)?.value().clone();
        apply(&mut value)?;
        Arc::new(Object::new(kind, value))
    } else {
        api.store.update(&key, apply)?
    };
    Ok(written(call, StatusCode::OK, &changed, warnings))
}

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
            object["metadata"]["resourceVersion"] = version;
        }
        object["spec"]["replicas"] = replicas;
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

/// Refuses an object that is not of the URL's kind, namespace and name, and fills these in.
fn check_identity(target: &Target, object: &mut Value, name: Option<&str>) -> Result<(), ApiError> {
    let kind = target.kind;
    let (expected_version, expected_kind) = (kind.api_version(), kind.resource().kind);
    if !object.is_object() {
        return Err(ApiError::BadRequest("the body is no object".to_owned()));
    }
    for (field, expected) in [("apiVersion", expected_version.as_str()), ("kind", expected_kind)] {
        if let Some(given) = object[field].as_str().filter(|given| *given != expected) {
            return Err(ApiError::BadRequest(format!(
                "the object's {field} is {given:?}, and this is the place for {expected:?}"
            )));
        }
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let metadata = &mut object["metadata"];
    if let Some(namespace) = &target.namespace {
        match metadata["namespace"].as_str() {
            Some(given) if given != namespace => {
                return Err(ApiError::BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the request"
                        .to_owned(),
                ));
            }
            _ => metadata["namespace"] = namespace.as_str().into(),
        }
    } else if kind.resource().namespaced {
        return Err(ApiError::MethodNotAllowed);
    } else {
        remove(metadata, "namespace");
    }
    if let Some(name) = name {
        match metadata["name"].as_str() {
            Some(given) if given != name => {
                return Err(ApiError::BadRequest(format!(
                    "the name of the object ({given}) does not match the name on the URL ({name})"
                )));
            }
            _ => metadata["name"] = name.into(),
        }
    }
    if name.is_none() && !metadata["name"].is_null() && !metadata["name"].is_string() {
        return Err(ApiError::BadRequest("metadata.name is not a string".to_owned()));
    }
    if metadata["name"].is_null() {
        remove(metadata, "name");
    }
    if metadata["generateName"].is_null() {
        remove(metadata, "generateName");
    }
    Ok(())
}

/// Refuses fields that the kind does not have, or, with `Warn` and `Ignore`, takes them out.
fn check_fields(kind: Kind, object: &mut Value, mode: &str) -> Result<Warnings, DecodeError> {
    match kind.check_fields(object) {
        Ok(()) => Ok(Warnings::new()),
        Err(DecodeError::UnknownFields(fields)) if mode == "Warn" || mode == "Ignore" => {
            for field in &fields {
                prune(object, &field.path);
            }
            let warnings = fields.iter().map(|field| format!("unknown field {:?}", field.path));
            Ok(if mode == "Warn" { warnings.collect() } else { Warnings::new() })
        }
        Err(error) => Err(error),
    }
}

fn cannot_be_handled(kind: Kind, error: &DecodeError) -> String {
    let name = kind.resource().kind;
    format!("{name} in version \"v1\" cannot be handled as a {name}: {error}")
}

/// The same as errors of fields: kubectl shows the whole patch with anything else.
fn field_errors(error: &DecodeError) -> Vec<FieldError> {
    match error {
        DecodeError::UnknownFields(fields) => fields
            .iter()
            .map(|field| {
                let detail = format!("strict decoding error: unknown field {:?}", field.path);
                FieldError::forbidden(&field.path, detail)
            })
            .collect(),
        DecodeError::WrongType { path, message } => {
            vec![FieldError::invalid(path, Value::Null, message)]
        }
    }
}

fn check_namespace(store: &Store, object: &Value, kind: Kind) -> Result<(), ApiError> {
    if !kind.resource().namespaced {
        return Ok(());
    }
    let name = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let namespace = store.get(&Key::new(Kind::Namespace, "", name))?;
    if namespace.is_terminating() {
        let plural = kind.resource().qualified();
        let object = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(ApiError::Forbidden(format!(
            "{plural} {object:?} is forbidden: unable to create new content in namespace {name} \
             because it is being terminated"
        )));
    }
    Ok(())
}

/// Fills in the defaults, and the address of a Service.
fn admit(store: &Store, kind: Kind, object: &mut Value) {
    strip_type(object);
    defaults::apply(kind, object);
    if kind == Kind::Service
        && object["spec"]["clusterIP"].as_str().unwrap_or_default().is_empty()
        && let Some(address) = system::free_service_address(store)
    {
        object["spec"]["clusterIPs"] = json!([address]);
        object["spec"]["clusterIP"] = address.into();
    }
}

fn refuse_invalid(kind: Kind, object: &Value, errors: Vec<FieldError>) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    Err(ApiError::Invalid(Key::new(kind, field("namespace"), field("name")), errors))
}

fn strip_type(object: &mut Value) {
    remove(object, "apiVersion");
    remove(object, "kind");
}

pub(super) fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

fn written(call: &Call, code: StatusCode, object: &Object, warnings: Warnings) -> Response {
    let shown = if call.wants_table() {
        table::table(object.kind(), &[object], json!({}), true, false)
    } else {
        present(object)
    };
    let mut response = json_response(code, &shown).into_response();
    for warning in warnings {
        let escaped = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(HeaderName::from_static("warning"), value);
        }
    }
    response
}
