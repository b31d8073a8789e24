//! The routes. Everything but the health paths is the greeting, whatever the method.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;

use crate::metrics::{self, Metrics};

/// What the server says, once in each form it can be asked for.
#[derive(Clone, Debug)]
pub struct Greeting {
    text: Bytes,
    json: Bytes,
}

/// The greeting as JSON.
#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    version: &'a str,
    hostname: &'a str,
}

impl Greeting {
    const MESSAGE: &'static str = "Hello, world!";

    /// The greeting of the server named `hostname`. Control characters of the name are replaced.
    #[must_use]
    pub fn new(version: &str, hostname: &str) -> Self {
        let hostname = hostname.replace(char::is_control, "?");
        let fields = Fields { message: Self::MESSAGE, version, hostname: &hostname };
        let mut json = serde_json::to_string(&fields).expect("three strings are always JSON");
        json.push('\n');
        // The order of the lines is that of the original hello-app; scripts read it.
        let text = format!("{}\nVersion: {version}\nHostname: {hostname}\n", Self::MESSAGE);
        Self { text: text.into(), json: json.into() }
    }

    fn response(&self, headers: &HeaderMap) -> Response {
        let (content_type, body) = if prefers_json(headers) {
            ("application/json", &self.json)
        } else {
            ("text/plain; charset=utf-8", &self.text)
        };
        ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], Body::from(body.clone()))
            .into_response()
    }
}

/// Whether the server wants new connections: no longer once it drains.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on `/readyz` answers 503.
    pub fn drain(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether `/readyz` answers 503.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The whole application.
pub fn router(greeting: Greeting, readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    let metrics = move || {
        let text = metrics.to_string();
        async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text) }
    };
    let readyz = move || {
        let draining = readiness.is_draining();
        async move {
            if draining {
                (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            } else {
                (StatusCode::OK, "ok\n")
            }
        }
    };
    Router::new()
        .route("/healthz", any(|| async { "ok\n" }))
        .route("/readyz", any(readyz))
        .route("/metrics", any(metrics))
        .fallback(greet)
        .with_state(Arc::new(greeting))
}

async fn greet(State(greeting): State<Arc<Greeting>>, headers: HeaderMap) -> Response {
    greeting.response(&headers)
}

/// Whether `Accept` names JSON with at least the weight it gives to text (RFC 9110, 12.5.1).
fn prefers_json(headers: &HeaderMap) -> bool {
    let (mut json, mut text) = (0.0, 0.0);
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(1.0, |(_, value)| value.trim().parse::<f32>().unwrap_or(0.0));
        if media_type.eq_ignore_ascii_case("application/json") {
            json = weight;
        } else if media_type.eq_ignore_ascii_case("text/plain") {
            text = weight;
        }
    }
    json > 0.0 && json >= text
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, Request};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    fn app(readiness: Readiness) -> Router {
        router(Greeting::new("1.2.3", "pod-a"), readiness, Arc::new(Metrics::new("1.2.3")))
    }

    async fn ask(method: Method, path: &str, accept: Option<&str>) -> (StatusCode, String, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let app = app(Readiness::default());
        let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_path_and_method_gets_the_greeting() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            for path in ["/", "/any/path?query=1", "/healthz/below"] {
                let (status, content_type, body) = ask(method.clone(), path, None).await;
                assert_eq!(status, StatusCode::OK);
                assert_eq!(content_type, "text/plain; charset=utf-8");
                assert_eq!(body, "Hello, world!\nVersion: 1.2.3\nHostname: pod-a\n");
            }
        }
    }

    #[tokio::test]
    async fn json_is_sent_to_who_asks_for_it() {
        let (_, content_type, body) = ask(Method::GET, "/", Some("application/json")).await;
        assert_eq!(content_type, "application/json");
        assert_eq!(
            body,
            "{\"message\":\"Hello, world!\",\"version\":\"1.2.3\",\"hostname\":\"pod-a\"}\n"
        );
    }

    #[tokio::test]
    async fn text_is_sent_to_who_prefers_it() {
        for accept in
            ["*/*", "text/html", "application/json;q=0.2, text/plain", "application/json;q=0"]
        {
            let (_, content_type, _) = ask(Method::GET, "/", Some(accept)).await;
            assert_eq!(content_type, "text/plain; charset=utf-8", "{accept}");
        }
    }

    #[tokio::test]
    async fn metrics_are_what_prometheus_reads() {
        let (status, content_type, body) = ask(Method::GET, "/metrics", None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(content_type, metrics::CONTENT_TYPE);
        assert!(body.contains("hello_server_build_info{version=\"1.2.3\"} 1\n"), "{body}");
    }

    #[tokio::test]
    async fn readiness_ends_when_the_server_drains_and_liveness_does_not() {
        let readiness = Readiness::default();
        let app = app(readiness.clone());
        let status = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap().status()
        };
        assert_eq!(status("/readyz").await, StatusCode::OK);
        readiness.drain();
        assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/healthz").await, StatusCode::OK);
    }
}
