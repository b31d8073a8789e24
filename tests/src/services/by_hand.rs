//! Endpoints that somebody writes by hand, for Services without a selector and beside those of some with one:
//! the ways that people write them, and some that are hardly meant.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use super::{PORTS, one_in, pick, protocol};

/// How an endpoint may be; of a pod that ends and still serves nothing is said as long as another is ready.
fn conditions(random: &mut Rng) -> Value {
    let ends = json!({"ready": false, "serving": true, "terminating": true});
    match random.u32(..8) {
        0 => json!({"ready": false}),
        1 | 2 => ends,
        3 => json!({"ready": true, "serving": true, "terminating": false}),
        _ => json!({}),
    }
}

/// The ports of a list for a Service's: mostly each of them, at a number of the list's own; sometimes under another
/// name or of another protocol.
fn ports(random: &mut Rng, service: &Value) -> Vec<Value> {
    let mut ports: Vec<Value> = Vec::new();
    for own in service["spec"]["ports"].as_array().into_iter().flatten() {
        let mut port = json!({"port": pick(random, &PORTS), "protocol": own["protocol"]});
        if own["name"].is_string() {
            port["name"] = own["name"].clone();
        }
        match random.u32(..10) {
            0 => continue,
            1 => port["name"] = "other".into(),
            2 => port["protocol"] = protocol(random).into(),
            _ => {}
        }
        let is_new = |one: &Value| one["name"] != port["name"];
        if ports.iter().all(is_new) {
            ports.push(port);
        }
    }
    ports
}

/// A pod as those that are written down name it until its address is known.
fn place(pod: &Value) -> String {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

/// A reference to a pod: mostly to that of the address, if any.
fn reference(random: &mut Rng, pods: &[Value], pod: &Value) -> Option<Value> {
    let of = match random.u32(..8) {
        0..=3 => return None,
        4 => &pick(random, pods),
        _ => pod,
    };
    let metadata = &of["metadata"];
    Some(json!({"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"]}))
}

fn slice(random: &mut Rng, service: &Value, pods: &[Value], name: &str) -> Value {
    let metadata = &service["metadata"];
    let endpoints: Vec<Value> = (0..random.usize(..4))
        .map(|_| {
            let pod = pick(random, pods);
            let mut endpoint =
                json!({"addresses": [place(&pod)], "conditions": conditions(random)});
            if let Some(reference) = reference(random, pods, &pod) {
                endpoint["targetRef"] = reference;
            }
            endpoint
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": metadata["namespace"], "name": name,
            "labels": {"kubernetes.io/service-name": metadata["name"]},
        },
        "ports": ports(random, service), "endpoints": endpoints,
    })
}

/// Endpoints of a Service, which a controller copies into slices.
fn endpoints(random: &mut Rng, service: &Value, pods: &[Value]) -> Value {
    let metadata = &service["metadata"];
    let subsets: Vec<Value> = (0..random.usize(..3))
        .filter_map(|_| {
            let mut subset = json!({});
            for (list, many) in [("addresses", 3), ("notReadyAddresses", 2)] {
                let addresses: Vec<Value> = (0..random.usize(..many))
                    .map(|_| {
                        let pod = pick(random, pods);
                        let mut address = json!({"ip": place(&pod)});
                        if let Some(reference) = reference(random, pods, &pod) {
                            address["targetRef"] = reference;
                        }
                        address
                    })
                    .collect();
                if !addresses.is_empty() {
                    subset[list] = addresses.into();
                }
            }
            let ports = ports(random, service);
            if subset == json!({}) || ports.is_empty() {
                return None;
            }
            subset["ports"] = ports.into();
            Some(subset)
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
        "subsets": subsets,
    })
}

/// The lists of one Service.
pub(super) fn lists(random: &mut Rng, service: &Value, pods: &[Value]) -> Vec<Value> {
    let has_selector = !service["spec"]["selector"].is_null();
    // A controller keeps the Endpoints of a Service with a selector.
    let (slices, has_endpoints) = if has_selector {
        (usize::from(one_in(random, 6)), false)
    } else {
        (random.usize(..3), one_in(random, 3))
    };
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let mut lists: Vec<Value> = (0..slices)
        .map(|index| slice(random, service, pods, &format!("{name}-by-hand-{index}")))
        .collect();
    if has_endpoints {
        lists.push(endpoints(random, service, pods));
    }
    lists
}

/// `lists` with the pods' addresses, which are known by [`place`].
#[must_use]
pub fn with_addresses(lists: &[Value], addresses: &BTreeMap<String, String>) -> Vec<Value> {
    let mut lists = lists.to_vec();
    for list in &mut lists {
        fill(list, addresses);
    }
    lists
}

fn fill(value: &mut Value, addresses: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(address) = addresses.get(text) {
                text.clone_from(address);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, addresses)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill(field, addresses)),
        _ => {}
    }
}
