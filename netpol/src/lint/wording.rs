//! What a policy says and does not do: lists that are written and empty, sections that `policyTypes`
//! leaves out, peers that others of their list contain.

use serde_json::Value;

use super::{Context, Lint};
use crate::cluster::NAMESPACE_NAME_LABEL;
use crate::isolation::Block;
use crate::policy::{Direction, Namespaces, Peer, Peers};
use crate::selector::{Operator, Requirement, Selector};

impl Lint<'_> {
    pub(super) fn wording(&mut self) {
        for direction in Direction::BOTH {
            self.section(direction);
            let section = self.written.spec()[direction.to_string()].as_array();
            let lists: Vec<_> = section
                .into_iter()
                .flatten()
                .map(|rule| {
                    [direction.peers_field(), "ports"]
                        .map(|field| rule.get(field).is_some_and(is_empty))
                })
                .collect();
            for (index, [no_peers, no_ports]) in lists.into_iter().enumerate() {
                self.empty_lists(direction, index, no_peers, no_ports);
            }
            for (index, rule) in self.policy.rules(direction).unwrap_or_default().iter().enumerate()
            {
                if let Peers::Any(peers) = &rule.peers {
                    self.contained(&format!("spec.{direction}[{index}]"), direction, peers);
                }
            }
        }
    }

    /// A list that is written and empty restricts nothing (rule 7), and is often meant to name nobody.
    fn empty_lists(&mut self, direction: Direction, index: usize, no_peers: bool, no_ports: bool) {
        let path = format!("spec.{direction}[{index}]");
        let field = direction.peers_field();
        if no_peers {
            let may = match direction {
                Direction::Ingress => "everyone may connect",
                Direction::Egress => "connections to everyone are allowed",
            };
            let message = format!(
                "is written and empty, which means everyone and not nobody: {may}; leave it out if that is meant"
            );
            self.warn(&format!("{path}.{field}"), message);
        }
        if no_ports {
            let message = "is written and empty, which means every port and not none; leave it out if that is meant";
            self.warn(&format!("{path}.ports"), message.to_owned());
        }
    }

    /// A section that is empty where that isolates nothing (rule 3), or that `policyTypes` leaves out
    /// (rule 4).
    fn section(&mut self, direction: Direction) {
        if self.policy.rules(direction).is_some() {
            return;
        }
        let spec = self.written.spec();
        let Some(section) = spec.get(direction.to_string()) else { return };
        let name = match direction {
            Direction::Ingress => "Ingress",
            Direction::Egress => "Egress",
        };
        let path = format!("spec.{direction}");
        let has_types = spec.get("policyTypes").is_some_and(|types| !is_empty(types));
        let message = match (has_types, is_empty(section)) {
            (false, _) => format!(
                "is written and empty, which isolates nothing for {direction} without policyTypes: \
                 write policyTypes with {name} to deny all, or leave it out"
            ),
            // What a template left.
            (true, true) if section.is_null() => return,
            (true, true) => format!(
                "is empty, and policyTypes leaves {name} out: nothing is isolated for {direction}"
            ),
            (true, false) => format!(
                "has no effect: policyTypes leaves {name} out, and nothing is isolated for {direction}"
            ),
        };
        self.warn(&path, message);
    }

    /// Peers are alternatives: one that another contains adds nothing, and takes nothing away.
    fn contained(&mut self, path: &str, direction: Direction, peers: &[Peer]) {
        let field = direction.peers_field();
        let own = &self.policy.namespace;
        for (number, peer) in peers.iter().enumerate() {
            let others = peers.iter().enumerate().filter(|(other, _)| *other != number);
            let container = others.into_iter().find(|(other, outer)| {
                let contains = |inner, outer| self.context.contains(own, inner, outer);
                // Of two that are the same the second is one too many.
                contains(peer, *outer) && (!contains(*outer, peer) || *other < number)
            });
            if let Some((other, _)) = container {
                // Whom this one leaves out is often meant to stay out.
                let hint = if leaves_out(peer) {
                    format!("; whom it leaves out, {field}[{other}] lets pass")
                } else {
                    String::new()
                };
                let message = format!(
                    "adds nothing: {field}[{other}] contains it, and peers of a list are alternatives{hint}"
                );
                self.warn(&format!("{path}.{field}[{number}]"), message);
            }
        }
    }
}

