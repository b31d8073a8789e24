//! What selectors, peers and ports name, in words.

use std::fmt;

use ipnet::IpNet;

use crate::cluster::NAMESPACE_NAME_LABEL;
use crate::policy::{Namespaces, Peer, Port, PortSpec, Ports};
use crate::selector::{Operator, Requirement, Selector};
use crate::spelling::LISTED;

/// `one`, `one and other`, `one, other and third`, or with another word for `and`.
pub(super) fn joined(parts: &[String], and: &str) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {and} {last}", first.join(", ")),
    }
}

/// What `whose` labels must be (rule 11): `the label app=a and no label legacy`.
fn labels(selector: &Selector, whose: &str) -> String {
    let (equal, others): (Vec<_>, Vec<_>) = selector
        .requirements()
        .iter()
        .partition(|one| matches!(&one.operator, Operator::In(values) if values.len() == 1));
    let equal: Vec<String> = equal
        .into_iter()
        .flat_map(|Requirement { key, operator }| match operator {
            Operator::In(values) => {
                values.iter().map(|one| format!("{key}={}", value(one))).collect()
            }
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => Vec::new(),
        })
        .collect();
    let equal = match equal.as_slice() {
        [] => None,
        [one] => Some(format!("the label {one}")),
        several => Some(format!("the labels {}", joined(several, "and"))),
    };
    let others = others.into_iter().map(|one| requirement(one, whose));
    joined(&equal.into_iter().chain(others).collect::<Vec<_>>(), "and")
}

/// A label's value; one that is empty is hard to see.
fn value(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}

fn requirement(Requirement { key, operator }: &Requirement, whose: &str) -> String {
    let values = |values: &[String]| {
        let values: Vec<String> = values.iter().map(|one| value(one).to_owned()).collect();
        joined(&values, "or")
    };
    match operator {
        Operator::In(of) => format!("a label {key} with the value {}", values(of)),
        Operator::NotIn(of) => {
            let labels = match of.as_slice() {
                [one] => format!("no label {key}={}", value(one)),
                of => format!("no label {key} with the value {}", values(of)),
            };
            format!("{labels} ({whose} without any label {key} are meant too)")
        }
        Operator::Exists => format!("a label {key} of any value"),
        Operator::DoesNotExist => format!("no label {key}"),
    }
}

/// The pods of one namespace: `the pods of namespace shop that have the label app=a`.
pub(super) fn selected(namespace: &str, pods: &Selector) -> String {
    if pods.requirements().is_empty() {
        return format!("every pod of namespace {namespace}");
    }
    format!("the pods of namespace {namespace} that have {}", labels(pods, "pods"))
}

/// Whom `peer` names, in a policy of the namespace `own` (rules 9, 12 and 17).
pub(super) fn peer(peer: &Peer, own: &str) -> String {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let who = if pods.requirements().is_empty() {
                "every pod".to_owned()
            } else {
                format!("pods that have {},", labels(pods, "pods"))
            };
            let has_both = !pods.requirements().is_empty();
            match namespaces {
                Namespaces::OfThePolicy => {
                    format!(
                        "{who} in the policy's own namespace {own}, as there is no namespaceSelector"
                    )
                }
                Namespaces::Matching(selector) => {
                    let place = namespaces_of(selector);
                    let both = if has_both && !selector.requirements().is_empty() {
                        ": both must hold, as the two selectors are in one peer"
                    } else {
                        ""
                    };
                    format!("{who} in {place}{both}")
                }
            }
        }
        Peer::Block { cidr, except } => {
            let holes: Vec<String> = except.iter().map(block).collect();
            let holes = match holes.as_slice() {
                [] => String::new(),
                holes => format!(", except {}", joined(holes, "and")),
            };
            format!("{}{holes}", block(cidr))
        }
    }
}

/// The namespaces that a `namespaceSelector` names.
fn namespaces_of(selector: &Selector) -> String {
    const NAME: &str = "a namespace's label kubernetes.io/metadata.name is its name";
    match selector.requirements() {
        [] => "every namespace, as an empty namespaceSelector names all of them, but nobody outside the cluster"
            .to_owned(),
        [Requirement { key, operator: Operator::In(names) }] if key == NAMESPACE_NAME_LABEL => {
            let word = if names.len() == 1 { "namespace" } else { "the namespaces" };
            format!("{word} {} ({NAME})", joined(names, "and"))
        }
        [Requirement { key, operator: Operator::NotIn(names) }] if key == NAMESPACE_NAME_LABEL => {
            format!("every namespace but {} ({NAME})", joined(names, "and"))
        }
        _ => format!("namespaces that have {}", labels(selector, "namespaces")),
    }
}

/// The addresses of a block: `the addresses 10.0.0.0 to 10.0.0.255 (10.0.0.0/24)`.
fn block(cidr: &IpNet) -> String {
    let (first, last) = (cidr.network(), cidr.broadcast());
    let family = if cidr.network().is_ipv4() { "IPv4" } else { "IPv6" };
    if cidr.prefix_len() == 0 {
        format!("every address of {family} ({cidr})")
    } else if first == last {
        format!("the address {first}")
    } else {
        format!("the addresses {first} to {last} ({cidr})")
    }
}

/// The ports of a rule (rules 7 and 13 to 15); `whose` has those that it names by their names.
pub(super) fn ports(ports: &Ports, whose: &str) -> String {
    match ports {
        Ports::Every => "every port of every protocol".to_owned(),
        Ports::Any(ports) => {
            let parts: Vec<String> = ports.iter().map(|port| one_port(port, whose)).collect();
            joined(&parts, "or")
        }
    }
}

fn one_port(Port { protocol, ports }: &Port, whose: &str) -> String {
    match ports {
        PortSpec::Every => format!("every {protocol} port"),
        PortSpec::Range(range) if range.first == range.last => {
            format!("{protocol} port {}", range.first)
        }
        PortSpec::Range(range) => format!("{protocol} ports {} to {}", range.first, range.last),
        PortSpec::Named(name) => format!("the {protocol} port that {whose} calls {name:?}"),
    }
}

/// At most ten of `names`, and how many more there are.
pub(super) fn some(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    match names.len().saturating_sub(LISTED) {
        0 => joined(&names, "and"),
        more => format!("{} and {more} more", names[..LISTED].join(", ")),
    }
}
