//! The API server's rules for the objects that the lab stores, as far as somebody could trip
//! over them; those of a NetworkPolicy are netpol's.

mod data;
pub mod ephemeral;
mod lifecycle;
mod metadata;
mod others;
mod pod;
pub mod quantity;
mod resolution;
mod volumes;
mod workload;

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol::field_error::FieldError;
use netpol::names;
use netpol::read::strict::decode;
use serde_json::Value;

use super::kind::Kind;

/// The elements of a list, where there is one.
fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The containers in one of the lists of a pod's spec, each with its path.
fn listed<'a>(
    path: &str,
    spec: &'a Value,
    list: &str,
) -> impl Iterator<Item = (String, &'a Value)> {
    let path = format!("{path}.{list}");
    each(&spec[list]).enumerate().map(move |(index, one)| (format!("{path}[{index}]"), one))
}

/// A container that is validated.
struct Validated<'a> {
    path: String,
    value: &'a Value,
    is_init: bool,
}

/// Those that a pod has from its start, in the order in which the API server validates them.
fn containers<'a>(path: &str, spec: &'a Value) -> impl Iterator<Item = Validated<'a>> {
    let of = |list, is_init| {
        listed(path, spec, list).map(move |(path, value)| Validated { path, value, is_init })
    };
    of("containers", false).chain(of("initContainers", true))
}

/// What is wrong with an object, whose fields have been checked.
#[must_use]
pub fn validate(kind: Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = metadata::check(kind, &object["metadata"]);
    let spec = &object["spec"];
    match kind {
        Kind::NetworkPolicy => {
            return match decode::<NetworkPolicy>(object) {
                // It checks name and labels too.
                Ok(policy) => {
                    let mut errors = netpol::validate::policy(&policy).err().unwrap_or_default();
                    let mut further = metadata::further(&object["metadata"]);
                    further.retain(|error| !errors.contains(error));
                    errors.extend(further);
                    errors
                }
                Err(error) => vec![FieldError::invalid("spec", Value::Null, error.to_string())],
            };
        }
        Kind::Pod => errors.extend(pod_spec("spec", spec)),
        Kind::Deployment => {
            errors.extend(workload::replicated("deployment", spec));
            errors.extend(others::deployment(spec));
        }
        Kind::ReplicaSet => errors.extend(workload::replicated("deployment", spec)),
        Kind::DaemonSet => errors.extend(workload::daemon_set(spec)),
        Kind::StatefulSet => errors.extend(workload::stateful_set(spec)),
        Kind::Job => errors.extend(workload::job(object)),
        Kind::CronJob => errors.extend(workload::cron_job(object)),
        Kind::Service => {
            errors.extend(service(spec));
            errors.extend(others::service(spec));
        }
        Kind::ConfigMap => errors.extend(data::config_map(object)),
        Kind::Secret => errors.extend(data::secret(object)),
        Kind::Endpoints => errors.extend(others::endpoints(object)),
        Kind::EndpointSlice => errors.extend(others::endpoint_slice(object)),
        _ => {}
    }
    errors
}

/// What is wrong with a new object.
#[must_use]
pub fn validate_new(kind: Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = validate(kind, object);
    if kind == Kind::Pod && each(&object["spec"]["ephemeralContainers"]).next().is_some() {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    errors
}

/// What is wrong with a change of an object: fields that cannot change.
#[must_use]
pub fn validate_change(kind: Kind, before: &Value, after: &Value) -> Vec<FieldError> {
    let immutable = |path: &str, before: &Value, after: &Value| {
        let detail = "field is immutable";
        (before != after).then(|| FieldError::invalid(path, after.clone(), detail))
    };
    let (old, new) = (&before["spec"], &after["spec"]);
    let mut errors = metadata::check_change(before, after);
    errors.extend(match kind {
        Kind::StatefulSet => workload::stateful_set_change(old, new),
        Kind::DaemonSet | Kind::Deployment | Kind::ReplicaSet => {
            immutable("spec.selector", &old["selector"], &new["selector"]).into_iter().collect()
        }
        Kind::Job => workload::job_change(old, new),
        Kind::Service => {
            immutable("spec.clusterIP", &old["clusterIP"], &new["clusterIP"]).into_iter().collect()
        }
        Kind::Pod => pod::change(old, new),
        Kind::ConfigMap => data::config_map_change(before, after),
        Kind::Secret => data::secret_change(before, after),
        Kind::EndpointSlice => {
            immutable("addressType", &before["addressType"], &after["addressType"])
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    });
    errors
}

fn pod_spec(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if each(&spec["containers"]).next().is_none() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for Validated { path, value, .. } in containers(path, spec) {
        errors.extend(container(&path, value));
        let name = value["name"].as_str().unwrap_or_default();
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
    }
    errors.extend(ephemeral::check(path, spec));
    errors.extend(pod::further(path, spec));
    errors.extend(volumes::check(path, spec));
    if let Some(policy) = spec["restartPolicy"].as_str()
        && !["Always", "OnFailure", "Never"].contains(&policy)
    {
        let path = format!("{path}.restartPolicy");
        errors.push(FieldError::not_supported(path, policy, &["Always", "OnFailure", "Never"]));
    }
    errors
}

fn container(path: &str, container: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = container["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else {
        let invalid = |fault| FieldError::invalid(format!("{path}.name"), name, fault);
        errors.extend(names::dns_label(name).into_iter().map(invalid));
    }
    if container["image"].as_str().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    }
    errors.extend(container_ports(path, container));
    for (index, variable) in each(&container["env"]).enumerate() {
        if variable["name"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("{path}.env[{index}].name"), ""));
        }
    }
    errors
}

