//! The forms that a difference can take.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};

use clap::ValueEnum;
use netpol::connections::Connections;
use netpol::connectivity::{Certainty, ListedEnd};
use netpol::difference::Difference;
use serde_json::{Value, json};

use super::colour::Colour;
use super::formats::{arrow, ports};
use super::graph;

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// A line for each pair, with its sign
    #[default]
    Text,
    /// An object, with ports as numbers
    Json,
    /// A table for a comment on a pull request
    Md,
    /// For Graphviz: dot -Tsvg
    Dot,
    /// An image
    Svg,
}

/// A form that takes all of the difference at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Json,
    Md,
    Dot,
    Svg,
}

impl Format {
    /// None for lines, which are written as they are found.
    pub(super) fn form(self) -> Option<Form> {
        match self {
            Self::Text => None,
            Self::Json => Some(Form::Json),
            Self::Md => Some(Form::Md),
            Self::Dot => Some(Form::Dot),
            Self::Svg => Some(Form::Svg),
        }
    }
}

/// What becomes of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Gained,
    Lost,
    /// It has other ports.
    Changed,
    Unknown,
}

impl Kind {
    fn sign(self) -> char {
        match self {
            Self::Gained => '+',
            Self::Lost => '-',
            Self::Changed => '~',
            Self::Unknown => '?',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Changed => "changed",
            Self::Unknown => "unknown",
        }
    }

    fn colour(self) -> Colour {
        match self {
            Self::Gained => Colour::Green,
            Self::Lost => Colour::Red,
            Self::Changed | Self::Unknown => Colour::Yellow,
        }
    }

    /// As Graphviz names it.
    fn colour_name(self) -> &'static str {
        match self {
            Self::Gained => "darkgreen",
            Self::Lost => "red",
            Self::Changed | Self::Unknown => "orange",
        }
    }

    fn certainty(self) -> Certainty {
        if self == Self::Unknown { Certainty::Unknown } else { Certainty::Certain }
    }
}

/// One pair of which something changes.
struct Change<'d> {
    kind: Kind,
    source: &'d ListedEnd,
    destination: &'d ListedEnd,
    /// What may pass no longer.
    lost: Option<&'d Connections>,
    /// What may pass now, or what is not known of it.
    gained: Option<&'d Connections>,
}

/// How many pairs are gained, lost, and not known any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub gained: usize,
    pub lost: usize,
    pub unknown: usize,
}

impl Counts {
    pub(super) fn add(&mut self, difference: &Difference) {
        self.gained += difference.gained.len();
        self.lost += difference.lost.len();
        self.unknown += difference.unknown.len();
    }
}

/// In one line.
impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { gained: 0, lost: 0, unknown: 0 } => out.write_str("no difference"),
            Self { gained, lost, unknown: 0 } => write!(out, "{gained} gained, {lost} lost"),
            Self { gained, lost, unknown } => {
                write!(out, "{gained} gained, {lost} lost, {unknown} not known")
            }
        }
    }
}

/// All that changes.
pub(super) struct Changes<'d> {
    pairs: Vec<Change<'d>>,
    /// Workloads that only one of the two has, with their sign.
    workloads: &'d [(char, String)],
    /// Namespaces that are not compared.
    left_out: &'d [String],
    counts: Counts,
}

impl<'d> Changes<'d> {
    pub(super) fn of(
        difference: &'d Difference,
        workloads: &'d [(char, String)],
        left_out: &'d [String],
    ) -> Self {
        let mut counts = Counts::default();
        counts.add(difference);
        Self { pairs: pairs(difference), workloads, left_out, counts }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The workloads that only one of the two has, with this sign.
    fn workloads(&self, sign: char) -> impl Iterator<Item = &String> {
        let of_sign = move |(one, _): &&(char, String)| *one == sign;
        self.workloads.iter().filter(of_sign).map(|(_, name)| name)
    }
}

/// The pairs that change, by what is printed of each, so that what changes for one stands together.
fn pairs(Difference { gained, lost, unknown }: &Difference) -> Vec<Change<'_>> {
    let mut changes = Vec::new();
    for (pair, connections) in gained {
        let before = lost.get(pair);
        let kind = if before.is_some() { Kind::Changed } else { Kind::Gained };
        changes.push(change(kind, pair, before, Some(connections)));
    }
    for (pair, connections) in lost.iter().filter(|(pair, _)| !gained.contains_key(*pair)) {
        changes.push(change(Kind::Lost, pair, Some(connections), None));
    }
    for (pair, connections) in unknown {
        changes.push(change(Kind::Unknown, pair, None, Some(connections)));
    }
    changes.sort_by_cached_key(Change::line);
    changes
}

