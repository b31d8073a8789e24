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
    /// Polls to make; for ever where there is none.
    pub count: Option<NonZeroU64>,
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
            tokio::time::sleep(plan.interval).await;
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
