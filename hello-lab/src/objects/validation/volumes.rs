//! Rules of a pod's volumes and of where containers mount them (`ValidateVolumes` and `ValidateVolumeMounts`
//! of pkg/apis/core/validation).

use std::collections::BTreeSet;

use netpol::field_error::FieldError;
use netpol::names;
use serde_json::Value;

use super::{Validated, containers, each, quantity};

/// The fields of a pod that a volume can show.
const FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// In which order the API server looks for a volume's source: whatever follows the first is one too many.
const ORDER: [&str; 8] = [
    "emptyDir",
    "hostPath",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
];

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const ONE_TYPE: &str = "may not specify more than 1 volume type";

/// What is wrong with the volumes of a pod's spec, and with its containers' mounts.
pub(super) fn check(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    for (index, one) in each(&spec["volumes"]).enumerate() {
        let path = format!("{path}.volumes[{index}]");
        errors.extend(volume(&path, one));
        let name = one["name"].as_str().unwrap_or_default();
        let path = format!("{path}.name");
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        let invalid = |fault| FieldError::invalid(path.as_str(), name, fault);
        errors.extend(names::dns_label(name).into_iter().map(invalid));
        if !names.insert(name) {
            errors.push(FieldError::duplicate(path, name));
        }
    }
    for Validated { path, value, .. } in containers(path, spec) {
        errors.extend(mounts(&format!("{path}.volumeMounts"), &value["volumeMounts"], &names));
    }
    errors
}

fn volume(path: &str, volume: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let sources = volume.as_object().into_iter().flatten();
    let mut sources: Vec<_> =
        sources.filter(|(field, value)| *field != "name" && !value.is_null()).collect();
    sources.sort_by_key(|(kind, _)| {
        ORDER.iter().position(|first| first == kind).unwrap_or(ORDER.len())
    });
    if sources.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for (kind, _) in sources.iter().skip(1) {
        errors.push(FieldError::forbidden(format!("{path}.{kind}"), ONE_TYPE));
    }
    let Some((kind, source)) = sources.first() else { return errors };
    let path = format!("{path}.{kind}");
    match kind.as_str() {
        "emptyDir" => {
            let limit = quantity::amount(&source["sizeLimit"]);
            let detail = "SizeLimit field must be a valid resource quantity";
            let error = || FieldError::forbidden(format!("{path}.sizeLimit"), detail);
            errors.extend(limit.filter(|amount| *amount < 0.0).map(|_| error()));
        }
        "configMap" => errors.extend(of_object(&path, "name", source)),
        "secret" => errors.extend(of_object(&path, "secretName", source)),
        "downwardAPI" => {
            errors.extend(mode(format!("{path}.defaultMode"), &source["defaultMode"]));
            errors.extend(fields(&path, source));
        }
        "projected" => errors.extend(projected(&path, source)),
        _ => {}
    }
    errors
}

fn of_object(path: &str, name: &str, source: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if source[name].as_str().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(format!("{path}.{name}"), ""));
    }
    errors.extend(mode(format!("{path}.defaultMode"), &source["defaultMode"]));
    errors.extend(items(path, source));
    errors
}

/// `validateKeyToPath` of each item.
fn items(path: &str, source: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, item) in each(&source["items"]).enumerate() {
        let path = format!("{path}.items[{index}]");
        if item["key"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("{path}.key"), ""));
        }
        errors.extend(file(&path, item));
    }
    errors
}

/// `validateDownwardAPIVolumeFile` of each item.
fn fields(path: &str, source: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, item) in each(&source["items"]).enumerate() {
        let path = format!("{path}.items[{index}]");
        errors.extend(file(&path, item));
        let (field, resource) = (&item["fieldRef"], &item["resourceFieldRef"]);
        if field.is_null() && resource.is_null() {
            let detail = "one of fieldRef and resourceFieldRef is required";
            errors.push(FieldError::required(path.as_str(), detail));
        } else if !field.is_null() && !resource.is_null() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.push(FieldError::invalid(path.as_str(), "resource", detail));
        }
        if field.is_object() {
            let path = format!("{path}.fieldRef.fieldPath");
            let name = field["fieldPath"].as_str().unwrap_or_default();
            let whole = name
                .strip_suffix("']")
                .and_then(|name| name.split_once("['"))
                .map_or(name, |(map, _)| map);
            let is_map = ["metadata.annotations", "metadata.labels"].contains(&whole);
            if name.is_empty() {
                errors.push(FieldError::required(path, ""));
            } else if !(FIELDS.contains(&name) || is_map) {
                errors.push(FieldError::not_supported(path, name, FIELDS));
            }
        }
    }
    errors
}

