//! `netpol list`.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;
use netpol::cluster::{Cluster, Pod};
use netpol::connectivity::ListedEnd;
use netpol::ends;
use netpol::exposure::Exposure;
use netpol::isolation::End;
use netpol::policy::{Direction, Peer, Peers, Policy};

use super::formats::Format;
use super::sources::Sources;
use super::{Failure, say_warning, written};

/// List who may reach whom: a line for each permitted pair
///
/// Pods of one workload are one end; what is outside the cluster is listed as ranges of
/// addresses. The lines are in the order of their bytes, so that `comm` and `join` take two lists.
/// What is not known is listed with =? in place of =>. Why each of them may reach a workload, or not, tells
/// `netpol why all DST:PORT`.
///
/// Example: netpol list manifests/hello-app manifests/network-policy.yaml
///
/// Example: netpol list --to hello-server -o table manifests/hello-app manifests/network-policy.yaml
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    sources: Sources,

    /// Only what this workload, pod or address may reach
    #[arg(long, value_name = "END")]
    from: Option<String>,

    /// Only who may reach this workload, pod or address
    #[arg(long, value_name = "END")]
    to: Option<String>,

    /// Also pods that rules name and no manifest has, as monitoring/[any pod with app=prometheus]
    #[arg(long)]
    exposure: bool,

    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut manifests, namespace) = self.sources.read_workloads()?;
        // As `netpol why` takes them, before pods are taken for what their names tell.
        let chosen = |text: &Option<String>| -> Result<Option<Chosen>, Failure> {
            let Some(text) = text else { return Ok(None) };
            let found = ends::find(&manifests.cluster, &namespace, text)
                .map_err(|error| Failure::BadArgument(error.into()))?;
            Ok(Some(Chosen::of(&found)))
        };
        let (from, to) = (chosen(&self.from)?, chosen(&self.to)?);
        manifests.cluster.by_named_owners();
        notes(&manifests.cluster);
        let exposure = self.exposure.then(|| Exposure::of(&manifests.cluster));
        let wanted = |source: &ListedEnd, destination: &ListedEnd| {
            from.as_ref().is_none_or(|from| from.has(source))
                && to.as_ref().is_none_or(|to| to.has(destination))
                && exposure.as_ref().is_none_or(|exposure| exposure.tells(source, destination))
        };
        let cluster = exposure.as_ref().map_or(&manifests.cluster, |exposure| &exposure.cluster);
        let mut out = BufWriter::new(std::io::stdout().lock());
        let result = self.output.write(cluster, &wanted, &mut out).and_then(|()| out.flush());
        Ok(written(result)?)
    }
}

/// Who was chosen.
enum Chosen {
    Workloads(BTreeSet<ListedEnd>),
    Address(IpAddr),
}

impl Chosen {
    /// The workloads of `ends` as they are listed: of what the inputs say that they are of; or an address
    /// outside.
    fn of(ends: &[End<'_>]) -> Self {
        let mut chosen = BTreeSet::new();
        for end in ends {
            match end {
                End::Pod(pod) => {
                    let workload = pod.owner.clone().unwrap_or_else(|| pod.workload.clone());
                    let namespace = pod.namespace.clone();
                    chosen.insert(ListedEnd::Workload { namespace, workload });
                }
                End::Address(address) => return Self::Address(*address),
                End::Node | End::Outside => {}
            }
        }
        Self::Workloads(chosen)
    }

    fn has(&self, end: &ListedEnd) -> bool {
        match (self, end) {
            (Self::Workloads(chosen), end) => chosen.contains(end),
            (Self::Address(address), ListedEnd::External(first, last)) => {
                address.is_ipv4() == first.is_ipv4() && (first..=last).contains(&address)
            }
            (Self::Address(_), ListedEnd::Workload { .. }) => false,
        }
    }
}

/// Says what keeps the answer from being the whole truth.
fn notes(cluster: &Cluster) {
    if let Some(pod) = cluster.pods().iter().find(|pod| pod.host_network) {
        say_warning(&format_args!(
            "{pod} uses its node's network, where policies are undefined; what they may do to it is \
             listed as unknown (=?)"
        ));
    }
    if let Some((policy, cidr, pod)) = block_with_a_pod(cluster) {
        say_warning(&format_args!(
            "{cidr}, an ipBlock of policy {policy}, holds the address of pod {pod}: whether a block names pods differs \
             between engines; none is listed for one"
        ));
    }
    let (hidden, foreign): (Vec<_>, Vec<_>) =
        cluster.foreign().iter().partition(|policy| policy.is_hidden);
    for policy in hidden {
        say_warning(&format_args!("{policy}; what they decide is listed as unknown (=?)"));
    }
    let foreign: BTreeSet<_> = foreign.iter().map(|policy| &policy.kind).collect();
    for kind in foreign {
        say_warning(&format_args!(
            "{kind} is not modelled: what it may be about is listed as unknown (=?); --ignore-kinds \
             lists as if there were none"
        ));
    }
}

/// A block of addresses that holds that of a pod, the policy that it is of, and the pod.
fn block_with_a_pod(cluster: &Cluster) -> Option<(&Policy, IpNet, &Pod)> {
    let pods = || cluster.pods().iter().filter(|pod| !pod.addresses.is_empty());
    cluster.policies().iter().find_map(|policy| {
        let rules = Direction::BOTH.iter().filter_map(|direction| policy.rules(*direction));
        let peers = rules.flatten().filter_map(|rule| match &rule.peers {
            Peers::Any(peers) => Some(peers),
            Peers::Everyone => None,
        });
        peers.flatten().find_map(|peer| {
            let Peer::Block { cidr, .. } = peer else { return None };
            let mut held =
                pods().filter(|pod| peer.matches(cluster, &policy.namespace, End::Pod(pod)));
            held.next().map(|pod| (policy, *cidr, pod))
        })
    })
}
