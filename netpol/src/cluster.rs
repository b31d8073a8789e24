//! Namespaces, pods and policies: all that a verdict depends on.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names::NamespacedName;
use crate::policy::Policy;
use crate::port::Protocol;
use crate::selector::Labels;
use crate::service::Service;

/// The label that every namespace has, with its name (rule 12).
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What is known of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    namespaces: BTreeMap<String, Labels>,
    pods: Vec<Pod>,
    policies: Vec<Policy>,
    services: Vec<Service>,
}

/// A pod, as far as policies see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it is a pod of; itself, if nothing owns it.
    pub workload: Workload,
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
}

/// What makes pods: the kind and name of a Deployment and the like, or a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl Workload {
    /// The workload of an object: that which controls it, or itself. A Node that mirrors a static
    /// pod does not count.
    #[must_use]
    pub fn of(kind: &str, metadata: &ObjectMeta) -> Self {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let owners =
            || owners.iter().filter(|owner| owner.kind != "Node" && !owner.name.is_empty());
        let controller = owners().find(|owner| owner.controller == Some(true));
        let owner = controller.or_else(|| owners().next()).map(|owner| Self {
            kind: if owner.kind.is_empty() { kind } else { &owner.kind }.to_owned(),
            name: owner.name.clone(),
        });
        owner.unwrap_or_else(|| Self {
            kind: kind.to_owned(),
            name: metadata.name.clone().unwrap_or_default(),
        })
    }
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

impl Cluster {
    /// Adds a namespace with its labels; [`NAMESPACE_NAME_LABEL`] is set whatever they say.
    pub fn add_namespace(&mut self, name: &str, mut labels: Labels) {
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned());
        self.namespaces.insert(name.to_owned(), labels);
    }

    /// Adds a pod, and its namespace if that is not there.
    pub fn add_pod(&mut self, pod: Pod) {
        if !self.namespaces.contains_key(&pod.namespace) {
            self.add_namespace(&pod.namespace, Labels::new());
        }
        self.pods.push(pod);
    }

    /// Adds a policy.
    pub fn add_policy(&mut self, policy: Policy) {
        self.policies.push(policy);
    }

    /// Adds a Service.
    pub fn add_service(&mut self, service: Service) {
        self.services.push(service);
    }

    /// Every Service.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The labels of a namespace; an unknown one has none.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// Every pod.
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Every pod, to learn its addresses.
    pub fn pods_mut(&mut self) -> &mut [Pod] {
        &mut self.pods
    }

    /// Every policy.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The pod of this namespace and name.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.namespace == namespace && pod.name == name)
    }
}

/// The pods of each namespace, as numbers: their places in a list.
#[derive(Debug, Default)]
pub struct PodsByNamespace<'a>(BTreeMap<&'a str, Vec<(usize, &'a Pod)>>);

impl<'a> PodsByNamespace<'a> {
    /// Those of `pods`.
    #[must_use]
    pub fn new(pods: &[&'a Pod]) -> Self {
        let mut namespaces: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (index, pod) in pods.iter().enumerate() {
            namespaces.entry(&pod.namespace).or_default().push((index, *pod));
        }
        Self(namespaces)
    }

    /// Each namespace that has pods, and these with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &[(usize, &'a Pod)])> {
        self.0.iter().map(|(namespace, pods)| (*namespace, pods.as_slice()))
    }
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
            workload: Workload::of("Pod", &pod.metadata),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            addresses: addresses.collect(),
            named_ports: spec.map(named_ports).unwrap_or_default(),
            ports: spec.map(ports).unwrap_or_default(),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        })
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
    fn rule_12_every_namespace_has_the_label_of_its_name() {
        let mut cluster = Cluster::default();
        let lie = Labels::from([(NAMESPACE_NAME_LABEL.into(), "other".into())]);
        cluster.add_namespace("a", lie);
        cluster.add_pod(Pod { namespace: "b".into(), ..Pod::default() });
        for name in ["a", "b"] {
            assert_eq!(cluster.namespace_labels(name).unwrap()[NAMESPACE_NAME_LABEL], name);
        }
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

    #[test]
    fn a_workload_is_named_after_its_controller_or_its_first_owner() {
        let owner = |kind: &str, name: &str, controller: bool| {
            json!({
                "apiVersion": "v1", "kind": kind, "name": name, "uid": "u",
                "controller": controller,
            })
        };
        let workload = |owners: serde_json::Value| {
            let metadata = json!({"name": "own", "ownerReferences": owners});
            let workload = Workload::of("Pod", &serde_json::from_value(metadata).unwrap());
            format!("{}/{}", workload.kind, workload.name)
        };
        let (one, two) = (owner("A", "one", false), owner("B", "two", true));
        assert_eq!(workload(json!([one, two])), "B/two");
        assert_eq!(workload(json!([two, one])), "B/two");
        assert_eq!(workload(json!([one, owner("B", "two", false)])), "A/one");
        assert_eq!(workload(json!([owner("", "nobody", false)])), "Pod/nobody");
        assert_eq!(workload(json!([owner("Node", "n", true)])), "Pod/own");
        assert_eq!(workload(json!([owner("A", "", true)])), "Pod/own");
    }
}
