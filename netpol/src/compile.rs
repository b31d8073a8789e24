//! The decision of [`Isolation`] as the filter of one pod: port ranges, each with the set of
//! addresses that may use it. [`crate::nftables`] writes it as an nftables table.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Pod};
use crate::isolation::{Allowance, End, Isolation};
use crate::policy::{Direction, Peer, Peers, PortSpec, Ports};
use crate::port::{PortRange, Protocol};
use crate::ranges::Addresses;

/// Both filters of one pod, and how they treat what they do not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFilter {
    /// Connections to the pod.
    pub ingress: Filter,
    /// Connections from the pod.
    pub egress: Filter,
    /// The pod's own addresses, at which it always reaches itself (rule 20).
    pub own: Vec<IpAddr>,
    /// The pod's node, which no policy applies to (rule 21).
    pub nodes: Vec<IpAddr>,
    /// Choices of the engine.
    pub behaviour: Behaviour,
}

impl PodFilter {
    /// That of a pod on the node with the addresses `nodes` which no policy isolates.
    #[must_use]
    pub fn open(nodes: &[IpAddr], behaviour: Behaviour) -> Self {
        let (ingress, egress, nodes) = (Filter::Open, Filter::Open, nodes.to_vec());
        Self { ingress, egress, own: Vec::new(), nodes, behaviour }
    }
}

/// What the API leaves to the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// What becomes of open connections that a new policy does not allow (rule 23).
    pub established: Established,
    /// What becomes of packets that no rule allows.
    pub denied: Denied,
    /// The netfilter log group that gets a packet of each denied peer, once a second at most.
    pub log_group: Option<u16>,
}

/// What becomes of open connections that a new policy does not allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Established {
    /// Cut at once, as with Cilium and GKE Dataplane V2
    #[default]
    Cut,
    /// Kept until they end, as with Calico
    Keep,
}

/// What becomes of packets that no rule allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Denied {
    /// Dropped: clients time out, as with most engines
    #[default]
    Drop,
    /// Rejected: clients are refused at once, as with kube-router
    Reject,
}

/// What one direction lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    Open,
    /// Only this; nothing where it is empty.
    Only(Vec<Accept>),
}

/// One thing that is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// To which ports of the destination.
    pub ports: PortSet,
    /// From or to which addresses.
    pub peers: PeerSet,
}

/// Ports of a protocol, or all that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortSet {
    /// Every protocol.
    Everything,
    /// Every port of a protocol.
    Protocol(Protocol),
    /// A range of ports.
    Range(Protocol, PortRange),
}

/// Addresses, or all that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerSet {
    /// Every address.
    Everyone,
    /// These.
    Addresses(Addresses),
}

impl PodFilter {
    /// Whether it lets a new connection pass, to or from `peer`, reading the filter as the kernel does. Tests
    /// compare this with what the evaluator says.
    #[must_use]
    pub fn passes(
        &self,
        direction: Direction,
        peer: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> bool {
        let filter = match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        };
        let Filter::Only(accepts) = filter else { return true };
        self.nodes.contains(&peer)
            || self.own.contains(&peer)
            || accepts
                .iter()
                .any(|accept| accept.ports.holds(protocol, port) && accept.peers.holds(peer))
    }
}

impl PortSet {
    fn holds(self, protocol: Protocol, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Protocol(of) => of == protocol,
            Self::Range(of, range) => of == protocol && range.contains(port),
        }
    }
}

impl PeerSet {
    fn holds(&self, peer: IpAddr) -> bool {
        match (self, peer) {
            (Self::Everyone, _) => true,
            (Self::Addresses(addresses), IpAddr::V4(peer)) => {
                addresses.v4().any(|(first, last)| (first..=last).contains(&peer))
            }
            (Self::Addresses(addresses), IpAddr::V6(peer)) => {
                addresses.v6().any(|(first, last)| (first..=last).contains(&peer))
            }
        }
    }
}

/// The filter of `pod`, which is on the node with the addresses `nodes`.
#[must_use]
pub fn compile(cluster: &Cluster, pod: &Pod, nodes: &[IpAddr], behaviour: Behaviour) -> PodFilter {
    let filter = |direction| match Isolation::of(cluster, pod, direction) {
        Isolation::Open => Filter::Open,
        // What is not understood is denied.
        Isolation::Unknown(_) => Accepts::default().into_filter(),
        Isolation::Isolated { rules, .. } => {
            let mut accepts = Accepts::default();
            for allowance in rules {
                accepts.add(cluster, pod, direction, &allowance);
            }
            accepts.into_filter()
        }
    };
    PodFilter {
        ingress: filter(Direction::Ingress),
        egress: filter(Direction::Egress),
        own: pod.addresses.clone(),
        nodes: nodes.to_vec(),
        behaviour,
    }
}

