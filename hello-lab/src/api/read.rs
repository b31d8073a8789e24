//! GET: one object, a list, a watch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::json_response;
use super::call::{Api, Call};
use super::error::ApiError;
use super::form::{self, Encoding, Form};
use super::pages::{self, Page, Token};
use super::protobuf::{self, ProtobufError};
use super::selectors::Selection;
use crate::objects::{Change, Event, Kind, Object, Store};

/// A watch ends after this time; clients start another.
const LONGEST_WATCH: Duration = Duration::from_secs(3600);

pub(super) fn get(api: &Api, call: &Call, name: &str) -> Result<Response, ApiError> {
    let form = call.form()?;
    let object = api.store.get(&call.key(name))?;
    Ok(json_response(StatusCode::OK, &form.of_one(&object, true)))
}

pub(super) fn list(api: &Api, call: &Call) -> Result<Response, ApiError> {
    let form = call.form()?;
    let page = Page::read(&api.store, call)?;
    let selection = call.selection()?;
    let (mut objects, version) = pages::objects_at(&api.store, call, page.version)?;
    objects.retain(|object| {
        selection.matches(object) && page.from.as_ref().is_none_or(|from| from.is_before(object))
    });
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(limit) = page.limit.filter(|limit| *limit < objects.len()) {
        // Of a selection, an API server does not know it.
        if selection.is_everything() {
            metadata["remainingItemCount"] = (objects.len() - limit).into();
        }
        objects.truncate(limit);
        if let Some(last) = objects.last() {
            metadata["continue"] = Token::after(last, version).text().into();
        }
    }
    let objects: Vec<_> = objects.iter().map(AsRef::as_ref).collect();
    Ok(json_response(StatusCode::OK, &form.of_list(call.target.kind, &objects, metadata)))
}

/// The objects that a call is about, and the version that they show.
pub(super) fn selected(store: &Store, call: &Call) -> Result<(Vec<Arc<Object>>, u64), ApiError> {
    let selection = call.selection()?;
    let (mut objects, version) = store.list(call.target.kind, call.target.namespace.as_deref());
    objects.retain(|object| selection.matches(object));
    Ok((objects, version))
}

/// What a watch sends next.
struct Watch {
    store: Store,
    kind: Kind,
    namespace: Option<String>,
    selection: Selection,
    form: Form,
    columns_sent: bool,
    version: u64,
    waiting: VecDeque<Value>,
    /// It has told of an error, after which nothing comes.
    failed: bool,
    end: Instant,
}

pub(super) fn watch(api: &Api, call: &Call) -> Result<Response, ApiError> {
    pages::check(call)?;
    let seconds = call.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
    let longest = seconds.map_or(LONGEST_WATCH, Duration::from_secs).min(LONGEST_WATCH);
    let mut watch = Watch {
        store: api.store.clone(),
        kind: call.target.kind,
        namespace: call.target.namespace.clone(),
        selection: call.selection()?,
        form: call.form()?,
        columns_sent: false,
        version: 0,
        waiting: VecDeque::new(),
        failed: false,
        end: Instant::now() + longest,
    };
    let start = call.parameter("resourceVersion");
    // Without a version, and with "0", a watch begins with what is there.
    if matches!(start, "" | "0") || call.flag("sendInitialEvents") {
        let (objects, version) = selected(&api.store, call)?;
        watch.version = version;
        for object in objects {
            watch.push("ADDED", &object);
        }
        if call.flag("sendInitialEvents") {
            watch.push_initial_end();
        }
    } else {
        watch.version = start.parse().map_err(|_| {
            ApiError::Internal(format!("resourceVersion: Invalid value: {start:?}: invalid syntax"))
        })?;
        pages::refuse_future(&api.store, watch.version)?;
        // The stream tells of a version that is gone.
    }
    let encoding = form::encoding(&call.headers);
    let events = stream::unfold(watch, move |mut watch| async move {
        let event = watch.next().await?;
        Some((written(encoding, &event), watch))
    });
    let content_type = match encoding {
        Encoding::Json => "application/json".to_owned(),
        Encoding::Protobuf => format!("{};stream=watch", protobuf::MEDIA_TYPE),
    };
    Ok(([(CONTENT_TYPE, content_type)], Body::from_stream(events)).into_response())
}

/// An event as a watch sends it. One that cannot be written ends the watch, and the client begins again.
fn written(encoding: Encoding, event: &Value) -> Result<Vec<u8>, ProtobufError> {
    match encoding {
        Encoding::Json => Ok(format!("{event}\n").into_bytes()),
        Encoding::Protobuf => protobuf::write_event(event),
    }
}

impl Watch {
    /// The next event; `None` when the watch is over.
    async fn next(&mut self) -> Option<Value> {
        let mut changes = self.store.changes();
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.failed {
                return None;
            }
            match self.store.since(self.version) {
                Ok(events) => {
                    for event in events {
                        self.version = event.version;
                        self.take(&event);
                    }
                }
                Err(error) => {
                    self.failed = true;
                    let status = ApiError::from(error).status();
                    return Some(json!({"type": "ERROR", "object": status}));
                }
            }
            if self.waiting.is_empty() {
                tokio::select! {
                    changed = changes.changed() => changed.ok()?,
                    () = tokio::time::sleep_until(self.end) => return None,
                }
            }
        }
    }

    /// An object that begins to match was added, for this watch, and one that ceases to was
    /// deleted.
    fn take(&mut self, event: &Event) {
        let object = &event.object;
        let ours = object.kind() == self.kind
            && self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace());
        if !ours {
            return;
        }
        let before = event.before.as_ref().is_some_and(|before| self.selection.matches(before));
        let after = event.change != Change::Deleted && self.selection.matches(object);
        match (before, after) {
            (false, true) => self.push("ADDED", object),
            (true, true) => self.push("MODIFIED", object),
            (true, false) => self.push("DELETED", object),
            (false, false) => {}
        }
    }

    fn push(&mut self, change: &str, object: &Object) {
        let columns = !std::mem::replace(&mut self.columns_sent, true);
        let shown = self.form.of_one(object, columns);
        self.waiting.push_back(json!({"type": change, "object": shown}));
    }

    /// Tells a client that asked for it that it has seen all that was there.
    fn push_initial_end(&mut self) {
        let bookmark = json!({
            "kind": self.kind.resource().kind,
            "apiVersion": self.kind.api_version(),
            "metadata": {
                "resourceVersion": self.version.to_string(),
                "annotations": {"k8s.io/initial-events-end": "true"},
            },
        });
        self.waiting.push_back(json!({"type": "BOOKMARK", "object": bookmark}));
    }
}
