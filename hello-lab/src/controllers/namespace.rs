//! Gives each namespace what every namespace has, and empties those that are being deleted.

use std::sync::Arc;

use serde_json::json;

use super::garbage;
use crate::store::{Kind, Object, Store};

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
    // Errors mean that it is there.
    let _ = store.create(Kind::ServiceAccount, metadata("default"));
    let mut root = metadata("kube-root-ca.crt");
    root["data"] = json!({});
    let _ = store.create(Kind::ConfigMap, root);
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
