//! One YAML or JSON document with the line of each of its fields.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Budget, Location, Options, Spanned, from_multiple_with_options};

use super::scalar;

/// A document: its value, and where its fields stand.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// What it says.
    pub value: Value,
    lines: BTreeMap<String, u64>,
}

/// A text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The line, where one is known.
    pub line: Option<u64>,
    /// What is wrong there.
    pub message: String,
}

impl Document {
    /// Reads every document of a text. Duplicate keys are errors; JSON is YAML.
    pub fn read_all(text: &str) -> Result<Vec<Self>, ParseError> {
        let mut options = Options::default();
        options.budget = Some(budget(text));
        // What a word means is for `scalar::resolve` to say.
        options.strict_booleans = true;
        let nodes: Vec<Node> = from_multiple_with_options(text, options).map_err(|error| {
            let line = error.location().map(|place| place.line());
            ParseError { line, message: sentence(&error) }
        })?;
        Ok(nodes.into_iter().map(|node| Self::from_node(text, node)).collect())
    }

    /// The line of the field at `path` (in the notation `spec.ingress[0].from`), or else of the
    /// nearest thing round it.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<u64> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            if path.is_empty() {
                return None;
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
    }

    /// The part at `path` as a document of its own.
    #[must_use]
    pub fn part(&self, path: &str, value: Value) -> Self {
        // What begins alike stands together.
        let below = self.lines.range(path.to_owned()..).map_while(|(place, line)| {
            let rest = place.strip_prefix(path)?;
            Some((rest.strip_prefix('.').unwrap_or(rest).to_owned(), *line))
        });
        Self { value, lines: below.collect() }
    }

    fn from_node(text: &str, node: Node) -> Self {
        let mut document = Self::default();
        document.lines.insert(String::new(), node.line);
        document.value = document.take(text, String::new(), node);
        document
    }

    fn take(&mut self, text: &str, path: String, node: Node) -> Value {
        match node.content {
            Content::Scalar(value) => plain(text, node.place).map_or(value, scalar::resolve),
            Content::Sequence(elements) => {
                let place = |index| format!("{path}[{index}]");
                let elements = elements.into_iter().enumerate().map(|(index, node)| {
                    self.lines.insert(place(index), node.line);
                    self.take(text, place(index), node)
                });
                Value::Array(elements.collect())
            }
            Content::Mapping(fields) => {
                let mut object = Map::new();
                for (key, place, node) in fields {
                    let key = plain(text, place).map_or(key, scalar::resolve_key);
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.lines.insert(path.clone(), place.line());
                    let value = self.take(text, path, node);
                    object.insert(key, value);
                }
                Value::Object(object)
            }
        }
    }
}

/// As much as the text itself can hold, so that a dump of a large cluster is read; what its aliases make
/// of it stays bounded.
fn budget(text: &str) -> Budget {
    let mut budget = Budget::default();
    budget.max_documents = text.len();
    for limit in [&mut budget.max_events, &mut budget.max_nodes, &mut budget.max_total_scalar_bytes]
    {
        *limit = (*limit).max(text.len().saturating_mul(2));
    }
    budget
}

/// What the parser says, without its place, which is told otherwise, and its advice to programmers.
fn sentence(error: &serde_saphyr::Error) -> String {
    let message = error.to_string();
    let first = message.lines().next().unwrap_or_default();
    let first = match first.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, rest)) => rest,
        None => first,
    };
    first.split(", set DuplicateKeyPolicy").next().unwrap_or(first).to_owned()
}

/// The text at `place`, if it is a scalar without quotes (and without a tag) on one line.
fn plain(text: &str, place: Location) -> Option<&str> {
    let span = place.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
    let word = text.get(start..end)?.trim();
    let quoted = word.starts_with(['"', '\'', '|', '>', '&', '*']) || word.contains('\n');
    (!quoted && !is_announced(&text[..start])).then_some(word)
}

