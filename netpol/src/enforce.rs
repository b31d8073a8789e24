//! Keeps the policies of one pod in force in this process's network namespace, with no
//! cluster: pods come from manifests, their addresses from DNS, policies from
//! `netpol apply`.

pub mod addresses;
pub mod control;
pub mod denials;
pub mod policy_store;

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use tokio::sync::Mutex;

use self::addresses::{Answer, PodAddresses};
use self::denials::Denial;
use self::policy_store::{Change, ChangeError, FileError, PolicyStore};
use crate::cluster::{Cluster, Pod};
use crate::compile::{Behaviour, PodFilter, compile};
use crate::isolation::Isolation;
use crate::names::NamespacedName;
use crate::nftables::claim::Claim;
use crate::nftables::{Firewall, KernelError};
use crate::policy::Direction;
use crate::port::Protocol;

/// What an enforcer enforces.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every pod that a policy may name, without addresses.
    pub cluster: Cluster,
    /// The pod whose network namespace this is.
    pub pod: NamespacedName,
    /// Addresses of its node, which no policy applies to (rule 21).
    pub nodes: Vec<IpAddr>,
    /// Choices of the engine.
    pub behaviour: Behaviour,
    /// Where the policies are kept over a restart.
    pub file: Option<PathBuf>,
}

/// Why something is not in force.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The manifests have no such pod.
    #[error("no workload or pod {pod} in the manifests; they have: {there}")]
    NoSuchPod {
        /// The pod.
        pod: NamespacedName,
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
    /// What is in force is of an enforcer that has ended, which kept no policies.
    #[error(
        "the filter of an earlier enforcer is in force, and its policies are not known; `netpol apply` \
         puts others in their place"
    )]
    NotKnown,
}

/// Keeps the policies of one pod in force.
pub struct Enforcer {
    plan: Plan,
    firewall: Firewall,
    state: Mutex<State>,
    /// Nobody else writes there.
    _claim: Claim,
}

#[derive(Clone)]
struct State {
    policies: PolicyStore,
    addresses: PodAddresses,
    in_force: InForce,
}

/// What the kernel holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum InForce {
    /// What this enforcer wrote last; none where somebody else may have changed it.
    Own(Option<PodFilter>),
    /// The filter of an enforcer that has ended, until the pods' addresses have been looked up: of the
    /// same policies, which without addresses would allow nobody.
    EarlierUntilLookedUp,
    /// The same, until somebody says what is to be in its place: nobody knows its policies any more.
    EarlierUntilTold,
}

/// What an enforcer found in the kernel when it looked whether its filter is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nobody else has changed anything.
    Intact,
    /// Somebody may have: it was written again.
    WrittenAgain,
    /// Somebody may have changed the filter of an earlier enforcer, which cannot be written again.
    EarlierChanged,
}

impl Enforcer {
    /// Starts to enforce. The filter that an enforcer before this one left stays in force: until
    /// [`Enforcer::looked_up`] where the policies are kept in a file, else until [`Enforcer::apply`].
    /// Without one the policies are in force at once; addresses are not known then, so that what pods are
    /// allowed is denied until [`Enforcer::learn`] is told where they are.
    pub async fn start(plan: Plan, claim: Claim, firewall: Firewall) -> Result<Self, EnforceError> {
        plan.pod()?;
        let kept = plan.file.as_deref().map_or(Ok(None), PolicyStore::load)?;
        firewall.observe().await?;
        let in_force = match (firewall.is_there().await?, &kept) {
            (false, _) => InForce::Own(None),
            (true, Some(_)) => InForce::EarlierUntilLookedUp,
            (true, None) => InForce::EarlierUntilTold,
        };
        if let (InForce::Own(_), None, Some(file)) = (&in_force, &kept, &plan.file) {
            // After a restart it says that there were none.
            PolicyStore::default().save(file)?;
        }
        let addresses = PodAddresses::unknown(plan.cluster.pods().len());
        let policies = kept.unwrap_or_default();
        let state = Mutex::new(State { policies, addresses, in_force });
        let enforcer = Self { plan, firewall, state, _claim: claim };
        enforcer.write_unless_earlier(&mut *enforcer.state.lock().await, |_| ()).await?;
        Ok(enforcer)
    }

