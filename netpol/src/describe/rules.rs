//! What a policy does in one direction, and what each of its rules allows.

use serde_json::Value;

use super::now::{Named, named_port};
use super::words::{peer, ports, some};
use super::{Sentence, Subject};
use crate::isolation::Allowance;
use crate::policy::{Direction, Peer, Peers, PortSpec, Ports};

/// What is said of a list in a manifest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// It is not there.
    Missing,
    /// It is there, and empty or null.
    Empty,
    /// There is something in it.
    Filled,
}

impl Written {
    fn of(list: Option<&Value>) -> Self {
        match list {
            None => Self::Missing,
            Some(list) if list.as_array().is_some_and(|list| !list.is_empty()) => Self::Filled,
            Some(_) => Self::Empty,
        }
    }
}

/// The name that `policyTypes` has for a direction.
fn type_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "Ingress",
        Direction::Egress => "Egress",
    }
}

/// Which connections a direction has.
fn connections(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress (connections to them)",
        Direction::Egress => "egress (connections from them)",
    }
}

fn lets(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "lets in",
        Direction::Egress => "lets out",
    }
}

impl Subject<'_> {
    /// What the policy does in one direction.
    pub(super) fn direction(&self, direction: Direction) -> Sentence {
        let Some(rules) = self.policy.rules(direction) else { return self.untouched(direction) };
        let each = match rules.len() {
            0 | 1 => String::new(),
            count => format!(". Each of its {count} rules is enough by itself"),
        };
        let words = format!(
            "It isolates them for {}, {}: what no policy {} is dropped{each}",
            connections(direction),
            self.why_isolated(direction),
            lets(direction)
        );
        let mut sentence = self.sentence(words, "spec.policyTypes");
        let policy = self.policy;
        let rules = rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| Allowance { policy, index, rule });
        sentence.below = rules.map(|rule| self.rule(direction, &rule)).collect();
        if sentence.below.is_empty() {
            sentence.below.push(self.closed(direction));
        }
        sentence
    }

    fn written(&self, field: &str) -> Written {
        Written::of(self.written.spec().get(field))
    }

    /// By which rule a policy that isolates does so (rules 3 and 4).
    fn why_isolated(&self, direction: Direction) -> &'static str {
        match (self.written("policyTypes"), direction) {
            (Written::Filled, Direction::Ingress) => "as policyTypes names Ingress",
            (Written::Filled, Direction::Egress) => "as policyTypes names Egress",
            (_, Direction::Ingress) => "as a policy without policyTypes always does",
            (_, Direction::Egress) => {
                "as a policy without policyTypes does if it has an egress rule"
            }
        }
    }

    /// That there is no rule (rule 5).
    fn closed(&self, direction: Direction) -> Sentence {
        let list = match self.written(&direction.to_string()) {
            Written::Missing => "is missing",
            Written::Empty | Written::Filled => "is empty",
        };
        let lets = match direction {
            Direction::Ingress => "lets nobody in",
            Direction::Egress => "lets nothing out",
        };
        let words = format!("It has no rule, as its {direction} {list}: by itself it {lets}");
        self.sentence(words, &format!("spec.{direction}"))
    }

    /// A direction that the policy does not isolate for (rules 3 and 4).
    fn untouched(&self, direction: Direction) -> Sentence {
        let name = type_name(direction);
        let section = self.written(&direction.to_string());
        let why = match (self.written("policyTypes"), section) {
            (Written::Filled, Written::Filled) => {
                format!(
                    "as policyTypes leaves {name} out: what stands in {direction} has no effect"
                )
            }
            (Written::Filled, _) => format!("as policyTypes leaves {name} out"),
            (_, Written::Empty) => {
                format!(
                    "as it has no policyTypes, without which an empty {direction} isolates nothing"
                )
            }
            (_, _) => format!("as it has neither policyTypes nor an {direction} rule"),
        };
        let words = format!("It does not touch {}, {why}", connections(direction));
        let mut sentence = self.sentence(words, "spec.policyTypes");
        let all = match direction {
            Direction::Ingress => "everything is let in",
            Direction::Egress => "everything is let out",
        };
        let others = self.others.iter().map(|(other, _)| other);
        let others: Vec<_> = others.filter(|other| other.rules(direction).is_some()).collect();
        let words = match others.len() {
            0 if !self.foreign.is_empty() => {
                format!("Whether another policy isolates them for {direction} is not known")
            }
            0 if self.selected.is_empty() => {
                format!("Unless another policy isolates them for {direction}, {all}")
            }
            0 => format!("No other policy isolates them for {direction} at the moment: {all}"),
            1 => format!("But {} isolates some of them for {direction}", some(others)),
            _ => format!("But {} isolate some of them for {direction}", some(others)),
        };
        sentence.below.push(Sentence::new(words));
        sentence
    }

    fn rule(&self, direction: Direction, rule: &Allowance<'_>) -> Sentence {
        let path = format!("spec.{direction}[{}]", rule.index);
        let object = self.written.spec().get(direction.to_string());
        let object = object.and_then(|rules| rules.get(rule.index));
        let list = |field: &str| Written::of(object.and_then(|rule| rule.get(field)));
        let whose = match direction {
            Direction::Ingress => "each pod the policy selects",
            Direction::Egress => "the pod connected to",
        };
        let every_port = match (&rule.rule.ports, list("ports")) {
            (Ports::Any(_), _) => "",
            (Ports::Every, Written::Missing) => ", as it names no ports",
            (Ports::Every, _) => {
                ", as its list of ports is empty, which means every port and not none"
            }
        };
        let ports = ports(&rule.rule.ports, whose);
        let words = format!("Rule {path} {} connections to {ports}{every_port}", lets(direction));
        let mut sentence = self.sentence(words, &path);
        sentence.below = match &rule.rule.peers {
            Peers::Everyone => vec![everyone(direction, list(direction.peers_field()))],
            Peers::Any(peers) => self.peers(direction, &path, peers),
        };
        sentence.below.extend(self.named_ports(direction, &path, rule));
        if rule.names_everyone() && rule.rule.ports == Ports::Every {
            let goes = match direction {
                Direction::Ingress => "in",
                Direction::Egress => "out",
            };
            sentence.below.push(Sentence::new(format!(
                "That lets everything {goes}, whatever other NetworkPolicies say"
            )));
        }
        sentence
    }

    /// Whom a rule names: any of these.
    fn peers(&self, direction: Direction, path: &str, peers: &[Peer]) -> Vec<Sentence> {
        let preposition = direction.peers_field();
        let own = &self.policy.namespace;
        let sentences = peers.iter().enumerate().map(|(number, one)| {
            let words = match number {
                0 => format!("{} {}", capitalised(preposition), peer(one, own)),
                _ => format!("Or {preposition} {}", peer(one, own)),
            };
            let mut sentence = self.sentence(words, &format!("{path}.{preposition}[{number}]"));
            if self.has_pods() {
                let named = Named::peer(self.known, own, one);
                sentence.below = match one {
                    Peer::Pods { .. } => named.sentences().into_iter().map(Sentence::new).collect(),
                    // Blocks are about what is outside; that one holds no pod is nothing to tell.
                    Peer::Block { .. } => named.held().into_iter().map(Sentence::new).collect(),
                };
            }
            sentence
        });
        sentences.collect()
    }

    /// Which ports names are at the moment.
    fn named_ports(&self, direction: Direction, path: &str, rule: &Allowance<'_>) -> Vec<Sentence> {
        let Ports::Any(ports) = &rule.rule.ports else { return Vec::new() };
        let mut sentences = Vec::new();
        if !rule.has_named_port() {
            return sentences;
        }
        // A name is the destination's (rule 15).
        let named;
        let destinations = match direction {
            Direction::Ingress => &self.selected,
            Direction::Egress => {
                named = Named::rule(self.known, rule);
                &named
            }
        };
        for (number, port) in ports.iter().enumerate() {
            let PortSpec::Named(name) = &port.ports else { continue };
            let words = named_port(name, port.protocol, destinations);
            let path = format!("{path}.ports[{number}]");
            sentences.extend(words.map(|words| self.sentence(words, &path)));
        }
        let has_addresses = rule.names_everyone() || rule.blocks().next().is_some();
        if direction == Direction::Egress && has_addresses {
            let words = "An address outside the cluster has no port with a name: nothing is let out to one \
                         by that";
            sentences.push(Sentence::new(words.to_owned()));
        }
        sentences
    }
}

/// A rule that names no peer (rules 6 and 7).
fn everyone(direction: Direction, list: Written) -> Sentence {
    let field = direction.peers_field();
    let why = match list {
        Written::Missing => format!("as it has no {field}"),
        Written::Empty | Written::Filled => {
            format!("as its {field} is empty, which means everyone and not nobody")
        }
    };
    let preposition = capitalised(field);
    Sentence::new(format!(
        "{preposition} everyone: every pod, and every address outside the cluster, {why}"
    ))
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), chars.as_str()))
}
