//! A request and its answer: passed to the routes, counted and logged.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::Service;

use crate::access_log::{self, Line};
use crate::app::{Greeting, Readiness, router};
use crate::connection::Activity;
use crate::host;
use crate::metrics::Metrics;

/// What every connection is served from.
#[derive(Debug)]
pub struct Answers {
    app: Router,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    access_log: Option<AccessLog>,
}

/// That each request is logged, and how much of it.
#[derive(Clone, Debug)]
pub enum AccessLog {
    /// Its path, all that a line of text has.
    Path,
    /// All that Cloud Logging reads.
    Everything {
        /// The project of Google Cloud that traces are in, where one is known.
        project: Option<String>,
    },
}

impl Answers {
    /// Answers with `greeting`, and logs each request if there is an `access_log`.
    #[must_use]
    pub fn new(greeting: Greeting, metrics: Metrics, access_log: Option<AccessLog>) -> Self {
        let (readiness, metrics) = (Readiness::default(), Arc::new(metrics));
        let app = router(greeting, readiness.clone(), Arc::clone(&metrics));
        Self { app, readiness, metrics, access_log }
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether new connections are wanted.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Answers one request of `client`, and notes in `activity` when.
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        client: SocketAddr,
        activity: Arc<Activity>,
    ) -> Result<Response<Body>, Infallible> {
        let start = Instant::now();
        activity.request(start);
        let in_flight = self.metrics.begin();
        let method = request.method().clone();
        let line = match &self.access_log {
            None => None,
            Some(AccessLog::Path) => {
                access_log::path(request.uri());
                None
            }
            Some(AccessLog::Everything { project }) => Some((project, Line::of(&request))),
        };
        let mut response = if host::is_right(request.version(), request.headers()) {
            self.app.clone().call(request).await?
        } else {
            (StatusCode::BAD_REQUEST, "one Host header with a valid value is needed\n")
                .into_response()
        };
        if self.readiness.is_draining() {
            // Its next request is for whoever takes over.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let (end, status) = (Instant::now(), response.status());
        let latency = end.duration_since(start);
        drop(in_flight);
        self.metrics.answered(&method, status, latency);
        if let Some((project, line)) = line {
            line.log(client, status, latency, project.as_deref());
        }
        activity.request(end);
        Ok(response)
    }
}
