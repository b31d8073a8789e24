//! Rules of a pod's spec beyond the least (`ValidatePodSpec` of pkg/apis/core/validation).

use netpol::field_error::FieldError;
use netpol::names;
use serde_json::Value;

use super::{Validated, containers, each, lifecycle, quantity, resolution};
use crate::objects::object::remove;

/// What is wrong with a pod's spec, but for what it must have.
pub(super) fn further(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let security = &spec["securityContext"];
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        errors.extend(id(format!("{path}.securityContext.{field}"), &security[field]));
    }
    for (index, group) in each(&security["supplementalGroups"]).enumerate() {
        errors.extend(id(format!("{path}.securityContext.supplementalGroups[{index}]"), group));
    }
    errors.extend(one_of(
        format!("{path}.dnsPolicy"),
        &spec["dnsPolicy"],
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    ));
    let deadline = &spec["activeDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        let detail = "must be between 1 and 2147483647, inclusive";
        let path = format!("{path}.activeDeadlineSeconds");
        errors.push(FieldError::invalid(path, deadline.clone(), detail));
    }
    for field in ["hostname", "subdomain"] {
        if let Some(name) = spec[field].as_str().filter(|name| !name.is_empty()) {
            let invalid = |fault| FieldError::invalid(format!("{path}.{field}"), name, fault);
            errors.extend(names::dns_label(name).into_iter().map(invalid));
        }
    }
    let labels = netpol::selector::labels_of(&serde_json::json!({"labels": spec["nodeSelector"]}));
    errors.extend(names::labels(&format!("{path}.nodeSelector"), &labels));
    for Validated { path, value, is_init } in containers(path, spec) {
        errors.extend(container(&path, value));
        errors.extend(lifecycle::of_container(&path, value, is_init));
    }
    errors.extend(resolution::of_pod(path, spec));
    errors
}

pub(super) fn container(path: &str, container: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(image) = container["image"].as_str()
        && image != image.trim()
    {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(format!("{path}.image"), image, detail));
    }
    errors.extend(one_of(
        format!("{path}.imagePullPolicy"),
        &container["imagePullPolicy"],
        &["Always", "IfNotPresent", "Never"],
    ));
    for field in ["runAsUser", "runAsGroup"] {
        let path = format!("{path}.securityContext.{field}");
        errors.extend(id(path, &container["securityContext"][field]));
    }
    for (index, port) in each(&container["ports"]).enumerate() {
        let number = &port["hostPort"];
        if number.as_i64().is_some_and(|number| !(0..=65_535).contains(&number)) {
            let detail = "must be between 1 and 65535, inclusive";
            let path = format!("{path}.ports[{index}].hostPort");
            errors.push(FieldError::invalid(path, number.clone(), detail));
        }
    }
    for (index, variable) in each(&container["env"]).enumerate() {
        errors.extend(environment(&format!("{path}.env[{index}]"), variable));
    }
    for (field, is_liveness) in
        [("livenessProbe", true), ("startupProbe", true), ("readinessProbe", false)]
    {
        if container[field].is_object() {
            errors.extend(probe(&format!("{path}.{field}"), &container[field], is_liveness));
        }
    }
    errors.extend(resources(&format!("{path}.resources"), &container["resources"]));
    errors
}

/// `ValidateEnv`, with the names of `IsRelaxedEnvVarName`.
fn environment(path: &str, variable: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = variable["name"].as_str().unwrap_or_default();
    if name.bytes().any(|byte| !matches!(byte, b' '..=b'~') || byte == b'=') {
        let detail = "a valid environment variable name must consist only of printable ASCII \
                      characters other than '='";
        errors.push(FieldError::invalid(format!("{path}.name"), name, detail));
    }
    let has_value = variable["value"].as_str().is_some_and(|value| !value.is_empty());
    let source = &variable["valueFrom"];
    if has_value && source.is_object() {
        let detail = "may not be specified when `value` is not empty";
        errors.push(FieldError::invalid(format!("{path}.valueFrom"), "", detail));
    }
    errors
}

/// `validateProbe`.
fn probe(path: &str, probe: &Value, is_liveness: bool) -> Vec<FieldError> {
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    let mut errors = lifecycle::one_handler(path, probe, &handlers);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.extend(not_negative(format!("{path}.{field}"), &probe[field]));
    }
    let successes = &probe["successThreshold"];
    if is_liveness && successes.as_i64().is_some_and(|number| number > 1) {
        let path = format!("{path}.successThreshold");
        errors.push(FieldError::invalid(path, successes.clone(), "must be 1"));
    }
    errors
}

