//! The forms that a list of permitted pairs can take.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;
use netpol::cluster::Cluster;
use netpol::connections::Connections;
use netpol::connectivity::{Connectivity, ListedEnd, connectivity, each_pair};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// SOURCE => DESTINATION : CONNECTIONS
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
    /// Writes the permitted pairs of `cluster` as they are found.
    pub(super) fn write(self, cluster: &Cluster, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Text => each(cluster, |source, destination, connections| {
                writeln!(out, "{source} => {destination} : {connections}")
            }),
            Self::Json => {
                let mut before = "[";
                each(cluster, |source, destination, connections| {
                    write!(out, "{before}\n  {}", object(source, destination, connections))?;
                    before = ",";
                    Ok(())
                })?;
                writeln!(out, "{}", if before == "[" { "[]" } else { "\n]" })
            }
            Self::Csv => {
                writeln!(out, "source,destination,connections")?;
                // No name holds a quote; what passes may hold commas (RFC 4180).
                each(cluster, |source, destination, connections| {
                    writeln!(out, "{source},{destination},\"{connections}\"")
                })
            }
            Self::Dot => {
                writeln!(out, "digraph {{\n  rankdir=LR\n  node [shape=box]")?;
                each(cluster, |source, destination, connections| {
                    writeln!(out, "  \"{source}\" -> \"{destination}\" [label=\"{connections}\"]")
                })?;
                writeln!(out, "}}")
            }
            Self::Mermaid => mermaid(&connectivity(cluster), out),
        }
    }
}

/// Calls `write` for every pair, up to the first error.
fn each(
    cluster: &Cluster,
    mut write: impl FnMut(&ListedEnd, &ListedEnd, &Connections) -> io::Result<()>,
) -> io::Result<()> {
    let mut result = Ok(());
    each_pair(cluster, |source, destination, connections| {
        if result.is_ok() {
            result = write(source, destination, connections);
        }
    });
    result
}

fn object(source: &ListedEnd, destination: &ListedEnd, connections: &Connections) -> Value {
    let ports = connections.ranges().map(|(protocol, range)| {
        json!({"protocol": protocol.to_string(), "port": range.first, "endPort": range.last})
    });
    let ports: Vec<Value> = ports.collect();
    json!({
        "source": source.to_string(),
        "destination": destination.to_string(),
        "all": connections.is_all(),
        "ports": ports,
    })
}

fn mermaid(pairs: &Connectivity, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    let mut ids = BTreeMap::new();
    for end in pairs.keys().flat_map(|(source, destination)| [source, destination]) {
        let next = ids.len();
        ids.entry(end).or_insert(next);
    }
    for (end, id) in &ids {
        writeln!(out, "    n{id}[\"{end}\"]")?;
    }
    for ((source, destination), connections) in pairs {
        writeln!(out, "    n{} -->|\"{connections}\"| n{}", ids[source], ids[destination])?;
    }
    Ok(())
}
