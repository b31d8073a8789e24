//! The forms that a list of permitted pairs can take.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::ValueEnum;
use netpol::answer::Answer;
use netpol::cluster::Cluster;
use netpol::connections::Connections;
use netpol::connectivity::{Answers, Certainty, ListedEnd, answers, each_pair};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// SOURCE => DESTINATION : CONNECTIONS, with =? for what is not known
    #[default]
    Text,
    /// An array of objects, with ports as numbers
    Json,
    /// Source, destination, connections, with a heading
    Csv,
    /// For Graphviz: dot -Tsvg
    Dot,
    /// For Markdown
    Mermaid,
}

impl Format {
    /// Writes the pairs of `cluster` between which something may pass, as they are found.
    pub(super) fn write(self, cluster: &Cluster, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Text => each(cluster, |source, destination, connections, certainty| {
                let arrow = arrow(certainty);
                writeln!(out, "{source} {arrow} {destination} : {connections}")
            }),
            Self::Json => {
                let mut before = "[";
                each(cluster, |source, destination, connections, certainty| {
                    let object = object(source, destination, connections, certainty);
                    write!(out, "{before}\n  {object}")?;
                    before = ",";
                    Ok(())
                })?;
                writeln!(out, "{}", if before == "[" { "[]" } else { "\n]" })
            }
            Self::Csv => {
                writeln!(out, "source,destination,connections")?;
                // No name holds a quote; what passes may hold commas (RFC 4180).
                each(cluster, |source, destination, connections, certainty| {
                    let mark = mark(certainty);
                    writeln!(out, "{source},{destination},\"{mark}{connections}\"")
                })
            }
            Self::Dot => {
                writeln!(out, "digraph {{\n  rankdir=LR\n  node [shape=box]")?;
                each(cluster, |source, destination, connections, certainty| {
                    let mark = mark(certainty);
                    let style = match certainty {
                        Certainty::Certain => "",
                        Certainty::Unknown => " style=dashed",
                    };
                    writeln!(
                        out,
                        "  \"{source}\" -> \"{destination}\" [label=\"{mark}{connections}\"{style}]"
                    )
                })?;
                writeln!(out, "}}")
            }
            Self::Mermaid => mermaid(&answers(cluster), out),
        }
    }
}

/// What stands between the ends of a pair.
pub(super) fn arrow(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => "=>",
        Certainty::Unknown => "=?",
    }
}

/// What stands before connections.
fn mark(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => "",
        Certainty::Unknown => "unknown: ",
    }
}

fn verdict(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => Answer::Yes.verdict(),
        Certainty::Unknown => Answer::Unknown.verdict(),
    }
}

/// Calls `write` for every pair, up to the first error.
fn each(
    cluster: &Cluster,
    mut write: impl FnMut(&ListedEnd, &ListedEnd, &Connections, Certainty) -> io::Result<()>,
) -> io::Result<()> {
    let mut result = Ok(());
    each_pair(cluster, |source, destination, connections, certainty| {
        if result.is_ok() {
            result = write(source, destination, connections, certainty);
        }
    });
    result
}

fn object(
    source: &ListedEnd,
    destination: &ListedEnd,
    connections: &Connections,
    certainty: Certainty,
) -> Value {
    let ports = connections.ranges().map(|(protocol, range)| {
        json!({"protocol": protocol.to_string(), "port": range.first, "endPort": range.last})
    });
    let ports: Vec<Value> = ports.collect();
    json!({
        "source": source.to_string(),
        "destination": destination.to_string(),
        "verdict": verdict(certainty),
        "all": connections.is_all(),
        "ports": ports,
    })
}

fn mermaid(answers: &Answers, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    let pairs = || answers.certain.keys().chain(answers.unknown.keys());
    let ends: BTreeSet<_> =
        pairs().flat_map(|(source, destination)| [source, destination]).collect();
    let ids: BTreeMap<_, _> = ends.into_iter().zip(0..).collect();
    for (end, id) in &ids {
        writeln!(out, "    n{id}[\"{end}\"]")?;
    }
    for (pairs, arrow) in [(&answers.certain, "-->"), (&answers.unknown, "-.->")] {
        for ((source, destination), connections) in pairs {
            writeln!(out, "    n{} {arrow}|\"{connections}\"| n{}", ids[source], ids[destination])?;
        }
    }
    Ok(())
}
