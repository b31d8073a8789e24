//! Who may reach whom: every permitted pair of workloads, and of a workload and the addresses
//! outside.
//!
//! The work grows with the answer: pods that the same rules are about share one `Filter`, which has
//! the pods that it lets through and no others; sets of connections are numbers, so that to join or
//! to meet two of them is to look it up.

mod external;
mod filters;
mod interned;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub(crate) use self::external::{Numbers, difference};
use self::external::{Outside, Range, doubtful};
use self::filters::{Pass, Reading, Row, World};
use self::interned::{Id, Interned};
use crate::cluster::{Cluster, Pod, Workload};
use crate::connections::Connections;
use crate::policy::Direction;

/// One end of a permitted pair as it is listed: pods of one workload are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListedEnd {
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

/// `NAMESPACE/NAME[KIND]` or `FIRST-LAST[External]`; of a pod that is none of the inputs' `NAMESPACE/[NAME]`.
impl fmt::Display for ListedEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(first, last) => write!(out, "{first}-{last}[External]"),
            // Piece by piece: a list may have millions of lines.
            Self::Workload { namespace, workload: Workload { kind, name } } => {
                let (open, close) = if kind.is_empty() { ("/[", "") } else { ("/", "[") };
                [namespace, open, name, close, kind, "]"]
                    .iter()
                    .try_for_each(|part| out.write_str(part))
            }
        }
    }
}

impl ListedEnd {
    /// The workload that `pod` is of.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        Self::Workload { namespace: pod.namespace.clone(), workload: pod.workload.clone() }
    }
}

/// Pairs, source first, and what may pass between the two.
pub type Connectivity = BTreeMap<(ListedEnd, ListedEnd), Connections>;

/// Who may reach whom, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// What surely may pass.
    pub certain: Connectivity,
    /// What may pass or not: it is not known which.
    pub unknown: Connectivity,
}

/// Whether it is known that connections may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// They may.
    Certain,
    /// They may or may not: a policy of a kind that is not modelled decides, or what policies do to a pod
    /// on its node's network.
    Unknown,
}

/// What surely may pass in `cluster`.
#[must_use]
pub fn connectivity(cluster: &Cluster) -> Connectivity {
    answers(cluster).certain
}

/// What may pass in `cluster`, and of what it is not known.
#[must_use]
pub fn answers(cluster: &Cluster) -> Answers {
    let mut answers = Answers::default();
    each_pair(cluster, |source, destination, connections, certainty| {
        answers.add(source, destination, connections, certainty);
    });
    answers
}

impl Answers {
    /// Adds a pair, which is not there yet.
    pub fn add(
        &mut self,
        source: &ListedEnd,
        destination: &ListedEnd,
        connections: &Connections,
        certainty: Certainty,
    ) {
        let pairs = match certainty {
            Certainty::Certain => &mut self.certain,
            Certainty::Unknown => &mut self.unknown,
        };
        pairs.insert((source.clone(), destination.clone()), connections.clone());
    }
}

