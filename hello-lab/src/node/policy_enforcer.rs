//! Keeps every pod's filter as the store's policies say, as netpol decides them.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol::cluster::{Cluster, Pod};
use netpol::compile::{Behaviour, PodFilter, compile};
use netpol::kernel::{Firewall, KernelError};

use crate::node::network::{NODE, NODE_V6};
use crate::node::per_pod::PerPod;
use crate::objects::{Kind, Store};

/// The node's addresses, to which no policy applies.
const NODES: [IpAddr; 2] = [IpAddr::V4(NODE), IpAddr::V6(NODE_V6)];

/// What a filter depends on.
const KINDS: [Kind; 3] = [Kind::Namespace, Kind::Pod, Kind::NetworkPolicy];

/// Writes the filter of every pod that is registered. Clones share them.
#[derive(Clone)]
pub struct Enforcer {
    store: Store,
    behaviour: Behaviour,
    pods: PerPod<Registered>,
}

struct Registered {
    namespace: String,
    name: String,
    table: tokio::sync::Mutex<FilterTable>,
}

/// The filter of one pod, and what it holds.
pub struct FilterTable {
    firewall: Firewall,
    filter: PodFilter,
    /// That of the store which it was written from; 0 before it is the pod's own.
    version: u64,
}

/// The store as it was at a version, or later.
struct Snapshot {
    version: u64,
    cluster: Cluster,
}

impl Enforcer {
    /// An enforcer of what `store` holds.
    #[must_use]
    pub fn new(store: Store, behaviour: Behaviour) -> Self {
        Self { store, behaviour, pods: PerPod::default() }
    }

    /// The filter of a pod to come, whose network namespace `network` is an open file of: that of one
    /// that no policy isolates.
    pub async fn prepare(&self, network: BorrowedFd<'_>) -> Result<FilterTable, KernelError> {
        let firewall = Firewall::open(network)?;
        let filter = PodFilter::open(&NODES, self.behaviour);
        firewall.replace(&filter).await?;
        Ok(FilterTable { firewall, filter, version: 0 })
    }

    /// Takes on the pod `uid`, whose filter `table` is. It is in force when this returns, and those of
    /// the others know of the pod.
    pub async fn add(
        &self,
        uid: &str,
        namespace: &str,
        name: &str,
        table: FilterTable,
    ) -> anyhow::Result<()> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let registered = Registered { namespace, name, table: table.into() };
        let pod = self.pods.insert(uid, registered);
        let snapshot = self.snapshot();
        let mut own = self.write(&pod, &snapshot).await;
        if own.is_ok() && pod.table.lock().await.version == 0 {
            own = Err(anyhow!("pod {}/{} has been deleted", pod.namespace, pod.name));
        }
        if own.is_ok() {
            self.write_all(&snapshot).await;
        } else {
            self.remove(uid);
        }
        own
    }

    /// Lets go of a pod; its filter goes with its namespace.
    pub fn remove(&self, uid: &str) {
        self.pods.remove(uid);
    }

    /// Follows the store for ever.
    pub async fn follow(self) {
        let mut version = 0;
        loop {
            version = self.store.changed(version, &KINDS).await;
            self.write_all(&self.snapshot()).await;
        }
    }

    fn snapshot(&self) -> Snapshot {
        // In this order: what changes in between makes the cluster newer than it claims to be.
        let version = self.store.version();
        Snapshot { version, cluster: cluster(&self.store) }
    }

    /// Replaces the filters that have to be others.
    async fn write_all(&self, snapshot: &Snapshot) {
        for pod in self.pods.all() {
            if let Err(error) = self.write(&pod, snapshot).await {
                // The others must have theirs all the same.
                tracing::error!("{error:#}");
            }
        }
    }

    async fn write(&self, pod: &Registered, snapshot: &Snapshot) -> anyhow::Result<()> {
        let mut table = pod.table.lock().await;
        // Somebody who has seen as much may have been faster.
        if snapshot.version <= table.version {
            return Ok(());
        }
        let cluster = &snapshot.cluster;
        let Some(known) = cluster.pod(&pod.namespace, &pod.name) else { return Ok(()) };
        let filter = compile(cluster, known, &NODES, self.behaviour);
        if table.filter != filter {
            let replaced = table.firewall.replace(&filter).await;
            replaced.with_context(|| format!("pod {}/{}", pod.namespace, pod.name))?;
            table.filter = filter;
        }
        table.version = snapshot.version;
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
