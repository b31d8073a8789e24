//! Spans of time on a command line: seconds with an optional fraction and an optional `s`.

use std::time::Duration;

/// The longest span that is taken: a day.
const LONGEST: f64 = 86_400.0;

/// Parses a span of time such as `3`, `0.5` or `0.5s`; the error says what to write.
pub fn parse(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map_err(|_| "expected seconds, like 2 or 0.5".to_owned())?;
    if (0.0..=LONGEST).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err(format!("expected between 0 and {LONGEST} seconds"))
    }
}

/// Like [`parse`], but refuses 0.
pub fn parse_above_zero(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("expected more than 0 seconds".to_owned()),
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
