//! One line a request, in hello-app's words: `Serving request: /path`.

use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;

/// Wraps `app` so that each request is logged when its answer is ready.
pub fn wrap(app: Router) -> Router {
    app.layer(from_fn(log))
}

async fn log(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    // The request line is a stranger's text, but an http::Uri holds no control character.
    tracing::info!(
        httpRequest.requestMethod = method.as_str(),
        httpRequest.requestUrl = %uri,
        httpRequest.status = response.status().as_u16(),
        httpRequest.latency = format!("{:.6}s", start.elapsed().as_secs_f64()),
        "Serving request: {}",
        uri.path(),
    );
    response
}