/// Whether a peer is written as all but some.
fn leaves_out(peer: &Peer) -> bool {
    let excludes = |selector: &Selector| {
        let mut operators = selector.requirements().iter().map(|one| &one.operator);
        operators.any(|one| matches!(one, Operator::NotIn(_) | Operator::DoesNotExist))
    };
    match peer {
        Peer::Block { except, .. } => !except.is_empty(),
        Peer::Pods { namespaces: Namespaces::Matching(namespaces), pods } => {
            excludes(namespaces) || excludes(pods)
        }
        Peer::Pods { namespaces: Namespaces::OfThePolicy, pods } => excludes(pods),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

impl Context<'_> {
    /// Whether everybody whom `inner` names, in a policy of the namespace `own`, `outer` names too.
    fn contains(&self, own: &str, inner: &Peer, outer: &Peer) -> bool {
        match (inner, outer) {
            (
                Peer::Block { cidr, except },
                Peer::Block { cidr: outer_cidr, except: outer_except },
            ) => {
                let is_v4 = |cidr: &ipnet::IpNet| cidr.network().is_ipv4();
                let outer: Vec<_> =
                    Block { cidr: outer_cidr, except: outer_except }.ranges().collect();
                is_v4(cidr) == is_v4(outer_cidr)
                    && Block { cidr, except }.ranges().all(|(first, last)| {
                        outer.iter().any(|(low, high)| *low <= first && last <= *high)
                    })
            }
            (
                Peer::Pods { namespaces, pods },
                Peer::Pods { namespaces: outer_namespaces, pods: outer_pods },
            ) => implies(pods, outer_pods) && self.is_within(own, namespaces, outer_namespaces),
            _ => false,
        }
    }

    fn is_within(&self, own: &str, inner: &Namespaces, outer: &Namespaces) -> bool {
        match (inner, outer) {
            (Namespaces::OfThePolicy, Namespaces::OfThePolicy) => true,
            (Namespaces::OfThePolicy, Namespaces::Matching(outer)) => {
                let labels = self.cluster.namespace_labels(own);
                // Labels may be there that the inputs do not show.
                let surely = |one: &Requirement| match &one.operator {
                    _ if one.key == NAMESPACE_NAME_LABEL => {
                        one.matches(&[(one.key.clone(), own.to_owned())].into())
                    }
                    Operator::In(_) | Operator::Exists => {
                        labels.is_some_and(|labels| one.matches(labels))
                    }
                    Operator::NotIn(_) | Operator::DoesNotExist => false,
                };
                outer.requirements().iter().all(surely)
            }
            (Namespaces::Matching(inner), Namespaces::OfThePolicy) => {
                let this = Operator::In(vec![own.to_owned()]);
                let this = Requirement { key: NAMESPACE_NAME_LABEL.to_owned(), operator: this };
                requires(inner, &this)
            }
            (Namespaces::Matching(inner), Namespaces::Matching(outer)) => implies(inner, outer),
        }
    }
}

/// Whether all labels that `inner` matches `outer` matches too.
fn implies(inner: &Selector, outer: &Selector) -> bool {
    outer.requirements().iter().all(|one| requires(inner, one))
}

/// Whether labels that `selector` matches always meet `wanted`.
fn requires(selector: &Selector, wanted: &Requirement) -> bool {
    let own: Vec<&Operator> = selector
        .requirements()
        .iter()
        .filter(|one| one.key == wanted.key)
        .map(|one| &one.operator)
        .collect();
    let excluded = |value: &String| {
        own.iter().any(|one| matches!(one, Operator::NotIn(values) if values.contains(value)))
    };
    // The values that the key may have, where it must have one of some.
    let mut listed: Option<Vec<&String>> = None;
    for one in &own {
        let Operator::In(values) = one else { continue };
        listed = Some(match listed {
            None => values.iter().collect(),
            Some(before) => before.into_iter().filter(|value| values.contains(value)).collect(),
        });
    }
    let listed: Option<Vec<&String>> =
        listed.map(|values| values.into_iter().filter(|value| !excluded(value)).collect());
    let is_absent = own.iter().any(|one| matches!(one, Operator::DoesNotExist));
    match &wanted.operator {
        Operator::In(values) => {
            listed.is_some_and(|listed| listed.iter().all(|value| values.contains(value)))
        }
        Operator::NotIn(values) => {
            is_absent
                || listed.is_some_and(|listed| !listed.iter().any(|value| values.contains(value)))
                || values.iter().all(excluded)
        }
        Operator::Exists => {
            listed.is_some() || own.iter().any(|one| matches!(one, Operator::Exists))
        }
        Operator::DoesNotExist => is_absent,
    }
}

#[cfg(test)]
mod tests;
