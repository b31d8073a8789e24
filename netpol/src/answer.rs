//! Yes, no, or not known.

use std::fmt;

/// The answer to a question about a cluster of which not everything is known. The least of several is
/// whether all of them hold, the greatest whether any does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// It is not so.
    No,
    /// It cannot be told from what is known.
    Unknown,
    /// It is so.
    Yes,
}

impl From<bool> for Answer {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

impl Answer {
    /// What this says of a connection that somebody wants to make.
    #[must_use]
    pub fn verdict(self) -> &'static str {
        match self {
            Self::Yes => "allowed",
            Self::No => "denied",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.verdict())
    }
}
