//! Errors with their causes: each says what failed, its `source` why, and whoever prints it joins them.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

/// Prints an error with all of its causes, as `{:#}` of anyhow does: where a text is made of one outside
/// main, such as a log line, an event or an answer.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl Display for Chain<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)?;
        let mut error = self.0;
        while let Some(cause) = error.source() {
            write!(out, ": {cause}")?;
            error = cause;
        }
        Ok(())
    }
}

/// An error of another library, which prints its causes itself: it has none besides, or they would be
/// printed twice.
#[derive(Debug)]
pub struct Whole<E>(pub E);

impl<E: Display> Display for Whole<E> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl<E: Error> Error for Whole<E> {}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read a")]
    struct Middle(#[source] Whole<Inner>);

    #[derive(Debug, thiserror::Error)]
    #[error("broken: {0}")]
    struct Inner(#[source] io::Error);

    #[test]
    fn every_cause_is_printed_once() {
        let inner = Inner(io::ErrorKind::NotFound.into());
        let error = Outer(Middle(Whole(inner)));
        assert_eq!(error.to_string(), "cannot start");
        assert_eq!(
            Chain(&error).to_string(),
            "cannot start: cannot read a: broken: entity not found"
        );
    }
}