    /// Puts the policies in force when the addresses have been looked up for the first time.
    pub async fn looked_up(&self) -> Result<(), EnforceError> {
        let mut state = self.state.lock().await;
        if state.in_force == InForce::EarlierUntilLookedUp {
            self.write(&mut state, |_| ()).await?;
        }
        Ok(())
    }

    /// Looks whether somebody else has changed the kernel's filter, and if so writes it again: the claim
    /// keeps other enforcers away, but nobody who may change nftables.
    pub async fn check(&self) -> Result<Found, EnforceError> {
        let mut state = self.state.lock().await;
        if self.firewall.is_intact().await? {
            return Ok(Found::Intact);
        }
        if matches!(state.in_force, InForce::Own(_)) {
            state.in_force = InForce::Own(None);
            self.firewall.observe().await?;
            self.write(&mut state, |_| ()).await?;
            return Ok(Found::WrittenAgain);
        }
        self.firewall.observe().await?;
        Ok(Found::EarlierChanged)
    }

    /// Creates or replaces policies; they are in force when this returns.
    pub async fn apply(
        &self,
        objects: Vec<NetworkPolicy>,
    ) -> Result<Vec<(NamespacedName, Change)>, EnforceError> {
        self.change(|policies| policies.apply(objects, Timestamp::now())).await
    }

    /// Deletes policies; they are in force no more when this returns.
    pub async fn delete(
        &self,
        names: Vec<NamespacedName>,
    ) -> Result<Vec<(NamespacedName, Change)>, EnforceError> {
        self.change(|policies| policies.delete(names)).await
    }

    /// The policies as they were applied.
    pub async fn policies(&self) -> Result<Vec<NetworkPolicy>, EnforceError> {
        let state = self.state.lock().await;
        if state.in_force == InForce::EarlierUntilTold {
            return Err(EnforceError::NotKnown);
        }
        Ok(state.policies.objects().cloned().collect())
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
        self.write_unless_earlier(&mut state, learn).await?;
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
        change: impl FnOnce(&mut PolicyStore) -> Result<T, ChangeError>,
    ) -> Result<T, EnforceError> {
        let mut state = self.state.lock().await;
        let before = state.policies.clone();
        let mut policies = before.clone();
        let changes = change(&mut policies)?;
        self.plan.file.as_deref().map_or(Ok(()), |file| policies.save(file))?;
        let replaced = self.write(&mut state, |state| state.policies = policies).await;
        if replaced.is_err()
            && let Some(file) = &self.plan.file
        {
            // What is kept is what is in force.
            before.save(file)?;
        }
        replaced.map(|()| changes)
    }

    /// Changes the state and the kernel's filter with it; on an error neither.
    async fn write(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut State),
    ) -> Result<(), EnforceError> {
        let mut next = state.clone();
        change(&mut next);
        let cluster = self.plan.cluster_of(&next);
        let pod = self.plan.pod_of(&cluster)?;
        let mut filter = compile(&cluster, pod, &self.plan.nodes, self.plan.behaviour);
        // A workload's name has the addresses of all its replicas; each is itself alone.
        let here = addresses::of_this_namespace();
        filter.own.retain(|address| here.contains(address));
        let is_there = matches!(&state.in_force, InForce::Own(Some(own)) if *own == filter);
        if !is_there {
            self.firewall.replace(&filter).await?;
        }
        next.in_force = InForce::Own(Some(filter));
        *state = next;
        Ok(())
    }

    /// The same; the filter of an earlier enforcer stays.
    async fn write_unless_earlier(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut State),
    ) -> Result<(), EnforceError> {
        if matches!(state.in_force, InForce::Own(_)) {
            return self.write(state, change).await;
        }
        change(state);
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
                Ok(Isolation::Isolated { policies, .. }) => {
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
