//! May this connection be made, and which rule decided?

use crate::answer::Answer;
use crate::cluster::{Cluster, ForeignPolicy, Pod};
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
    /// These policies, of kinds that are not modelled, may be about this end.
    Foreign(Vec<&'a ForeignPolicy>),
    /// These policies select this end, a pod on its node's network, and it matters what they do there
    /// (rule 19).
    HostNetwork(Vec<&'a Policy>),
    /// Policies isolate, and this is the first rule of which it is not known whether it names the
    /// other end: a block, and the pod's addresses are not known, or a selector, and the pod is on its
    /// node's network.
    UnknownPeer(Allowance<'a>),
}

impl Decision<'_> {
    /// Whether this end lets the connection be made.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Exempt | Self::Open | Self::AllowedBy(_) => Answer::Yes,
            Self::Denied(_) => Answer::No,
            Self::Foreign(_) | Self::HostNetwork(_) | Self::UnknownPeer(_) => Answer::Unknown,
        }
    }
}

impl Verdict<'_> {
    /// Whether the connection may be made: both ends must let it (rule 2).
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.egress.answer().min(self.ingress.answer())
    }

    /// Whether the connection surely may be made.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.answer() == Answer::Yes
    }
}

/// Decides on `connection` in `cluster`.
#[must_use]
pub fn evaluate<'a>(cluster: &'a Cluster, connection: &Connection<'_>) -> Verdict<'a> {
    if is_exempt(connection.source, connection.destination) {
        return Verdict { egress: Decision::Exempt, ingress: Decision::Exempt };
    }
    let ignored = both_ends(cluster, connection);
    if !is_on_host_network(connection.source) && !is_on_host_network(connection.destination) {
        return ignored;
    }
    let (source, destination) = (moved(connection.source), moved(connection.destination));
    let ordinary = Connection {
        source: source.as_ref().map_or(connection.source, End::Pod),
        destination: destination.as_ref().map_or(connection.destination, End::Pod),
        ..*connection
    };
    let taken = both_ends(cluster, &ordinary);
    if ignored.answer() == taken.answer() {
        return taken;
    }
    let [egress, ingress] = [
        (connection.source, ignored.egress, taken.egress),
        (connection.destination, ignored.ingress, taken.ingress),
    ]
    .map(|(own, ignored, taken)| undefined(own, ignored, taken));
    Verdict { egress, ingress }
}

fn both_ends<'a>(cluster: &'a Cluster, connection: &Connection<'_>) -> Verdict<'a> {
    Verdict {
        egress: decide(cluster, connection, Direction::Egress),
        ingress: decide(cluster, connection, Direction::Ingress),
    }
}

fn is_on_host_network(end: End<'_>) -> bool {
    matches!(end, End::Pod(pod) if pod.host_network)
}

fn moved(end: End<'_>) -> Option<Pod> {
    match end {
        End::Pod(pod) => Some(pod.on_its_own_network()),
        End::Node | End::Address(_) | End::Outside => None,
    }
}

/// What an end says if policies ignore pods on their node's network, and if they take them as any other
/// (rule 19).
fn undefined<'a>(own: End<'_>, ignored: Decision<'a>, taken: Decision<'a>) -> Decision<'a> {
    if ignored.answer() == taken.answer() {
        return taken;
    }
    match (taken, ignored) {
        (Decision::AllowedBy(rule) | Decision::UnknownPeer(rule), Decision::Denied(_)) => {
            Decision::UnknownPeer(rule)
        }
        (Decision::Denied(policies), _) if is_on_host_network(own) => {
            Decision::HostNetwork(policies)
        }
        (taken, _) => taken,
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
        Isolation::Unknown(policies) => Decision::Foreign(policies),
        Isolation::Isolated { policies, rules } => {
            let Connection { destination, protocol, port, .. } = *connection;
            let mut unknown = None;
            for rule in rules.iter().filter(|rule| rule.covers(destination, protocol, port)) {
                match rule.names(cluster, peer) {
                    Answer::Yes => return Decision::AllowedBy(*rule),
                    Answer::Unknown => unknown = unknown.or(Some(*rule)),
                    Answer::No => {}
                }
            }
            unknown.map_or(Decision::Denied(policies), Decision::UnknownPeer)
        }
    }
}

#[cfg(test)]
mod tests;
