//! Keeps the EndpointSlices of each Service that selects pods: one for each set of ports that its pods have,
//! since a named `targetPort` is each pod's own (`endpointslice.Reconciler`, which puts pods together by
//! `endpointSliceMeta.Ports`).

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use netpol::pod::NamedPort;
use netpol::port::Protocol;
use serde_json::{Value, json};

use super::pods::{has_ended, is_ready, status};
use crate::objects::deletion::{self, Deletion};
use crate::objects::meta::owner_reference;
use crate::objects::names::SERVICE_NAME_LABEL;
use crate::objects::{Key, Kind, Object, Store};

pub(super) const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Slices of others, also of the same Service, are their own.
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Name, protocol and number of each port that leads to a pod.
type Ports = Vec<(String, Protocol, u16)>;

pub(super) fn step(store: &Store) {
    // The names of each Service's slices, by the Service's namespace and name.
    let mut kept: HashMap<(String, String), Vec<Value>> = HashMap::new();
    for service in store.list(Kind::Service, None).0 {
        let Some(spec) = &service.typed::<core::Service>().spec else { continue };
        let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else {
            continue;
        };
        let (mut pods, _) = store.list(Kind::Pod, Some(service.namespace()));
        pods.retain(|pod| {
            let labels = pod.labels();
            address(pod).is_some()
                && !has_ended(pod)
                && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        });
        let slices = slices(&service, spec, &pods, ports_before(store, &service).as_ref());
        for slice in &slices {
            write(store, slice);
        }
        let names = slices.iter().map(|slice| slice["metadata"]["name"].clone()).collect();
        kept.insert((service.namespace().to_owned(), service.name().to_owned()), names);
    }
    // After those were written that pods have gone to: none is in no slice meanwhile.
    for slice in store.list(Kind::EndpointSlice, None).0 {
        let labels = slice.labels();
        let Some(service) = labels.get(SERVICE_NAME_LABEL) else { continue };
        let names = kept.get(&(slice.namespace().to_owned(), service.clone()));
        let is_managed = labels.get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGER);
        if is_managed && names.is_some_and(|names| names.iter().all(|name| name != slice.name())) {
            // One that is gone already is as good.
            let _ = deletion::delete(store, &slice.key(), &Deletion::default());
        }
    }
}

