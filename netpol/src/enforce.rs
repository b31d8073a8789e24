//! Keeps the policies of one pod in force in this process's network namespace, with no
//! cluster: pods come from manifests, their addresses from DNS, policies from
//! `netpol apply`.

pub mod addresses;
pub mod control;
pub mod denials;
pub mod policies;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use tokio::sync::Mutex;

use self::addresses::{Answer, PodAddresses};
use self::denials::Denial;
use self::policies::{Change, ChangeError, FileError, Policies, PolicyName};
use crate::cluster::{Cluster, Pod};
use crate::compile::{Behaviour, PodFilter, compile};
use crate::isolation::Isolation;
use crate::kernel::{Firewall, KernelError};
use crate::names;
use crate::policy::Direction;
use crate::port::Protocol;

/// What an enforcer enforces.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every pod that a policy may name, without addresses.
    pub cluster: Cluster,
    /// The pod whose network namespace this is.
    pub pod: PodName,
    /// Addresses of its node, which no policy applies to (rule 21).
    pub nodes: Vec<IpAddr>,
    /// Choices of the engine.
    pub behaviour: Behaviour,
    /// Where the policies are kept over a restart.
    pub file: Option<PathBuf>,
}

/// A pod by name; `[NAMESPACE/]NAME` on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl FromStr for PodName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        if !names::dns_label(namespace).is_empty() || !names::dns_subdomain(name).is_empty() {
            return Err("expected [NAMESPACE/]NAME");
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// Why something is not in force.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The manifests have no such pod.
    #[error("no workload or pod {pod} in the manifests; they have: {there}")]
    NoSuchPod {
        /// The pod.
        pod: PodName,
        /// Those that they have.
        there: String,
    },
    /// The policies cannot be changed so.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The policies cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel refused the filter.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Keeps the policies of one pod in force.
pub struct Enforcer {
    plan: Plan,
    firewall: Firewall,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    policies: Policies,
    addresses: PodAddresses,
    /// What the kernel holds.
    filter: Option<PodFilter>,
}

impl Enforcer {
    /// Puts the policies of before a restart in force. Addresses are not known yet, so that
    /// what pods are allowed is denied until [`Enforcer::learn`] is told where they are.
    pub async fn start(plan: Plan, firewall: Firewall) -> Result<Self, EnforceError> {
        plan.pod()?;
        let policies = plan.file.as_deref().map_or(Ok(Policies::default()), Policies::load)?;
        let addresses = PodAddresses::unknown(plan.cluster.pods().len());
        let state = Mutex::new(State { addresses, ..State::default() });
        let enforcer = Self { plan, firewall, state };
        enforcer
            .replace(&mut *enforcer.state.lock().await, |state| state.policies = policies)
            .await?;
        Ok(enforcer)
    }

    /// Creates or replaces policies; they are in force when this returns.
    pub async fn apply(
        &self,
        objects: Vec<NetworkPolicy>,
    ) -> Result<Vec<(PolicyName, Change)>, EnforceError> {
        self.change(|policies| policies.apply(objects, Timestamp::now())).await
    }

    /// Deletes policies; they are in force no more when this returns.
    pub async fn delete(
        &self,
        names: Vec<PolicyName>,
    ) -> Result<Vec<(PolicyName, Change)>, EnforceError> {
        self.change(|policies| policies.delete(names)).await
    }

    /// The policies as they were applied.
    pub async fn policies(&self) -> Vec<NetworkPolicy> {
        self.state.lock().await.policies.objects().cloned().collect()
    }

    /// The pods whose addresses can be looked up, in the order of [`Enforcer::learn`].
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        self.plan.cluster.pods()
    }

    /// Takes what a resolver says of the pod at `index`, and puts what changes in force.
    pub async fn learn(&self, index: usize, answer: Answer) -> Result<(), EnforceError> {
        let mut state = self.state.lock().await;
        let mut now = None;
        let learn = |state: &mut State| now = state.addresses.learn(index, answer).cloned();
        self.replace(&mut state, learn).await?;
        if let Some(addresses) = now {
            let pod = &self.pods()[index];
            match addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => tracing::info!("{pod} has no address"),
                addresses => tracing::info!("{pod} is at {addresses}"),
            }
        }
        Ok(())
    }

    /// A line about a denial: who was denied what, and by which policies.
    pub async fn explain(&self, denial: &Denial) -> String {
        let cluster = self.plan.cluster_of(&*self.state.lock().await);
        self.plan.explain(&cluster, denial)
    }

    async fn change<T>(
        &self,
        change: impl FnOnce(&mut Policies) -> Result<T, ChangeError>,
    ) -> Result<T, EnforceError> {
        let mut state = self.state.lock().await;
        let before = state.policies.clone();
        let mut policies = before.clone();
        let changes = change(&mut policies)?;
        self.plan.file.as_deref().map_or(Ok(()), |file| policies.save(file))?;
        let replaced = self.replace(&mut state, |state| state.policies = policies).await;
        if replaced.is_err()
            && let Some(file) = &self.plan.file
        {
            // What is kept is what is in force.
            before.save(file)?;
        }
        replaced.map(|()| changes)
    }

    /// Changes the state and the kernel's filter with it; on an error neither.
    async fn replace(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut State),
    ) -> Result<(), EnforceError> {
        let mut next = State {
            policies: state.policies.clone(),
            addresses: state.addresses.clone(),
            filter: None,
        };
        change(&mut next);
        let cluster = self.plan.cluster_of(&next);
        let pod = self.plan.pod_of(&cluster)?;
        let mut filter = compile(&cluster, pod, &self.plan.nodes, self.plan.behaviour);
        // A workload's name has the addresses of all its replicas; each is itself alone.
        let here = addresses::of_this_namespace();
        filter.own.retain(|address| here.contains(address));
        if state.filter.as_ref() != Some(&filter) {
            self.firewall.replace(&filter).await?;
        }
        next.filter = Some(filter);
        *state = next;
        Ok(())
    }
}

