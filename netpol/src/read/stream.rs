//! The documents of a text, cut as kubectl cuts it (`k8s.io/apimachinery/pkg/util/yaml`): by lines that
//! are `---` before anything else is looked at; and a text that begins with `{` is JSON, one value after
//! the other.

use serde::de::IgnoredAny;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'t> {
    /// What it says.
    pub text: &'t str,
    /// How many lines there are before it.
    pub lines_before: u64,
    /// Whether it is JSON.
    pub is_json: bool,
}

/// A part, or a line that begins as one that ends a part does and goes on otherwise.
pub(super) type Found<'t> = Result<Part<'t>, BadSeparator<'t>>;

/// A line of `---` and something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadSeparator<'t> {
    /// Which line it is.
    pub line: u64,
    /// What follows.
    pub rest: &'t str,
}

/// The parts of `text` that are a document each, some of which may be empty.
pub(super) fn parts(text: &str) -> Vec<Found<'_>> {
    let (mut parts, rest, lines) =
        if text.trim_start().starts_with('{') { json(text) } else { (Vec::new(), text, 0) };
    yaml(rest, lines, &mut parts);
    parts
}

fn yaml<'t>(text: &'t str, mut lines: u64, parts: &mut Vec<Found<'t>>) {
    let (mut start, mut end, mut lines_before) = (0, 0, lines);
    for line in text.split_inclusive('\n') {
        let next = end + line.len();
        lines += 1;
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            let is_separator = rest.is_empty() || rest.starts_with('#');
            if end > start {
                parts.push(Ok(Part { text: &text[start..end], lines_before, is_json: false }));
            }
            if !is_separator {
                parts.push(Err(BadSeparator { line: lines, rest }));
            }
            if end > start || !is_separator {
                (start, lines_before) = (next, lines);
            }
        }
        end = next;
    }
    if end > start {
        parts.push(Ok(Part { text: &text[start..end], lines_before, is_json: false }));
    }
}

/// The values of a stream of JSON, and what is left that is none, with the number of lines before that.
/// After two values kubectl takes nothing for YAML any more: then what is left is a part as well, and an
/// error.
fn json(text: &str) -> (Vec<Found<'_>>, &str, u64) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut parts = Vec::new();
    let (mut start, mut lines_before) = (0, 0);
    while let Some(value) = values.next() {
        let is_json = value.is_ok();
        if !is_json && parts.len() <= 1 {
            break;
        }
        let end = if is_json { values.byte_offset() } else { text.len() };
        let part = &text[start..end];
        parts.push(Ok(Part { text: part, lines_before, is_json: true }));
        lines_before += count_lines(part);
        start = end;
        if !is_json {
            break;
        }
    }
    // What follows a value on its line, if that is nothing, goes with it.
    let rest = &text[start..];
    let blank = rest.find(|char: char| char == '\n' || !char.is_whitespace()).unwrap_or(rest.len());
    let line_feed = usize::from(rest[blank..].starts_with('\n'));
    (parts, &rest[blank + line_feed..], lines_before + line_feed as u64)
}

fn count_lines(text: &str) -> u64 {
    text.matches('\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(&str, u64)> {
        parts(text)
            .into_iter()
            .map(|found| match found {
                Ok(part) => (part.text, part.lines_before),
                Err(bad) => (bad.rest, bad.line),
            })
            .collect()
    }

    #[test]
    fn a_document_ends_at_a_line_of_three_hyphens() {
        assert_eq!(cut("a\n---\nb\n"), [("a\n", 0), ("b\n", 2)]);
        assert_eq!(cut("a\r\n--- \r\nb"), [("a\r\n", 0), ("b", 2)]);
        assert_eq!(cut("a\n--- # next\nb\n---\n"), [("a\n", 0), ("b\n", 2)]);
        assert_eq!(cut("---\na\n"), [("---\na\n", 0)], "the first is the document's own");
        assert_eq!(cut("a: |\n  x\n---\n"), [("a: |\n  x\n", 0)]);
        assert_eq!(cut(" ---\na\n--- b\nc\n"), [(" ---\na\n", 0), ("b", 3), ("c\n", 3)]);
        assert!(parts("----\n")[0].is_err());
        assert_eq!(cut(""), []);
    }

    #[test]
    fn json_is_one_value_after_the_other() {
        assert_eq!(cut("{}\n{\"a\":\n1}"), [("{}", 0), ("\n{\"a\":\n1}", 0)]);
        assert_eq!(cut("{a: 1}\n---\n{}\n"), [("{a: 1}\n", 0), ("{}\n", 2)], "it is YAML");
        assert_eq!(cut("{}\n\na: 1\n"), [("{}", 0), ("\na: 1\n", 1)]);
        assert_eq!(cut("{}{}\na: 1\n"), [("{}", 0), ("{}", 0), ("\na: 1\n", 0)]);
    }
}
