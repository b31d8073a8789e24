//! What policies mean for one pod and one direction. Nothing else interprets a policy.
//!
//! The rules, from the API's documentation, defaults and validation
//! (<https://kubernetes.io/docs/concepts/services-networking/network-policies/>):
//!
//!  1. Isolation is per direction, by policies of the pod's own namespace; policies add up.
//!  2. A connection needs the egress of its source and the ingress of its destination.
//!  3. Without `policyTypes`: Ingress, and Egress if and only if `egress` has a rule.
//!  4. `policyTypes` wins over the sections present.
//!  5. `ingress` empty, absent or null, with Ingress: deny all.
//!  6. A rule `{}` allows all.
//!  7. `from`/`to` missing or empty: everyone; the same for `ports`.
//!  8. `podSelector` empty or absent: all pods of the namespace.
//!  9. `podSelector` alone means the policy's namespace, `namespaceSelector` alone all pods
//!     there, both in one item both, several items any; an empty selector selects all.
//! 10. An empty peer is invalid; `ipBlock` with a selector is invalid.
//! 11. `In` needs the key; `NotIn` and `DoesNotExist` match where it is missing; `""` is a value.
//! 12. Every namespace has the label `kubernetes.io/metadata.name`.
//! 13. The protocol defaults to TCP; a protocol without port means all its ports.
//! 14. `endPort` is inclusive.
//! 15. A named port resolves on the destination pod, by name and protocol.
//! 16. A rule for SCTP only still isolates TCP.
//! 17. `ipBlock` minus `except`; another rule may allow again what `except` took out.
//! 18. `ipBlock` matches a pod's address too, as Kubernetes' end-to-end tests do.
//! 19. Pods on the host's network: undefined. Either policies take them as any other pod, or no policy
//!     isolates them and no selector names them, which the documentation calls the most common
//!     way. Here it is the second; where the first has another answer, that is not known
//!     ([`crate::evaluate`], [`crate::connectivity`]).
//! 20. A pod always reaches itself ("a Pod cannot block access to itself"), also through its own
//!     Service, as with Cilium (<https://github.com/cilium/cilium/pull/15709>).
//! 21. A node and its own pods always reach each other.
//! 22. Replies are allowed.
//! 23. Established connections when a policy changes: a choice of the engine ([`crate::compile`]).
//! 24. Finished pods do not count.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::answer::Answer;
use crate::cluster::{Cluster, ForeignPolicy, Pod, PodsByNamespace};
use crate::connections::Connections;
use crate::policy::{Direction, Namespaces, Peer, Peers, Policy, Port, PortSpec, Ports, Rule};
use crate::port::{PortRange, Protocol};
use crate::ranges::{Addresses, block_ranges};

/// What the policies of a cluster mean for one pod and one direction.
#[derive(Clone, Debug)]
pub enum Isolation<'a> {
    /// No policy isolates the pod: everything is allowed.
    Open,
    /// At least one policy isolates it: only what some rule allows.
    Isolated {
        /// The policies that isolate, in the cluster's order.
        policies: Vec<&'a Policy>,
        /// All their rules; with none, nothing is allowed.
        rules: Vec<Allowance<'a>>,
    },
    /// These policies, of kinds that are not modelled, may be about the pod: what is allowed is not known.
    Unknown(Vec<&'a ForeignPolicy>),
}

/// One rule of an isolating policy.
#[derive(Clone, Copy, Debug)]
pub struct Allowance<'a> {
    /// The policy that it is from.
    pub policy: &'a Policy,
    /// Its place in the policy's list.
    pub index: usize,
    /// The rule.
    pub rule: &'a Rule,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod of the cluster.
    Pod(&'a Pod),
    /// The pod's own node (rule 21).
    Node,
    /// Any other address.
    Address(IpAddr),
    /// An address outside the cluster of which nothing more is known.
    Outside,
}