/// Collects by ports, so that the number of rules is that of different ports, and the peers
/// of each are one set.
#[derive(Default)]
struct Accepts(BTreeMap<PortSet, PeerSet>);

impl Accepts {
    fn add(&mut self, cluster: &Cluster, pod: &Pod, direction: Direction, rule: &Allowance<'_>) {
        let peers = peers(cluster, rule);
        match &rule.rule.ports {
            Ports::Every => self.insert(PortSet::Everything, peers),
            Ports::Any(entries) => {
                for entry in entries {
                    let protocol = entry.protocol;
                    match &entry.ports {
                        PortSpec::Every => self.insert(PortSet::Protocol(protocol), peers.clone()),
                        PortSpec::Range(range) => {
                            self.insert(PortSet::Range(protocol, *range), peers.clone());
                        }
                        PortSpec::Named(name) if direction == Direction::Ingress => {
                            for port in pod.ports_named(name, protocol) {
                                let range = PortRange::single(port);
                                self.insert(PortSet::Range(protocol, range), peers.clone());
                            }
                        }
                        PortSpec::Named(name) => self.add_named(cluster, rule, name, protocol),
                    }
                }
            }
        }
    }

    /// Rule 15: in egress a name means each destination's own port of that name.
    fn add_named(
        &mut self,
        cluster: &Cluster,
        rule: &Allowance<'_>,
        name: &str,
        protocol: Protocol,
    ) {
        for peer in cluster.pods() {
            for port in peer.ports_named(name, protocol) {
                let mut addresses = Addresses::default();
                rule.addresses_of(cluster, peer).into_iter().for_each(|one| addresses.add(one));
                let ports = PortSet::Range(protocol, PortRange::single(port));
                self.insert(ports, PeerSet::Addresses(addresses));
            }
        }
    }

    fn insert(&mut self, ports: PortSet, peers: PeerSet) {
        match (self.0.get_mut(&ports), peers) {
            (Some(PeerSet::Addresses(there)), PeerSet::Addresses(more)) => there.extend(more),
            (Some(PeerSet::Everyone), _) => {}
            (_, peers) => {
                self.0.insert(ports, peers);
            }
        }
    }

    fn into_filter(self) -> Filter {
        let accepts = self.0.into_iter().filter_map(|(ports, mut peers)| {
            if let PeerSet::Addresses(addresses) = &mut peers {
                addresses.normalise();
                if addresses.is_empty() {
                    return None;
                }
            }
            Some(Accept { ports, peers })
        });
        Filter::Only(accepts.collect())
    }
}

