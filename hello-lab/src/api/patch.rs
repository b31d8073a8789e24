//! The kinds of patch, read from a body, and the bounds of the API server for them
//! (k8s.io/apiserver/pkg/endpoints/handlers/patch.go).

use std::collections::BTreeSet;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use json_patch::PatchOperation;
use serde_json::{Map, Value};

use super::body;
use super::error::ApiError;
use super::strategic;
use crate::objects::Kind;

/// `maxJSONPatchOperations`.
const MOST_OPERATIONS: usize = 10_000;

/// What all copies of a JSON patch may have together, in bytes (`jsonpatch.AccumulatedCopySizeLimit`).
const MOST_COPIED: usize = 3 << 20;

/// How deep a patched object may be: as deep as one that is read. Deeper ones end in a full stack.
const DEEPEST: usize = 120;

/// How many values all moves and copies of a patch may pass.
const MOST_PASSED: usize = 2_000_000;

/// A patch.
#[derive(Debug)]
pub(super) struct Patch {
    change: Change,
    /// The keys that come twice in it.
    pub(super) duplicates: BTreeSet<String>,
}

#[derive(Debug)]
enum Change {
    Strategic(Map<String, Value>),
    Merge(Map<String, Value>),
    Json(Vec<PatchOperation>),
}

impl Patch {
    /// Reads a patch of the type that the headers name.
    pub(super) fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, ApiError> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let change: fn(Value) -> Result<Change, ApiError> = match content_type {
            "application/strategic-merge-patch+json" => {
                |value| fields(value).map(Change::Strategic)
            }
            "application/merge-patch+json" => |value| fields(value).map(Change::Merge),
            "application/json-patch+json" => |value| operations(value).map(Change::Json),
            "application/apply-patch+yaml" => {
                return Err(ApiError::UnsupportedMediaType(
                    "hello-lab has no server-side apply; leave --server-side out".to_owned(),
                ));
            }
            other => {
                return Err(ApiError::UnsupportedMediaType(format!("no patch of type {other:?}")));
            }
        };
        let body::Document { value, duplicates } = body::json(bytes)?;
        Ok(Self { change: change(value)?, duplicates })
    }

    /// Changes an object of `kind`, as clients see it.
    pub(super) fn apply(&self, kind: Kind, object: &mut Value) -> Result<(), ApiError> {
        match &self.change {
            Change::Strategic(patch) => strategic::apply(kind, object, patch)
                .map_err(|error| ApiError::Internal(error.to_string())),
            Change::Merge(patch) => {
                // It clones no more than the patch has.
                json_patch::merge(object, &Value::Object(patch.clone()));
                Ok(())
            }
            Change::Json(operations) => apply_all(object, operations),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn fields(patch: Value) -> Result<Map<String, Value>, ApiError> {
    match patch {
        Value::Object(fields) => Ok(fields),
        other => Err(ApiError::BadRequest(format!(
            "error decoding patch: a patch is an object, not {}",
            kind_of(&other)
        ))),
    }
}

fn operations(patch: Value) -> Result<Vec<PatchOperation>, ApiError> {
    let Value::Array(list) = patch else {
        return Err(ApiError::BadRequest(format!(
            "error decoding patch: a JSON patch is a list, not {}",
            kind_of(&patch)
        )));
    };
    if list.len() > MOST_OPERATIONS {
        return Err(ApiError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {}",
            list.len()
        )));
    }
    let read = |one| {
        serde_json::from_value(one)
            .map_err(|error| ApiError::CannotPatch(format!("not a JSON patch: {error}")))
    };
    list.into_iter().map(read).collect()
}