impl<'a> Isolation<'a> {
    /// What `cluster`'s policies mean for `pod` in `direction` (rules 1, 8 and 19).
    #[must_use]
    pub fn of(cluster: &'a Cluster, pod: &Pod, direction: Direction) -> Self {
        if pod.host_network {
            return Self::Open;
        }
        let foreign = || cluster.foreign().iter().filter(|policy| policy.may_select(pod));
        if foreign().next().is_some() {
            return Self::Unknown(foreign().collect());
        }
        let mut policies = Vec::new();
        let mut rules = Vec::new();
        for policy in cluster.policies_of(&pod.namespace) {
            let Some(its_rules) = policy.rules(direction) else { continue };
            if !policy.selects(pod) {
                continue;
            }
            policies.push(policy);
            let numbered = its_rules.iter().enumerate();
            rules.extend(numbered.map(|(index, rule)| Allowance { policy, index, rule }));
        }
        if policies.is_empty() { Self::Open } else { Self::Isolated { policies, rules } }
    }
}

impl Policy {
    /// Whether the policy is about `pod` (rules 1 and 8), were it not on its node's network (rule 19).
    #[must_use]
    pub fn selects(&self, pod: &Pod) -> bool {
        self.namespace == pod.namespace && self.pods.matches(&pod.labels)
    }
}

impl Allowance<'_> {
    /// Whether the rule names `end` (rules 7, 9 and 17 to 19).
    #[must_use]
    pub fn names(&self, cluster: &Cluster, end: End<'_>) -> Answer {
        let Peers::Any(peers) = &self.rule.peers else { return Answer::Yes };
        let namespace = &self.policy.namespace;
        let answers = peers.iter().map(|peer| peer.names(cluster, namespace, end));
        match answers.max().unwrap_or(Answer::No) {
            Answer::Unknown if is_addressless(end) && self.holds_every_pod() => Answer::Yes,
            answer => answer,
        }
    }

    /// Whether its blocks together hold every address of IPv4 that a pod can have.
    fn holds_every_pod(&self) -> bool {
        let mut held = Addresses::default();
        for Block { cidr, except } in self.blocks().filter(|block| block.cidr.network().is_ipv4()) {
            held.add_block(cidr, except);
        }
        // A rule without a block of its own holds none, whatever no pod can have.
        !held.is_empty() && held.holds_all_ipv4_hosts()
    }

    /// The addresses of `pod` that the rule names: all, if it does so by labels; of a block those that
    /// are in it (rule 18).
    #[must_use]
    pub fn addresses_of(&self, cluster: &Cluster, pod: &Pod) -> Vec<IpAddr> {
        let names = |address: &IpAddr| match &self.rule.peers {
            Peers::Everyone => true,
            Peers::Any(peers) => peers.iter().any(|peer| {
                let end = match peer {
                    Peer::Pods { .. } => End::Pod(pod),
                    Peer::Block { .. } => End::Address(*address),
                };
                peer.matches(cluster, &self.policy.namespace, end)
            }),
        };
        pod.addresses.iter().copied().filter(names).collect()
    }

    /// Whether the rule names this port of `destination` (rules 7 and 13 to 16).
    #[must_use]
    pub fn covers(&self, destination: End<'_>, protocol: Protocol, port: u16) -> bool {
        let Ports::Any(entries) = &self.rule.ports else { return true };
        entries.iter().filter(|entry| entry.protocol == protocol).any(|entry| match &entry.ports {
            PortSpec::Every => true,
            PortSpec::Range(range) => range.contains(port),
            PortSpec::Named(name) => match destination {
                End::Pod(pod) => pod.ports_named(name, protocol).any(|number| number == port),
                End::Node | End::Address(_) | End::Outside => false,
            },
        })
    }
}

/// A block of addresses that a rule names.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The block.
    pub cidr: &'a IpNet,
    /// What is taken out of it.
    pub except: &'a [IpNet],
}

impl Block<'_> {
    /// Its addresses as numbers: ranges from the first to the last (rule 17).
    pub fn ranges(&self) -> impl Iterator<Item = (u128, u128)> {
        block_ranges(self.cidr, self.except).into_iter()
    }
}

impl<'a> Allowance<'a> {
    /// The pods that the rule names by labels, as their places in `pods`, each at least once: a block
    /// of addresses names none (rule 18).
    #[must_use]
    pub fn selected(&self, cluster: &Cluster, pods: &PodsByNamespace<'_>) -> Vec<usize> {
        let mut selected = Vec::new();
        for (namespace, pods) in pods.iter() {
            match &self.rule.peers {
                Peers::Everyone => selected.extend(pods.iter().map(|(index, _)| *index)),
                Peers::Any(peers) => {
                    for peer in peers {
                        let Peer::Pods { namespaces, pods: selector } = peer else { continue };
                        if namespaces.include(cluster, &self.policy.namespace, namespace) {
                            let matching =
                                |pod: &Pod| !pod.host_network && selector.matches(&pod.labels);
                            let matching = pods.iter().filter(|(_, pod)| matching(pod));
                            selected.extend(matching.map(|(index, _)| *index));
                        }
                    }
                }
            }
        }
        selected
    }