/// Writes a line for each pair of `difference`, with its sign.
pub(super) fn lines(difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    pairs(difference).iter().try_for_each(|change| {
        let line = format!("{} {}", change.kind.sign(), change.line());
        writeln!(out, "{}", change.kind.colour().paint(line, &io::stdout()))
    })
}

fn change<'d>(
    kind: Kind,
    (source, destination): &'d (ListedEnd, ListedEnd),
    lost: Option<&'d Connections>,
    gained: Option<&'d Connections>,
) -> Change<'d> {
    Change { kind, source, destination, lost, gained }
}

impl Change<'_> {
    /// What changes: `TCP 7070 -> 8000`, the protocol once where it is the same.
    fn connections(&self) -> String {
        match (self.lost, self.gained) {
            (Some(before), Some(after)) => instead(before, after),
            (Some(one), None) | (None, Some(one)) => one.to_string(),
            (None, None) => String::new(),
        }
    }

    fn line(&self) -> String {
        let Self { kind, source, destination, .. } = self;
        let arrow = arrow(kind.certainty());
        format!("{source}{arrow}{destination} : {}", self.connections())
    }

    fn object(&self) -> Value {
        let connections = |connections: Option<&Connections>| {
            connections.map(|one| json!({"all": one.is_all(), "ports": ports(one)}))
        };
        json!({
            "change": self.kind.word(),
            "source": self.source.to_string(),
            "destination": self.destination.to_string(),
            "lost": connections(self.lost),
            "gained": connections(self.gained.filter(|_| self.kind != Kind::Unknown)),
            "unknown": connections(self.gained.filter(|_| self.kind == Kind::Unknown)),
        })
    }
}

fn instead(before: &Connections, after: &Connections) -> String {
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

impl Form {
    pub(super) fn write(self, changes: &Changes<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Json => writeln!(out, "{:#}", json(changes)),
            Self::Md => markdown(changes, out),
            Self::Dot => out.write_all(dot(changes).as_bytes()),
            Self::Svg => out.write_all(graph::svg(&dot(changes))?.as_bytes()),
        }
    }
}

fn json(changes: &Changes<'_>) -> Value {
    json!({
        "summary": changes.counts.to_string(),
        "changes": changes.pairs.iter().map(Change::object).collect::<Vec<_>>(),
        "workloadsAdded": changes.workloads('+').collect::<Vec<_>>(),
        "workloadsRemoved": changes.workloads('-').collect::<Vec<_>>(),
        "namespacesNotCompared": changes.left_out,
    })
}

/// As GitHub and GitLab show it.
fn markdown(changes: &Changes<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "**Network policies: {}**", changes.counts)?;
    if !changes.pairs.is_empty() {
        writeln!(out, "\n| | source | destination | connections |\n|---|---|---|---|")?;
    }
    for change in &changes.pairs {
        let Change { kind, source, destination, .. } = change;
        let connections = change.connections();
        writeln!(out, "| {} | `{source}` | `{destination}` | {connections} |", kind.word())?;
    }
    for (sign, word) in [('+', "added"), ('-', "removed")] {
        let names: Vec<_> = changes.workloads(sign).map(|name| format!("`{name}`")).collect();
        if !names.is_empty() {
            writeln!(out, "\nWorkloads {word}: {}", names.join(", "))?;
        }
    }
    if !changes.left_out.is_empty() {
        writeln!(out, "\nNot compared: {}", changes.left_out.join(", "))?;
    }
    Ok(())
}

fn dot(changes: &Changes<'_>) -> String {
    let mut text = graph::HEAD.to_owned();
    let ends: BTreeSet<String> = changes
        .pairs
        .iter()
        .flat_map(|change| [change.source.to_string(), change.destination.to_string()])
        .collect();
    text.extend(ends.iter().map(|end| format!("  \"{end}\"\n")));
    for change in &changes.pairs {
        let Change { kind, source, destination, .. } = change;
        let (sign, colour) = (kind.sign(), kind.colour_name());
        let style = if *kind == Kind::Lost { " style=dashed" } else { "" };
        let connections = change.connections();
        let attributes = format!("label=\"{sign} {connections}\" color={colour}{style}");
        text.push_str(&graph::edge(source, destination, &attributes));
        text.push('\n');
    }
    text + graph::FOOT
}