fn container_ports(path: &str, container: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, port) in each(&container["ports"]).enumerate() {
        let path = format!("{path}.ports[{index}]");
        errors.extend(port_number(&format!("{path}.containerPort"), &port["containerPort"]));
        errors.extend(protocol(&format!("{path}.protocol"), &port["protocol"]));
        if let Some(name) = port["name"].as_str() {
            let invalid = |fault| FieldError::invalid(format!("{path}.name"), name, fault);
            errors.extend(names::port_name(name).into_iter().map(invalid));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
    }
    errors
}

fn service(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(kind) = spec["type"].as_str()
        && !["ClusterIP", "NodePort"].contains(&kind)
    {
        errors.push(FieldError::not_supported("spec.type", kind, &["ClusterIP", "NodePort"]));
    }
    let headless = spec["clusterIP"] == "None";
    if headless && spec["type"] == "NodePort" {
        let detail = "may not be set to 'None' for NodePort services";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", "None", detail));
    }
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    if ports.is_empty() && !headless {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        errors.extend(port_number(&format!("{path}.port"), &port["port"]));
        errors.extend(protocol(&format!("{path}.protocol"), &port["protocol"]));
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            }
        } else {
            let invalid = |fault| FieldError::invalid(format!("{path}.name"), name, fault);
            errors.extend(names::dns_label(name).into_iter().map(invalid));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
        match &port["targetPort"] {
            Value::String(name) => {
                let invalid =
                    |fault| FieldError::invalid(format!("{path}.targetPort"), name.as_str(), fault);
                errors.extend(names::port_name(name).into_iter().map(invalid));
            }
            Value::Null => {}
            number => errors.extend(port_number(&format!("{path}.targetPort"), number)),
        }
    }
    errors
}

fn ip_address(path: &str, address: &Value) -> Result<IpAddr, FieldError> {
    let text = address.as_str().unwrap_or_default();
    text.parse().map_err(|_| {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        FieldError::invalid(path, text, detail)
    })
}

fn port_number(path: &str, port: &Value) -> Option<FieldError> {
    match port.as_i64() {
        Some(1..=65_535) => None,
        None | Some(0) if port.is_null() => Some(FieldError::required(path, "")),
        _ => {
            let detail = "must be between 1 and 65535, inclusive";
            Some(FieldError::invalid(path, port.clone(), detail))
        }
    }
}

fn protocol(path: &str, protocol: &Value) -> Option<FieldError> {
    let name = protocol.as_str()?;
    let known = netpol::port::Protocol::from_api(Some(name)).is_some();
    (!known).then(|| FieldError::not_supported(path, name, &["SCTP", "TCP", "UDP"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(change: &Value) -> Vec<String> {
        let mut object = json!({
            "metadata": {"name": "d"},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        });
        json_patch::merge(&mut object, change);
        validate(Kind::Deployment, &object).iter().map(|error| error.path.clone()).collect()
    }

    #[test]
    fn a_deployment_is_checked_as_the_api_server_does() {
        assert!(deployment(&json!({})).is_empty());
        let template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
        for (change, path) in [
            (json!({"metadata": {"name": "D"}}), "metadata.name"),
            (json!({"metadata": {"labels": {"a": "-"}}}), "metadata.labels"),
            (json!({"spec": {"replicas": -1}}), "spec.replicas"),
            (json!({"spec": {"selector": null}}), "spec.selector"),
            (
                json!({"spec": {"selector": {"matchLabels": {"app": "e"}}}}),
                "spec.template.metadata.labels",
            ),
            (template(json!({"containers": []})), "spec.template.spec.containers"),
            (
                template(json!({"containers": [{"name": "c"}]})),
                "spec.template.spec.containers[0].image",
            ),
            (template(json!({"restartPolicy": "Never"})), "spec.template.spec.restartPolicy"),
        ] {
            assert_eq!(deployment(&change), [path], "{change}");
        }
    }

    #[test]
    fn a_service_is_checked_as_the_api_server_does() {
        let paths = |spec: Value| -> Vec<String> {
            let object = json!({"metadata": {"name": "s"}, "spec": spec});
            validate(Kind::Service, &object).iter().map(|error| error.path.clone()).collect()
        };
        assert!(paths(json!({"ports": [{"port": 80, "targetPort": "http"}]})).is_empty());
        assert_eq!(paths(json!({})), ["spec.ports"]);
        assert_eq!(paths(json!({"ports": [{"port": 0}]})), ["spec.ports[0].port"]);
        assert_eq!(paths(json!({"ports": [{}]})), ["spec.ports[0].port"]);
        assert_eq!(paths(json!({"type": "LoadBalancer", "ports": [{"port": 80}]})), ["spec.type"]);
        assert!(paths(json!({"type": "NodePort", "ports": [{"port": 80}]})).is_empty());
        let headless = json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}]});
        assert_eq!(paths(headless), ["spec.clusterIPs[0]"]);
        let two = json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]});
        assert_eq!(paths(two), ["spec.ports[1].name"]);
    }

    #[test]
    fn selectors_cannot_be_changed() {
        let with = |app: &str| json!({"spec": {"selector": {"matchLabels": {"app": app}}}});
        let errors = validate_change(Kind::Deployment, &with("a"), &with("b"));
        assert!(errors[0].to_string().ends_with("field is immutable"), "{errors:?}");
        assert!(validate_change(Kind::Deployment, &with("a"), &with("a")).is_empty());
    }
}
