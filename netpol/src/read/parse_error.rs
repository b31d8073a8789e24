//! What is wrong with a text that is no YAML.

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
}
