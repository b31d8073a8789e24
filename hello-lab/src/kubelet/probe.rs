//! Probes: how often, how long, and what is asked.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};

use super::handler::{Handler, HandlerError, Target};

/// A probe with the API's defaults applied.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// Before the first try.
    pub delay: Duration,
    /// Between two tries.
    pub period: Duration,
    /// Between two tries of a container that was never ready, in the first period.
    pub early_period: Duration,
    /// Tries in a row that turn it to failed.
    pub failures: u32,
    /// Tries in a row that turn it to succeeded.
    pub successes: u32,
    /// What the container is given to end when it is to be started again, if not what its pod says.
    pub grace: Option<Duration>,
    timeout: Duration,
    handler: Handler,
}

/// Why a try of a probe has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// It could not be done, or says no.
    #[error(transparent)]
    Handler(#[from] HandlerError),
    /// There is no answer in time.
    #[error("no answer from {from} within {timeout:?}")]
    Timeout {
        /// Who was asked.
        from: String,
        /// How long it was waited for.
        timeout: Duration,
    },
}

impl Check {
    /// Reads a probe of `container`. `None` for one of a kind that is not supported, or whose
    /// port does not exist.
    pub(super) fn new(container: &Container, probe: &Probe) -> Option<Self> {
        let handler = Handler::of_probe(container, probe)?;
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default),
            )
        };
        let times = |value: Option<i32>, default| {
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1)
        };
        let grace = probe.termination_grace_period_seconds;
        Some(Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            // A process costs more than a connection.
            early_period: match handler {
                Handler::Exec(_) => Duration::from_millis(250),
                _ => Duration::from_millis(50),
            },
            failures: times(probe.failure_threshold, 3),
            successes: times(probe.success_threshold, 1),
            grace: grace.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            handler,
        })
    }

    /// Tries once.
    pub(super) async fn attempt(&self, target: Target<'_>) -> Result<(), ProbeError> {
        let Self { handler, timeout, .. } = self;
        let done = tokio::time::timeout(*timeout, handler.run(target)).await;
        let late = |_| {
            let from = handler.describe(target.address);
            ProbeError::Timeout { from, timeout: *timeout }
        };
        Ok(done.map_err(late)??)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn defaults_are_those_of_the_api() {
        let container = serde_json::from_value(json!({"name": "c"})).unwrap();
        let probe = |probe: Value| Check::new(&container, &serde_json::from_value(probe).unwrap());
        let check = probe(json!({"tcpSocket": {"port": 80}})).unwrap();
        assert_eq!((check.failures, check.successes, check.grace), (3, 1, None));
        assert_eq!(
            (check.period, check.timeout),
            (Duration::from_secs(10), Duration::from_secs(1))
        );
        let own = json!({"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 3});
        assert_eq!(probe(own).unwrap().grace, Some(Duration::from_secs(3)));
        assert!(probe(json!({"grpc": {"port": 80}})).is_none());
    }
}
