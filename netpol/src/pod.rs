//! Pods, as far as policies see them.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;

use crate::names::NamespacedName;
use crate::port::Protocol;
use crate::selector::Labels;

/// A pod, as far as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it is a pod of; itself, if nothing owns it.
    pub workload: Workload,
    /// What the inputs name as its owner, where `workload` is only told by that one's name: the hashed
    /// ReplicaSet of a Deployment that is not there.
    pub owner: Option<Workload>,
    /// What it names as its owner itself: of a Deployment's pod a ReplicaSet.
    pub maker: Option<Workload>,
    /// Its labels.
    pub labels: Labels,
    /// Its addresses; none for a pod that is only written down in a manifest.
    pub addresses: Vec<IpAddr>,
    /// The ports that its containers declare with a name.
    pub named_ports: Vec<NamedPort>,
    /// All the ports that its containers declare; it may serve others.
    pub ports: Vec<(Protocol, u16)>,
    /// Whether it uses its node's network, where policies are undefined (rule 19).
    pub host_network: bool,
    /// Whether it is there and does not serve: it is not ready. What is only written down does serve.
    pub is_unready: bool,
}

/// What makes pods: the kind and name of a Deployment and the like, or a Pod ([`crate::owners`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// A container port that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// The protocol; a name is looked up together with it (rule 15).
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

impl Pod {
    /// Reads a Pod object; `None` for one that has finished, which counts no more (rule 24).
    #[must_use]
    pub fn from_api(pod: &core::Pod) -> Option<Self> {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let spec = pod.spec.as_ref();
        let addresses = status
            .and_then(|status| status.pod_ips.as_ref())
            .into_iter()
            .flatten()
            .filter_map(|address| address.ip.parse().ok());
        let NamespacedName { namespace, name } = NamespacedName::of(&pod.metadata);
        Some(Self {
            namespace,
            name,
            workload: Workload::of_pod(&pod.metadata),
            owner: None,
            maker: None,
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            addresses: addresses.collect(),
            named_ports: spec.map(named_ports).unwrap_or_default(),
            ports: spec.map(ports).unwrap_or_default(),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
            is_unready: is_unready(pod),
        })
    }

    /// The same pod, were it on a network of its own (rule 19).
    #[must_use]
    pub fn on_its_own_network(&self) -> Self {
        Self { host_network: false, ..self.clone() }
    }

    /// The numbers of the ports with this name and protocol.
    pub fn ports_named(&self, name: &str, protocol: Protocol) -> impl Iterator<Item = u16> {
        let matching = move |port: &&NamedPort| port.name == name && port.protocol == protocol;
        self.named_ports.iter().filter(matching).map(|port| port.port)
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// Whether a pod is no ready endpoint of a Service (`k8s.io/endpointslice`, `podToEndpoint`): its condition
/// `Ready` is not true, or it has not begun. One that ends serves where there is no other (KEP-1669).
fn is_unready(pod: &core::Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    let has_begun = status.and_then(|status| status.phase.as_deref()) != Some("Pending");
    ready.map_or(!has_begun, |condition| condition.status != "True")
}

/// The named ports of a pod's containers and of its sidecars.
#[must_use]
pub fn named_ports(spec: &core::PodSpec) -> Vec<NamedPort> {
    container_ports(spec)
        .filter_map(|(protocol, port, name)| {
            Some(NamedPort { name: name?.to_owned(), protocol, port })
        })
        .collect()
}

/// Every port that a pod's containers and its sidecars declare.
#[must_use]
pub fn ports(spec: &core::PodSpec) -> Vec<(Protocol, u16)> {
    container_ports(spec).map(|(protocol, port, _)| (protocol, port)).collect()
}

/// The ports of containers and of sidecars (init containers that keep running), with their names.
fn container_ports(spec: &core::PodSpec) -> impl Iterator<Item = (Protocol, u16, Option<&str>)> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let protocol = Protocol::from_api(port.protocol.as_deref())?;
            Some((protocol, u16::try_from(port.container_port).ok()?, port.name.as_deref()))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(phase: &str) -> Option<Pod> {
        let object = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}},
            "spec": {
                "containers": [{"name": "c", "ports": [
                    {"name": "http", "containerPort": 80}, {"containerPort": 81},
                ]}],
                "initContainers": [
                    {"name": "i", "ports": [{"name": "init", "containerPort": 1}]},
                    {"name": "s", "restartPolicy": "Always",
                     "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
                ],
            },
            "status": {"phase": phase, "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
        });
        Pod::from_api(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_pod_is_unready_until_its_condition_says_otherwise() {
        let unready = |status: serde_json::Value| {
            let object = json!({"metadata": {"name": "p"}, "status": status});
            Pod::from_api(&serde_json::from_value(object).unwrap()).unwrap().is_unready
        };
        let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        assert!(!unready(json!(null)), "it is only written down");
        assert!(!unready(ready("True")) && unready(ready("False")) && unready(ready("Unknown")));
        assert!(unready(json!({"phase": "Pending"})) && !unready(json!({"phase": "Running"})));
    }

    #[test]
    fn rule_24_finished_pods_do_not_count() {
        assert!(pod("Succeeded").is_none() && pod("Failed").is_none());
        assert!(pod("Pending").is_some() && pod("Running").is_some());
    }

    #[test]
    fn named_ports_are_those_of_containers_and_sidecars() {
        let pod = pod("Running").unwrap();
        let names: Vec<_> = pod.named_ports.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["http", "dns"]);
        assert_eq!(pod.ports_named("dns", Protocol::Udp).collect::<Vec<_>>(), [53]);
        assert_eq!(pod.ports_named("dns", Protocol::Tcp).count(), 0);
        assert_eq!(pod.addresses.len(), 2);
    }
}
