//! `netpol diff`.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use netpol::cluster::Cluster;
use netpol::connections::Connections;
use netpol::connectivity::{Certainty, ListedEnd, answers};
use netpol::difference::{Difference, align};

use super::colour::Colour;
use super::formats::arrow;
use super::sources::How;
use super::{Failure, say, say_error};

/// Show the connections that another version of the manifests permits, or no longer permits
///
/// A line begins with + for what is gained, - for what is lost, ~ for a pair whose ports change, and
/// ? for what is not known any more. Exits 1 if something is gained, so that a change that opens more
/// than before stops a pipeline, and 3 if something may be gained and it is not known.
///
/// With --cluster (or one of the two from `kubectl get namespaces,networkpolicies,pods -A -o yaml`) the
/// answer is how a cluster has drifted from its manifests, in the namespaces that these speak of.
///
/// Example: netpol diff old/ new/
///
/// Example: netpol diff manifests/ --cluster
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// File or folder of the version before
    old: OsString,

    /// File or folder of the version after; not given with --cluster, which is what the cluster holds
    #[arg(required_unless_present_any = ["cluster", "context"])]
    new: Option<OsString>,

    #[command(flatten)]
    how: How,

    /// What to exit 1 for
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A connection that is permitted now and was not
    #[default]
    Gained,
    /// A connection that was permitted and is not now
    Lost,
    /// Either
    Any,
    /// Nothing
    Never,
}

impl Diff {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut old = self.how.read_files(self.old)?;
        let mut new = match self.new {
            Some(_) if self.how.is_of_cluster() => {
                return Err(Failure::BadArgument(anyhow!(
                    "with --cluster there is one path: the manifests that the cluster is compared with"
                )));
            }
            Some(new) => self.how.read_files(new)?,
            None => self.how.read_cluster()?,
        };
        let left_out = align(&mut old, &mut new);
        let difference = Difference::between(&answers(&old.cluster), &answers(&new.cluster));
        for (sign, line) in lines(&difference) {
            let colour = match sign {
                '+' => Colour::Green,
                '-' => Colour::Red,
                _ => Colour::Yellow,
            };
            say(colour.paint(format_args!("{sign} {line}"), &std::io::stdout()))?;
        }
        if !left_out.is_empty() {
            say_error(&format_args!(
                "not compared, for the manifests say nothing of them: {}",
                left_out.join(", ")
            ));
        }
        for (sign, workload) in workloads(&old.cluster, &new.cluster) {
            say_error(&format_args!("{sign} {workload}"));
        }
        let summary = summary(&difference);
        let Difference { gained, lost, unknown } = &difference;
        let fails = match self.fail_on {
            FailOn::Gained => !gained.is_empty(),
            FailOn::Lost => !lost.is_empty(),
            FailOn::Any => !gained.is_empty() || !lost.is_empty(),
            FailOn::Never => false,
        };
        if fails {
            return Err(anyhow!(summary).into());
        }
        if !unknown.is_empty() && self.fail_on != FailOn::Never {
            return Err(Failure::Unknown(anyhow!(summary)));
        }
        say_error(&summary);
        Ok(())
    }
}

/// One line of how much changes.
fn summary(difference: &Difference) -> String {
    if difference.is_empty() {
        return "no difference".to_owned();
    }
    let Difference { gained, lost, unknown } = difference;
    let unknown = match unknown.len() {
        0 => String::new(),
        some => format!(", {some} not known"),
    };
    format!("{} gained, {} lost{unknown}", gained.len(), lost.len())
}

/// What changes, a line for each pair, in the order of the pairs. Ports that a pair has instead of others
/// are one line.
fn lines(difference: &Difference) -> Vec<(char, String)> {
    let Difference { gained, lost, unknown } = difference;
    let mut lines: Vec<(&(ListedEnd, ListedEnd), char, String)> = Vec::new();
    for (pair, connections) in gained {
        lines.push(match lost.get(pair) {
            Some(before) => (pair, '~', change(before, connections)),
            None => (pair, '+', connections.to_string()),
        });
    }
    for (pair, connections) in lost.iter().filter(|(pair, _)| !gained.contains_key(*pair)) {
        lines.push((pair, '-', connections.to_string()));
    }
    lines.extend(unknown.iter().map(|(pair, connections)| (pair, '?', connections.to_string())));
    let mut lines: Vec<_> = lines
        .into_iter()
        .map(|((source, destination), sign, connections)| {
            let certainty = if sign == '?' { Certainty::Unknown } else { Certainty::Certain };
            let arrow = arrow(certainty);
            (sign, format!("{source} {arrow} {destination} : {connections}"))
        })
        .collect();
    // By pair, so that what changes for one stands together.
    lines.sort_by(|(_, one), (_, other)| one.cmp(other));
    lines
}

/// `TCP 7070 -> 8000`: the protocol once, where it is the same.
fn change(before: &Connections, after: &Connections) -> String {
    let (before, after) = (before.to_string(), after.to_string());
    match (before.split_once(' '), after.split_once(' ')) {
        (Some((protocol, _)), Some((same, ports)))
            if protocol == same && !before.contains(',') && !after.contains(',') =>
        {
            format!("{before} -> {ports}")
        }
        _ => format!("{before} -> {after}"),
    }
}

/// The workloads that only one of the two has.
fn workloads(old: &Cluster, new: &Cluster) -> Vec<(char, String)> {
    let ends = |cluster: &Cluster| -> BTreeSet<String> {
        cluster.pods().iter().map(|pod| ListedEnd::of(pod).to_string()).collect()
    };
    let (old, new) = (ends(old), ends(new));
    let added = new.difference(&old).map(|end| ('+', format!("workload {end}")));
    let removed = old.difference(&new).map(|end| ('-', format!("workload {end}")));
    added.chain(removed).collect()
}