fn projected(path: &str, projected: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(mode(format!("{path}.defaultMode"), &projected["defaultMode"]));
    let mut paths = BTreeSet::new();
    for (index, source) in each(&projected["sources"]).enumerate() {
        let own = format!("{path}.sources[{index}]");
        let kinds = source.as_object().into_iter().flatten();
        let kinds: Vec<_> = kinds.filter(|(_, value)| !value.is_null()).collect();
        if kinds.len() > 1 {
            errors.push(FieldError::forbidden(own.as_str(), ONE_TYPE));
        }
        for (kind, source) in kinds {
            let own = format!("{own}.{kind}");
            if kind == "downwardAPI" {
                errors.extend(fields(&own, source));
            } else if ["configMap", "secret"].contains(&kind.as_str()) {
                if source["name"].as_str().unwrap_or_default().is_empty() {
                    errors.push(FieldError::required(format!("{own}.name"), ""));
                }
                errors.extend(items(&own, source));
            }
            for item in each(&source["items"]) {
                let file = item["path"].as_str().unwrap_or_default();
                if !file.is_empty() && !paths.insert(file) {
                    let (name, detail) = (&source["name"], "conflicting duplicate paths");
                    errors.push(FieldError::invalid(path, name.clone(), detail));
                }
            }
        }
    }
    errors
}

/// The path and the mode of an item.
fn file(path: &str, item: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let place = item["path"].as_str().unwrap_or_default();
    let own = format!("{path}.path");
    if place.is_empty() {
        errors.push(FieldError::required(own, ""));
    } else {
        if place.starts_with("..") && !place.starts_with("../") && place != ".." {
            errors.push(FieldError::invalid(own.as_str(), place, "must not start with '..'"));
        }
        errors.extend(descending(&own, place));
    }
    errors.extend(mode(format!("{path}.mode"), &item["mode"]));
    errors
}

/// `validateLocalDescendingPath`.
fn descending(path: &str, place: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if place.starts_with('/') {
        errors.push(FieldError::invalid(path, place, "must be a relative path"));
    }
    if place.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, place, "must not contain '..'"));
    }
    errors
}

fn mode(path: String, mode: &Value) -> Option<FieldError> {
    let is_wrong = mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode));
    is_wrong.then(|| FieldError::invalid(path, mode.clone(), MODE))
}

fn mounts(path: &str, mounts: &Value, volumes: &BTreeSet<&str>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut places = BTreeSet::new();
    for (index, mount) in each(mounts).enumerate() {
        let own = format!("{path}[{index}]");
        let text = |field: &str| mount[field].as_str().unwrap_or_default();
        let (name, place) = (text("name"), text("mountPath"));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{own}.name"), ""));
        }
        if !volumes.contains(name) {
            errors.push(FieldError::not_found(format!("{own}.name"), name));
        }
        if place.is_empty() {
            errors.push(FieldError::required(format!("{own}.mountPath"), ""));
        }
        if !places.insert(place) {
            errors.push(FieldError::invalid(format!("{own}.mountPath"), place, "must be unique"));
        }
        // These two are the list's in the API server too.
        errors.extend(descending(&format!("{path}.subPath"), text("subPath")));
        errors.extend(descending(&format!("{path}.subPathExpr"), text("subPathExpr")));
        if !text("subPath").is_empty() && !text("subPathExpr").is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            let path = format!("{own}.subPathExpr");
            errors.push(FieldError::invalid(path, text("subPathExpr"), detail));
        }
        errors.extend(super::pod::one_of(
            format!("{own}.mountPropagation"),
            &mount["mountPropagation"],
            &["Bidirectional", "HostToContainer", "None"],
        ));
    }
    errors
}

#[cfg(test)]
mod tests;
