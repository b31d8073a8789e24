//! What a run of polls came to: counts and percentiles, in memory that does not grow.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::args::Expect;
use crate::outcome::{Class, Poll};

/// Counts by class, and durations to the millisecond.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    classes: BTreeMap<Class, u64>,
    /// Milliseconds to polls. A time-out bounds a poll, so this has at most as many entries
    /// as the time-out has milliseconds.
    durations: BTreeMap<u64, u64>,
}

impl Summary {
    /// Counts one poll.
    pub fn add(&mut self, poll: &Poll) {
        *self.classes.entry(poll.outcome.class()).or_default() += 1;
        let milliseconds = u64::try_from(poll.duration.as_millis()).unwrap_or(u64::MAX);
        *self.durations.entry(milliseconds).or_default() += 1;
    }

    /// Polls counted.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.classes.values().sum()
    }

    /// Whether every one of `count` polls came to what was expected.
    #[must_use]
    pub fn holds(&self, expect: Expect, count: u64) -> bool {
        let as_expected = |class: &Class| match expect {
            Expect::Allowed => *class == Class::Answered,
            Expect::Blocked => class.is_cut_off(),
        };
        self.polls() == count && self.classes.keys().all(as_expected)
    }

    /// The duration below or at which `percent` of the polls ended (nearest rank).
    fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.polls() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (milliseconds, polls) in &self.durations {
            seen += polls;
            if seen >= rank {
                return Duration::from_millis(*milliseconds);
            }
        }
        Duration::ZERO
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "polls={}", self.polls())?;
        for class in Class::ALL {
            write!(out, " {class}={}", self.classes.get(&class).unwrap_or(&0))?;
        }
        let milliseconds = |percent| self.percentile(percent).as_millis();
        write!(out, " p50_ms={} p99_ms={}", milliseconds(50), milliseconds(99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::phase::Phase;

    fn poll(outcome: Outcome, milliseconds: u64) -> Poll {
        Poll { outcome, phase: Phase::Response, duration: Duration::from_millis(milliseconds) }
    }

    #[test]
    fn every_class_is_counted_and_percentiles_are_by_nearest_rank() {
        let mut summary = Summary::default();
        for milliseconds in 1..=99 {
            summary.add(&poll(Outcome::Answered(String::new()), milliseconds));
        }
        summary.add(&poll(Outcome::TimedOut, 2000));
        assert_eq!(
            summary.to_string(),
            "polls=100 answered=99 timed_out=1 cannot_connect=0 bad_address=0 bad_status=0 \
             broken=0 p50_ms=50 p99_ms=99"
        );
    }

    #[test]
    fn an_expectation_holds_only_if_every_poll_met_it() {
        let mut summary = Summary::default();
        summary.add(&poll(Outcome::TimedOut, 1));
        assert!(summary.holds(Expect::Blocked, 1));
        assert!(!summary.holds(Expect::Blocked, 2), "a poll is missing");
        assert!(!summary.holds(Expect::Allowed, 1));
        summary.add(&poll(Outcome::BadAddress("a".into()), 1));
        assert!(!summary.holds(Expect::Blocked, 2), "a wrong name is no policy");
    }
}
