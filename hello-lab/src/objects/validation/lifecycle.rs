//! Rules of what surrounds a container's life: hooks, and what init containers may have
//! (`validateLifecycle`, `validateInitContainers` of pkg/apis/core/validation).

use netpol::field_error::FieldError;
use serde_json::Value;

/// What is wrong with a container in the list of init containers, or in that of the others.
pub(super) fn of_container(path: &str, container: &Value, is_init: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = &container["restartPolicy"];
    let is_sidecar = is_init && policy == "Always";
    if let Some(policy) = policy.as_str().filter(|policy| !policy.is_empty() && !is_sidecar) {
        let path = format!("{path}.restartPolicy");
        errors.push(if is_init {
            FieldError::not_supported(path, policy, &["Always"])
        } else {
            FieldError::forbidden(path, "may not be set for non-init containers")
        });
    }
    if is_init && !is_sidecar {
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container[field].is_object() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(format!("{path}.{field}"), detail));
            }
        }
        return errors;
    }
    for hook in ["postStart", "preStop"] {
        if container["lifecycle"][hook].is_object() {
            errors.extend(handler(
                &format!("{path}.lifecycle.{hook}"),
                &container["lifecycle"][hook],
            ));
        }
    }
    errors
}

/// `validateHandler`, with what each handler must have.
fn handler(path: &str, hook: &Value) -> Vec<FieldError> {
    let mut errors = one_handler(path, hook, &["exec", "httpGet", "tcpSocket", "sleep"]);
    let seconds = &hook["sleep"]["seconds"];
    if seconds.as_i64().is_some_and(|seconds| seconds < 0) {
        let path = format!("{path}.sleep.seconds");
        errors.push(FieldError::invalid(
            path,
            seconds.clone(),
            "must be greater than or equal to 0",
        ));
    }
    errors
}

/// What is wrong with the handler of a hook or a probe, which is to be one of `known`; and with its command
/// (`validateExecAction`).
pub(super) fn one_handler(path: &str, value: &Value, known: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut handlers = known.iter().filter(|handler| value[**handler].is_object());
    if handlers.next().is_none() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for handler in handlers {
        let detail = "may not specify more than 1 handler type";
        errors.push(FieldError::forbidden(format!("{path}.{handler}"), detail));
    }
    let exec = &value["exec"];
    if exec.is_object() && exec["command"].as_array().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(format!("{path}.exec.command"), ""));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(container: &Value, is_init: bool) -> Vec<String> {
        of_container("c", container, is_init).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_sidecars_among_init_containers_have_hooks_and_probes() {
        let hooks = json!({"preStop": {"sleep": {"seconds": 1}}});
        let plain = json!({"lifecycle": hooks, "readinessProbe": {"tcpSocket": {"port": 1}}});
        assert_eq!(faults(&plain, true).len(), 2);
        assert_eq!(faults(&plain, false), [""; 0]);
        let sidecar = json!({"lifecycle": hooks, "restartPolicy": "Always"});
        assert_eq!(faults(&sidecar, true), [""; 0]);
        assert!(faults(&sidecar, false)[0].contains("non-init containers"));
        let never = json!({"restartPolicy": "Never"});
        assert!(faults(&never, true)[0].contains("supported values: \"Always\""));
    }

    #[test]
    fn a_hook_has_one_handler_that_says_what_to_do() {
        let of = |hook: Value| faults(&json!({"lifecycle": {"postStart": hook}}), false);
        assert_eq!(of(json!({"exec": {"command": ["a"]}})), [""; 0]);
        for wrong in [
            json!({}),
            json!({"exec": {}}),
            json!({"exec": {"command": ["a"]}, "sleep": {"seconds": 1}}),
            json!({"sleep": {"seconds": -1}}),
        ] {
            assert_eq!(of(wrong.clone()).len(), 1, "{wrong}");
        }
    }
}
