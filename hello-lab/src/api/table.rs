//! Lists as kubectl prints them: a `metav1.Table` (`pkg/printers/internalversion`).

mod pod;
mod workloads;

use serde_json::{Map, Value, json};

use crate::objects::meta::seconds_since;
use crate::objects::{Kind, Object};

/// What the rows of a Table have of their objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Nothing.
    None,
    /// The metadata.
    Metadata,
    /// All.
    Object,
}

/// The metadata of an object alone.
pub(super) fn metadata_of(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.value()["metadata"],
    })
}

/// One column: its name, and whether it is for `-o wide` only.
type Column = (&'static str, bool);

/// The Table of `objects`. Each row has the part of its object that `included` names.
/// In a watch only the first Table names the columns.
pub fn table(
    kind: Kind,
    objects: &[&Object],
    list_metadata: Value,
    with_columns: bool,
    included: Rows,
) -> Value {
    let rows = objects.iter().map(|object| {
        let shown = match included {
            Rows::None => Value::Null,
            Rows::Metadata => metadata_of(object),
            Rows::Object => object.presented(),
        };
        json!({"cells": cells(object), "object": shown})
    });
    let definitions = columns(kind).into_iter().map(|(name, wide)| {
        let format = if name == "Name" { "name" } else { "" };
        let priority = i32::from(wide);
        json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority})
    });
    let definitions: Vec<_> = if with_columns { definitions.collect() } else { Vec::new() };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata,
        "columnDefinitions": definitions,
        "rows": rows.collect::<Vec<_>>(),
    })
}

fn columns(kind: Kind) -> Vec<Column> {
    let split = |narrow: &[&'static str], wide: &[&'static str]| {
        let narrow = narrow.iter().map(|name| (*name, false));
        narrow.chain(wide.iter().map(|name| (*name, true))).collect()
    };
    match kind {
        Kind::Pod => split(
            &["Name", "Ready", "Status", "Restarts", "Age"],
            &["IP", "Node", "Nominated Node", "Readiness Gates"],
        ),
        Kind::Deployment => split(
            &["Name", "Ready", "Up-to-date", "Available", "Age"],
            &["Containers", "Images", "Selector"],
        ),
        Kind::ReplicaSet => split(
            &["Name", "Desired", "Current", "Ready", "Age"],
            &["Containers", "Images", "Selector"],
        ),
        Kind::DaemonSet => split(
            &[
                "Name",
                "Desired",
                "Current",
                "Ready",
                "Up-to-date",
                "Available",
                "Node Selector",
                "Age",
            ],
            &["Containers", "Images", "Selector"],
        ),
        Kind::StatefulSet => split(&["Name", "Ready", "Age"], &["Containers", "Images"]),
        Kind::ControllerRevision => split(&["Name", "Controller", "Revision", "Age"], &[]),
        Kind::Lease => split(&["Name", "Holder", "Age"], &[]),
        Kind::Job => split(
            &["Name", "Status", "Completions", "Duration", "Age"],
            &["Containers", "Images", "Selector"],
        ),
        Kind::CronJob => split(
            &["Name", "Schedule", "Timezone", "Suspend", "Active", "Last Schedule", "Age"],
            &["Containers", "Images", "Selector"],
        ),
        Kind::Service => {
            split(&["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"], &["Selector"])
        }
        Kind::Namespace => split(&["Name", "Status", "Age"], &[]),
        Kind::Node => split(
            &["Name", "Status", "Roles", "Age", "Version"],
            &["Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"],
        ),
        Kind::NetworkPolicy => split(&["Name", "Pod-Selector", "Age"], &[]),
        Kind::EndpointSlice => split(&["Name", "AddressType", "Ports", "Endpoints", "Age"], &[]),
        Kind::Event => split(
            &["Last Seen", "Type", "Reason", "Object", "Message"],
            &["Source", "First Seen", "Count", "Name"],
        ),
        Kind::ConfigMap => split(&["Name", "Data", "Age"], &[]),
        Kind::Secret => split(&["Name", "Type", "Data", "Age"], &[]),
        Kind::Endpoints => split(&["Name", "Endpoints", "Age"], &[]),
        Kind::ServiceAccount => split(&["Name", "Age"], &[]),
    }
}

