//! A valid NetworkPolicy with the API's defaults applied: what [`crate::isolation`] works on.

use std::fmt;

use ipnet::IpNet;

use crate::port::{PortRange, Protocol};
use crate::selector::Selector;

/// Which way a connection goes, seen from the pod that a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Connections to the pod.
    Ingress,
    /// Connections from the pod.
    Egress,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The field of a rule that names its peers.
    #[must_use]
    pub fn peers_field(self) -> &'static str {
        match self {
            Self::Ingress => "from",
            Self::Egress => "to",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// A NetworkPolicy. Made by [`crate::validate::policy`] only.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its namespace, whose pods alone it selects (rule 1).
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The pods it isolates (rule 8).
    pub pods: Selector,
    /// What it lets in, if it isolates for ingress at all.
    pub ingress: Option<Vec<Rule>>,
    /// What it lets out, if it isolates for egress at all.
    pub egress: Option<Vec<Rule>>,
}

impl Policy {
    /// The rules of one direction; `None` where the policy does not isolate for it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// One rule: these peers at these ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Who may connect, or be connected to.
    pub peers: Peers,
    /// At which ports of the destination.
    pub ports: Ports,
}

/// The peers of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Peers {
    /// `from` or `to` is missing or empty (rule 7).
    Everyone,
    /// Any of these (rule 9).
    Any(Vec<Peer>),
}

/// One peer of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Peer {
    /// Pods with these labels in these namespaces: both must match (rule 9).
    Pods {
        /// Where the pods are.
        namespaces: Namespaces,
        /// Which pods there.
        pods: Selector,
    },
    /// Addresses of `cidr` that are in none of `except` (rule 17).
    Block {
        /// The block.
        cidr: IpNet,
        /// What is taken out of it.
        except: Vec<IpNet>,
    },
}

/// The namespaces of a peer.
#[derive(Clone, Debug, PartialEq)]
pub enum Namespaces {
    /// No `namespaceSelector`: the policy's own namespace.
    OfThePolicy,
    /// Namespaces with these labels.
    Matching(Selector),
}

/// The ports of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Ports {
    /// `ports` is missing or empty: every port of every protocol (rule 7).
    Every,
    /// Any of these.
    Any(Vec<Port>),
}

/// One port entry of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// TCP if the entry names none (rule 13).
    pub protocol: Protocol,
    /// Which ports of the protocol.
    pub ports: PortSpec,
}

/// The ports of one entry.
#[derive(Clone, Debug, PartialEq)]
pub enum PortSpec {
    /// A protocol without port: all its ports (rule 13).
    Every,
    /// `port`, or `port` to `endPort`.
    Range(PortRange),
    /// The destination pod's container port of this name (rule 15).
    Named(String),
}
