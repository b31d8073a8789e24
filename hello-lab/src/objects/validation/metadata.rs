//! The rules of `metadata` (`ValidateObjectMeta` of k8s.io/apimachinery/pkg/api/validation).

use netpol::field_error::FieldError;
use netpol::names;
use netpol::selector::labels_of;
use serde_json::Value;

use super::super::deletion::{FOREGROUND, ORPHAN};
use super::super::kind::Kind;
use super::each;

/// `TotalAnnotationSizeLimitB`: the bytes of all keys and values together.
const MOST_ANNOTATIONS: usize = 256 << 10;

/// `standardFinalizers`: those that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", ORPHAN, FOREGROUND];

/// What is wrong with an object's metadata.
pub(super) fn check(kind: Kind, metadata: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match metadata["name"].as_str().unwrap_or_default() {
        "" => {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        }
        name => {
            let faults = match kind {
                Kind::Namespace => names::dns_label(name),
                Kind::Service => names::dns_1035(name),
                _ => names::dns_subdomain(name),
            };
            let invalid = |fault| FieldError::invalid("metadata.name", name, fault);
            errors.extend(faults.into_iter().map(invalid));
        }
    }
    errors.extend(names::labels("metadata.labels", &labels_of(metadata)));
    errors.extend(further(metadata));
    errors
}

/// What is wrong with an object's annotations, finalizers and owners.
pub(super) fn further(metadata: &Value) -> Vec<FieldError> {
    let mut errors = annotations("metadata.annotations", &metadata["annotations"]);
    errors.extend(finalizers(&metadata["finalizers"]));
    errors.extend(owners(&metadata["ownerReferences"]));
    errors
}

/// `ValidateAnnotations`.
pub(super) fn annotations(path: &str, annotations: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        // Prefixes may have upper case here, and nowhere else.
        let invalid = |fault| FieldError::invalid(path, key.as_str(), fault);
        errors.extend(names::label_key(&key.to_lowercase()).into_iter().map(invalid));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MOST_ANNOTATIONS {
        errors.push(FieldError::too_long(path, MOST_ANNOTATIONS));
    }
    errors
}

/// `ValidateFinalizers`.
fn finalizers(list: &Value) -> Vec<FieldError> {
    const PATH: &str = "metadata.finalizers";
    let mut errors = Vec::new();
    let names: Vec<&str> = each(list).filter_map(Value::as_str).collect();
    for name in &names {
        let invalid = |fault: String| FieldError::invalid(PATH, *name, fault);
        errors.extend(names::label_key(name).into_iter().map(invalid));
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(name) {
            errors.push(invalid(
                "name is neither a standard finalizer name nor is it fully qualified".to_owned(),
            ));
        }
    }
    if names.contains(&ORPHAN) && names.contains(&FOREGROUND) {
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.push(FieldError::invalid(PATH, list.clone(), detail));
    }
    errors
}

/// `ValidateOwnerReferences`.
fn owners(list: &Value) -> Vec<FieldError> {
    const PATH: &str = "metadata.ownerReferences";
    let mut errors = Vec::new();
    let mut controller: Option<&str> = None;
    for owner in each(list) {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let (api_version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
        let at = |field: &str| format!("{PATH}.{field}");
        match api_version.split('/').collect::<Vec<_>>()[..] {
            [""] | [_, ""] => {
                let detail = "version must not be empty";
                errors.push(FieldError::invalid(at("apiVersion"), api_version, detail));
            }
            [_] | [_, _] => {}
            _ => {
                let detail = format!("unexpected GroupVersion string: {api_version}");
                errors.push(FieldError::invalid(at("apiVersion"), api_version, detail));
            }
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.push(FieldError::invalid(at(field), "", "must not be empty"));
            }
        }
        if kind == "Event" && matches!(api_version, "v1" | "events.k8s.io/v1") {
            let detail = format!("{api_version}, Kind=Event is disallowed from being an owner");
            errors.push(FieldError::invalid(PATH, owner.clone(), detail));
        }
        if owner["controller"] == true {
            if let Some(first) = controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {name}"
                );
                errors.push(FieldError::invalid(PATH, list.clone(), detail));
            } else {
                controller = Some(name);
            }
        }
    }
    errors
}

/// What is wrong with a change of metadata (`ValidateObjectMetaUpdate`).
pub(super) fn check_change(before: &Value, after: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (old, new) = (&before["metadata"], &after["metadata"]);
    let strings = |list: &Value| -> Vec<String> {
        each(list).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    if old["deletionTimestamp"].is_string() {
        let known = strings(&old["finalizers"]);
        let mut added = strings(&new["finalizers"]);
        added.retain(|name| !known.contains(name));
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
    // An empty one is none: the store has it.
    if let Some(uid) = new["uid"].as_str()
        && !uid.is_empty()
        && old["uid"] != uid
    {
        errors.push(FieldError::invalid("metadata.uid", uid, "field is immutable"));
    }
    errors
}
