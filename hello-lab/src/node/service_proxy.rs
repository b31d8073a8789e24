//! Keeps every pod's table of Service addresses as the store says: what kube-proxy does on a node.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use netpol::port::Protocol;
use tokio::sync::Mutex;

use crate::node::network::NetworkError;
use crate::node::network::services::{ServicePort, ServiceTable};
use crate::node::per_pod::PerPod;
use crate::objects::names::SERVICE_NAME_LABEL;
use crate::objects::{Kind, Store};

/// What the tables depend on.
const KINDS: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];

/// The tables are not written more often than this: while pods start, Services change a hundred
/// times a second, and each of them is in each pod's table (kube-proxy's `minSyncPeriod`).
const SYNC_PERIOD: Duration = Duration::from_millis(10);

/// Writes the Services' table of every pod that is registered. Clones share them.
#[derive(Clone)]
pub struct ServiceProxy {
    store: Store,
    pods: PerPod<Mutex<Written>>,
}

/// One pod's table, and what it holds.
struct Written {
    table: ServiceTable,
    ports: Option<Vec<ServicePort>>,
    version: u64,
}

/// The Services' ports as they were at a version, or later.
struct Snapshot {
    version: u64,
    ports: Vec<ServicePort>,
}

impl ServiceProxy {
    /// A proxy of the Services that `store` holds.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, pods: PerPod::default() }
    }

    /// Takes on the pod `uid`, whose `table` is. It finds Services when this returns.
    pub async fn add(&self, uid: &str, table: ServiceTable) -> Result<(), NetworkError> {
        let pod = self.pods.insert(uid, Written { table, ports: None, version: 0 }.into());
        let written = write(&pod, &self.snapshot()).await;
        if written.is_err() {
            self.remove(uid);
        }
        written
    }

    /// Lets go of a pod; its table goes with its namespace.
    pub fn remove(&self, uid: &str) {
        self.pods.remove(uid);
    }

    /// Follows the store for ever.
    pub async fn follow(self) {
        let mut version = 0;
        loop {
            version = self.store.changed(version, &KINDS).await;
            let snapshot = self.snapshot();
            for pod in self.pods.all() {
                if let Err(error) = write(&pod, &snapshot).await {
                    // The others must have theirs all the same.
                    tracing::error!("{error}");
                }
            }
            tokio::time::sleep(SYNC_PERIOD).await;
        }
    }

    fn snapshot(&self) -> Snapshot {
        // In this order: what changes in between makes the ports newer than they claim to be.
        let version = self.store.version();
        Snapshot { version, ports: service_ports(&self.store) }
    }
}

async fn write(pod: &Mutex<Written>, snapshot: &Snapshot) -> Result<(), NetworkError> {
    let mut pod = pod.lock().await;
    // Somebody who has seen as much may have been faster.
    if snapshot.version <= pod.version {
        return Ok(());
    }
    if pod.ports.as_ref() != Some(&snapshot.ports) {
        pod.table.replace(&snapshot.ports).await?;
        pod.ports = Some(snapshot.ports.clone());
    }
    pod.version = snapshot.version;
    Ok(())
}

/// The ports of every Service that has an address, with their ready endpoints.
fn service_ports(store: &Store) -> Vec<ServicePort> {
    let slices = store.list(Kind::EndpointSlice, None).0;
    let mut ports = Vec::new();
    for service in store.list(Kind::Service, None).0 {
        let Some(spec) = &service.typed::<core::Service>().spec else { continue };
        let Some(Ok(address)) = spec.cluster_ip.as_deref().map(str::parse::<Ipv4Addr>) else {
            continue;
        };
        let own: Vec<&EndpointSlice> = slices
            .iter()
            .filter(|slice| {
                slice.namespace() == service.namespace()
                    && slice
                        .labels()
                        .get(SERVICE_NAME_LABEL)
                        .is_some_and(|name| name == service.name())
            })
            .map(|slice| slice.typed())
            .collect();
        for port in spec.ports.iter().flatten() {
            let protocol = Protocol::from_api(port.protocol.as_deref());
            let number = u16::try_from(port.port).ok();
            if let (Some(protocol), Some(number)) = (protocol, number) {
                let endpoints = own
                    .iter()
                    .flat_map(|slice| endpoints(slice, port.name.as_deref().unwrap_or_default()));
                let endpoints = endpoints.collect();
                ports.push(ServicePort { address, protocol, port: number, endpoints });
            }
        }
    }
    ports
}

/// The ready endpoints of a slice for the port of this name.
fn endpoints(slice: &EndpointSlice, port_name: &str) -> Vec<SocketAddrV4> {
    let port = slice
        .ports
        .iter()
        .flatten()
        .find(|port| port.name.as_deref().unwrap_or_default() == port_name)
        .and_then(|port| u16::try_from(port.port?).ok());
    let Some(port) = port else { return Vec::new() };
    let ready = slice.endpoints.iter().filter(|endpoint| {
        endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
    });
    ready
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| Some(SocketAddrV4::new(address.parse().ok()?, port)))
        .collect()
}
