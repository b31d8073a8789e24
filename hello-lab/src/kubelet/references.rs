//! What a pod's variables and volumes take from elsewhere: objects of its namespace, and its own metadata.

use std::sync::Arc;

use crate::objects::{Key, Kind, Object, Store};

/// A pod refers to an object that is not there; it may be later. In the kubelet's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} not found")]
pub(super) struct ObjectMissing {
    /// `configmap` or `secret`.
    kind: String,
    /// Its name.
    name: String,
}

/// The object of this kind that a pod refers to; none where it is optional and not there.
pub(super) fn object(
    store: &Store,
    pod: &Object,
    (kind, name): (Kind, &str),
    optional: bool,
) -> Result<Option<Arc<Object>>, ObjectMissing> {
    match store.get(&Key::new(kind, pod.namespace(), name)) {
        Ok(object) => Ok(Some(object)),
        Err(_) if optional => Ok(None),
        Err(_) => Err(ObjectMissing { kind: kind.resource().singular(), name: name.to_owned() }),
    }
}

/// The text at a path of a pod's metadata, which variables and volumes both can show
/// (`ExtractFieldPathAsString` of pkg/fieldpath); none for any other path.
pub(super) fn metadata(pod: &Object, path: &str) -> Option<String> {
    let path = path.strip_prefix("metadata.")?;
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let value = &pod.value()["metadata"][map][key];
        let is_map = ["labels", "annotations"].contains(&map);
        return is_map.then(|| value.as_str().unwrap_or_default().to_owned());
    }
    match path {
        "name" => Some(pod.name().to_owned()),
        "namespace" => Some(pod.namespace().to_owned()),
        "uid" => Some(pod.uid().to_owned()),
        _ => None,
    }
}
