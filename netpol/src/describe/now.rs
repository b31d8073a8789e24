//! Who of the inputs that is.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{joined, some};
use crate::answer::Answer;
use crate::cluster::{Cluster, Pod};
use crate::connectivity::ListedEnd;
use crate::isolation::{Allowance, End};
use crate::policy::{Peer, Policy};
use crate::port::Protocol;

/// The pods that something names.
#[derive(Clone, Debug, Default)]
pub(super) struct Named<'a> {
    /// Those that it surely names.
    pub pods: Vec<&'a Pod>,
    /// Those on their node's network, of which that is undefined (rule 19).
    pub on_nodes: Vec<&'a Pod>,
}

impl<'a> Named<'a> {
    /// Those of `cluster` for which `is` says so of the pod, were it on a network of its own.
    fn of(cluster: &'a Cluster, is: impl Fn(&Pod) -> bool) -> Self {
        let mut named = Self::default();
        for pod in cluster.pods() {
            if !pod.host_network && is(pod) {
                named.pods.push(pod);
            } else if pod.host_network && is(&pod.on_its_own_network()) {
                named.on_nodes.push(pod);
            }
        }
        named
    }

    /// Those that `policy` selects.
    pub(super) fn selected(cluster: &'a Cluster, policy: &Policy) -> Self {
        Self::of(cluster, |pod| policy.selects(pod))
    }

    /// Those that `peer` is of a policy in the namespace `own`.
    pub(super) fn peer(cluster: &'a Cluster, own: &str, peer: &Peer) -> Self {
        Self::of(cluster, |pod| peer.matches(cluster, own, End::Pod(pod)))
    }

    /// Those that `rule` names.
    pub(super) fn rule(cluster: &'a Cluster, rule: &Allowance<'_>) -> Self {
        Self::of(cluster, |pod| rule.names(cluster, End::Pod(pod)) == Answer::Yes)
    }

    /// The sentence about those whose addresses a block holds; `None`, if there are none.
    pub(super) fn held(&self) -> Option<String> {
        (!self.pods.is_empty()).then(|| {
            format!(
                "At the moment it holds addresses of {}; whether a block names pods differs between engines",
                some(ends(&self.pods))
            )
        })
    }

    /// The sentences about them.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let pods = ends(&self.pods);
        match pods.len() {
            0 if self.on_nodes.is_empty() => sentences.push("No pod at the moment".to_owned()),
            0 => {}
            1 => sentences.push(format!("At the moment that is {}", some(pods))),
            _ => sentences.push(format!("At the moment these are {}", some(pods))),
        }
        let on_nodes = ends(&self.on_nodes);
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

/// What pods are called in lists: once for each workload.
fn ends(pods: &[&Pod]) -> BTreeSet<String> {
    pods.iter().map(|pod| ListedEnd::of(pod).to_string()).collect()
}

/// Which port a name is at the moment at `destinations` (rule 15); `None` where there is nobody.
pub(super) fn named_port(
    name: &str,
    protocol: Protocol,
    destinations: &Named<'_>,
) -> Option<String> {
    let mut numbers: BTreeMap<u16, Vec<&Pod>> = BTreeMap::new();
    let mut without = Vec::new();
    for pod in &destinations.pods {
        let mut found = pod.ports_named(name, protocol).peekable();
        if found.peek().is_none() {
            without.push(*pod);
        }
        for number in found {
            numbers.entry(number).or_default().push(*pod);
        }
    }
    if numbers.is_empty() {
        return (!without.is_empty()).then(|| {
            format!(
                "At the moment none of them has a {protocol} port named {name:?}: {}",
                some(ends(&without))
            )
        });
    }
    let parts: Vec<String> = numbers
        .iter()
        .map(|(number, pods)| format!("port {number} of {}", some(ends(pods))))
        .collect();
    let rest = if without.is_empty() {
        String::new()
    } else {
        format!("; there is no such port at {}", some(ends(&without)))
    };
    Some(format!("At the moment {name:?} is {protocol} {}{rest}", joined(&parts, "and")))
}