/// Calls `tell` for every pair between which something may pass, in the order of what the ends are
/// called: source by source, first what is certain, then what is not known.
///
/// Pods of one workload are one end. Blocks of addresses are of what is outside the cluster: no
/// pod is listed for one (rule 18), nor a workload for itself.
pub fn each_pair(
    cluster: &Cluster,
    mut tell: impl FnMut(&ListedEnd, &ListedEnd, &Connections, Certainty),
) {
    let mut taken = cluster.clone();
    let has_hosts = cluster.pods().iter().any(|pod| pod.host_network);
    taken.pods_mut().iter_mut().for_each(|pod| pod.host_network = false);
    let world = World::new(&taken);
    // Rule 19: policies take pods on their node's network as any other, or ignore them.
    let ignoring = has_hosts.then(|| World::new(cluster));
    let worlds = || [&world].into_iter().chain(&ignoring);
    let mut interned = Interned::default();
    let mut passes = |reading| -> Vec<Pass<'_>> {
        worlds().map(|world| Pass::new(world, &mut interned, reading)).collect()
    };
    let least = passes(Reading::Least);
    let most = if cluster.foreign().is_empty() { None } else { Some(passes(Reading::Most)) };
    let most = most.as_ref().unwrap_or(&least);
    let has_doubts = has_hosts || !cluster.foreign().is_empty();

    let into = from_outside(&world, &least, most);
    let mut from_outside = into.iter().peekable();
    let mut certain = Outside::new(&least, Direction::Egress);
    let mut possible = Outside::new(most, Direction::Egress);
    let mut row = Row::new(world.ends.len());
    for source in 0..world.ends.len() {
        while let Some(outside) = from_outside.next_if(|((name, _), _)| *name < world.names[source])
        {
            tell_outside(&world, outside, &mut tell);
        }
        let end = &world.ends[source];
        let certain = certain.all(world.pods_of(source));
        let rows = least.iter().map(|pass| pass.row(&world, &mut interned, &mut row, source));
        let rows: Vec<_> = rows.collect();
        let certain_row = interned.in_all(rows);
        merge(&world, &certain, &certain_row, |to, connections| {
            let connections = connections.unwrap_or_else(|id| interned.get(id));
            tell(end, to, connections, Certainty::Certain);
        });
        if has_doubts {
            let unknown = doubtful(&certain, &possible.any(world.pods_of(source)));
            let rows = most.iter().map(|pass| pass.row(&world, &mut interned, &mut row, source));
            let rows: Vec<_> = rows.collect();
            let possible_row = interned.in_any(rows);
            let unknown_row = interned.more(&possible_row, &certain_row);
            merge(&world, &unknown, &unknown_row, |to, connections| {
                let connections = connections.unwrap_or_else(|id| interned.get(id));
                tell(end, to, connections, Certainty::Unknown);
            });
        }
    }
    for outside in from_outside {
        tell_outside(&world, outside, &mut tell);
    }
}

/// What may pass from outside, by what the range of addresses is called, with the places of the ends.
type FromOutside = BTreeMap<(String, Certainty), IntoEnds>;

/// A range of addresses, and what may pass from it to the ends at these places.
type IntoEnds = (ListedEnd, Vec<(usize, Connections)>);

fn from_outside(world: &World<'_>, least: &[Pass<'_>], most: &[Pass<'_>]) -> FromOutside {
    let mut into = FromOutside::new();
    let mut add = |index: usize, found: &[Range], certainty| {
        for Range { name, end, connections } in found {
            let entry = into.entry((name.clone(), certainty));
            let (_, to) = entry.or_insert_with(|| (end.clone(), Vec::new()));
            to.push((index, connections.clone()));
        }
    };
    let mut certain = Outside::new(least, Direction::Ingress);
    let mut possible = Outside::new(most, Direction::Ingress);
    for index in 0..world.ends.len() {
        let certain = certain.all(world.pods_of(index));
        add(index, &certain, Certainty::Certain);
        let possible = possible.any(world.pods_of(index));
        add(index, &doubtful(&certain, &possible), Certainty::Unknown);
    }
    into
}

fn tell_outside(
    world: &World<'_>,
    ((_, certainty), (range, to)): (&(String, Certainty), &IntoEnds),
    tell: &mut impl FnMut(&ListedEnd, &ListedEnd, &Connections, Certainty),
) {
    for (index, connections) in to {
        tell(range, &world.ends[*index], connections, *certainty);
    }
}

/// Tells of what is outside and of what is inside, in the order of what they are called.
fn merge<'r>(
    world: &World<'_>,
    outside: &'r [Range],
    inside: &[(usize, Id)],
    mut tell: impl FnMut(&ListedEnd, Result<&'r Connections, Id>),
) {
    let mut outside = outside.iter().peekable();
    for (end, id) in inside {
        while let Some(range) = outside.next_if(|range| range.name < world.names[*end]) {
            tell(&range.end, Ok(&range.connections));
        }
        tell(&world.ends[*end], Err(*id));
    }
    for range in outside {
        tell(&range.end, Ok(&range.connections));
    }
}
