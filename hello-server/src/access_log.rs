//! One line a request, in hello-app's words: `Serving request: /path`. As JSON it has what Cloud Logging
//! reads (<https://cloud.google.com/logging/docs/structured-logging>): `httpRequest`, and the trace that
//! the request is part of.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{HeaderMap, HeaderValue, USER_AGENT};
use axum::http::{Method, StatusCode, Uri, Version};

/// Logs a request by its path alone.
pub fn path(uri: &Uri) {
    // The request line is a stranger's text, but an http::Uri holds no control character.
    tracing::info!("Serving request: {}", uri.path());
}

/// What a line says of a request, kept while it is answered.
#[derive(Debug)]
pub struct Line {
    method: Method,
    uri: Uri,
    version: Version,
    user_agent: Option<HeaderValue>,
    trace: Option<Trace>,
}

impl Line {
    /// What to say of `request`.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            user_agent: request.headers().get(USER_AGENT).cloned(),
            trace: Trace::of(request.headers()),
        }
    }

    /// Logs the request, answered. `project` is the one of Google Cloud that traces are in.
    pub fn log(
        &self,
        client: SocketAddr,
        status: StatusCode,
        latency: Duration,
        project: Option<&str>,
    ) {
        let user_agent = self.user_agent.as_ref().and_then(|value| value.to_str().ok());
        let trace = self.trace.as_ref();
        tracing::info!(
            httpRequest.requestMethod = self.method.as_str(),
            httpRequest.requestUrl = %self.uri,
            httpRequest.protocol = ?self.version,
            httpRequest.status = status.as_u16(),
            httpRequest.latency = %Seconds(latency),
            httpRequest.remoteIp = %client.ip().to_canonical(),
            httpRequest.userAgent = user_agent,
            "logging.googleapis.com/trace" = trace.map(|trace| tracing::field::display(trace.name(project))),
            "logging.googleapis.com/spanId" = trace.map(|trace| trace.span.as_str()),
            "logging.googleapis.com/trace_sampled" = trace.map(|trace| trace.is_sampled),
            "Serving request: {}",
            self.uri.path(),
        );
    }
}

/// A span of time as a protocol buffer's `Duration` is in JSON: `0.000012s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.6}s", self.0.as_secs_f64())
    }
}

/// What `traceparent` says (<https://www.w3.org/TR/trace-context/#traceparent-header>).
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    id: String,
    span: String,
    is_sampled: bool,
}

impl Trace {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get("traceparent")?.to_str().ok()?)
    }

    /// `00-TRACE-SPAN-FLAGS`, in lower-case hexadecimal digits; a later version may have more after it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut part = |length: usize| {
            let is_digit = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            parts.next().filter(|part| part.len() == length && part.bytes().all(is_digit))
        };
        let (version, id, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let is_zero = |part: &str| part.bytes().all(|digit| digit == b'0');
        if version == "ff"
            || is_zero(id)
            || is_zero(span)
            || version == "00" && parts.next().is_some()
        {
            return None;
        }
        let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { id: id.to_owned(), span: span.to_owned(), is_sampled })
    }

    /// As Cloud Logging names it; without a project, the number alone.
    fn name(&self, project: Option<&str>) -> impl fmt::Display {
        match project {
            Some(project) => format!("projects/{project}/traces/{}", self.id),
            None => self.id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_names_trace_span_and_sampling() {
        let trace = Trace::parse(&format!("00-{ID}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(trace.name(Some("p")).to_string(), format!("projects/p/traces/{ID}"));
        assert_eq!(trace.name(None).to_string(), ID);
        assert_eq!((trace.span.as_str(), trace.is_sampled), ("00f067aa0ba902b7", true));
        assert!(!Trace::parse(&format!("00-{ID}-00f067aa0ba902b7-00")).unwrap().is_sampled);
        assert!(Trace::parse(&format!("cc-{ID}-00f067aa0ba902b7-01-more")).is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        let zero = "0".repeat(32);
        for bad in [
            "",
            "00",
            &format!("00-{ID}-00f067aa0ba902b7"),
            &format!("00-{ID}-00f067aa0ba902b7-01-more"),
            &format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            &format!("00-{zero}-00f067aa0ba902b7-01"),
            &format!("00-{ID}-0000000000000000-01"),
            &format!("ff-{ID}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
    }
}
