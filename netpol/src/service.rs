//! Services: which pods an address in front of them stands for, and at which of their ports.
//!
//! Policies never see a Service: a connection to its address has become one to a pod's address and
//! `targetPort` by then (<https://kubernetes.io/docs/concepts/services-networking/network-policies/>:
//! "cluster ingress and egress mechanisms often require rewriting the source or destination IP").
//! The rules here are those of the API's documentation of `ServiceSpec` and `ServicePort`, and of the
//! controller that makes EndpointSlices.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::family::Family;
use crate::field_error::FieldError;
use crate::names::NamespacedName;
use crate::pod::{Pod, Workload};
use crate::port::Protocol;
use crate::selector::Labels;
use crate::validate::{self, cidr::parse_address};

/// A Service, as far as it says who is behind its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its namespace, whose pods alone it selects.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its own labels.
    pub labels: Labels,
    /// The labels that its pods have; `None` where it has no selector. ("If empty or not present, the
    /// service is assumed to have an external process managing its endpoints.")
    pub selector: Option<Labels>,
    /// How it is exposed.
    pub kind: ServiceType,
    /// Its addresses, where some are written down: a cluster gives it one if not.
    pub cluster_ips: Vec<IpAddr>,
    /// Whether pods that are not ready are endpoints too (`publishNotReadyAddresses`).
    pub has_unready: bool,
    /// The families of the connections to it; none, where that is the cluster's to say. ("This field is usually
    /// assigned automatically based on cluster configuration", `ipFamilies`.)
    pub families: Vec<Family>,
    /// Whether it has no address of its own (`clusterIP: None`): its name stands for those of its pods.
    pub headless: bool,
    /// What an `ExternalName` stands for.
    pub external_name: Option<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// `ServiceSpec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// An address inside the cluster; the default.
    #[default]
    ClusterIp,
    /// That, and a port of every node.
    NodePort,
    /// That, and a load balancer outside.
    LoadBalancer,
    /// Another name, and nothing else.
    ExternalName,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The protocol; TCP if it names none.
    pub protocol: Protocol,
    /// The port of the Service's own address.
    pub port: u16,
    /// The port of its pods.
    pub target: TargetPort,
}

/// The port of a pod that a Service's port leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same of every pod.
    Number(u16),
    /// Each pod's container port of this name.
    Named(String),
}

