//! May this connection be made, and which rule decided?

use crate::cluster::Cluster;
use crate::isolation::{Allowance, End, Isolation};
use crate::policy::{Direction, Policy};
use crate::port::Protocol;

/// A connection that somebody wants to make.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Who opens it.
    pub source: End<'a>,
    /// Who it is opened to.
    pub destination: End<'a>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The destination's port.
    pub port: u16,
}

/// What both ends say to a connection (rule 2).
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// What the policies of the source say.
    pub egress: Decision<'a>,
    /// What the policies of the destination say.
    pub ingress: Decision<'a>,
}

/// What one end says.
#[derive(Clone, Debug)]
pub enum Decision<'a> {
    /// Both ends are one pod, or a pod and its node: no policy applies (rules 20 and 21).
    Exempt,
    /// No policy isolates this end, or it is no pod.
    Open,
    /// This rule allows it; the first that does.
    AllowedBy(Allowance<'a>),
    /// These policies isolate, and no rule of theirs allows it.
    Denied(Vec<&'a Policy>),
}

impl Decision<'_> {
    /// Whether this end lets the connection be made.
    #[must_use]
    pub fn allows(&self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

impl Verdict<'_> {
    /// Whether the connection may be made.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.egress.allows() && self.ingress.allows()
    }
}

/// Decides on `connection` in `cluster`.
#[must_use]
pub fn evaluate<'a>(cluster: &'a Cluster, connection: &Connection<'_>) -> Verdict<'a> {
    if is_exempt(connection.source, connection.destination) {
        return Verdict { egress: Decision::Exempt, ingress: Decision::Exempt };
    }
    Verdict {
        egress: decide(cluster, connection, Direction::Egress),
        ingress: decide(cluster, connection, Direction::Ingress),
    }
}

/// Whether no policy applies between the two (rules 20 and 21).
fn is_exempt(source: End<'_>, destination: End<'_>) -> bool {
    match (source, destination) {
        (End::Node, _) | (_, End::Node) => true,
        (End::Pod(one), End::Pod(other)) => {
            one.namespace == other.namespace && one.name == other.name
        }
        _ => false,
    }
}

fn decide<'a>(
    cluster: &'a Cluster,
    connection: &Connection<'_>,
    direction: Direction,
) -> Decision<'a> {
    let (isolated, peer) = match direction {
        Direction::Egress => (connection.source, connection.destination),
        Direction::Ingress => (connection.destination, connection.source),
    };
    let End::Pod(pod) = isolated else { return Decision::Open };
    match Isolation::of(cluster, pod, direction) {
        Isolation::Open => Decision::Open,
        Isolation::Isolated { policies, rules } => rules
            .into_iter()
            .find(|allowance| {
                let Connection { destination, protocol, port, .. } = *connection;
                allowance.names(cluster, peer) && allowance.covers(destination, protocol, port)
            })
            .map_or(Decision::Denied(policies), Decision::AllowedBy),
    }
}

#[cfg(test)]
mod tests;
