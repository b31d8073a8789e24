//! The Kubernetes API that kubectl speaks, over the store: one file a verb.

mod absent;
mod answer;
mod attach;
mod body;
pub mod call;
mod create;
mod delete;
mod discovery;
pub mod error;
mod eviction;
mod exec;
mod fields;
mod form;
mod json;
mod log;
mod long_query;
mod not_done;
mod openapi;
mod options;
mod pages;
mod patch;
mod path;
mod port_forward;
mod protobuf;
mod proxy;
mod read;
mod remote_command;
mod reviews;
mod scale;
mod selectors;
pub mod serve;
mod spdy;
mod strategic;
mod table;
mod update;

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tracing::Instrument;

use self::answer::{encoded, json_response};
use self::call::{Api, Call};
use self::error::ApiError;
use self::path::Target;
use crate::loops::panic_text;
use crate::objects::names::KUBERNETES_VERSION;
use crate::objects::{Key, Kind};

/// The application.
pub fn router(api: Api) -> Router {
    Router::new().fallback(handle).with_state(api)
}

async fn handle(State(api): State<Api>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let encoding = form::encoding(request.headers());
    let span = tracing::info_span!("request", %method, path);
    async {
        let result = caught(answer(&api, request)).await;
        if let Err(error) = &result {
            tracing::debug!("refused: {error}");
        }
        let response = result.unwrap_or_else(IntoResponse::into_response);
        let response = encoded(response, encoding).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await
}

/// A handler that panics is that request's error and no more.
async fn caught(
    work: impl Future<Output = Result<Response, ApiError>>,
) -> Result<Response, ApiError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        tracing::error!("a request made the API panic: {}", panic_text(&*panic));
        Err(ApiError::Panicked)
    })
}

