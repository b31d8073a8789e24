//! The forms that a list of permitted pairs can take.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;
use netpol::connections::Connections;
use netpol::connectivity::End;
use netpol::difference::Pairs;
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
    pub(super) fn write(self, pairs: &Pairs, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Text => {
                for ((source, destination), connections) in pairs {
                    writeln!(out, "{source} => {destination} : {connections}")?;
                }
                Ok(())
            }
            Self::Json => {
                let list: Vec<Value> = pairs.iter().map(object).collect();
                serde_json::to_writer_pretty(&mut *out, &list)?;
                writeln!(out)
            }
            Self::Csv => {
                writeln!(out, "source,destination,connections")?;
                for ((source, destination), connections) in pairs {
                    // No name holds a quote; what passes may hold commas (RFC 4180).
                    writeln!(out, "{source},{destination},\"{connections}\"")?;
                }
                Ok(())
            }
            Self::Dot => {
                writeln!(out, "digraph {{\n  rankdir=LR\n  node [shape=box]")?;
                for ((source, destination), connections) in pairs {
                    writeln!(out, "  \"{source}\" -> \"{destination}\" [label=\"{connections}\"]")?;
                }
                writeln!(out, "}}")
            }
            Self::Mermaid => mermaid(pairs, out),
        }
    }
}

fn object(((source, destination), connections): (&(End, End), &Connections)) -> Value {
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

fn mermaid(pairs: &Pairs, out: &mut impl Write) -> io::Result<()> {
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
