//! Why a connection may be made, or not: the rule that allowed it, or of each policy that isolates
//! the rule that came nearest, with what kept it from matching.

use std::fmt;

use crate::answer::Answer;
use crate::cluster::{Cluster, ForeignPolicy, Pod};
use crate::evaluate::{Connection, Decision, evaluate};
use crate::isolation::{Allowance, End};
use crate::policy::{Direction, Namespaces, Peer, Peers, Policy, Port, PortSpec, Ports};
use crate::selector::{Labels, Selector};

/// Why, at both ends.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// Whether the connection may be made.
    pub answer: Answer,
    /// What the source's policies say of it.
    pub egress: Reason<'a>,
    /// What the destination's policies say of it.
    pub ingress: Reason<'a>,
}

/// Why one end lets a connection be made, or not.
#[derive(Clone, Debug)]
pub enum Reason<'a> {
    /// Both ends are one pod, or a pod and its node (rules 20 and 21).
    Exempt,
    /// This end is an address outside: no policy is about it.
    Outside,
    /// No policy isolates this end.
    Open,
    /// This rule allows it.
    AllowedBy(Match<'a>),
    /// These policies isolate this end, and none of their rules allows it.
    Denied(Vec<Miss<'a>>),
    /// These policies, of kinds that are not modelled, may be about this end.
    Foreign(Vec<&'a ForeignPolicy>),
    /// These policies select this end, which uses its node's network, where policies are undefined
    /// (rule 19).
    HostNetwork(Vec<&'a Policy>),
    /// The first rule of which it is not known whether it names the other end, and why not.
    UnknownPeer(Miss<'a>),
}

/// A rule that allows, and which of its parts.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Where in it: `spec.ingress[0]`.
    pub rule: String,
    /// The peer that matched, with its path; everyone, where the rule names none.
    pub peer: String,
    /// The port that matched, with its path; every port, where the rule names none.
    pub port: String,
}

/// A policy that isolates and does not allow.
#[derive(Clone, Debug)]
pub struct Miss<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What came nearest; nothing, where the policy has no rule.
    pub nearest: Option<Near>,
}

/// A rule that nearly allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The place that came nearest: `spec.ingress[0].from[1]`.
    pub place: String,
    /// What kept it from matching, each a sentence.
    pub obstacles: Vec<String>,
}

/// Explains what [`evaluate`] decides.
#[must_use]
pub fn explain<'a>(cluster: &'a Cluster, connection: &Connection<'_>) -> Explanation<'a> {
    let verdict = evaluate(cluster, connection);
    let answer = verdict.answer();
    let reason = |decision, direction| Side { cluster, connection, direction }.reason(decision);
    Explanation {
        answer,
        egress: reason(verdict.egress, Direction::Egress),
        ingress: reason(verdict.ingress, Direction::Ingress),
    }
}

/// One end of the connection that is explained.
struct Side<'a, 'c> {
    cluster: &'a Cluster,
    connection: &'c Connection<'c>,
    direction: Direction,
}

impl<'a> Side<'a, '_> {
    fn reason(&self, decision: Decision<'a>) -> Reason<'a> {
        let own = match self.direction {
            Direction::Egress => self.connection.source,
            Direction::Ingress => self.connection.destination,
        };
        match (decision, own) {
            (Decision::Exempt, _) => Reason::Exempt,
            (Decision::Open, End::Pod(_)) => Reason::Open,
            (Decision::Open, _) => Reason::Outside,
            (Decision::AllowedBy(allowance), _) => Reason::AllowedBy(self.matched(allowance)),
            (Decision::Denied(policies), _) => {
                let misses = policies.into_iter().map(|policy| self.miss(policy, |_| true));
                Reason::Denied(misses.collect())
            }
            (Decision::Foreign(policies), _) => Reason::Foreign(policies),
            (Decision::HostNetwork(policies), _) => Reason::HostNetwork(policies),
            (Decision::UnknownPeer(Allowance { policy, index, .. }), _) => {
                Reason::UnknownPeer(self.miss(policy, |rule| rule == index))
            }
        }
    }

    fn peer(&self) -> End<'_> {
        match self.direction {
            Direction::Egress => self.connection.destination,
            Direction::Ingress => self.connection.source,
        }
    }

    fn path(&self, rule: usize) -> String {
        format!("spec.{}[{rule}]", self.direction)
    }

    fn matched(&self, Allowance { policy, index, rule }: Allowance<'a>) -> Match<'a> {
        let path = self.path(index);
        let peer = match &rule.peers {
            Peers::Everyone => format!("{path} names no peer: everyone"),
            Peers::Any(peers) => {
                let matching = |(_, peer): &(usize, &Peer)| {
                    peer.matches(self.cluster, &policy.namespace, self.peer())
                };
                let field = self.direction.peers_field();
                let found = peers.iter().enumerate().find(matching);
                let is_block = !matches!(found, Some((_, Peer::Pods { .. })));
                let (place, words) = match found {
                    Some((number, peer)) => (format!("[{number}]"), Words(peer).to_string()),
                    None => (String::new(), "its blocks hold every address of IPv4".to_owned()),
                };
                let note = match self.peer() {
                    End::Pod(pod) if is_block => {
                        format!(
                            ", which holds {pod}; whether a block names pods differs between engines"
                        )
                    }
                    _ => String::new(),
                };
                format!("{path}.{field}{place}: {words}{note}")
            }
        };
        let port = match &rule.ports {
            Ports::Every => format!("{path} names no port: every port"),
            Ports::Any(ports) => {
                let found =
                    ports.iter().enumerate().find(|(_, port)| self.port_obstacle(port).is_none());
                found.map_or_else(String::new, |(number, port)| {
                    format!("{path}.ports[{number}]: {}", Words(port))
                })
            }
        };
        Match { policy, rule: path, peer, port }
    }

    /// The rule of `policy` with the fewest obstacles, of those whose place `counts`; the first of these.
    fn miss(&self, policy: &'a Policy, counts: impl Fn(usize) -> bool) -> Miss<'a> {
        let rules = policy.rules(self.direction).unwrap_or_default().iter().enumerate();
        let rules = rules.filter(|(index, _)| counts(*index));
        let candidates = rules.flat_map(|(index, rule)| {
            let path = self.path(index);
            let ports = match &rule.ports {
                Ports::Every => None,
                Ports::Any(ports) => self.ports_obstacle(ports),
            };
            let peers: Vec<(String, Vec<String>)> = match &rule.peers {
                Peers::Everyone => vec![(path, Vec::new())],
                Peers::Any(peers) => peers
                    .iter()
                    .enumerate()
                    .map(|(number, peer)| {
                        let place = format!("{path}.{}[{number}]", self.direction.peers_field());
                        (place, self.peer_obstacles(peer, policy))
                    })
                    .collect(),
            };
            peers.into_iter().map(move |(place, mut obstacles)| {
                obstacles.extend(ports.clone());
                Near { place, obstacles }
            })
        });
        Miss { policy, nearest: candidates.min_by_key(|near| near.obstacles.len()) }
    }

    /// What keeps `peer` from being the other end; nothing, if it is.
    fn peer_obstacles(&self, peer: &Peer, policy: &Policy) -> Vec<String> {
        let mut obstacles = Vec::new();
        match (peer, self.peer()) {
            (Peer::Block { .. }, End::Pod(pod)) if pod.addresses.is_empty() => {
                obstacles.push(format!(
                    "{} names addresses, and which {pod} will have is not known",
                    Words(peer)
                ));
            }
            (Peer::Block { .. }, End::Outside) => {
                obstacles.push(format!("{} may hold it or not", Words(peer)));
            }
            (Peer::Pods { .. }, End::Outside) => {
                obstacles.push(format!("{} names pods, and it is none", Words(peer)));
            }
            (Peer::Pods { .. }, End::Address(address)) => {
                obstacles.push(format!("{} names pods, and {address} is none", Words(peer)));
            }
            (Peer::Pods { .. }, End::Pod(pod)) if pod.host_network => {
                let ordinary = pod.on_its_own_network();
                let matches = peer.names(self.cluster, &policy.namespace, End::Pod(&ordinary));
                obstacles.push(match matches {
                    Answer::No => format!("{pod} uses its node's network, and has not these labels either"),
                    _ => format!(
                        "{pod} has these labels and uses its node's network: whether a selector names \
                         it is undefined"
                    ),
                });
            }
            (Peer::Pods { namespaces, pods }, End::Pod(pod)) => {
                match namespaces {
                    Namespaces::OfThePolicy if pod.namespace != policy.namespace => {
                        obstacles.push(format!(
                            "without a namespaceSelector it names pods of {} only, and {pod} is in {}",
                            policy.namespace, pod.namespace
                        ));
                    }
                    Namespaces::OfThePolicy => {}
                    Namespaces::Matching(selector) => {
                        let labels = self.cluster.namespace_labels(&pod.namespace);
                        let none = Labels::new();
                        let subject = format!("namespace {}", pod.namespace);
                        let labels = labels.unwrap_or(&none);
                        obstacles.extend(unmet("namespaceSelector", selector, &subject, labels));
                    }
                }
                obstacles.extend(unmet("podSelector", pods, &pod.to_string(), &pod.labels));
            }
            _ if !peer.matches(self.cluster, &policy.namespace, self.peer()) => {
                obstacles.push(format!("{} does not hold {}", Words(peer), name(self.peer())));
            }
            _ => {}
        }
        obstacles
    }

    /// What keeps all of `ports` from being the connection's.
    fn ports_obstacle(&self, ports: &[Port]) -> Option<String> {
        let obstacles: Option<Vec<String>> =
            ports.iter().map(|port| self.port_obstacle(port)).collect();
        obstacles.map(|obstacles| obstacles.join("; "))
    }

    fn port_obstacle(&self, port: &Port) -> Option<String> {
        let Connection { destination, protocol, port: wanted, .. } = *self.connection;
        if port.protocol != protocol {
            return Some(format!("{} is another protocol than {protocol}", Words(port)));
        }
        match (&port.ports, destination) {
            (PortSpec::Every, _) => None,
            (PortSpec::Range(range), _) if range.contains(wanted) => None,
            (PortSpec::Range(_), _) => Some(format!("{} is not port {wanted}", Words(port))),
            (PortSpec::Named(wanted_name), End::Pod(pod)) => {
                let numbers: Vec<u16> = pod.ports_named(wanted_name, protocol).collect();
                if numbers.contains(&wanted) {
                    return None;
                }
                Some(match numbers.first() {
                    None => format!("{pod} has no {protocol} port named {wanted_name}"),
                    Some(number) => {
                        format!("the port named {wanted_name} of {pod} is {number}, not {wanted}")
                    }
                })
            }
            (PortSpec::Named(wanted_name), other) => {
                Some(format!("{} has no port named {wanted_name}", name(other)))
            }
        }
    }
}

/// The requirements of `selector` that `labels` do not meet, each a sentence about `subject`.
fn unmet<'s>(
    field: &'s str,
    selector: &'s Selector,
    subject: &'s str,
    labels: &'s Labels,
) -> impl Iterator<Item = String> + use<'s> {
    let unmet = selector.requirements().iter().filter(|requirement| !requirement.matches(labels));
    unmet.map(move |requirement| {
        let key = &requirement.key;
        let has = match labels.get(key) {
            Some(value) => format!("has {key}={value}"),
            None => format!("has no label {key}"),
        };
        format!("{field} {requirement} does not match: {subject} {has}")
    })
}