impl Plan {
    fn pod(&self) -> Result<&Pod, EnforceError> {
        self.pod_of(&self.cluster)
    }

    fn pod_of<'a>(&self, cluster: &'a Cluster) -> Result<&'a Pod, EnforceError> {
        cluster.pod(&self.pod.namespace, &self.pod.name).ok_or_else(|| EnforceError::NoSuchPod {
            pod: self.pod.clone(),
            there: cluster.pods().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }

    /// The cluster with the policies and addresses of `state`.
    fn cluster_of(&self, state: &State) -> Cluster {
        let mut cluster = self.cluster.clone();
        state.addresses.set(&mut cluster);
        state.policies.meanings().for_each(|policy| cluster.add_policy(policy.clone()));
        cluster
    }

    fn explain(&self, cluster: &Cluster, denial: &Denial) -> String {
        let peer = |address: IpAddr| {
            let owner = cluster.pods().iter().find(|pod| pod.addresses.contains(&address));
            owner.map_or_else(|| address.to_string(), |pod| format!("{pod} ({address})"))
        };
        let own = self.pod.to_string();
        let (source, destination) = match denial.direction {
            Direction::Ingress => (peer(denial.source), own),
            Direction::Egress => (own, peer(denial.destination)),
        };
        let port = match denial.port {
            Some((Protocol::Tcp, port)) => format!(":{port}"),
            Some((protocol, port)) => format!(":{port}/{protocol}"),
            None => String::new(),
        };
        let policies =
            match self.pod_of(cluster).map(|pod| Isolation::of(cluster, pod, denial.direction)) {
                Ok(Isolation::Allowed { policies, .. }) => {
                    policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                }
                _ => "a policy that is gone by now".to_owned(),
            };
        format!("{source} => {destination}{port} denied by {policies}")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_denial_is_told_with_names_port_and_policies() {
        let mut cluster = Cluster::default();
        for (name, host) in [("server", 1), ("client", 2)] {
            cluster.add_pod(Pod {
                namespace: "default".into(),
                name: name.into(),
                addresses: vec![Ipv4Addr::new(10, 0, 0, host).into()],
                ..Pod::default()
            });
        }
        let pod = "server".parse().unwrap();
        let behaviour = Behaviour::default();
        let plan = Plan { cluster: cluster.clone(), pod, nodes: vec![], behaviour, file: None };
        let explain = |cluster: &Cluster, direction, from: [u8; 4], to: [u8; 4], port| {
            let (source, destination) = (from.into(), to.into());
            plan.explain(cluster, &Denial { direction, source, destination, port })
        };
        let (server, client, other) = ([10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 9]);
        let tcp = Some((Protocol::Tcp, 8080));
        let gone = explain(&cluster, Direction::Ingress, client, server, tcp);
        assert!(gone.ends_with("denied by a policy that is gone by now"), "{gone}");
        let object =
            json!({"metadata": {"name": "p"}, "spec": {"policyTypes": ["Ingress", "Egress"]}});
        let policy = crate::validate::policy(&serde_json::from_value(object).unwrap());
        cluster.add_policy(policy.unwrap());
        assert_eq!(
            explain(&cluster, Direction::Ingress, client, server, tcp),
            "default/client (10.0.0.2) => default/server:8080 denied by default/p"
        );
        assert_eq!(
            explain(&cluster, Direction::Egress, server, other, Some((Protocol::Udp, 53))),
            "default/server => 10.0.0.9:53/UDP denied by default/p"
        );
        assert_eq!(
            explain(&cluster, Direction::Ingress, other, server, None),
            "10.0.0.9 => default/server denied by default/p"
        );
    }

    #[test]
    fn a_pod_that_no_manifest_has_is_refused_with_those_that_there_are() {
        let mut cluster = Cluster::default();
        cluster.add_pod(Pod { namespace: "n".into(), name: "a".into(), ..Pod::default() });
        let pod = "n/b".parse().unwrap();
        let behaviour = Behaviour::default();
        let plan = Plan { cluster, pod, nodes: vec![], behaviour, file: None };
        assert_eq!(
            plan.pod().unwrap_err().to_string(),
            "no workload or pod n/b in the manifests; they have: n/a"
        );
    }
}
