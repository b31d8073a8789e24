//! Lists of a version that is past, and in pages
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>).

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use netpol::field_error::FieldError;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::error::ApiError;
use crate::objects::{Change, Object, Store, StoreError};

/// Where a list goes on (`continueToken` of k8s.io/apiserver/pkg/storage).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    /// The token's own version.
    v: String,
    /// The version that the list shows.
    pub(super) rv: u64,
    /// The first name that may come next: namespace, `/`, name.
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Token {
    /// The place after `object` of the list of this version.
    pub(super) fn after(object: &Object, rv: u64) -> Self {
        let start = format!("{}/{}\0", object.namespace(), object.name());
        Self { v: TOKEN_VERSION.to_owned(), rv, start }
    }

    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::json!(self).to_string())
    }

    fn read(text: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(|token: &Self| token.v == TOKEN_VERSION)
            .ok_or_else(|| ApiError::BadRequest("continue key is not valid".to_owned()))
    }

    /// Whether `object` may come next.
    pub(super) fn is_before(&self, object: &Object) -> bool {
        let (namespace, name) =
            self.start.split_once('/').unwrap_or((object.namespace(), self.start.as_str()));
        (object.namespace(), object.name()) >= (namespace, name)
    }
}

/// What a list is of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The version that it is to show; the latest, if none is given.
    pub(super) version: Option<u64>,
    /// Where it begins.
    pub(super) from: Option<Token>,
    /// How much it has at most.
    pub(super) limit: Option<usize>,
}

impl Page {
    pub(super) fn read(store: &Store, call: &Call) -> Result<Self, ApiError> {
        check(call)?;
        let limit = call.number("limit")?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let wanted = version(call)?;
        if let Some(wanted) = wanted {
            refuse_future(store, wanted)?;
        }
        let from = match call.parameter("continue") {
            "" => None,
            text => Some(Token::read(text)?),
        };
        if let Some(from) = &from {
            refuse_future(store, from.rv)?;
            if wanted.is_some_and(|wanted| wanted != 0) {
                return Err(ApiError::BadRequest(
                    "specifying resource version is not allowed when using continue".to_owned(),
                ));
            }
        }
        // Without `Exact`, a later version than that which is asked for is as good.
        let exact = call.parameter("resourceVersionMatch") == "Exact";
        let version = from.as_ref().map(|from| from.rv).or(wanted.filter(|_| exact));
        Ok(Self { version, from, limit })
    }
}

/// `resourceVersion` of a list.
fn version(call: &Call) -> Result<Option<u64>, ApiError> {
    match call.parameter("resourceVersion") {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            ApiError::BadRequest(format!(
                "resourceVersion: Invalid value: {text:?}: invalid syntax"
            ))
        }),
    }
}

/// Refuses a version that has not been yet: it is another cluster's, or another lab's.
pub(super) fn refuse_future(store: &Store, version: u64) -> Result<(), ApiError> {
    let now = store.version();
    if version > now { Err(ApiError::VersionOfTheFuture(version, now)) } else { Ok(()) }
}

/// `ValidateListOptions` of k8s.io/apimachinery/pkg/apis/meta/internalversion/validation.
pub(super) fn check(call: &Call) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let mut forbid = |field: &str, detail: &str| errors.push(FieldError::forbidden(field, detail));
    let watch = call.flag("watch");
    let initial = !call.parameter("sendInitialEvents").is_empty();
    let matched = call.parameter("resourceVersionMatch");
    let version = call.parameter("resourceVersion");
    let mut unknown = None;
    if initial {
        if !watch {
            forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        if matched != "NotOlderThan" {
            forbid(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
    } else if !matched.is_empty() {
        if watch {
            forbid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if version.is_empty() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            forbid("resourceVersionMatch", detail);
        }
        if !call.parameter("continue").is_empty() {
            let detail = "resourceVersionMatch is forbidden when continue is provided";
            forbid("resourceVersionMatch", detail);
        }
        if matched == "Exact" && version == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            forbid("resourceVersionMatch", detail);
        }
        if !matches!(matched, "Exact" | "NotOlderThan") {
            unknown = Some(matched);
        }
    }
    if let Some(unknown) = unknown {
        let supported = &["Exact", "NotOlderThan", ""];
        errors.push(FieldError::not_supported("resourceVersionMatch", unknown, supported));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::InvalidOptions("ListOptions", errors)) }
}

/// The objects that a call's URL names, as they were at a version, or are now; and that version.
pub(super) fn objects_at(
    store: &Store,
    call: &Call,
    version: Option<u64>,
) -> Result<(Vec<Arc<Object>>, u64), ApiError> {
    let (kind, namespace) = (call.target.kind, call.target.namespace.as_deref());
    let (objects, now) = store.list(kind, namespace);
    let Some(version) = version else { return Ok((objects, now)) };
    let events = match store.since(version) {
        Ok(events) => events,
        Err(StoreError::TooOld(_)) => {
            return Err(ApiError::Expired(
                "The provided continue parameter is too old to display a consistent list result. \
                 You must start a new list without the continue parameter."
                    .to_owned(),
            ));
        }
        Err(other) => return Err(other.into()),
    };
    let place = |object: &Object| (object.namespace().to_owned(), object.name().to_owned());
    let mut then: BTreeMap<_, _> =
        objects.into_iter().map(|object| (place(&object), object)).collect();
    let ours = events.into_iter().filter(|event| {
        let object = &event.object;
        event.version <= now
            && object.kind() == kind
            && namespace.is_none_or(|namespace| namespace == object.namespace())
    });
    let ours: Vec<_> = ours.collect();
    for event in ours.into_iter().rev() {
        match (event.change, event.before) {
            (Change::Modified | Change::Deleted, Some(before)) => {
                then.insert(place(&before), before);
            }
            _ => _ = then.remove(&place(&event.object)),
        }
    }
    Ok((then.into_values().collect(), version))
}
