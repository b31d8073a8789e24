//! One YAML or JSON document with the line of each of its fields.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::compose::{Composed, IsUnread, Lines, compose, lines};
pub use super::parse_error::ParseError;
use super::scalar::whole_numbers;
use super::stream::{BadSeparator, Part, parts};

/// A document: its value, and where its fields stand.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Whether it is of a kind that nobody asked for: then the value is its head.
    pub is_unread: bool,
    source: Arc<Source>,
    /// The path of this part in the document.
    path: String,
}

/// The text of a document. Lines are looked for when the first one is asked for: few are.
#[derive(Debug, Default)]
struct Source {
    text: String,
    lines_before: u64,
    lines: OnceLock<Lines>,
}

impl Document {
    /// Reads every document of a text, one wrong document as one error. Duplicate keys are errors. Of
    /// those whose first fields say so to `is_unread` no more is read.
    pub(super) fn read_each<'t>(
        text: &'t str,
        is_unread: &'t IsUnread,
    ) -> impl Iterator<Item = Result<Self, ParseError>> + 't {
        // What an editor may put in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        parts(text).into_iter().map(move |found| match found {
            Ok(part) => Self::read(part, is_unread),
            Err(BadSeparator { line, rest }) => {
                let message = format!(
                    "a line that begins with --- ends there, or with a comment; not with {rest}"
                );
                Err(ParseError::at(line, message))
            }
        })
    }

    /// Reads every document of a text.
    pub fn read_all(text: &str) -> Result<Vec<Self>, ParseError> {
        Self::read_each(text, &|_| false).collect()
    }

    fn read(part: Part<'_>, is_unread: &IsUnread) -> Result<Self, ParseError> {
        let Part { text, lines_before, is_json } = part;
        let text = with_line_feed(text);
        let read = compose(&text, is_unread);
        let read = if is_json { as_json(&text, read) } else { read };
        let (value, is_unread) = match read {
            Ok(Composed::Whole(value)) => (value, false),
            Ok(Composed::Head(value)) => (value, true),
            Err(ParseError { line, message }) => {
                let line = line.map(|line| line + lines_before);
                return Err(ParseError { line, message });
            }
        };
        // What is only counted needs no lines.
        let text = if is_unread { String::new() } else { text.into_owned() };
        let source = Source { text, lines_before, lines: OnceLock::new() };
        Ok(Self { value, is_unread, source: Arc::new(source), path: String::new() })
    }

    /// A value that is written nowhere.
    pub(super) fn of_value(value: Value) -> Self {
        Self { value, ..Self::default() }
    }

    /// The line of the field at `path` (in the notation `spec.ingress[0].from`), or else of the
    /// nearest thing round it.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<u64> {
        let lines = self.source.lines.get_or_init(|| lines(&self.source.text));
        let whole = self.whole(path);
        let mut path = whole.as_str();
        loop {
            if let Some(line) = lines.get(path) {
                return Some(*line + self.source.lines_before);
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
        let (source, path) = (Arc::clone(&self.source), self.whole(path));
        Self { value, is_unread: false, source, path }
    }

    /// A path in this part as one in the whole document.
    fn whole(&self, path: &str) -> String {
        let is_joined = self.path.is_empty() || path.is_empty() || path.starts_with('[');
        format!("{}{}{path}", self.path, if is_joined { "" } else { "." })
    }
}

/// What a text of JSON says, which was read as YAML: nearly all JSON is YAML, but some numbers and escapes
/// are others there.
fn as_json(text: &str, read: Result<Composed, ParseError>) -> Result<Composed, ParseError> {
    match read {
        Ok(Composed::Head(head)) => Ok(Composed::Head(head)),
        Err(error) if error.is_duplicate() => Err(error),
        Ok(Composed::Whole(_)) | Err(_) => {
            let mut value = serde_json::from_str(text).map_err(|error| ParseError {
                line: u64::try_from(error.line()).ok(),
                message: error.to_string(),
            })?;
            whole_numbers(&mut value);
            Ok(Composed::Whole(value))
        }
    }
}

/// The text with an end of its last line, as kubectl hands it on.
fn with_line_feed(text: &str) -> Cow<'_, str> {
    if text.ends_with('\n') { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}\n")) }
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

    /// Text, what the decoder of kubectl 1.34 makes of it (`YAMLOrJSONDecoder` of
    /// `k8s.io/apimachinery/pkg/util/yaml`; null where it is an error), and why that differs, where it
    /// does. tests/tests/reader.rs asks kubectl itself.
    #[test]
    fn odd_yaml_is_read_as_kubectl_reads_it() {
        #[derive(serde::Deserialize)]
        struct Case {
            name: String,
            text: String,
            kubectl: Option<Vec<Value>>,
            differs: Option<String>,
        }
        let mut cases = 0;
        for line in include_str!("../../testdata/odd-yaml.jsonl").lines() {
            let mut case: Case = serde_json::from_str(line).unwrap();
            case.kubectl.iter_mut().flatten().for_each(whole_numbers);
            let read = Document::read_all(&case.text).ok().map(|documents| {
                let values = documents.into_iter().map(|document| document.value);
                values.filter(|value| !value.is_null()).collect()
            });
            assert_eq!(read == case.kubectl, case.differs.is_none(), "{}: {read:?}", case.name);
            cases += 1;
        }
        assert!(cases > 150, "{cases}");
    }

    #[test]
    fn json_is_read_too() {
        let documents = Document::read_all("{\"a\": {\"b\": [1, true]}}").unwrap();
        assert_eq!(documents[0].value, json!({"a": {"b": [1, true]}}));
    }
}
