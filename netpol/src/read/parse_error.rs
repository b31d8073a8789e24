//! What is wrong with a text that is no YAML.

use yaml_events::SyntaxError;

use super::scalar::KeyError;

/// A text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The line, where one is known.
    pub line: Option<u64>,
    /// What is wrong there.
    pub message: String,
}

/// How [`ParseError::duplicate`] begins.
const DUPLICATE: &str = "duplicate mapping key";

impl ParseError {
    /// A field stands there for the second time.
    pub(super) fn duplicate(line: u64, field: &str) -> Self {
        Self::at(line, format!("{DUPLICATE}: {field}"))
    }

    /// Whether that is what is wrong.
    pub(super) fn is_duplicate(&self) -> bool {
        self.message.starts_with(DUPLICATE)
    }

    /// Something is wrong at this line.
    pub(super) fn at(line: u64, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }

    /// This is wrong at this line.
    pub(super) fn of(line: u64, error: impl std::error::Error) -> Self {
        Self::at(line, error.to_string())
    }

    /// This is no key.
    pub(super) fn no_key(text: &str, line: u64, error: KeyError) -> Self {
        Self::or_template(text, line, error.to_string())
    }

    /// A document goes on behind its end.
    pub(super) fn no_further(text: &str, line: u64) -> Self {
        Self::or_template(text, line, NO_FURTHER)
    }

    /// Aliases stand for more than anybody writes.
    pub(super) fn too_many(line: u64) -> Self {
        Self::at(line, "its aliases make too much of it")
    }

    /// `text` breaks the rules of YAML.
    pub(super) fn syntax(text: &str, SyntaxError { line, problem }: SyntaxError) -> Self {
        match problem.as_str() {
            "did not find expected <document start>" => Self::no_further(text, line),
            _ => Self::or_template(text, line, problem),
        }
    }

    /// That something is wrong at this line, or why: a template is not YAML yet.
    pub(super) fn or_template(text: &str, line: u64, otherwise: impl Into<String>) -> Self {
        if text.contains("{{") {
            Self::at(line, "it looks like a Helm template: render it first (helm template)")
        } else {
            Self::at(line, otherwise)
        }
    }
}

/// What stands behind the end of a document, and kubectl leaves out without a word.
const NO_FURTHER: &str = "kubectl reads no further than here: is this line indented as those before it? \
                          A new document begins after a line of ---";