async fn answer(api: &Api, request: Request) -> Result<Response, ApiError> {
    authenticate(request.headers(), &api.token)?;
    let path = request.uri().path().to_owned();
    if let Some(proxied) = proxy::find(&path) {
        return proxy::forward(api, &proxied, request).await;
    }
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path();
    if parts.method == Method::GET {
        if matches!(path, "/healthz" | "/livez" | "/readyz") {
            return Ok("ok".into_response());
        }
        if path == "/openapi/v2" {
            let content_type = [(CONTENT_TYPE, openapi::V2_TYPE)];
            return Ok((content_type, openapi::V2).into_response());
        }
        if let Some(document) = discovery::document(path, KUBERNETES_VERSION) {
            return Ok(json_response(StatusCode::OK, &document));
        }
    }
    if parts.headers.contains_key("impersonate-user") {
        return Err(ApiError::NotInTheLab("users to act as (kubectl --as)"));
    }
    if let Some(kind) = reviews::find(path) {
        return reviews::answer(kind, &parts.method, &parts.headers, &read_body(body).await?);
    }
    if let Some(answer) = absent::answer(path, &parts.method, &parts.headers, parts.uri.query()) {
        return answer.map(|list| json_response(StatusCode::OK, &list));
    }
    if let Some(missing) = not_in_the_lab(path) {
        return Err(ApiError::NotInTheLab(missing));
    }
    let target = Target::parse(path).ok_or(ApiError::NoSuchPath)?;
    let Query(parameters) =
        Query::try_from_uri(&parts.uri).map_err(|error| ApiError::BadRequest(error.to_string()))?;
    if let Target { kind: Kind::Pod, name: Some(name), subresource: Some(part), .. } = &target
        && let part @ ("attach" | "exec" | "portforward") = part.as_str()
    {
        if !matches!(parts.method, Method::GET | Method::POST) {
            return Err(ApiError::MethodNotAllowed);
        }
        let namespace = target.namespace.as_deref().unwrap_or_default();
        let pod = api.store.get(&Key::new(Kind::Pod, namespace, name))?;
        return match part {
            "attach" => attach::start(api, parts, &pod).await,
            "exec" => exec::start(api, parts, &pod).await,
            _ => port_forward::start(api, parts, &pod).await,
        };
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.ok();
    let call = Call { target, parameters, headers: parts.headers };
    if let Target { kind: Kind::Pod, name: Some(name), subresource: Some(part), .. } = &call.target
        && part == "log"
        && let Some(upgrade) = upgrade
    {
        return log::over_web_socket(api, &call, name, upgrade);
    }
    let body = read_body(body).await?;
    let Target { name, subresource, kind, .. } = &call.target;
    let is_known =
        subresource.as_deref().is_none_or(|part| kind.resource().subresources.contains(&part));
    match (&parts.method, name, subresource.as_deref()) {
        (&Method::GET, None, None) if call.flag("watch") => read::watch(api, &call),
        (&Method::GET, None, None) => read::list(api, &call),
        (&Method::GET, Some(name), None | Some("ephemeralcontainers" | "status")) if is_known => {
            read::get(api, &call, name)
        }
        (&Method::GET, Some(name), Some("log")) if is_known => log::read(api, &call, name),
        (&Method::POST, None, None) => create::create(api, &call, &body),
        (&Method::POST, Some(name), Some("eviction")) if is_known => {
            eviction::evict(api, &call, name, &body)
        }
        (&Method::PUT, Some(name), None | Some("ephemeralcontainers" | "finalize" | "status"))
            if is_known =>
        {
            update::replace(api, &call, name, &body)
        }
        (&Method::PATCH, Some(name), None | Some("ephemeralcontainers" | "status")) if is_known => {
            update::patch(api, &call, name, &body)
        }
        (&Method::DELETE, Some(name), None) => delete::one(api, &call, name, &body),
        (&Method::DELETE, None, None) => delete::many(api, &call, &body),
        (method, Some(name), Some("scale")) if is_known => {
            scale::scale(api, &call, name, method, &body)
        }
        (_, _, None) => Err(ApiError::MethodNotAllowed),
        (_, _, Some(_)) if is_known => Err(ApiError::MethodNotAllowed),
        _ => Err(ApiError::NoSuchPath),
    }
}

/// A whole body, which is bounded in size and time. One that is too long is read all the same, within
/// bounds, and thrown away: a client that still writes when the connection is closed may never see the
/// answer (RFC 9112, 9.6).
async fn read_body(mut body: Body) -> Result<Bytes, ApiError> {
    let reading = async {
        let (mut kept, mut length) = (BytesMut::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                ApiError::BadRequest(format!("the body cannot be read: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length <= body::LIMIT {
                kept.extend_from_slice(&data);
            } else {
                kept.clear();
            }
            if length > body::LONGEST {
                break;
            }
        }
        if length > body::LIMIT {
            return Err(ApiError::TooLarge(format!("limit is {}", body::LIMIT)));
        }
        Ok(kept.freeze())
    };
    let read = tokio::time::timeout(body::PATIENCE, reading).await;
    read.unwrap_or(Err(ApiError::TooSlow(body::PATIENCE)))
}

/// Compares the whole token, so that the time it takes tells nothing of it.
fn authenticate(headers: &HeaderMap, token: &str) -> Result<(), ApiError> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    // In words of RFC 9110, 11.1: the scheme's name in upper or lower case.
    let given = given
        .and_then(|given| given.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, token)| token);
    let differing = given
        .bytes()
        .zip(token.bytes())
        .fold(given.len() ^ token.len(), |differing, (a, b)| differing | usize::from(a ^ b));
    if differing == 0 { Ok(()) } else { Err(ApiError::Unauthorized) }
}

/// What people will try and the lab has not, by the end of the path.
fn not_in_the_lab(path: &str) -> Option<&'static str> {
    match path.rsplit('/').next()? {
        "proxy" => Some("proxy to nodes"),
        "binding" => Some("binding of pods to nodes"),
        "token" => Some("token of service accounts"),
        _ => None,
    }
}
