//! Spans of time on a command line: seconds with an optional fraction and an optional `s`.

use std::time::Duration;

/// The longest span that is taken: a day.
const LONGEST: f64 = 86_400.0;

/// Why a text is no span of time, and what to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecondsError {
    /// It is no number of seconds.
    #[error("expected seconds, like 2 or 0.5")]
    NotANumber,
    /// It is less than nothing or more than a day.
    #[error("expected between 0 and {LONGEST} seconds")]
    OutOfRange,
    /// It is nothing, where there must be something.
    #[error("expected more than 0 seconds")]
    Zero,
}

/// Parses a span of time such as `3`, `0.5` or `0.5s`.
pub fn parse(text: &str) -> Result<Duration, SecondsError> {
    let number = text.strip_suffix('s').unwrap_or(text).parse::<f64>();
    let number = number.map_err(|_| SecondsError::NotANumber)?;
    if (0.0..=LONGEST).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err(SecondsError::OutOfRange)
    }
}

/// Like [`parse`], but refuses 0.
pub fn parse_above_zero(text: &str) -> Result<Duration, SecondsError> {
    match parse(text)? {
        Duration::ZERO => Err(SecondsError::Zero),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_may_have_a_fraction_and_a_unit() {
        assert_eq!(parse("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse("0.5s"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_span_of_time_is_refused() {
        for bad in ["", "-1", "NaN", "inf", "1e9", "3m"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse_above_zero("0").is_err());
    }
}