/// `ValidateResourceRequirements`, of quantities that can be read.
fn resources(path: &str, resources: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["limits", "requests"] {
        for (name, quantity) in resources[list].as_object().into_iter().flatten() {
            if quantity::amount(quantity).is_some_and(|amount| amount < 0.0) {
                let path = format!("{path}.{list}[{name}]");
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(path, quantity.clone(), detail));
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let amount = quantity::amount;
        let limit = amount(&resources["limits"][name]);
        if let (Some(limit), Some(wanted)) = (limit, amount(request))
            && wanted > limit
        {
            let shown = resources["limits"][name].as_str().unwrap_or_default();
            let detail = format!("must be less than or equal to {name} limit of {shown}");
            errors.push(FieldError::invalid(format!("{path}.requests"), request.clone(), detail));
        }
    }
    errors
}

/// A user's or a group's number (`IsValidUserID`, `IsValidGroupID`).
fn id(path: String, number: &Value) -> Option<FieldError> {
    let valid = |number: i64| (0..=i64::from(i32::MAX)).contains(&number);
    let detail = "must be between 0 and 2147483647, inclusive";
    (!number.as_i64().is_none_or(valid)).then(|| FieldError::invalid(path, number.clone(), detail))
}

/// `ValidateNonnegativeField`.
pub(super) fn not_negative(path: String, number: &Value) -> Option<FieldError> {
    let detail = "must be greater than or equal to 0";
    number
        .as_i64()
        .is_some_and(|number| number < 0)
        .then(|| FieldError::invalid(path, number.clone(), detail))
}

/// One of a fixed list, where there is anything.
pub(super) fn one_of(
    path: String,
    value: &Value,
    supported: &'static [&'static str],
) -> Option<FieldError> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    (!supported.contains(&text)).then(|| FieldError::not_supported(path, text, supported))
}
/// What may be changed of a pod that there is (`ValidatePodUpdate`).
const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
     `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)";

/// What is wrong with a change of a pod's spec.
pub(super) fn change(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let deadline = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    if let Some(before) = deadline(old)
        && deadline(new).is_none_or(|after| after > before)
    {
        let detail = "must be less than or equal to previous value";
        let value = new["activeDeadlineSeconds"].clone();
        errors.push(FieldError::invalid("spec.activeDeadlineSeconds", value, detail));
    }
    let tolerations: Vec<_> = each(&new["tolerations"]).collect();
    if !each(&old["tolerations"]).all(|one| tolerations.contains(&one)) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
    let rest = |spec: &Value| {
        let mut spec = spec.clone();
        for field in ["activeDeadlineSeconds", "tolerations"] {
            remove(&mut spec, field);
        }
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            containers.into_iter().flatten().for_each(|container| remove(container, "image"));
        }
        spec
    };
    if rest(old) != rest(new) {
        errors.push(FieldError::forbidden("spec", CHANGEABLE));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_pod_images_a_shorter_deadline_and_more_tolerations_can_be_changed() {
        let with = |change: Value| {
            let mut spec = json!({
                "containers": [{"name": "c", "image": "a:1"}],
                "activeDeadlineSeconds": 10, "tolerations": [{"key": "a"}],
            });
            json_patch::merge(&mut spec, &change);
            spec
        };
        let before = with(json!({}));
        for allowed in [
            json!({"containers": [{"name": "c", "image": "a:2"}]}),
            json!({"activeDeadlineSeconds": 5}),
            json!({"tolerations": [{"key": "a"}, {"key": "b"}]}),
        ] {
            assert_eq!(change(&before, &with(allowed.clone())), [], "{allowed}");
        }
        for (refused, field) in [
            (json!({"containers": [{"name": "c", "image": "a:1", "args": ["x"]}]}), "spec"),
            (json!({"nodeName": "other"}), "spec"),
            (json!({"activeDeadlineSeconds": 20}), "spec.activeDeadlineSeconds"),
            (json!({"activeDeadlineSeconds": null}), "spec.activeDeadlineSeconds"),
            (json!({"tolerations": []}), "spec.tolerations"),
        ] {
            assert_eq!(change(&before, &with(refused.clone()))[0].path, field, "{refused}");
        }
    }
}
