//! Rules of Deployments, `Endpoints` and `EndpointSlices`, and further ones of Services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netpol::field_error::FieldError;
use netpol::names;
use netpol::selector::labels_of;
use serde_json::{Value, json};

use super::pod::{not_negative, one_of};
use super::{each, ip_address, port_number, protocol};

/// `ValidateDeploymentSpec`, but for what a ReplicaSet has too.
pub(super) fn deployment(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let strategy = &spec["strategy"];
    let rolling = &strategy["rollingUpdate"];
    errors.extend(one_of(
        "spec.strategy.type".to_owned(),
        &strategy["type"],
        &["Recreate", "RollingUpdate"],
    ));
    if strategy["type"] == "Recreate" && rolling.is_object() {
        let detail = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", detail));
    }
    if strategy["type"] == "RollingUpdate" {
        let mut is_zero = true;
        for field in ["maxUnavailable", "maxSurge"] {
            let path = format!("spec.strategy.rollingUpdate.{field}");
            let value = &rolling[field];
            match share(value) {
                Some(number) => {
                    is_zero &= number == 0;
                    errors.extend(not_negative(path, value));
                }
                None if value.is_null() => is_zero = false,
                None => {
                    is_zero = false;
                    let detail = "a valid percent string must be a numeric string followed by an \
                                  ending '%' (e.g. '1%', or '93%', regex used for validation is \
                                  '[0-9]+%')";
                    errors.push(FieldError::invalid(path, value.clone(), detail));
                }
            }
        }
        if is_zero {
            let path = "spec.strategy.rollingUpdate.maxUnavailable";
            let value = rolling["maxUnavailable"].clone();
            errors.push(FieldError::invalid(path, value, "may not be 0 when `maxSurge` is 0"));
        }
    }
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        errors.extend(not_negative(format!("spec.{field}"), &spec[field]));
    }
    let deadline = &spec["progressDeadlineSeconds"];
    let ready = spec["minReadySeconds"].as_i64().unwrap_or(0);
    if deadline.as_i64().is_some_and(|deadline| deadline <= ready) {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline.clone(), detail));
    }
    errors
}

/// The number of an `IntOrString`: of a percentage, how many percent.
fn share(value: &Value) -> Option<i64> {
    if let Some(text) = value.as_str() {
        let digits = text.strip_suffix('%')?;
        let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        return all_digits.then(|| digits.parse().unwrap_or(i64::MAX));
    }
    value.as_i64()
}

/// `ValidateService`, further rules.
pub(super) fn service(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(one_of(
        "spec.sessionAffinity".to_owned(),
        &spec["sessionAffinity"],
        &["ClientIP", "None"],
    ));
    errors.extend(of_other_types(spec));
    errors.extend(names::labels("spec.selector", &labels_of(&json!({"labels": spec["selector"]}))));
    let mut seen = BTreeSet::new();
    for (index, port) in each(&spec["ports"]).enumerate() {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        if !seen.insert((protocol, port["port"].as_i64())) {
            let value = json!({"port": port["port"], "protocol": protocol});
            errors.push(FieldError::duplicate(format!("spec.ports[{index}]"), value));
        }
    }
    errors
}

/// What Services of other types than its own alone may have; the lab has `ClusterIP` and `NodePort`.
fn of_other_types(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"]
    {
        let value = &spec[field];
        if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
            let detail = "may only be used when `type` is 'LoadBalancer'";
            errors.push(FieldError::forbidden(format!("spec.{field}"), detail));
        }
    }
    let policy = &spec["externalTrafficPolicy"];
    let has_node_ports = spec["type"] == "NodePort";
    let is_external = has_node_ports || each(&spec["externalIPs"]).next().is_some();
    if policy.as_str().is_some_and(|policy| !policy.is_empty()) && !is_external {
        let detail = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid("spec.externalTrafficPolicy", policy.clone(), detail));
    }
    let check = &spec["healthCheckNodePort"];
    if check.as_i64().is_some_and(|port| port != 0) {
        let detail =
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid("spec.healthCheckNodePort", check.clone(), detail));
    }
    errors.extend(one_of("spec.externalTrafficPolicy".to_owned(), policy, &["Cluster", "Local"]));
    for (index, port) in each(&spec["ports"]).enumerate().filter(|_| !has_node_ports) {
        if port["nodePort"].as_i64().is_some_and(|port| port != 0) {
            let path = format!("spec.ports[{index}].nodePort");
            errors.push(FieldError::forbidden(path, "may not be used when `type` is 'ClusterIP'"));
        }
    }
    errors
}

