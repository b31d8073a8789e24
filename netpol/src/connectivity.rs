//! Who may reach whom: every permitted pair of workloads, and of a workload and the addresses
//! outside.
//!
//! The work grows with the answer: pods that the same rules are about share one `Filter`, which has
//! the pods that it lets through and no others; ends that no rule tells apart are of one `Class`, whose
//! row is found once; sets of connections are numbers, so that to join or to meet two of them is to look
//! it up.

mod classes;
mod external;
mod filters;
mod interned;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use self::classes::{Classes, To};
pub(crate) use self::external::{Numbers, difference};
use self::external::{Outside, Range, doubtful};
use self::filters::{Pass, Reading, World};
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
    each_pair(cluster, |pair| answers.add(pair));
    answers
}

impl Answers {
    /// Adds a pair, which is not there yet.
    pub fn add(&mut self, Pair { source, destination, connections, certainty, .. }: Pair<'_>) {
        let pairs = match certainty {
            Certainty::Certain => &mut self.certain,
            Certainty::Unknown => &mut self.unknown,
        };
        pairs.insert((source.end.clone(), destination.end.clone()), connections.clone());
    }
}

/// An end, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct NamedEnd<'p> {
    /// Which end it is.
    pub end: &'p ListedEnd,
    /// As its `Display` has it: a list of millions of pairs has few ends, which are named once.
    pub name: &'p str,
}

/// A pair between which something may pass.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'p> {
    /// Who connects.
    pub source: NamedEnd<'p>,
    /// To whom.
    pub destination: NamedEnd<'p>,
    /// At which ports.
    pub connections: &'p Connections,
    /// These, as their `Display` has them.
    pub ports: &'p str,
    /// Whether that is known.
    pub certainty: Certainty,
}

/// Calls `tell` for every pair between which something may pass, in the order of what the ends are
/// called: source by source, first what is certain, then what is not known.
///
/// Pods of one workload are one end. Blocks of addresses are of what is outside the cluster: no
/// pod is listed for one (rule 18), nor a workload for itself.
pub fn each_pair(cluster: &Cluster, mut tell: impl FnMut(Pair<'_>)) {
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

    let into = from_outside(&world, &mut interned, &least, most);
    let mut from_outside = into.iter().peekable();
    let mut classes = Classes::new(&world, &least, most, has_doubts);
    for source in 0..world.ends.len() {
        while let Some(outside) = from_outside.next_if(|((name, _), _)| *name < world.names[source])
        {
            tell_outside(&world, &interned, outside, &mut tell);
        }
        let class = classes.of(&mut interned, source);
        for (certainty, passing) in
            [(Certainty::Certain, &class.certain), (Certainty::Unknown, &class.unknown)]
        {
            for (destination, id) in passing {
                let destination = match destination {
                    // A pod always reaches itself (rule 20).
                    To::End(end) if *end == source => continue,
                    To::End(end) => world.named(*end),
                    To::Range(range) => range.named(),
                };
                tell(interned.pair(world.named(source), destination, *id, certainty));
            }
        }
    }
    for outside in from_outside {
        tell_outside(&world, &interned, outside, &mut tell);
    }
}

/// What may pass from outside, by what the range of addresses is called.
type FromOutside = BTreeMap<(String, Certainty), IntoEnds>;

/// A range of addresses, and what may pass from it to the ends at these places.
type IntoEnds = (ListedEnd, Vec<(usize, Id)>);

fn from_outside(
    world: &World<'_>,
    interned: &mut Interned,
    least: &[Pass<'_>],
    most: &[Pass<'_>],
) -> FromOutside {
    let mut into = FromOutside::new();
    let mut add = |index: usize, found: &[Range], certainty| {
        for Range { name, end, connections } in found {
            let entry = into.entry((name.clone(), certainty));
            let (_, to) = entry.or_insert_with(|| (end.clone(), Vec::new()));
            to.push((index, interned.id(connections.clone())));
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
    interned: &Interned,
    ((name, certainty), (end, to)): (&(String, Certainty), &IntoEnds),
    tell: &mut impl FnMut(Pair<'_>),
) {
    for (index, id) in to {
        tell(interned.pair(NamedEnd { end, name }, world.named(*index), *id, *certainty));
    }
}
