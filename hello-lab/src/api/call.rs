//! What requests are answered from, and one request as every verb sees it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;

use super::error::ApiError;
use super::form::{self, Form};
use super::path::Target;
use super::selectors::Selection;
use crate::kubelet::attach::Attachables;
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
    /// Their main processes' streams.
    pub attachables: Attachables,
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

    /// A parameter that is a number; none where it is not there.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.parameter(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::BadRequest(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax ({name})"
                ))
            }),
        }
    }

    pub(super) fn key(&self, name: &str) -> Key {
        let namespace = self.target.namespace.as_deref().unwrap_or_default();
        Key::new(self.target.kind, namespace, name)
    }

    pub(super) fn selection(&self) -> Result<Selection, ApiError> {
        let (labels, fields) = (self.parameter("labelSelector"), self.parameter("fieldSelector"));
        Selection::parse(self.target.kind, labels, fields)
            .map_err(|error| ApiError::BadRequest(error.to_string()))
    }

    /// In which form the answer is to be.
    pub(super) fn form(&self) -> Result<Form, ApiError> {
        form::of(&self.headers, self.parameter("includeObject"))
    }
}