fn cells(object: &Object) -> Vec<Value> {
    let value = object.value();
    let name = || Value::from(object.name());
    let age = || Value::from(age(object.created()));
    let count = |field: &str| Value::from(value["status"][field].as_u64().unwrap_or(0));
    let (spec, status) = (&value["spec"], &value["status"]);
    match object.kind() {
        Kind::Pod => pod::cells(object, name(), age()),
        Kind::Deployment => {
            let wanted = spec["replicas"].as_u64().unwrap_or(1);
            let ready = status["readyReplicas"].as_u64().unwrap_or(0);
            let mut cells = vec![
                name(),
                format!("{ready}/{wanted}").into(),
                count("updatedReplicas"),
                count("availableReplicas"),
                age(),
            ];
            cells.extend(workloads::template(spec));
            cells
        }
        Kind::ReplicaSet => {
            let mut cells = vec![
                name(),
                spec["replicas"].clone(),
                count("replicas"),
                count("readyReplicas"),
                age(),
            ];
            cells.extend(workloads::template(spec));
            cells
        }
        Kind::DaemonSet => workloads::daemon_set(object, name(), age()),
        Kind::StatefulSet => {
            let wanted = spec["replicas"].as_u64().unwrap_or(1);
            let ready = status["readyReplicas"].as_u64().unwrap_or(0);
            let [names, images, _] = workloads::template(spec);
            vec![name(), format!("{ready}/{wanted}").into(), age(), names, images]
        }
        Kind::ControllerRevision => {
            vec![name(), workloads::controller(object).into(), value["revision"].clone(), age()]
        }
        Kind::Lease => vec![name(), spec["holderIdentity"].clone(), age()],
        Kind::Job => workloads::job(object, name(), age()),
        Kind::CronJob => workloads::cron_job(object, name(), age()),
        Kind::Service => vec![
            name(),
            spec["type"].clone(),
            spec["clusterIP"].clone(),
            "<none>".into(),
            service_ports(spec).into(),
            age(),
            pairs(spec["selector"].as_object()).into(),
        ],
        Kind::Namespace => vec![name(), status["phase"].clone(), age()],
        Kind::Node => node(object, name(), age()),
        Kind::NetworkPolicy => vec![name(), selector(&spec["podSelector"]).into(), age()],
        Kind::EndpointSlice => endpoint_slice(value, name(), age()),
        Kind::Event => event(value, name()),
        Kind::ConfigMap => {
            let keys = |field: &str| value[field].as_object().map_or(0, Map::len);
            vec![name(), (keys("data") + keys("binaryData")).to_string().into(), age()]
        }
        Kind::Secret => {
            let keys = value["data"].as_object().map_or(0, Map::len);
            vec![name(), value["type"].clone(), keys.to_string().into(), age()]
        }
        Kind::Endpoints => vec![name(), endpoints(value).into(), age()],
        Kind::ServiceAccount => vec![name(), age()],
    }
}

fn node(object: &Object, name: Value, age: Value) -> Vec<Value> {
    let status = &object.value()["status"];
    let info = &status["nodeInfo"];
    vec![
        name,
        if object.value()["spec"]["unschedulable"] == true {
            "Ready,SchedulingDisabled"
        } else {
            "Ready"
        }
        .into(),
        "control-plane".into(),
        age,
        info["kubeletVersion"].clone(),
        status["addresses"][0]["address"].clone(),
        "<none>".into(),
        info["osImage"].clone(),
        info["kernelVersion"].clone(),
        info["containerRuntimeVersion"].clone(),
    ]
}

fn endpoint_slice(value: &Value, name: Value, age: Value) -> Vec<Value> {
    let joined = |list: Vec<String>| match list.join(",") {
        empty if empty.is_empty() => "<unset>".to_owned(),
        list => list,
    };
    let ports = each(&value["ports"]).map(|port| text(&port["port"]));
    let addresses = each(&value["endpoints"]).map(|one| text(&one["addresses"][0]));
    vec![
        name,
        value["addressType"].clone(),
        joined(ports.collect()).into(),
        joined(addresses.collect()).into(),
        age,
    ]
}

fn event(value: &Value, name: Value) -> Vec<Value> {
    let about = &value["involvedObject"];
    let kind = text(&about["kind"]).to_lowercase();
    vec![
        age_of(&value["lastTimestamp"]),
        value["type"].clone(),
        value["reason"].clone(),
        format!("{kind}/{}", text(&about["name"])).into(),
        value["message"].clone(),
        value["source"]["component"].clone(),
        age_of(&value["firstTimestamp"]),
        value["count"].clone(),
        name,
    ]
}

/// The first three addresses with their ports (`formatEndpoints`).
fn endpoints(value: &Value) -> String {
    let mut all = Vec::new();
    for subset in each(&value["subsets"]) {
        let ports: Vec<_> = each(&subset["ports"]).map(|port| text(&port["port"])).collect();
        for address in each(&subset["addresses"]).map(|address| text(&address["ip"])) {
            if ports.is_empty() {
                all.push(address.clone());
            }
            all.extend(ports.iter().map(|port| format!("{address}:{port}")));
        }
    }
    match all.len() {
        0 => "<none>".to_owned(),
        1..=3 => all.join(","),
        more => format!("{} + {} more...", all[..3].join(","), more - 3),
    }
}

fn service_ports(spec: &Value) -> String {
    let port = |port: &Value| {
        let on_node = &port["nodePort"];
        let on_node = if on_node.is_null() { String::new() } else { format!(":{}", text(on_node)) };
        format!("{}{on_node}/{}", text(&port["port"]), text(&port["protocol"]))
    };
    match each(&spec["ports"]).map(port).collect::<Vec<_>>().join(",") {
        none if none.is_empty() => "<none>".to_owned(),
        ports => ports,
    }
}

/// A label selector in kubectl's words; `<none>` for an empty one.
fn selector(selector: &Value) -> String {
    let parsed = serde_json::from_value(selector.clone())
        .ok()
        .and_then(|selector| netpol::selector::Selector::from_api("", &selector).ok())
        .filter(|selector| !selector.requirements().is_empty());
    parsed.map_or_else(|| "<none>".to_owned(), |selector| selector.to_string())
}

fn pairs(labels: Option<&Map<String, Value>>) -> String {
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", text(value));
    match labels.into_iter().flatten().map(pair).collect::<Vec<_>>().join(",") {
        none if none.is_empty() => "<none>".to_owned(),
        pairs => pairs,
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn age_of(time: &Value) -> Value {
    time.as_str().map_or_else(|| "<unknown>".to_owned(), age).into()
}

fn age(time: &str) -> String {
    hello_common::age::human_duration(seconds_since(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        for kind in Kind::ALL {
            let object = Object::new(kind, json!({"metadata": {"name": "a"}})).unwrap();
            assert_eq!(cells(&object).len(), columns(kind).len(), "{kind:?}");
        }
    }
}