/// Who is behind a Service.
#[derive(Clone, Debug, PartialEq)]
pub enum Endpoints<'a> {
    /// The pods that it selects.
    Pods(Vec<&'a Pod>),
    /// It has no selector: somebody else says who its endpoints are.
    Unknown,
    /// Another name, probably outside the cluster.
    External(&'a str),
}

impl Service {
    /// Reads a Service. What the API server would refuse of that which is read here is an error.
    pub fn from_api(service: &core::Service) -> Result<Self, Vec<FieldError>> {
        let NamespacedName { namespace, name } = NamespacedName::of(&service.metadata);
        let spec = service.spec.clone().unwrap_or_default();
        let mut errors = Vec::new();
        let kind = match spec.type_.as_deref() {
            None | Some("ClusterIP") => ServiceType::ClusterIp,
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            Some(other) => {
                let supported = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
                errors.push(FieldError::not_supported("spec.type", other, supported));
                ServiceType::default()
            }
        };
        let given = match spec.cluster_ips.filter(|addresses| !addresses.is_empty()) {
            Some(addresses) => addresses,
            None => spec.cluster_ip.into_iter().collect(),
        };
        let headless = given.iter().any(|address| address == "None");
        let mut cluster_ips = Vec::new();
        for text in given.iter().filter(|text| !text.is_empty() && *text != "None") {
            if let Some(address) = parse_address(text) {
                cluster_ips.push(address);
            } else {
                let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.push(FieldError::invalid("spec.clusterIP", text.as_str(), detail));
            }
        }
        let mut ports = Vec::new();
        for (index, port) in spec.ports.iter().flatten().enumerate() {
            match ServicePort::from_api(&format!("spec.ports[{index}]"), port, headless) {
                Ok(port) => ports.push(port),
                Err(more) => errors.extend(more),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let is_external = kind == ServiceType::ExternalName;
        let families = if cluster_ips.is_empty() {
            let named = spec.ip_families.iter().flatten();
            named.filter_map(|name| Family::from_api(name)).collect()
        } else {
            Family::ALL
                .into_iter()
                .filter(|family| cluster_ips.iter().any(|address| Family::of(*address) == *family))
                .collect()
        };
        Ok(Self {
            namespace,
            name,
            labels: service.metadata.labels.clone().unwrap_or_default(),
            selector: spec.selector.filter(|selector| !selector.is_empty() && !is_external),
            kind,
            cluster_ips,
            families,
            has_unready: spec.publish_not_ready_addresses.unwrap_or(false),
            headless,
            external_name: spec.external_name.filter(|_| is_external),
            ports,
        })
    }

    /// Who of `pods` is behind it: those of its namespace that have all labels of its selector, those on
    /// their node's network too (`endpointslice.Reconciler`; pods that have finished are to be left out).
    #[must_use]
    pub fn endpoints<'a>(&'a self, pods: &'a [Pod]) -> Endpoints<'a> {
        if self.kind == ServiceType::ExternalName {
            return Endpoints::External(self.external_name.as_deref().unwrap_or_default());
        }
        match &self.selector {
            None => Endpoints::Unknown,
            Some(_) => Endpoints::Pods(pods.iter().filter(|pod| self.selects(pod)).collect()),
        }
    }

    /// Whether `pod` is one of its endpoints by its selector.
    #[must_use]
    pub fn selects(&self, pod: &Pod) -> bool {
        let has = |(key, value): (&String, &String)| match pod.labels.get(key) {
            Some(label) => label == value,
            None => is_given(pod, key, value),
        };
        self.namespace == pod.namespace
            && self.selector.as_ref().is_some_and(|selector| selector.iter().all(has))
    }
}

/// Whether a controller gives this label to a pod that it makes of `pod`, which is a template as it is
/// written down (`apps/v1.StatefulSetPodNameLabel` and `PodIndexLabel`, `batch/v1.JobNameLabel`).
fn is_given(pod: &Pod, key: &str, value: &str) -> bool {
    let Workload { kind, name } = &pod.workload;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if pod.name != *name {
        return false;
    }
    match (kind.as_str(), key) {
        ("StatefulSet", "statefulset.kubernetes.io/pod-name") => {
            value.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_number)
        }
        ("StatefulSet", "apps.kubernetes.io/pod-index") => is_number(value),
        ("Job", "batch.kubernetes.io/job-name" | "job-name") => value == name,
        _ => false,
    }
}

impl ServicePort {
    fn from_api(
        path: &str,
        port: &core::ServicePort,
        headless: bool,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let protocol = validate::protocol(path, port.protocol.as_deref(), &mut errors);
        let protocol = protocol.unwrap_or(Protocol::Tcp);
        let mut number = |field: &str, number: i32| {
            validate::port_number(format!("{path}.{field}"), number, &mut errors).unwrap_or(0)
        };
        let own = number("port", port.port);
        let target = match &port.target_port {
            // "If this is not specified, the value of the 'port' field is used"; 0 and "" are not
            // specified either (`SetDefaults_Service`). "This field is ignored for services with
            // clusterIP=None": who asks for its name connects to a pod by the port that he knows.
            None | Some(IntOrString::Int(0)) => TargetPort::Number(own),
            Some(IntOrString::String(name)) if name.is_empty() => TargetPort::Number(own),
            Some(_) if headless => TargetPort::Number(own),
            Some(IntOrString::Int(target)) => TargetPort::Number(number("targetPort", *target)),
            Some(IntOrString::String(name)) => TargetPort::Named(name.clone()),
        };
        let name = port.name.clone().filter(|name| !name.is_empty());
        if errors.is_empty() { Ok(Self { name, protocol, port: own, target }) } else { Err(errors) }
    }

    /// The port of `pod` that this one leads to; `None` where the pod has none of its target's name
    /// *and protocol*: then the pod is no endpoint of this port (`podutil.FindPort`). "If this is a
    /// string, it will be looked up as a named port in the target Pod's container ports."
    #[must_use]
    pub fn target_on(&self, pod: &Pod) -> Option<u16> {
        match &self.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Named(name) => pod.ports_named(name, self.protocol).next(),
        }
    }
}

/// `NAMESPACE/NAME`.
impl fmt::Display for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
