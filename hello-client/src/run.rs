//! The loop: polls, says how each poll ended, and sums up.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::args::Expect;
use crate::outcome::{Outcome, Poll};
use crate::poll::Poller;
use crate::summary::Summary;

/// How long and how often to poll.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Pause between the end of a poll and the start of the next.
    pub interval: Duration,
    /// The pause is longer by a random time of up to this.
    pub jitter: Duration,
    /// Polls to make; for ever where there is none.
    pub count: Option<NonZeroU64>,
}

impl Plan {
    /// The next pause; `random` is between 0 and 1.
    fn pause(&self, random: f64) -> Duration {
        self.interval + self.jitter.mul_f64(random)
    }
}

/// Polls as planned, logging each outcome, or until `stop` resolves, even in mid-poll.
pub async fn run(poller: &Poller, plan: Plan, stop: impl Future<Output = ()>) -> Summary {
    let mut summary = Summary::default();
    let polling = async {
        loop {
            let poll = poller.poll().await;
            say(&poll);
            summary.add(&poll);
            if plan.count.is_some_and(|count| summary.polls() >= count.get()) {
                break;
            }
            match plan.pause(fastrand::f64()) {
                // A timer's shortest is a millisecond; `stop` must have its turn all the same.
                Duration::ZERO => tokio::task::yield_now().await,
                pause => tokio::time::sleep(pause).await,
            }
        }
    };
    tokio::select! {
        () = polling => {}
        () = stop => {}
    }
    summary
}

/// Whether the run met what was expected of it; a run without expectation always does.
#[must_use]
pub fn as_expected(summary: &Summary, plan: Plan, expect: Option<Expect>) -> bool {
    match (expect, plan.count) {
        (Some(expect), Some(count)) => summary.holds(expect, count.get()),
        _ => true,
    }
}

/// Logs one poll: its words, and for JSON its class, phase and duration.
fn say(poll: &Poll) {
    let outcome = poll.outcome.class().to_string();
    let phase = poll.phase.to_string();
    let duration_ms = u64::try_from(poll.duration.as_millis()).unwrap_or(u64::MAX);
    let words = poll.outcome.to_string();
    let words = words.trim_end_matches('\n');
    if matches!(poll.outcome, Outcome::Answered(_)) {
        tracing::info!(outcome, phase, duration_ms, "{words}");
    } else {
        tracing::warn!(outcome, phase, duration_ms, "{words}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_between_the_interval_and_that_and_the_jitter() {
        let (interval, jitter) = (Duration::from_secs(2), Duration::from_secs(1));
        let plan = Plan { interval, jitter, count: None };
        assert_eq!(plan.pause(0.0), interval);
        assert_eq!(plan.pause(0.5), Duration::from_millis(2500));
        assert!(plan.pause(0.999) < interval + jitter);
    }
}
