//! Gives each namespace what every namespace has, and empties those that are being deleted.

use serde_json::json;

use crate::objects::names::ROOT_CA;
use crate::objects::{Key, Kind, Store, deletion};

pub(super) fn step(store: &Store) {
    for namespace in store.list(Kind::Namespace, None).0 {
        if namespace.is_terminating() {
            deletion::empty(store, &namespace);
        } else {
            furnish(store, namespace.name());
        }
    }
}

/// The `ServiceAccount` and the ConfigMap that clients wait for in a new namespace. They come back, and
/// the certificate is that of kube-system, which is the cluster's own.
fn furnish(store: &Store, namespace: &str) {
    let key = |kind, name| Key::new(kind, namespace, name);
    let metadata = |name: &str| json!({"metadata": {"name": name, "namespace": namespace}});
    // Asked first: this is done for every namespace after every change. Errors mean that somebody else was
    // faster.
    if store.get(&key(Kind::ServiceAccount, "default")).is_err() {
        let _ = store.create(Kind::ServiceAccount, metadata("default"));
    }
    let Ok(root) = store.get(&Key::new(Kind::ConfigMap, "kube-system", ROOT_CA)) else { return };
    let data = &root.value()["data"];
    match store.get(&key(Kind::ConfigMap, ROOT_CA)) {
        Ok(map) if map.value()["data"] == *data => {}
        Ok(map) => _ = store.change(&map.key(), |map| map["data"] = data.clone()),
        Err(_) => {
            let mut map = metadata(ROOT_CA);
            map["data"] = data.clone();
            let _ = store.create(Kind::ConfigMap, map);
        }
    }
}
