//! Rules of ephemeral containers (`validateEphemeralContainers`, `ValidatePodEphemeralContainersUpdate` of
//! pkg/apis/core/validation).

use std::collections::BTreeSet;

use netpol::field_error::FieldError;
use serde_json::Value;

use super::{container, each, listed, pod};

/// What other containers have and these must not.
const FORBIDDEN: [&str; 8] = [
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "startupProbe",
];

/// What is wrong with the ephemeral containers of a pod's spec.
pub(super) fn check(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let names = |list: &str| -> BTreeSet<&str> {
        each(&spec[list]).filter_map(|one| one["name"].as_str()).collect()
    };
    let containers = names("containers");
    let mut seen: BTreeSet<&str> = containers.union(&names("initContainers")).copied().collect();
    for (path, one) in listed(path, spec, "ephemeralContainers") {
        errors.extend(container(&path, one));
        errors.extend(pod::container(&path, one));
        let name = one["name"].as_str().unwrap_or_default();
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        let target = one["targetContainerName"].as_str().unwrap_or_default();
        if !target.is_empty() && !containers.contains(target) {
            errors.push(FieldError::not_found(format!("{path}.targetContainerName"), target));
        }
        for field in FORBIDDEN {
            let given = match &one[field] {
                Value::Null => false,
                Value::Array(list) => !list.is_empty(),
                Value::Object(fields) => !fields.is_empty(),
                _ => true,
            };
            if given {
                let detail = "cannot be set for an Ephemeral Container";
                errors.push(FieldError::forbidden(format!("{path}.{field}"), detail));
            }
        }
    }
    errors
}

/// What is wrong with a change of a pod by its `ephemeralcontainers`: they can only be added.
#[must_use]
pub fn check_change(before: &Value, after: &Value) -> Vec<FieldError> {
    let list = |pod: &'_ Value| -> Vec<Value> {
        each(&pod["spec"]["ephemeralContainers"]).cloned().collect()
    };
    let after = list(after);
    let forbidden = |detail: String| FieldError::forbidden("spec.ephemeralContainers", detail);
    let errors = list(before).into_iter().filter_map(|old| {
        let name = old["name"].as_str().unwrap_or_default();
        match after.iter().find(|new| new["name"] == old["name"]) {
            None => Some(forbidden(format!(
                "existing ephemeral containers {name:?} may not be removed\n"
            ))),
            Some(new) if *new != old => Some(forbidden(format!(
                "existing ephemeral containers {name:?} may not be changed\n"
            ))),
            Some(_) => None,
        }
    });
    errors.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(ephemeral: Value) -> Vec<String> {
        let spec = json!({"containers": [{"name": "c"}], "ephemeralContainers": [ephemeral]});
        check("spec", &spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn they_have_names_and_images_of_their_own_and_nothing_that_serves() {
        assert!(faults(json!({"name": "e", "image": "i", "targetContainerName": "c"})).is_empty());
        for (bad, field) in [
            (json!({"image": "i"}), "name"),
            (json!({"name": "c", "image": "i"}), "name"),
            (json!({"name": "e"}), "image"),
            (json!({"name": "e", "image": "i", "targetContainerName": "d"}), "targetContainerName"),
            (json!({"name": "e", "image": "i", "ports": [{"containerPort": 80}]}), "ports"),
            (
                json!({"name": "e", "image": "i", "livenessProbe": {"tcpSocket": {"port": 80}}}),
                "livenessProbe",
            ),
        ] {
            let said = faults(bad.clone());
            let path = format!("spec.ephemeralContainers[0].{field}: ");
            assert!(said.iter().any(|fault| fault.starts_with(&path)), "{bad}: {said:?}");
        }
    }

    #[test]
    fn they_can_only_be_added() {
        let pod = |list: Value| json!({"spec": {"ephemeralContainers": list}});
        let (one, two) = (json!({"name": "a", "image": "i"}), json!({"name": "b", "image": "i"}));
        assert!(check_change(&pod(json!([])), &pod(json!([one]))).is_empty());
        assert!(check_change(&pod(json!([one])), &pod(json!([one, two]))).is_empty());
        assert_eq!(check_change(&pod(json!([one, two])), &pod(json!([two]))).len(), 1);
        let other = json!({"name": "a", "image": "j"});
        assert_eq!(check_change(&pod(json!([one])), &pod(json!([other]))).len(), 1);
        assert_eq!(check_change(&pod(json!([one])), &pod(Value::Null)).len(), 1);
    }
}
