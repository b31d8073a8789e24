//! What requests are answered from, and one request as every verb sees it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::error::ApiError;
use super::path::Target;
use super::selectors::Selection;
use crate::kubelet::exec::Containers;
use crate::kubelet::logs::Logs;
use crate::objects::{Key, Store};

/// What requests are answered from.
#[derive(Clone)]
pub struct Api {
    /// The objects.
    pub store: Store,
    /// What containers wrote.
    pub logs: Logs,
    /// The containers that run.
    pub containers: Containers,
    /// What a client must show: `Authorization: Bearer TOKEN`.
    pub token: Arc<str>,
}

/// A request's query, by name. Kubernetes gives no parameter twice but for exec.
pub(super) type Parameters = HashMap<String, String>;

/// One request about objects, read as far as all methods need it.
pub(super) struct Call {
    pub(super) target: Target,
    pub(super) parameters: Parameters,
    pub(super) headers: HeaderMap,
}

impl Call {
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.parameter(name), "true" | "1")
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.parameter("dryRun") == "All"
    }

    pub(super) fn key(&self, name: &str) -> Key {
        let namespace = self.target.namespace.as_deref().unwrap_or_default();
        Key::new(self.target.kind, namespace, name)
    }

    pub(super) fn selection(&self) -> Result<Selection, ApiError> {
        Selection::parse(self.parameter("labelSelector"), self.parameter("fieldSelector"))
            .map_err(ApiError::BadRequest)
    }

    pub(super) fn wants_whole_rows(&self) -> bool {
        self.parameter("includeObject") == "Object"
    }

    /// Whether the client asked for a Table.
    pub(super) fn wants_table(&self) -> bool {
        let accept = self.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("as=Table"))
    }
}