/// Makes a slice what it is to be.
pub(super) fn write(store: &Store, slice: &Value) {
    let metadata = &slice["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let key = Key::new(Kind::EndpointSlice, text("namespace"), text("name"));
    if store.get(&key).is_ok() {
        // Also by what it is found: somebody may have taken it away. One that is gone meanwhile comes
        // back with the next step.
        let _ = store.change(&key, |before| {
            for field in ["addressType", "endpoints", "ports"] {
                before[field] = slice[field].clone();
            }
            before["metadata"]["ownerReferences"] = metadata["ownerReferences"].clone();
            json_patch::merge(&mut before["metadata"]["labels"], &metadata["labels"]);
        });
    } else {
        let _ = store.create(Kind::EndpointSlice, slice.clone());
    }
}

fn address(pod: &Object) -> Option<&str> {
    status(pod)?.pod_ip.as_deref().filter(|address| !address.is_empty())
}

/// The slices of a Service, whose slice of its name had the ports `before`.
fn slices(
    service: &Object,
    spec: &core::ServiceSpec,
    pods: &[Arc<Object>],
    before: Option<&Ports>,
) -> Vec<Value> {
    let mut by_ports: BTreeMap<Ports, Vec<&Object>> = BTreeMap::new();
    for pod in pods {
        by_ports.entry(ports(spec, &named_ports(pod))).or_default().push(pod);
    }
    if by_ports.is_empty() {
        // A place for those to come (`newEndpointSlice` of a placeholder).
        by_ports.insert(Ports::new(), Vec::new());
    }
    // One has the Service's name, mostly the only one; and as long as it has pods it stays that one.
    let of_its_name =
        by_ports.keys().find(|ports| Some(*ports) == before).or(by_ports.keys().next());
    let of_its_name = of_its_name.cloned();
    let named = |(ports, pods): (Ports, Vec<&Object>)| {
        let name = if Some(&ports) == of_its_name.as_ref() {
            service.name().to_owned()
        } else {
            let mut hasher = DefaultHasher::new();
            ports.hash(&mut hasher);
            // The name of a Service has at most 63 letters, that of a slice may have more.
            format!("{}-{:08x}", service.name(), hasher.finish() >> 32)
        };
        slice(service, &name, &ports, &pods)
    };
    by_ports.into_iter().map(named).collect()
}

/// The ports of the slice that has the Service's name.
fn ports_before(store: &Store, service: &Object) -> Option<Ports> {
    let key = Key::new(Kind::EndpointSlice, service.namespace(), service.name());
    let slice = store.get(&key).ok()?;
    let port = |port: &EndpointPort| {
        let number = u16::try_from(port.port?).ok()?;
        let protocol = Protocol::from_api(port.protocol.as_deref())?;
        Some((port.name.clone().unwrap_or_default(), protocol, number))
    };
    slice.typed::<EndpointSlice>().ports.iter().flatten().map(port).collect()
}

fn named_ports(pod: &Object) -> Vec<NamedPort> {
    pod.typed::<core::Pod>().spec.as_ref().map(netpol::pod::named_ports).unwrap_or_default()
}

/// The ports of a Service that lead to a pod with these named ports: one whose target's name *and protocol*
/// the pod does not have leads elsewhere (`podutil.FindPort`).
fn ports(spec: &core::ServiceSpec, named: &[NamedPort]) -> Ports {
    let port = |port: &core::ServicePort| {
        let protocol = Protocol::from_api(port.protocol.as_deref())?;
        let number = match &port.target_port {
            None => u16::try_from(port.port).ok()?,
            Some(IntOrString::Int(number)) => u16::try_from(*number).ok()?,
            Some(IntOrString::String(name)) => {
                named.iter().find(|one| one.name == *name && one.protocol == protocol)?.port
            }
        };
        Some((port.name.clone().unwrap_or_default(), protocol, number))
    };
    spec.ports.iter().flatten().filter_map(port).collect()
}

fn slice(service: &Object, name: &str, ports: &Ports, pods: &[&Object]) -> Value {
    let publishes_all = service.typed::<core::Service>().spec.as_ref();
    let publishes_all =
        publishes_all.and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false);
    let endpoints = pods.iter().map(|pod| {
        let serving = is_ready(pod);
        let mut endpoint = json!({
            "addresses": [address(pod)],
            "conditions": {
                // A pod that is leaving is no longer ready, although it still serves; but
                // `publishNotReadyAddresses` makes every pod one (`podToEndpoint`).
                "ready": publishes_all || (serving && !pod.is_terminating()),
                "serving": serving,
                "terminating": pod.is_terminating(),
            },
            "nodeName": crate::objects::names::NODE_NAME,
            "targetRef": {
                "kind": "Pod",
                "namespace": pod.namespace(),
                "name": pod.name(),
                "uid": pod.uid(),
            },
        });
        // The name that it has in DNS: in the domain of this Service alone.
        let spec = &pod.value()["spec"];
        if let Some(hostname) = spec["hostname"].as_str().filter(|name| !name.is_empty())
            && spec["subdomain"] == service.name()
        {
            endpoint["hostname"] = hostname.into();
        }
        endpoint
    });
    let ports = ports.iter().map(|(name, protocol, port)| {
        json!({"name": name, "protocol": protocol.to_string(), "port": port})
    });
    json!({
        "metadata": {
            "name": name,
            "namespace": service.namespace(),
            "labels": {SERVICE_NAME_LABEL: service.name(), MANAGED_BY_LABEL: MANAGER},
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": ports.collect::<Vec<_>>(),
    })
}
