//! The forms that a list of permitted pairs can take.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use clap::ValueEnum;
use netpol::answer::Answer;
use netpol::cluster::Cluster;
use netpol::connections::Connections;
use netpol::connectivity::{Answers, Certainty, Pair, each_pair};
use serde_json::{Value, json};

use super::table::Wanted;
use super::{graph, table};

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
    /// A line for each source, a column for each destination
    Table,
    /// An image
    Svg,
}

impl Format {
    /// Writes the pairs of `cluster` between which something may pass and that are wanted, as they are found.
    pub(super) fn write(
        self,
        cluster: &Cluster,
        wanted: &Wanted<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let each = |write: &mut dyn FnMut(Pair<'_>) -> io::Result<()>| each(cluster, wanted, write);
        match self {
            Self::Text => {
                // A list may have millions of lines: they are written many at once.
                let mut lines = String::new();
                each(&mut |Pair { source, destination, ports, certainty, .. }| {
                    lines.push_str(source.name);
                    lines.push_str(arrow(certainty));
                    lines.push_str(destination.name);
                    lines.push_str(" : ");
                    lines.push_str(ports);
                    lines.push('\n');
                    if lines.len() < AT_ONCE {
                        return Ok(());
                    }
                    let written = out.write_all(lines.as_bytes());
                    lines.clear();
                    written
                })?;
                out.write_all(lines.as_bytes())
            }
            Self::Json => {
                let mut before = "[";
                each(&mut |pair| {
                    write!(out, "{before}\n  {}", object(&pair))?;
                    before = ",";
                    Ok(())
                })?;
                writeln!(out, "{}", if before == "[" { "[]" } else { "\n]" })
            }
            Self::Csv => {
                writeln!(out, "source,destination,connections")?;
                // No name holds a quote; what passes may hold commas (RFC 4180).
                each(&mut |Pair { source, destination, ports, certainty, .. }| {
                    let mark = mark(certainty);
                    writeln!(out, "{},{},\"{mark}{ports}\"", source.name, destination.name)
                })
            }
            Self::Dot => dot(each, out),
            Self::Svg => {
                let mut text = Vec::new();
                dot(each, &mut text)?;
                let image = graph::svg(&String::from_utf8_lossy(&text))?;
                out.write_all(image.as_bytes())
            }
            Self::Mermaid => mermaid(&collected(cluster, wanted), out),
            Self::Table => table::write(cluster, &collected(cluster, wanted), wanted, out),
        }
    }
}

/// So many bytes of a list are written at once, or a line more.
const AT_ONCE: usize = 1 << 16;

/// What stands between the ends of a pair, with the spaces round it.
pub(super) fn arrow(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => " => ",
        Certainty::Unknown => " =? ",
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

/// Every pair that is wanted.
fn collected(cluster: &Cluster, wanted: &Wanted<'_>) -> Answers {
    let mut answers = Answers::default();
    each_pair(cluster, |pair| {
        if wanted(pair.source.end, pair.destination.end) {
            answers.add(pair);
        }
    });
    answers
}

/// Calls `write` for every pair that is wanted, up to the first error.
fn each(
    cluster: &Cluster,
    wanted: &Wanted<'_>,
    write: &mut dyn FnMut(Pair<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut result = Ok(());
    each_pair(cluster, |pair| {
        if result.is_ok() && wanted(pair.source.end, pair.destination.end) {
            result = write(pair);
        }
    });
    result
}

fn object(Pair { source, destination, connections, certainty, .. }: &Pair<'_>) -> Value {
    json!({
        "source": source.name,
        "destination": destination.name,
        "verdict": verdict(*certainty),
        "all": connections.is_all(),
        "ports": ports(connections),
    })
}

/// Ranges of ports as objects.
pub(super) fn ports(connections: &Connections) -> Vec<Value> {
    let ports = connections.ranges().map(|(protocol, range)| {
        json!({"protocol": protocol.to_string(), "port": range.first, "endPort": range.last})
    });
    ports.collect()
}

fn dot(
    each: impl FnOnce(&mut dyn FnMut(Pair<'_>) -> io::Result<()>) -> io::Result<()>,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(graph::HEAD.as_bytes())?;
    each(&mut |Pair { source, destination, ports, certainty, .. }| {
        let mark = mark(certainty);
        let style = match certainty {
            Certainty::Certain => "",
            Certainty::Unknown => " style=dashed",
        };
        let attributes = format!("label=\"{mark}{ports}\"{style}");
        writeln!(out, "{}", graph::edge(source.end, destination.end, &attributes))
    })?;
    out.write_all(graph::FOOT.as_bytes())
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
