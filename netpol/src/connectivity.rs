//! Who may reach whom: every permitted pair of workloads, and of a workload and the addresses
//! outside.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::cluster::{Cluster, Pod, Workload};
use crate::connections::Connections;
use crate::isolation::{Allowance, Block, Isolation};
use crate::policy::Direction;

/// One end of a permitted pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// Addresses outside the cluster, from the first to the last.
    External(IpAddr, IpAddr),
    /// A workload, and its namespace.
    Workload {
        /// Its namespace.
        namespace: String,
        /// What it is.
        workload: Workload,
    },
}

/// `NAMESPACE/NAME[KIND]` or `FIRST-LAST[External]`.
impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(first, last) => write!(out, "{first}-{last}[External]"),
            Self::Workload { namespace, workload } => {
                write!(out, "{namespace}/{}[{}]", workload.name, workload.kind)
            }
        }
    }
}

/// Every permitted pair and what may pass between the two, sorted by source and destination.
///
/// Pods of one workload are one end. Blocks of addresses are of what is outside the cluster: no
/// pod is listed for one (rule 18), nor a workload for itself. A pod on its node's network, for
/// which policies are undefined (rule 19), is listed as if it had one of its own.
#[must_use]
pub fn connectivity(cluster: &Cluster) -> BTreeMap<(End, End), Connections> {
    let mut cluster = cluster.clone();
    cluster.pods_mut().iter_mut().for_each(|pod| pod.host_network = false);
    let cluster = &cluster;
    let pods = cluster.pods();
    let ends: Vec<End> = pods.iter().map(End::of).collect();
    let filters: Vec<[Filter; 2]> =
        pods.iter().map(|pod| Direction::BOTH.map(|way| Filter::of(cluster, pod, way))).collect();
    let mut pairs = BTreeMap::new();
    let mut add = |source: &End, destination: &End, connections: Connections| {
        if !connections.is_none() {
            let pair = (source.clone(), destination.clone());
            pairs.entry(pair).or_insert_with(Connections::none).extend(&connections);
        }
    };
    for (source, [_, egress]) in filters.iter().enumerate() {
        for (destination, [ingress, _]) in filters.iter().enumerate() {
            if ends[source] == ends[destination] {
                continue;
            }
            let out = egress.connections(destination, &pods[destination]);
            if !out.is_none() {
                let both = out.intersection(&ingress.connections(source, &pods[destination]));
                add(&ends[source], &ends[destination], both);
            }
        }
    }
    for (index, [ingress, egress]) in filters.iter().enumerate() {
        for (range, connections) in ingress.external(Some(&pods[index])) {
            add(&range, &ends[index], connections);
        }
        for (range, connections) in egress.external(None) {
            add(&ends[index], &range, connections);
        }
    }
    pairs
}

impl End {
    /// The workload that `pod` is of.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self::Workload { namespace: pod.namespace.clone(), workload: pod.workload.clone() }
    }
}

/// What one direction of a pod lets through.
enum Filter<'a> {
    Open,
    /// The rules, each with a bit for every pod that it selects.
    Only(Vec<(Allowance<'a>, Vec<u64>)>),
}

impl<'a> Filter<'a> {
    fn of(cluster: &'a Cluster, pod: &Pod, direction: Direction) -> Self {
        match Isolation::of(cluster, pod, direction) {
            Isolation::Open => Self::Open,
            Isolation::Allowed { rules, .. } => {
                let selected = |rule: Allowance<'a>| {
                    let mut bits = vec![0; cluster.pods().len().div_ceil(64)];
                    for (index, pod) in cluster.pods().iter().enumerate() {
                        bits[index / 64] |= u64::from(rule.selects(cluster, pod)) << (index % 64);
                    }
                    (rule, bits)
                };
                Self::Only(rules.into_iter().map(selected).collect())
            }
        }
    }

    /// What may pass between this pod and the one of index `peer`; `destination` is one of them.
    fn connections(&self, peer: usize, destination: &Pod) -> Connections {
        let Self::Only(rules) = self else { return Connections::all() };
        let mut connections = Connections::none();
        for (rule, selected) in rules {
            if selected[peer / 64] & (1 << (peer % 64)) != 0 {
                connections.extend(&rule.connections(Some(destination)));
            }
        }
        connections
    }

    /// The addresses outside that something may pass to or from; `destination` is this pod, if it
    /// is where connections go.
    fn external(&self, destination: Option<&Pod>) -> Vec<(End, Connections)> {
        let Self::Only(rules) = self else {
            let everywhere = Block { cidr: &ALL_V4, except: &[] };
            return external_ranges(&[(everywhere, Connections::all())]);
        };
        let blocks: Vec<_> = rules
            .iter()
            .flat_map(|(rule, _)| {
                let connections = rule.connections(destination);
                rule.blocks().map(move |block| (block, connections.clone()))
            })
            .collect();
        external_ranges(&blocks)
    }
}