/// `ValidateEndpointSlice`.
pub(super) fn endpoint_slice(slice: &Value) -> Vec<FieldError> {
    const TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
    let mut errors = Vec::new();
    let address_type = slice["addressType"].as_str().unwrap_or_default();
    if address_type.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !TYPES.contains(&address_type) {
        errors.push(FieldError::not_supported("addressType", address_type, TYPES));
    }
    for (index, endpoint) in each(&slice["endpoints"]).enumerate() {
        let path = format!("endpoints[{index}].addresses");
        if each(&endpoint["addresses"]).next().is_none() {
            errors.push(FieldError::required(path, "must contain at least 1 address"));
            continue;
        }
        for (index, address) in each(&endpoint["addresses"]).enumerate() {
            let text = address.as_str().unwrap_or_default();
            let path = format!("{path}[{index}]");
            let detail = match (address_type, text.parse::<IpAddr>()) {
                ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => continue,
                ("IPv4", _) => "must be an IPv4 address",
                ("IPv6", _) => "must be an IPv6 address",
                ("FQDN", _) => {
                    let invalid = |fault| FieldError::invalid(&*path, text, fault);
                    errors.extend(names::dns_subdomain(text).into_iter().map(invalid));
                    continue;
                }
                _ => continue,
            };
            errors.push(FieldError::invalid(path, text, detail));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in each(&slice["ports"]).enumerate() {
        let name = port["name"].as_str().unwrap_or_default();
        let path = format!("ports[{index}].name");
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path, name));
        } else if !name.is_empty() {
            let invalid = |fault| FieldError::invalid(&*path, name, fault);
            errors.extend(names::dns_label(name).into_iter().map(invalid));
        }
    }
    errors
}

/// `ValidateEndpointsCreate`, `validateEndpointSubsets`.
pub(super) fn endpoints(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, subset) in each(&object["subsets"]).enumerate() {
        let path = format!("subsets[{index}]");
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| each(&subset[*list]).next().is_none()) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(&*path, detail));
        }
        for list in lists {
            for (index, address) in each(&subset[list]).enumerate() {
                let path = format!("{path}.{list}[{index}].ip");
                errors.extend(endpoint_address(path, &address["ip"]));
            }
        }
        let several = each(&subset["ports"]).count() > 1;
        for (index, port) in each(&subset["ports"]).enumerate() {
            let path = format!("{path}.ports[{index}]");
            match port["name"].as_str().unwrap_or_default() {
                "" if several => errors.push(FieldError::required(format!("{path}.name"), "")),
                "" => {}
                name => {
                    let invalid = |fault| FieldError::invalid(format!("{path}.name"), name, fault);
                    errors.extend(names::dns_label(name).into_iter().map(invalid));
                }
            }
            errors.extend(port_number(&format!("{path}.port"), &port["port"]));
            errors.extend(protocol(&format!("{path}.protocol"), &port["protocol"]));
        }
    }
    errors
}

/// `validateEndpointAddress`, `ValidateEndpointIP`: what only one machine can mean is nobody's endpoint.
fn endpoint_address(path: String, address: &Value) -> Option<FieldError> {
    let invalid = |detail: &str| Some(FieldError::invalid(&*path, address.clone(), detail));
    let address = match ip_address(&path, address) {
        Ok(address) => address,
        Err(error) => return Some(error),
    };
    if address.is_unspecified() {
        return invalid("may not be unspecified (0.0.0.0 or ::)");
    }
    if address.is_loopback() {
        return invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (is_link_local, is_link_local_multicast) = match address {
        IpAddr::V4(address) => (address.is_link_local(), address.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(address) => {
            (address.is_unicast_link_local(), address.segments()[0] & 0xff0f == 0xff02)
        }
    };
    if is_link_local {
        return invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if is_link_local_multicast {
        return invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
    None
}