/// The addresses that a rule names: those of the pods it selects, and its blocks (rule 18).
fn peers(cluster: &Cluster, rule: &Allowance<'_>) -> PeerSet {
    let Peers::Any(peers) = &rule.rule.peers else { return PeerSet::Everyone };
    let mut addresses = Addresses::default();
    for peer in peers {
        match peer {
            Peer::Block { cidr, except } => addresses.add_block(cidr, except),
            Peer::Pods { .. } => cluster
                .pods()
                .iter()
                .filter(|pod| peer.matches(cluster, &rule.policy.namespace, End::Pod(pod)))
                .flat_map(|pod| &pod.addresses)
                .for_each(|address| addresses.add(*address)),
        }
    }
    PeerSet::Addresses(addresses)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::{NamedPort, Workload};
    use crate::selector::tests::labels;

    fn cluster(spec: Value) -> Cluster {
        let mut cluster = Cluster::default();
        for (name, host) in [("a", 1), ("b", 2), ("c", 3)] {
            cluster.add_pod(Pod {
                namespace: "x".into(),
                name: name.into(),
                workload: Workload::default(),
                owner: None,
                maker: None,
                labels: labels(&[("pod", name)]),
                addresses: vec![[10, 0, 0, host].into()],
                named_ports: vec![NamedPort {
                    name: "http".into(),
                    protocol: Protocol::Tcp,
                    port: 8000 + u16::from(host),
                }],
                ..Pod::default()
            });
        }
        let object = json!({"metadata": {"name": "p", "namespace": "x"}, "spec": spec});
        let policy = crate::validate::policy(&serde_json::from_value(object).unwrap());
        cluster.add_policy(policy.unwrap());
        cluster
    }

    fn filter_of_a(spec: Value) -> PodFilter {
        let cluster = cluster(spec);
        compile(&cluster, cluster.pod("x", "a").unwrap(), &[], Behaviour::default())
    }

    fn addresses(blocks: &[&str]) -> PeerSet {
        let mut addresses = Addresses::default();
        for block in blocks {
            addresses.add_block(&block.parse().unwrap(), &[]);
        }
        addresses.normalise();
        PeerSet::Addresses(addresses)
    }

    fn range(port: u16) -> PortSet {
        PortSet::Range(Protocol::Tcp, PortRange::single(port))
    }

    #[test]
    fn an_open_direction_has_no_filter() {
        let filter = filter_of_a(json!({}));
        assert_eq!(filter.ingress, Filter::Only(vec![]));
        assert_eq!(filter.egress, Filter::Open);
    }

    #[test]
    fn rules_for_the_same_ports_become_one_set_of_peers() {
        let filter = filter_of_a(json!({"ingress": [
            {"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}], "ports": [{"port": 80}]},
            {"from": [{"ipBlock": {"cidr": "10.0.0.3/32"}}], "ports": [{"port": 80}]},
        ]}));
        let peers = addresses(&["10.0.0.2/31"]);
        assert_eq!(filter.ingress, Filter::Only(vec![Accept { ports: range(80), peers }]));
    }

    #[test]
    fn everyone_absorbs_a_set_of_peers_whichever_comes_first() {
        let some = json!({"from": [{"podSelector": {"matchLabels": {"pod": "b"}}}]});
        for rules in [json!([some, {}]), json!([{}, some])] {
            let everything = Accept { ports: PortSet::Everything, peers: PeerSet::Everyone };
            assert_eq!(
                filter_of_a(json!({ "ingress": rules })).ingress,
                Filter::Only(vec![everything])
            );
        }
    }

    #[test]
    fn rule_15_named_ports_are_the_pods_own_inwards_and_each_peers_outwards() {
        let inwards = filter_of_a(json!({"ingress": [{"ports": [{"port": "http"}]}]}));
        assert_eq!(
            inwards.ingress,
            Filter::Only(vec![Accept { ports: range(8001), peers: PeerSet::Everyone }])
        );
        let outwards = filter_of_a(json!({"egress": [{"ports": [{"port": "http"}]}]}));
        let accepts = [1, 2, 3].map(|host| Accept {
            ports: range(8000 + host),
            peers: addresses(&[&format!("10.0.0.{host}/32")]),
        });
        assert_eq!(outwards.egress, Filter::Only(accepts.to_vec()));
    }

    #[test]
    fn rule_18_a_named_port_towards_a_block_is_open_at_the_addresses_in_the_block_alone() {
        let rule =
            json!({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": "http"}]});
        let mut cluster = cluster(json!({"policyTypes": ["Egress"], "egress": [rule]}));
        // Not to a itself, which always reaches its own.
        for pod in cluster.pods_mut().iter_mut().skip(1) {
            pod.addresses.push("fd00::1".parse().unwrap());
        }
        let filter = compile(&cluster, cluster.pod("x", "a").unwrap(), &[], Behaviour::default());
        let passes = |peer: &str| {
            filter.passes(Direction::Egress, peer.parse().unwrap(), Protocol::Tcp, 8002)
        };
        assert!(passes("10.0.0.2") && !passes("fd00::1"));
    }

    #[test]
    fn rule_20_a_pod_reaches_itself_whatever_its_policies_deny() {
        let filter = filter_of_a(json!({"policyTypes": ["Ingress", "Egress"]}));
        for direction in Direction::BOTH {
            let passes = |host| {
                let peer = IpAddr::from([10, 0, 0, host]);
                filter.passes(direction, peer, Protocol::Tcp, 8080)
            };
            assert!(passes(1) && !passes(2), "{direction}");
        }
    }

    #[test]
    fn a_rule_whose_peers_match_nobody_lets_nothing_through() {
        let rule = json!({"from": [{"podSelector": {"matchLabels": {"pod": "none"}}}]});
        assert_eq!(filter_of_a(json!({"ingress": [rule]})).ingress, Filter::Only(vec![]));
    }
}