/// Every address of IPv4. Those of IPv6 are listed only where a policy names a block of them.
const ALL_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// Cuts what is allowed to blocks into ranges of addresses with the same connections.
fn external_ranges(blocks: &[(Block<'_>, Connections)]) -> Vec<(End, Connections)> {
    let mut ranges = Vec::new();
    for is_v6 in [false, true] {
        let mut parts = Vec::new();
        for (block, connections) in blocks {
            if block.cidr.network().is_ipv6() == is_v6 {
                parts.extend(block.ranges().map(|range| (range, connections)));
            }
        }
        let mut cuts: Vec<u128> = parts
            .iter()
            .flat_map(|((low, high), _)| [Some(*low), high.checked_add(1)])
            .flatten()
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut merged: Vec<(u128, u128, Connections)> = Vec::new();
        for (index, low) in cuts.iter().enumerate() {
            let mut connections = Connections::none();
            let mut covered = false;
            for ((first, last), more) in &parts {
                if (first..=last).contains(&low) {
                    connections.extend(more);
                    covered = true;
                }
            }
            if !covered {
                continue;
            }
            let high =
                cuts.get(index + 1).map_or(if is_v6 { u128::MAX } else { MAX_V4 }, |next| next - 1);
            match merged.last_mut() {
                Some((_, end, same)) if *end + 1 == *low && *same == connections => *end = high,
                _ => merged.push((*low, high, connections)),
            }
        }
        let address = |number: u128| -> IpAddr {
            if is_v6 {
                IpAddr::V6(number.into())
            } else {
                #[expect(clippy::cast_possible_truncation, reason = "made from 32 bits")]
                IpAddr::V4((number as u32).into())
            }
        };
        ranges.extend(merged.into_iter().map(|(low, high, connections)| {
            (End::External(address(low), address(high)), connections)
        }));
    }
    ranges
}

const MAX_V4: u128 = u32::MAX as u128;

#[cfg(test)]
mod tests {
    use crate::read::{Input, manifests};

    use super::*;

    /// The lines of `text`'s list.
    fn list(text: &str) -> Vec<String> {
        let manifests = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
        let pairs = connectivity(&manifests.cluster);
        pairs.iter().map(|((from, to), what)| format!("{from} => {to} : {what}")).collect()
    }

    fn pod(name: &str, more: &str) -> String {
        format!("kind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}{more}}}\n---\n")
    }

    fn policy(spec: &str) -> String {
        format!("kind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n---\n")
    }

    #[test]
    fn without_a_policy_everybody_reaches_everybody_but_itself() {
        assert_eq!(
            list(&(pod("a", "") + &pod("b", ""))),
            [
                "0.0.0.0-255.255.255.255[External] => default/a[Pod] : All Connections",
                "0.0.0.0-255.255.255.255[External] => default/b[Pod] : All Connections",
                "default/a[Pod] => 0.0.0.0-255.255.255.255[External] : All Connections",
                "default/a[Pod] => default/b[Pod] : All Connections",
                "default/b[Pod] => 0.0.0.0-255.255.255.255[External] : All Connections",
                "default/b[Pod] => default/a[Pod] : All Connections",
            ]
        );
    }

    #[test]
    fn both_ends_decide_and_only_what_both_allow_passes() {
        let ends = "{podSelector: {}, policyTypes: [Ingress, Egress], \
            ingress: [{from: [{podSelector: {}}], ports: [{port: 80, endPort: 90}]}], \
            egress: [{to: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: 85, endPort: 99}]}]}";
        assert_eq!(
            list(&(pod("a", "") + &pod("b", "") + &policy(ends))),
            ["default/a[Pod] => default/b[Pod] : TCP 85-90"]
        );
    }

    #[test]
    fn blocks_are_cut_where_what_they_allow_changes_and_are_no_pods() {
        let blocks = "{podSelector: {matchLabels: {app: a}}, policyTypes: [Ingress], ingress: [\
            {from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80}]}, \
            {from: [{ipBlock: {cidr: 10.0.0.0/16}}, {ipBlock: {cidr: 'fd00::/127'}}], ports: [{port: 81}]}]}";
        let lines = list(&(pod("a", "") + &pod("b", "") + &policy(blocks)));
        let into_a: Vec<_> =
            lines.iter().filter(|line| line.contains("=> default/a[Pod]")).collect();
        assert_eq!(
            into_a,
            [
                "10.0.0.0-10.0.255.255[External] => default/a[Pod] : TCP 80-81",
                "10.2.0.0-10.255.255.255[External] => default/a[Pod] : TCP 80",
                "fd00::-fd00::1[External] => default/a[Pod] : TCP 81",
            ]
        );
    }

    #[test]
    fn pods_of_one_owner_are_one_end() {
        let owner = ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: u, controller: true}]";
        let lines = list(&(pod("web-1", owner) + &pod("web-2", owner)));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("default/web[ReplicaSet]")), "{lines:?}");
        let mirrored = ", ownerReferences: [{apiVersion: v1, kind: Node, name: node1, uid: u, controller: true}]";
        assert!(list(&pod("static", mirrored))[0].contains("default/static[Pod]"));
    }

    #[test]
    fn a_named_port_is_the_destinations_and_nobodys_outside() {
        let ports =
            "spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}\n---\n";
        let server = pod("server", "").replace("---\n", ports);
        let named =
            policy("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}");
        let lines = list(&(pod("client", "") + &server + &named));
        let out: Vec<_> = lines.iter().filter(|line| line.starts_with("default/")).collect();
        assert_eq!(out, ["default/client[Pod] => default/server[Pod] : TCP 8080"]);
    }
}
