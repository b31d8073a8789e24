//! Keeps every pod's tables as the store says: its policies, as netpol decides them, and the
//! Services' addresses.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol::cluster::{Cluster, Pod};
use netpol::compile::{Behaviour, PodFilter, compile};
use netpol::kernel::Firewall;
use netpol::port::Protocol;
use tokio::sync::Mutex;

use crate::network::services::{ServicePort, ServiceTable};
use crate::network::{NODE, NODE_V6};
use crate::store::{Kind, Store};

/// The label by which a slice names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Writes the tables of every pod that is registered. Clones share them.
#[derive(Clone)]
pub struct Enforcer {
    store: Store,
    behaviour: Behaviour,
    pods: Arc<Mutex<HashMap<String, PodTables>>>,
}

/// The tables of one pod, and what they hold.
struct PodTables {
    namespace: String,
    name: String,
    firewall: Firewall,
    filter: Option<PodFilter>,
    services: ServiceTable,
    service_ports: Option<Vec<ServicePort>>,
}

impl Enforcer {
    /// An enforcer of what `store` holds.
    #[must_use]
    pub fn new(store: Store, behaviour: Behaviour) -> Self {
        Self { store, behaviour, pods: Arc::default() }
    }

    /// Takes on the pod `uid`, whose network namespace `network` is an open file of. Its tables
    /// are in place when this returns, and so is the pod in those of the others.
    pub async fn add(
        &self,
        uid: &str,
        namespace: &str,
        name: &str,
        network: BorrowedFd<'_>,
    ) -> anyhow::Result<()> {
        let tables = PodTables {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            firewall: Firewall::open(network)?,
            filter: None,
            services: ServiceTable::open(network)?,
            service_ports: None,
        };
        let mut pods = self.pods.lock().await;
        pods.insert(uid.to_owned(), tables);
        let result = self.write(&mut pods).await;
        if result.is_err() {
            pods.remove(uid);
        }
        result
    }

    /// Lets go of a pod; its tables go with its namespace.
    pub async fn remove(&self, uid: &str) {
        self.pods.lock().await.remove(uid);
    }

    /// Follows the store for ever.
    pub async fn follow(self) {
        let mut changes = self.store.changes();
        loop {
            if let Err(error) = self.write(&mut *self.pods.lock().await).await {
                tracing::error!("{error:#}");
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Replaces the tables that the store's present state changes.
    async fn write(&self, pods: &mut HashMap<String, PodTables>) -> anyhow::Result<()> {
        let cluster = cluster(&self.store);
        let service_ports = service_ports(&self.store);
        let mut failed = Ok(());
        for tables in pods.values_mut() {
            let result = tables.write(&cluster, &service_ports, self.behaviour).await;
            if let Err(error) = result {
                // The others must have theirs all the same.
                failed = Err(error.context(format!("pod {}/{}", tables.namespace, tables.name)));
            }
        }
        failed
    }
}

impl PodTables {
    async fn write(
        &mut self,
        cluster: &Cluster,
        service_ports: &[ServicePort],
        behaviour: Behaviour,
    ) -> anyhow::Result<()> {
        if let Some(pod) = cluster.pod(&self.namespace, &self.name) {
            let filter = compile(cluster, pod, &[NODE.into(), NODE_V6.into()], behaviour);
            if self.filter.as_ref() != Some(&filter) {
                self.firewall.replace(&filter).await?;
                self.filter = Some(filter);
            }
        }
        if self.service_ports.as_deref() != Some(service_ports) {
            self.services.replace(service_ports).await?;
            self.service_ports = Some(service_ports.to_vec());
        }
        Ok(())
    }
}

/// What netpol needs to know of the store.
#[must_use]
pub fn cluster(store: &Store) -> Cluster {
    let mut cluster = Cluster::default();
    for namespace in store.list(Kind::Namespace, None).0 {
        cluster.add_namespace(namespace.name(), namespace.labels());
    }
    for pod in store.list(Kind::Pod, None).0 {
        if let Some(pod) = Pod::from_api(pod.typed::<core::Pod>()) {
            cluster.add_pod(pod);
        }
    }
    for policy in store.list(Kind::NetworkPolicy, None).0 {
        match netpol::validate::policy(policy.typed::<NetworkPolicy>()) {
            Ok(policy) => cluster.add_policy(policy),
            // The API refused it before it was stored.
            Err(errors) => tracing::error!("{}: stored but invalid: {errors:?}", policy.name()),
        }
    }
    cluster
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
