//! Keeps every pod's filter as the store's policies say, as netpol decides them.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use anyhow::anyhow;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use netpol::cluster::{Cluster, Pod};
use netpol::compile::{Behaviour, PodFilter, compile};
use netpol::names::NamespacedName;
use netpol::nftables::{Firewall, KernelError};
use netpol::policy::Policy;
use tracing::Instrument;

use crate::node::network::{NODE, NODE_V6};
use crate::node::per_pod::{Follower, Table};
use crate::objects::{Kind, Store};

/// The node's addresses, to which no policy applies.
const NODES: [IpAddr; 2] = [IpAddr::V4(NODE), IpAddr::V6(NODE_V6)];

/// Writes the filter of every pod that it has taken on. Clones share them.
#[derive(Clone)]
pub struct Enforcer {
    follower: Follower<FilterTable>,
    behaviour: Behaviour,
}

/// The filter of one pod, and what it holds.
pub struct FilterTable {
    firewall: Firewall,
    filter: PodFilter,
}

impl Table for FilterTable {
    type Contents = Cluster;
    type Error = KernelError;

    const NAME: &'static str = "filter";
    const KINDS: &'static [Kind] = &[Kind::Namespace, Kind::Pod, Kind::NetworkPolicy];
    const PERIOD: Duration = Duration::ZERO;

    fn contents(store: &Store) -> Cluster {
        cluster(store)
    }

    async fn write(
        &mut self,
        pod: &NamespacedName,
        cluster: &Cluster,
    ) -> Result<bool, KernelError> {
        let Some(known) = cluster.pod(&pod.namespace, &pod.name) else { return Ok(false) };
        let filter = compile(cluster, known, &NODES, self.filter.behaviour);
        if self.filter != filter {
            let policies = tracing::enabled!(tracing::Level::DEBUG).then(|| {
                let policies = cluster.policies().iter().filter(|policy| policy.selects(known));
                policies.map(|policy: &Policy| &*policy.name).collect::<Vec<_>>().join(",")
            });
            let span = tracing::debug_span!("filter", policies);
            self.firewall.replace(&filter).instrument(span).await?;
            self.filter = filter;
        }
        Ok(true)
    }
}

impl Enforcer {
    /// An enforcer of what `store` holds.
    #[must_use]
    pub fn new(store: Store, behaviour: Behaviour) -> Self {
        Self { follower: Follower::new(store), behaviour }
    }

    /// The filter of a pod to come, whose network namespace `network` is an open file of: that of one
    /// that no policy isolates.
    pub async fn prepare(&self, network: BorrowedFd<'_>) -> Result<FilterTable, KernelError> {
        let firewall = Firewall::open(network)?;
        let filter = PodFilter::open(&NODES, self.behaviour);
        firewall.replace(&filter).await?;
        Ok(FilterTable { firewall, filter })
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
        let pod = NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() };
        let snapshot = self.follower.snapshot();
        if !self.follower.add(uid, pod.clone(), table, &snapshot).await? {
            return Err(anyhow!("pod {pod} has been deleted"));
        }
        self.follower.write_all(&snapshot).await;
        Ok(())
    }

    /// Lets go of a pod; its filter goes with its namespace.
    pub fn remove(&self, uid: &str) {
        self.follower.remove(uid);
    }

    /// Follows the store for ever.
    pub async fn follow(self) {
        self.follower.follow().await;
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
        let (in_force, errors) = netpol::validate::in_force(policy.typed::<NetworkPolicy>());
        if !errors.is_empty() {
            // The API refuses such, so this is some other fault, which must not open anything.
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            tracing::error!(policy = %in_force, "a stored policy is invalid: {}", errors.join(", "));
        }
        cluster.add_policy(in_force);
    }
    cluster
}

#[cfg(test)]
mod tests {
    use netpol::policy::Direction;
    use netpol::port::Protocol;
    use serde_json::{Value, json};

    use super::*;

    /// A pod `a`, which others reach at 8080 by a policy that is in force; and `b`.
    fn store() -> Store {
        let store = Store::default();
        for (name, host) in [("a", 2), ("b", 3)] {
            let pod = json!({
                "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
                "spec": {"containers": []},
                "status": {"podIPs": [{"ip": format!("10.244.0.{host}")}]},
            });
            store.create(Kind::Pod, pod).unwrap();
        }
        put(
            &store,
            "good",
            &json!({
                "podSelector": {"matchLabels": {"app": "a"}}, "ingress": [{"ports": [{"port": 8080}]}],
            }),
        );
        store
    }

    /// Past the API, which would refuse what is invalid.
    fn put(store: &Store, name: &str, spec: &Value) {
        let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        store.create(Kind::NetworkPolicy, object).unwrap();
    }

    fn passes(store: &Store, pod: &str, direction: Direction, port: u16) -> bool {
        let cluster = cluster(store);
        let filter =
            compile(&cluster, cluster.pod("default", pod).unwrap(), &NODES, Behaviour::default());
        filter.passes(direction, [10, 244, 0, 9].into(), Protocol::Tcp, port)
    }

    #[test]
    fn a_policy_in_force_stays_in_force_beside_one_that_cannot_be_understood() {
        let store = store();
        for bad in [
            json!({"podSelector": {}, "policyTypes": ["Both"]}),
            json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}}),
            json!({"podSelector": {}, "ingress": [{"from": [{}]}]}),
        ] {
            let name = format!("bad-{}", store.version());
            put(&store, &name, &bad);
            assert!(passes(&store, "a", Direction::Ingress, 8080), "{bad}");
            assert!(!passes(&store, "a", Direction::Ingress, 8081), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_understood_of_a_policy_is_denied() {
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        let selects_b = json!({"matchLabels": {"app": "b"}});
        // Each with what it leaves of b's ingress and egress, and of a's egress.
        for (bad, left) in [
            (json!({"podSelector": selects_b, "ingress": [{"from": [{}]}]}), [false, true, true]),
            (
                json!({"podSelector": selects_b, "policyTypes": ["Egress"],
                       "egress": [{"to": [{"ipBlock": {"cidr": "all"}}]}, {}]}),
                [true, false, true],
            ),
            (json!({"podSelector": selects_b, "policyTypes": ["Both"]}), [false, false, true]),
            (
                json!({"podSelector": {"matchLabels": {"app": "-"}}, "policyTypes": ["Egress"]}),
                [true, false, false],
            ),
        ] {
            let store = store();
            put(&store, "bad", &bad);
            let found = [
                passes(&store, "b", ingress, 80),
                passes(&store, "b", egress, 80),
                passes(&store, "a", egress, 80),
            ];
            assert_eq!(found, left, "{bad}");
        }
    }

    #[test]
    fn a_name_that_is_invalid_does_not_change_what_a_policy_means() {
        let store = store();
        put(
            &store,
            "Bad_Name",
            &json!({
                "podSelector": {"matchLabels": {"app": "b"}}, "ingress": [{"ports": [{"port": 80}]}],
            }),
        );
        assert!(passes(&store, "b", Direction::Ingress, 80));
        assert!(!passes(&store, "b", Direction::Ingress, 81));
    }
}
