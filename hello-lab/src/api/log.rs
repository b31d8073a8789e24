//! GET of a pod's log: what `kubectl logs` shows.

use axum::body::Body;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::{Timestamp, ToSpan};

use super::call::{Api, Call};
use super::error::ApiError;
use crate::kubelet::logs::{Line, Log};
use crate::objects::Object;

pub(super) fn read(api: &Api, call: &Call, name: &str) -> Result<Response, ApiError> {
    let pod = api.store.get(&call.key(name))?;
    let container = container(&pod, call.parameter("container"))?;
    let log = api.logs.get(pod.uid(), &container, call.flag("previous")).ok_or_else(|| {
        let message = if call.flag("previous") {
            format!("previous terminated container {container:?} in pod {name:?} not found")
        } else {
            let reason = waiting_reason(&pod, &container);
            format!("container {container:?} in pod {name:?} is waiting to start: {reason}")
        };
        ApiError::BadRequest(message)
    })?;
    let options = Options::read(call)?;

    let (mut lines, next) = log.read(0);
    lines.retain(|line| options.since.is_none_or(|since| line.time >= since));
    if let Some(tail) = options.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let mut start = options.render(&lines);
    if let Some(limit) = options.limit {
        start.truncate(limit);
    }
    let body = if options.follow {
        let follower = Follower { log, next, options, start: Some(start) };
        Body::from_stream(stream::unfold(follower, |mut follower| async move {
            let bytes = follower.read().await?;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(bytes)), follower))
        }))
    } else {
        Body::from(start)
    };
    Ok(([(CONTENT_TYPE, "text/plain")], body).into_response())
}

/// The same over a WebSocket (`wsstream.Reader` of k8s.io/apimachinery).
pub(super) fn over_web_socket(
    api: &Api,
    call: &Call,
    name: &str,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let mut pieces = read(api, call, name)?.into_body().into_data_stream();
    Ok(upgrade.protocols(["binary.k8s.io"]).on_upgrade(async move |mut socket| {
        while let Some(Ok(piece)) = pieces.next().await {
            if socket.send(Message::Binary(piece)).await.is_err() {
                return;
            }
        }
        // Who has gone needs no end.
        let _ = socket.send(Message::Close(None)).await;
    }))
}

/// What is asked for of a log (`v1.PodLogOptions`).
struct Options {
    follow: bool,
    timestamps: bool,
    tail: Option<usize>,
    since: Option<Timestamp>,
    limit: Option<usize>,
}

impl Options {
    fn read(call: &Call) -> Result<Self, ApiError> {
        let number = |name: &str| -> Result<Option<usize>, ApiError> {
            let text = call.parameter(name);
            if text.is_empty() {
                return Ok(None);
            }
            let invalid = |_| ApiError::BadRequest(format!("{name}: invalid value {text:?}"));
            // kubectl sends -1 for all.
            match text.parse::<i64>().map_err(invalid)? {
                negative @ ..0 if name != "tailLines" => {
                    Err(ApiError::BadRequest(format!("{name}: invalid value {negative}")))
                }
                number => Ok(usize::try_from(number).ok()),
            }
        };
        let since_time = call.parameter("sinceTime");
        let since = if let Some(seconds) = number("sinceSeconds")? {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).min(10_000_000_000);
            Some(Timestamp::now().saturating_sub(seconds.seconds()).unwrap_or(Timestamp::MIN))
        } else if since_time.is_empty() {
            None
        } else {
            let invalid =
                |_| ApiError::BadRequest(format!("sinceTime: invalid value {since_time:?}"));
            Some(since_time.parse().map_err(invalid)?)
        };
        Ok(Self {
            follow: call.flag("follow"),
            timestamps: call.flag("timestamps"),
            tail: number("tailLines")?,
            since,
            limit: number("limitBytes")?,
        })
    }

    fn render(&self, lines: &[Line]) -> Vec<u8> {
        let mut text = Vec::new();
        for line in lines {
            if self.timestamps {
                text.extend_from_slice(format!("{:.9} ", line.time).as_bytes());
            }
            line.write(&mut text);
        }
        text
    }
}

/// Sends what was there, then each line as it is written, until the container ends.
struct Follower {
    log: Log,
    next: usize,
    options: Options,
    start: Option<Vec<u8>>,
}

impl Follower {
    async fn read(&mut self) -> Option<Vec<u8>> {
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            return Some(start);
        }
        let mut written = self.log.written();
        loop {
            let ended = written.borrow_and_update().ended;
            let (lines, next) = self.log.read(self.next);
            self.next = next;
            if !lines.is_empty() {
                return Some(self.options.render(&lines));
            }
            if ended {
                return None;
            }
            written.changed().await.ok();
        }
    }
}

/// The container that is meant: the pod's only one, unless one is named.
pub(super) fn container(pod: &Object, named: &str) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<&str> {
        let containers = pod.value()["spec"][list].as_array().into_iter().flatten();
        containers.filter_map(|one| one["name"].as_str()).collect()
    };
    let (names, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let pod = pod.name();
    match (named, &names[..]) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", _) => {
            let further = if init.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: {init:?}")
            };
            Err(ApiError::BadRequest(format!(
                "a container name must be specified for pod {pod}, choose one of: {names:?}{further}"
            )))
        }
        (named, names) if [names, &init, &ephemeral].iter().any(|list| list.contains(&named)) => {
            Ok(named.to_owned())
        }
        (named, _) => {
            Err(ApiError::BadRequest(format!("container {named} is not valid for pod {pod}")))
        }
    }
}

pub(super) fn waiting_reason(pod: &Object, container: &str) -> String {
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
    let statuses = lists.into_iter().filter_map(|list| pod.value()["status"][list].as_array());
    let reason = statuses
        .flatten()
        .filter(|status| status["name"] == container)
        .find_map(|status| status["state"]["waiting"]["reason"].as_str());
    reason.unwrap_or("ContainerCreating").to_owned()
}
