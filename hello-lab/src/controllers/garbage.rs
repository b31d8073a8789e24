//! Removes objects whose controlling owner is gone, and those that wait for nothing more.

use std::collections::HashSet;

use crate::objects::{Kind, Object, Store};

/// Kinds that can own, or be owned.
const KINDS: [Kind; 5] =
    [Kind::Deployment, Kind::ReplicaSet, Kind::Service, Kind::Pod, Kind::EndpointSlice];

pub(super) fn step(store: &Store) {
    let objects: Vec<_> = KINDS.iter().flat_map(|kind| store.list(*kind, None).0).collect();
    let uids: HashSet<&str> = objects.iter().map(|object| object.uid()).collect();
    for object in &objects {
        if object.controller().is_some_and(|owner| !uids.contains(owner)) {
            delete(store, object);
        }
    }
}

/// Deletes an object as a client would: a pod has its grace period, and its worker removes it.
pub(super) fn delete(store: &Store, object: &Object) {
    let result = if object.kind() == Kind::Pod {
        crate::objects::deletion::terminate_pod(store, &object.key(), None).map(drop)
    } else {
        store.remove(&object.key()).map(drop)
    };
    if let Err(error) = result {
        // Somebody else deleted it.
        tracing::debug!("{error}");
    }
}
