//! `/metrics`: what Prometheus scrapes, in the text format of `OpenMetrics`
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::fmt;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The type of [`Metrics`] as text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency histogram in seconds: an answer takes microseconds, unless something
/// is wrong.
const LATENCIES: [f64; 10] = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 1.0];

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What is counted. Labels are of fixed sets: no stranger can make more series.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    in_flight: Gauge,
    latency: Histogram,
    /// Connections that are open.
    pub open: Gauge,
    /// Connections that were accepted.
    pub accepted: Counter,
    /// Times that no more connections were accepted because so many were open.
    pub deferred: Counter,
    /// Errors of accepting itself, such as a full table of files.
    pub accept_errors: Counter,
    closed: Family<Labels<1>, Counter>,
}

/// Why a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client or the server had no more to say.
    Done,
    /// No request came for too long.
    Idle,
    /// A request's headers took too long.
    SlowHeaders,
    /// What came was not HTTP/1.
    BadRequest,
    /// The client went away in the middle.
    Broken,
}

impl Closed {
    fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Idle => "idle",
            Self::SlowHeaders => "slow_headers",
            Self::BadRequest => "bad_request",
            Self::Broken => "broken",
        }
    }
}

impl Metrics {
    /// Nothing counted yet, by a program of this version.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("hello_server");
        let metrics = Self {
            requests: Family::default(),
            in_flight: Gauge::default(),
            latency: Histogram::new(LATENCIES),
            open: Gauge::default(),
            accepted: Counter::default(),
            deferred: Counter::default(),
            accept_errors: Counter::default(),
            closed: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "build",
            "The program's version",
            Info::new([("version".to_owned(), version.to_owned())]),
        );
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "http_requests_in_flight",
            "Requests that are being answered",
            metrics.in_flight.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "From a request's headers to its answer's",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register("connections_open", "Connections that are open", metrics.open.clone());
        registry.register(
            "connections_accepted",
            "Connections that were accepted",
            metrics.accepted.clone(),
        );
        registry.register(
            "connections_deferred",
            "Times that accepting waited because as many as may be were open",
            metrics.deferred.clone(),
        );
        registry.register(
            "connections_accept_errors",
            "Errors of accepting, such as a full table of files",
            metrics.accept_errors.clone(),
        );
        registry.register(
            "connections_closed",
            "Connections that ended, by why",
            metrics.closed.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Counts a request from now on as in flight.
    #[must_use]
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(self)
    }

    /// Counts a request that was answered.
    pub fn answered(&self, method: &Method, status: StatusCode, latency: Duration) {
        let labels = [("method", method_label(method)), ("status", status_label(status))];
        self.requests.get_or_create(&labels).inc();
        self.latency.observe(latency.as_secs_f64());
    }

    /// Counts a connection that came to its end.
    pub fn closed(&self, why: Closed) {
        self.closed.get_or_create(&[("reason", why.label())]).inc();
    }
}

/// As Prometheus reads it.
impl fmt::Display for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        encode(out, &self.registry)
    }
}

/// A request in flight; no longer when this is dropped.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

/// A method's name, if RFC 9110 or 5789 knows it: others are a stranger's text.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 9] = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::CONNECT, "CONNECT"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::TRACE, "TRACE"),
        (Method::PATCH, "PATCH"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("other", |(_, label)| label)
}

/// The statuses that [`crate::app`] answers with.
fn status_label(status: StatusCode) -> &'static str {
    match status {
        StatusCode::OK => "200",
        StatusCode::SERVICE_UNAVAILABLE => "503",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_method_and_status_and_in_the_bucket_of_its_latency() {
        let metrics = Metrics::new("1.2.3");
        let in_flight = metrics.begin();
        assert!(metrics.to_string().contains("hello_server_http_requests_in_flight 1\n"));
        metrics.answered(&Method::GET, StatusCode::OK, Duration::from_micros(30));
        drop(in_flight);
        let text = metrics.to_string();
        for line in [
            "hello_server_build_info{version=\"1.2.3\"} 1",
            "hello_server_http_requests_total{method=\"GET\",status=\"200\"} 1",
            "hello_server_http_requests_in_flight 0",
            "hello_server_http_request_duration_seconds_count 1",
            "hello_server_http_request_duration_seconds_bucket{le=\"0.000025\"} 0",
            "hello_server_http_request_duration_seconds_bucket{le=\"0.00005\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_made_up_method_makes_no_series_of_its_own() {
        let metrics = Metrics::new("1");
        for name in ["BREW", "WHEN"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            metrics.answered(&method, StatusCode::OK, Duration::ZERO);
        }
        let text = metrics.to_string();
        assert!(
            text.contains("http_requests_total{method=\"other\",status=\"200\"} 2\n"),
            "{text}"
        );
    }
}