fn name(end: End<'_>) -> String {
    match end {
        End::Pod(pod) => pod_and_addresses(pod),
        End::Node => "the node".to_owned(),
        End::Address(address) => address.to_string(),
        End::Outside => "what is outside".to_owned(),
    }
}

fn pod_and_addresses(pod: &Pod) -> String {
    let addresses: Vec<_> = pod.addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() { pod.to_string() } else { format!("{pod} ({})", addresses.join(", ")) }
}

/// A part of a policy, said in words.
struct Words<'a, T>(&'a T);

impl fmt::Display for Words<'_, Peer> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Peer::Block { cidr, except } => {
                write!(out, "ipBlock {cidr}")?;
                let mut word = " except ";
                for inner in except {
                    write!(out, "{word}{inner}")?;
                    word = ", ";
                }
                Ok(())
            }
            Peer::Pods { namespaces, pods } => {
                if let Namespaces::Matching(selector) = namespaces {
                    write!(out, "namespaceSelector {selector} and ")?;
                }
                write!(out, "podSelector {pods}")
            }
        }
    }
}

impl fmt::Display for Words<'_, Port> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.ports {
            PortSpec::Every => write!(out, "every {} port", self.0.protocol),
            PortSpec::Range(range) => write!(out, "{} {range}", self.0.protocol),
            PortSpec::Named(name) => write!(out, "{} {name:?}", self.0.protocol),
        }
    }
}

#[cfg(test)]
mod tests;