    /// Whether what the rule allows depends on the destination: a name is each pod's own (rule 15).
    #[must_use]
    pub fn has_named_port(&self) -> bool {
        let Ports::Any(entries) = &self.rule.ports else { return false };
        entries.iter().any(|entry| matches!(entry.ports, PortSpec::Named(_)))
    }

    /// Whether the rule names no peer: everyone (rule 7).
    #[must_use]
    pub fn names_everyone(&self) -> bool {
        self.rule.peers == Peers::Everyone
    }

    /// The blocks of addresses that the rule names.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let peers: &[Peer] = match &self.rule.peers {
            Peers::Everyone => &[],
            Peers::Any(peers) => peers,
        };
        peers.iter().filter_map(|peer| match peer {
            Peer::Block { cidr, except } => Some(Block { cidr, except }),
            Peer::Pods { .. } => None,
        })
    }

    /// What the rule allows to `destination` (rules 7 and 13 to 16); of an address outside, `None`,
    /// no port has a name.
    #[must_use]
    pub fn connections(&self, destination: Option<&Pod>) -> Connections {
        let Ports::Any(entries) = &self.rule.ports else { return Connections::all() };
        let mut connections = Connections::none();
        for Port { protocol, ports } in entries {
            match ports {
                PortSpec::Every => connections.add_protocol(*protocol),
                PortSpec::Range(range) => connections.add(*protocol, *range),
                PortSpec::Named(name) => {
                    let pod = destination.into_iter();
                    for number in pod.flat_map(|pod| pod.ports_named(name, *protocol)) {
                        connections.add(*protocol, PortRange::single(number));
                    }
                }
            }
        }
        connections
    }
}

impl Namespaces {
    /// Whether `namespace` is one of these, in a policy of the namespace `own` (rules 9 and 12).
    #[must_use]
    pub fn include(&self, cluster: &Cluster, own: &str, namespace: &str) -> bool {
        match self {
            Self::OfThePolicy => namespace == own,
            Self::Matching(selector) => {
                cluster.namespace_labels(namespace).is_some_and(|labels| selector.matches(labels))
            }
        }
    }
}

impl Peer {
    /// Whether this peer, of a policy in `namespace`, is surely `end`.
    #[must_use]
    pub fn matches(&self, cluster: &Cluster, namespace: &str, end: End<'_>) -> bool {
        self.names(cluster, namespace, end) == Answer::Yes
    }

    /// Whether this peer, of a policy in `namespace`, is `end`.
    #[must_use]
    pub fn names(&self, cluster: &Cluster, namespace: &str, end: End<'_>) -> Answer {
        match (self, end) {
            (_, End::Node) | (Self::Pods { .. }, End::Address(_) | End::Outside) => Answer::No,
            (Self::Block { .. }, End::Outside) => Answer::Unknown,
            (Self::Block { .. }, End::Address(address)) => self.contains(address).into(),
            (Self::Block { .. }, End::Pod(pod)) if pod.addresses.is_empty() => Answer::Unknown,
            (Self::Block { .. }, End::Pod(pod)) => {
                pod.addresses.iter().any(|address| self.contains(*address)).into()
            }
            (Self::Pods { namespaces, pods }, End::Pod(pod)) => {
                let matches = !pod.host_network
                    && namespaces.include(cluster, namespace, &pod.namespace)
                    && pods.matches(&pod.labels);
                matches.into()
            }
        }
    }

    /// Whether the block holds `address` (rule 17). An IPv4-mapped address is one of IPv4
    /// ([`crate::validate::cidr`]).
    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Block { cidr, except } => {
                cidr.contains(&address) && !except.iter().any(|inner| inner.contains(&address))
            }
            Self::Pods { .. } => false,
        }
    }
}

/// Whether the addresses of `end` are not known.
fn is_addressless(end: End<'_>) -> bool {
    match end {
        End::Pod(pod) => pod.addresses.is_empty(),
        End::Outside => true,
        End::Node | End::Address(_) => false,
    }
}