/// Does one operation after the other, within the bounds.
fn apply_all(object: &mut Value, operations: &[PatchOperation]) -> Result<(), ApiError> {
    let mut copied = 0;
    let mut left = MOST_PASSED;
    for (index, operation) in operations.iter().enumerate() {
        let refuse = |why: &str| {
            ApiError::CannotPatch(format!(
                "operation {index} of the JSON patch cannot be done: {why}"
            ))
        };
        let (path, moved) = match operation {
            PatchOperation::Add(add) => (add.path.as_str(), Some(&add.value)),
            PatchOperation::Replace(replace) => (replace.path.as_str(), Some(&replace.value)),
            PatchOperation::Move(from) => (from.path.as_str(), object.pointer(from.from.as_str())),
            PatchOperation::Copy(from) => {
                let value = object.pointer(from.from.as_str());
                copied += value.map_or(0, |value| size(value, MOST_COPIED));
                if copied > MOST_COPIED {
                    return Err(refuse(&format!("its copies are larger than {MOST_COPIED} bytes")));
                }
                (from.path.as_str(), value)
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => ("", None),
        };
        if let Some(value) = moved {
            let deep = depth(value, &mut left) + path.matches('/').count();
            if left == 0 {
                return Err(refuse("it moves too much"));
            }
            if deep > DEEPEST {
                return Err(refuse(&format!("it is deeper than {DEEPEST} levels")));
            }
        }
        json_patch::patch(object, std::slice::from_ref(operation))
            .map_err(|error| refuse(&error.to_string()))?;
    }
    Ok(())
}

/// About how many bytes a value has as JSON, counted no further than `most`.
fn size(value: &Value, most: usize) -> usize {
    let mut size = 0;
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        size += match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 4,
            Value::String(text) => text.len() + 2,
            Value::Array(elements) => {
                rest.extend(elements);
                2 + elements.len()
            }
            Value::Object(fields) => {
                rest.extend(fields.values());
                2 + fields.keys().map(|name| name.len() + 4).sum::<usize>()
            }
        };
        if size > most {
            break;
        }
    }
    size
}

/// How deep a value is. What it passes is taken from `left`, and at 0 it stops.
fn depth(value: &Value, left: &mut usize) -> usize {
    let mut deepest = 0;
    let mut rest = vec![(value, 1)];
    while let Some((value, depth)) = rest.pop() {
        *left = left.saturating_sub(1);
        if *left == 0 {
            break;
        }
        deepest = deepest.max(depth);
        match value {
            Value::Array(elements) => rest.extend(elements.iter().map(|one| (one, depth + 1))),
            Value::Object(fields) => rest.extend(fields.values().map(|one| (one, depth + 1))),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: &Value, patch: &Value) -> Result<Value, ApiError> {
        let content_type = "application/json-patch+json".parse().unwrap();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        let patch = Patch::read(&headers, patch.to_string().as_bytes())?;
        let mut object = object.clone();
        patch.apply(Kind::ConfigMap, &mut object)?;
        Ok(object)
    }

    #[test]
    fn copies_are_bounded_together() {
        // attacks/json_patch_copy_bomb.py: each copy doubles the object.
        let first = json!({"op": "add", "path": "/a", "value": {"x": "x".repeat(1000)}});
        let bomb = |count: usize| -> Value {
            let copies =
                (0..count).map(|n| json!({"op": "copy", "from": "/a", "path": format!("/a/k{n}")}));
            std::iter::once(first.clone()).chain(copies).collect()
        };
        assert!(patched(&json!({}), &bomb(10)).is_ok());
        for count in [12, 26, 100] {
            let refused = patched(&json!({}), &bomb(count)).unwrap_err();
            assert!(matches!(refused, ApiError::CannotPatch(_)), "{refused}");
        }
    }

    #[test]
    fn operations_are_bounded_in_number() {
        let test = json!({"op": "test", "path": "/a", "value": 1});
        let patch = |count| Value::from(vec![test.clone(); count]);
        assert!(patched(&json!({"a": 1}), &patch(10_000)).is_ok());
        let refused = patched(&json!({"a": 1}), &patch(10_001)).unwrap_err();
        assert!(matches!(refused, ApiError::TooLarge(_)), "{refused}");
    }

    #[test]
    fn moves_make_nothing_deeper_than_can_be_read() {
        let mut patch = vec![json!({"op": "add", "path": "/a", "value": {}})];
        for (from, to) in [("/a", "/b"), ("/b", "/a")].repeat(2000) {
            patch.push(json!({"op": "add", "path": to, "value": {}}));
            patch.push(json!({"op": "move", "from": from, "path": format!("{to}/x")}));
        }
        let refused = patched(&json!({}), &patch.into()).unwrap_err();
        assert!(refused.to_string().contains("deeper"), "{refused}");
    }

    #[test]
    fn moves_of_large_parts_are_bounded_together() {
        let list = vec![0; 10_000];
        let mut patch = vec![json!({"op": "add", "path": "/a", "value": list})];
        for (from, to) in [("/a", "/b"), ("/b", "/a")].repeat(1000) {
            patch.push(json!({"op": "move", "from": from, "path": to}));
        }
        let refused = patched(&json!({}), &patch.into()).unwrap_err();
        assert!(refused.to_string().contains("moves too much"), "{refused}");
    }
}
