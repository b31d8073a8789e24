//! Gives each namespace what every namespace has, and empties those that are being deleted.

use std::sync::Arc;

use serde_json::json;

use super::garbage;
use crate::objects::names::ROOT_CA;
use crate::objects::{Key, Kind, Object, Store};

pub(super) fn step(store: &Store) {
    for namespace in store.list(Kind::Namespace, None).0 {
        if namespace.is_terminating() {
            empty(store, &namespace);
        } else {
            furnish(store, namespace.name());
        }
    }
}

/// The `ServiceAccount` and the ConfigMap that clients wait for in a new namespace.
fn furnish(store: &Store, namespace: &str) {
    let metadata = |name: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    // Asked first: this is done for every namespace after every change.
    let is_missing = |kind, name| store.get(&Key::new(kind, namespace, name)).is_err();
    // Errors mean that somebody else was faster.
    if is_missing(Kind::ServiceAccount, "default") {
        let _ = store.create(Kind::ServiceAccount, metadata("default"));
    }
    if is_missing(Kind::ConfigMap, ROOT_CA) {
        let mut map = metadata(ROOT_CA);
        let root = store.get(&Key::new(Kind::ConfigMap, "kube-system", ROOT_CA));
        map["data"] = root.map_or_else(|_| json!({}), |root| root.value()["data"].clone());
        let _ = store.create(Kind::ConfigMap, map);
    }
}

fn empty(store: &Store, namespace: &Arc<Object>) {
    let mut left = 0;
    for kind in Kind::ALL.into_iter().filter(|kind| kind.resource().namespaced) {
        for object in store.list(kind, Some(namespace.name())).0 {
            left += usize::from(kind == Kind::Pod);
            if !object.is_terminating() {
                garbage::delete(store, &object);
            }
        }
    }
    if left == 0 {
        let _ = store.remove(&namespace.key());
    }
}
