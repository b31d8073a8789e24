//! Who may reach whom as a matrix.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};

use netpol::cluster::Cluster;
use netpol::connectivity::{Answers, ListedEnd};

use super::colour::Colour;

/// Which pairs are listed.
pub(super) type Wanted<'w> = dyn Fn(&ListedEnd, &ListedEnd) -> bool + 'w;

/// No column is wider: longer connections stand in `netpol list`.
const WIDEST: usize = 24;

/// What stands where nothing may pass.
const NOTHING: &str = "-";

/// An end as it is listed: it has a line, a column, or both.
struct Listed<'e> {
    name: String,
    end: &'e ListedEnd,
    is_row: bool,
    is_column: bool,
}

/// Writes a line for each source and a column for each destination: the workloads of `cluster` and the
/// addresses of the answers, where anything is wanted of them. Columns have the numbers of the lines: names are
/// too long to stand side by side.
pub(super) fn write(
    cluster: &Cluster,
    answers: &Answers,
    wanted: &Wanted<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let pairs = || answers.certain.keys().chain(answers.unknown.keys());
    let mut ends: BTreeSet<ListedEnd> = cluster.pods().iter().map(ListedEnd::of).collect();
    ends.extend(pairs().flat_map(|(from, to)| [from.clone(), to.clone()]));
    let is_there = |from: &ListedEnd, to: &ListedEnd| {
        wanted(from, to)
            && !matches!((from, to), (ListedEnd::External(..), ListedEnd::External(..)))
    };
    let mut ends: Vec<Listed> = ends
        .iter()
        .map(|end| Listed {
            name: end.to_string(),
            is_row: ends.iter().any(|other| is_there(end, other)),
            is_column: ends.iter().any(|other| is_there(other, end)),
            end,
        })
        .filter(|end| end.is_row || end.is_column)
        .collect();
    ends.sort_by(|one, other| one.name.cmp(&other.name));
    let columns: Vec<usize> = (0..ends.len()).filter(|index| ends[*index].is_column).collect();
    let cell = |source: &ListedEnd, destination: &ListedEnd| -> (String, Colour) {
        let pair = (source.clone(), destination.clone());
        match (answers.certain.get(&pair), answers.unknown.get(&pair)) {
            (Some(one), None) if one.is_all() => ("all".to_owned(), Colour::Green),
            (Some(one), None) => (one.to_string(), Colour::Green),
            (None, Some(one)) if one.is_all() => ("?".to_owned(), Colour::Yellow),
            (None, Some(one)) => (format!("? {one}"), Colour::Yellow),
            (Some(one), Some(more)) => (format!("{one} ? {more}"), Colour::Yellow),
            (None, None) if source == destination => (String::new(), Colour::Green),
            (None, None) => (NOTHING.to_owned(), Colour::Red),
        }
    };
    let row = |source: &ListedEnd| -> Vec<(String, Colour)> {
        columns.iter().map(|index| cell(source, ends[*index].end)).collect()
    };
    let rows: Vec<(usize, Vec<(String, Colour)>)> = (0..ends.len())
        .filter(|index| ends[*index].is_row)
        .map(|index| (index, row(ends[index].end)))
        .collect();
    let title = |index: usize| (index + 1).to_string();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(column, index)| {
            let cells = rows.iter().map(|(_, row)| row[column].0.len());
            cells.chain([title(*index).len()]).max().unwrap_or_default().min(WIDEST)
        })
        .collect();
    let number = title(ends.len()).len();
    let names = ends.iter().map(|end| end.name.len()).max().unwrap_or_default();
    let mut heading = format!("{:number$} {:names$}", "", "");
    for (index, width) in columns.iter().zip(&widths) {
        // A String takes whatever is written.
        let _ = write!(heading, "  {:width$}", title(*index));
    }
    writeln!(out, "{}", heading.trim_end())?;
    for (index, row) in &rows {
        let mut line = format!("{:>number$} {:names$}", title(*index), ends[*index].name);
        for ((text, colour), width) in row.iter().zip(&widths) {
            let _ = write!(line, "  {}", colour.paint(cut(text, *width), &io::stdout()));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    // Who has a column and no line of their own.
    for (index, Listed { name, .. }) in ends.iter().enumerate().filter(|(_, end)| !end.is_row) {
        writeln!(out, "{:>number$} {name}", title(index))?;
    }
    Ok(())
}

/// `text` in `width` characters; what is longer ends with an ellipsis.
fn cut(text: &str, width: usize) -> String {
    if text.len() <= width {
        return format!("{text:width$}");
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}\u{2026}")
}
