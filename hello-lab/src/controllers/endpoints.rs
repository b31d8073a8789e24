//! Keeps an EndpointSlice for each Service that selects pods.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::replica_set::{has_ended, is_ready, status};
use crate::objects::meta::owner_reference;
use crate::objects::names::SERVICE_NAME_LABEL;
use crate::objects::{Key, Kind, Object, Store};

pub(super) fn step(store: &Store) {
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
        let slice = slice(&service, spec, &pods);
        let key = Key::new(Kind::EndpointSlice, service.namespace(), service.name());
        if store.get(&key).is_ok() {
            // Also by what it is found: somebody may have taken it away. One that is gone meanwhile comes
            // back with the next step.
            let _ = store.change(&key, |before| {
                for field in ["addressType", "endpoints", "ports"] {
                    before[field] = slice[field].clone();
                }
                let metadata = &slice["metadata"];
                before["metadata"]["ownerReferences"] = metadata["ownerReferences"].clone();
                json_patch::merge(&mut before["metadata"]["labels"], &metadata["labels"]);
            });
        } else {
            let _ = store.create(Kind::EndpointSlice, slice);
        }
    }
}

fn address(pod: &Object) -> Option<&str> {
    status(pod)?.pod_ip.as_deref().filter(|address| !address.is_empty())
}

fn slice(service: &Object, spec: &core::ServiceSpec, pods: &[Arc<Object>]) -> Value {
    let endpoints = pods.iter().map(|pod| {
        let serving = is_ready(pod);
        json!({
            "addresses": [address(pod)],
            "conditions": {
                // A pod that is leaving is no longer ready, although it still serves.
                "ready": serving && !pod.is_terminating(),
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
        })
    });
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        Some(json!({
            "name": port.name.clone().unwrap_or_default(),
            "protocol": port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            "port": target(port, pods)?,
        }))
    });
    json!({
        "metadata": {
            "name": service.name(),
            "namespace": service.namespace(),
            "labels": {
                SERVICE_NAME_LABEL: service.name(),
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": endpoints.collect::<Vec<_>>(),
        "ports": ports.collect::<Vec<_>>(),
    })
}

/// The number of a Service's target port. A name is looked up in the pods; those of one
/// Service are taken to agree on it.
fn target(port: &core::ServicePort, pods: &[Arc<Object>]) -> Option<u16> {
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => pods.iter().find_map(|pod| {
            let spec = pod.typed::<core::Pod>().spec.as_ref()?;
            let named = netpol::pod::named_ports(spec);
            let protocol = netpol::port::Protocol::from_api(port.protocol.as_deref())?;
            named
                .iter()
                .find(|one| one.name == *name && one.protocol == protocol)
                .map(|one| one.port)
        }),
    }
}
