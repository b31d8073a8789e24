//! Who of the inputs that is.

use std::collections::BTreeMap;

use super::words::{joined, some};
use crate::answer::Answer;
use crate::cluster::{Cluster, Pod};
use crate::connectivity::ListedEnd;
use crate::isolation::{Allowance, End};
use crate::policy::{Peer, Policy};
use crate::port::Protocol;

/// The pods of a cluster, looked up by namespace, and what they are called.
pub(super) struct Known<'a> {
    cluster: &'a Cluster,
    by_namespace: BTreeMap<&'a str, Vec<usize>>,
    with_addresses: Vec<usize>,
    /// What the workloads are called, sorted.
    names: Vec<String>,
    /// For each pod, the place of its name.
    name_of: Vec<usize>,
}

impl<'a> Known<'a> {
    /// Those of `cluster`.
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        let pods = cluster.pods();
        let mut by_namespace: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, pod) in pods.iter().enumerate() {
            by_namespace.entry(&pod.namespace).or_default().push(index);
            places.entry(ListedEnd::of(pod).to_string()).or_default().push(index);
        }
        let (mut names, mut name_of) = (Vec::new(), vec![0; pods.len()]);
        for (name, of) in places {
            for pod in of {
                name_of[pod] = names.len();
            }
            names.push(name);
        }
        let has_addresses = |index: &usize| !pods[*index].addresses.is_empty();
        let with_addresses = (0..pods.len()).filter(has_addresses).collect();
        Self { cluster, by_namespace, with_addresses, names, name_of }
    }

    fn of_namespace(&self, namespace: &str) -> &[usize] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// What pods are called in lists: once for each workload.
    fn names(&self, pods: &[usize]) -> Vec<&str> {
        let mut names: Vec<usize> = pods.iter().map(|pod| self.name_of[*pod]).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| self.names[name].as_str()).collect()
    }
}

/// The pods that something names, as their places in the cluster's list.
pub(super) struct Named<'k> {
    known: &'k Known<'k>,
    /// Those that it surely names.
    pods: Vec<usize>,
    /// Those on their node's network, of which that is undefined (rule 19).
    on_nodes: Vec<usize>,
}

impl<'k> Named<'k> {
    /// Those of `among` for which `is` says so of the pod, were it on a network of its own.
    fn of(
        known: &'k Known<'k>,
        among: impl IntoIterator<Item = usize>,
        is: impl Fn(&Pod) -> bool,
    ) -> Self {
        let mut named = Self { known, pods: Vec::new(), on_nodes: Vec::new() };
        for index in among {
            let pod = &known.cluster.pods()[index];
            if !pod.host_network && is(pod) {
                named.pods.push(index);
            } else if pod.host_network && is(&pod.on_its_own_network()) {
                named.on_nodes.push(index);
            }
        }
        named
    }

    /// Those that `policy` selects: all are of its own namespace (rule 1).
    pub(super) fn selected(known: &'k Known<'k>, policy: &Policy) -> Self {
        let among = known.of_namespace(&policy.namespace).iter().copied();
        Self::of(known, among, |pod| policy.selects(pod))
    }

    /// Those that `peer` is of a policy in the namespace `own`.
    pub(super) fn peer(known: &'k Known<'k>, own: &str, peer: &Peer) -> Self {
        let cluster = known.cluster;
        let is = |pod: &Pod| peer.matches(cluster, own, End::Pod(pod));
        match peer {
            Peer::Block { .. } => Self::of(known, known.with_addresses.iter().copied(), is),
            Peer::Pods { namespaces, .. } => {
                // A namespace is asked about once, and not each of its pods.
                let places = known.by_namespace.iter();
                let places = places.filter(|(place, _)| namespaces.include(cluster, own, place));
                Self::of(known, places.flat_map(|(_, pods)| pods.iter().copied()), is)
            }
        }
    }

    /// Those that `rule` names.
    pub(super) fn rule(known: &'k Known<'k>, rule: &Allowance<'_>) -> Self {
        let cluster = known.cluster;
        let all = 0..cluster.pods().len();
        Self::of(known, all, |pod| rule.names(cluster, End::Pod(pod)) == Answer::Yes)
    }

    /// Those that it surely names.
    pub(super) fn pods(&self) -> impl Iterator<Item = &'k Pod> + Clone {
        self.pods.iter().map(|index| &self.known.cluster.pods()[*index])
    }

    /// Whether it surely names nobody.
    pub(super) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// The sentence about those whose addresses a block holds; `None`, if there are none.
    pub(super) fn held(&self) -> Option<String> {
        (!self.pods.is_empty()).then(|| {
            format!(
                "At the moment it holds addresses of {}; whether a block names pods differs between engines",
                some(self.known.names(&self.pods))
            )
        })
    }

    /// The sentences about them.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let pods = self.known.names(&self.pods);
        match pods.len() {
            0 if self.on_nodes.is_empty() => sentences.push("No pod at the moment".to_owned()),
            0 => {}
            1 => sentences.push(format!("At the moment that is {}", some(pods))),
            _ => sentences.push(format!("At the moment these are {}", some(pods))),
        }
        let on_nodes = self.known.names(&self.on_nodes);
        let use_their = match on_nodes.len() {
            0 => return sentences,
            1 => "it uses its",
            _ => "they use their",
        };
        sentences.push(format!(
            "Not known of {}: {use_their} node's network, where policies are undefined",
            some(on_nodes)
        ));
        sentences
    }
}

/// Which port a name is at the moment at `destinations` (rule 15); `None` where there is nobody.
pub(super) fn named_port(
    name: &str,
    protocol: Protocol,
    destinations: &Named<'_>,
) -> Option<String> {
    let Named { known, pods, .. } = destinations;
    let mut numbers: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    let mut without = Vec::new();
    for index in pods {
        let pod = &known.cluster.pods()[*index];
        let mut found = pod.ports_named(name, protocol).peekable();
        if found.peek().is_none() {
            without.push(*index);
        }
        for number in found {
            numbers.entry(number).or_default().push(*index);
        }
    }
    if numbers.is_empty() {
        return (!without.is_empty()).then(|| {
            format!(
                "At the moment none of them has a {protocol} port named {name:?}: {}",
                some(known.names(&without))
            )
        });
    }
    let parts: Vec<String> = numbers
        .iter()
        .map(|(number, pods)| format!("port {number} of {}", some(known.names(pods))))
        .collect();
    let rest = if without.is_empty() {
        String::new()
    } else {
        format!("; there is no such port at {}", some(known.names(&without)))
    };
    Some(format!("At the moment {name:?} is {protocol} {}{rest}", joined(&parts, "and")))
}
