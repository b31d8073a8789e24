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
mod reached;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

pub(crate) use self::external::{Numbers, difference};
pub use self::reached::reached;
pub(crate) use self::walk::{Walk, walked};
use crate::cluster::{Cluster, Pod, Workload};
use crate::connections::Connections;

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
    /// Whether it is none of the cluster's own.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        matches!(self, Self::External(..))
    }

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
    walked(cluster, |walk| {
        let into = walk.outside_in();
        let mut from_outside = into.iter().peekable();
        for source in 0..walk.ends() {
            let name = walk.end(source).name;
            while let Some(outside) =
                from_outside.next_if(|((before, _), _)| before.as_str() < name)
            {
                walk.pairs_into(outside).for_each(&mut tell);
            }
            let class = walk.class(source);
            walk.pairs(source, &class).for_each(&mut tell);
        }
        for outside in from_outside {
            walk.pairs_into(outside).for_each(&mut tell);
        }
    });
}