/// Whether a tag, or the head of a block of text, stands right before: then it is no plain scalar.
fn is_announced(before: &str) -> bool {
    // As long as a tag may be.
    const WINDOW: usize = 128;
    let trimmed = before.trim_end();
    let mut bytes = trimmed.as_bytes();
    if before[trimmed.len()..].contains('\n') {
        // There may be a comment behind the head of a block.
        let line = trimmed.lines().next_back().unwrap_or_default();
        bytes = line.split(" #").next().unwrap_or_default().trim_end().as_bytes();
    }
    let window = &bytes[bytes.len().saturating_sub(WINDOW)..];
    let token = window.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    token.first().is_some_and(|first| b"!|>".contains(first))
}

/// A value, the line that it is used on, and the place where it is written.
struct Node {
    line: u64,
    place: Location,
    content: Content,
}

enum Content {
    Scalar(Value),
    Sequence(Vec<Node>),
    /// Key, where it is written, value.
    Mapping(Vec<(String, Location, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), place: spanned.defined, content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number of JSON"))?;
        Ok(Content::Scalar(number.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Content, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Content::Sequence(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Content, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = mapping.next_key::<Spanned<String>>()? {
            let value = mapping.next_value()?;
            fields.push((key.value, key.referenced, value));
        }
        Ok(Content::Mapping(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "# a comment
kind: A
spec:
  list:
    - one: 1
      two: [x, z]
    - three: null
---
kind: B
flag: yes
text: \"yes\"
";

    #[test]
    fn documents_are_read_with_the_lines_of_their_fields() {
        let documents = Document::read_all(TEXT).unwrap();
        assert_eq!(documents.len(), 2);
        let list = json!([{"one": 1, "two": ["x", "z"]}, {"three": null}]);
        assert_eq!(documents[0].value, json!({"kind": "A", "spec": {"list": list}}));
        // As Kubernetes reads YAML: the booleans of YAML 1.1.
        assert_eq!(documents[1].value, json!({"kind": "B", "flag": true, "text": "yes"}));
        for (path, line) in
            [("kind", 2), ("spec", 3), ("spec.list[0].two", 6), ("spec.list[1].three", 7)]
        {
            assert_eq!(documents[0].line(path), Some(line), "{path}");
        }
        assert_eq!(documents[1].line("text"), Some(11));
    }

    #[test]
    fn words_without_quotes_are_read_as_kubernetes_does_wherever_they_stand() {
        let text = "é: ü # ö\n1: [y, 010, 'n', \"1\", !!str 1, &x yes, *x]\nlong: a\n  b\n---\nno: >- # a block\n  on\n";
        let documents = Document::read_all(text).unwrap();
        let list = json!([true, 8, "n", "1", "1", true, true]);
        assert_eq!(documents[0].value, json!({"é": "ü", "1": list, "long": "a b"}));
        assert_eq!(documents[1].value, json!({"false": "on"}));
    }

    #[test]
    fn a_missing_field_is_where_it_is_missing() {
        let document = &Document::read_all(TEXT).unwrap()[0];
        assert_eq!(document.line("spec.list[1].four.five"), Some(7));
        assert_eq!(document.part("spec.list[0]", Value::Null).line("two"), Some(6));
    }

    #[test]
    fn duplicate_keys_and_broken_yaml_are_errors_with_their_line() {
        let ParseError { line, message } = Document::read_all("a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(line, Some(3), "{message}");
        assert_eq!(message, "duplicate mapping key: a");
        assert!(Document::read_all("a: [\n").is_err());
    }

    #[test]
    fn a_dump_of_a_large_cluster_is_read_and_a_bomb_of_aliases_is_not() {
        let many = "- {kind: Pod, metadata: {name: a, labels: {a: b, c: d}}}\n".repeat(30_000);
        assert!(Document::read_all(&many).is_ok());
        assert_eq!(Document::read_all(&"kind: Pod\n---\n".repeat(5_000)).unwrap().len(), 5_000);
        let levels: Vec<_> = (1..12)
            .map(|level| {
                let alias = format!("*a{}, ", level - 1).repeat(9);
                format!("a{level}: &a{level} [{alias}]\n")
            })
            .collect();
        let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned() + &levels.concat();
        assert!(Document::read_all(&bomb).is_err());
    }

    #[test]
    fn json_is_read_too() {
        let documents = Document::read_all("{\"a\": {\"b\": [1, true]}}").unwrap();
        assert_eq!(documents[0].value, json!({"a": {"b": [1, true]}}));
    }
}
