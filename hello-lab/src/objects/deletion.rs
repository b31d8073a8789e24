//! How objects are deleted: at once, or in two steps where something has to be done first: a pod's processes
//! end, a namespace is emptied, finalizers are taken away
//! (`BeforeDelete` of k8s.io/apiserver/pkg/registry/rest, `Store.Delete` of its generic/registry).

mod namespace;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kind::{Key, Kind};
use super::meta::{now, timestamp};
use super::names::NODE_NAME;
use super::object::{Object, remove};
use super::store::{Store, StoreError};

pub use self::namespace::empty;

/// Keeps an owner until what it owns is gone (`FinalizerDeleteDependents` of metav1).
pub const FOREGROUND: &str = "foregroundDeletion";

/// Keeps an owner until what it owns has been let go of (`FinalizerOrphanDependents` of metav1).
pub const ORPHAN: &str = "orphan";

/// What becomes of what an object owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// It is deleted once its owner is gone.
    #[default]
    Background,
    /// It is deleted first.
    Foreground,
    /// It stays.
    Orphan,
}

/// How an object is to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// How long a pod has to end; its own time if none is given.
    pub grace_seconds: Option<u64>,
    /// What becomes of what it owns.
    pub propagation: Propagation,
    /// Only an object with this uid is meant.
    pub uid: Option<String>,
    /// Only this version is meant.
    pub version: Option<String>,
}

impl Deletion {
    fn means(&self, object: &Value) -> bool {
        let is = |wanted: &Option<String>, field: &str| {
            wanted.as_ref().is_none_or(|wanted| object["metadata"][field] == **wanted)
        };
        is(&self.uid, "uid") && is(&self.version, "resourceVersion")
    }

    /// The finalizers that an object has while it is deleted like this.
    fn finalizers(&self, object: &Value) -> Vec<Value> {
        let mut finalizers = finalizers(object).to_vec();
        let mark = match self.propagation {
            Propagation::Background => return finalizers,
            Propagation::Foreground => FOREGROUND,
            Propagation::Orphan => ORPHAN,
        };
        finalizers.retain(|one| one != FOREGROUND && one != ORPHAN);
        finalizers.push(mark.into());
        finalizers
    }
}

/// `metadata.finalizers`.
#[must_use]
pub fn finalizers(object: &Value) -> &[Value] {
    object["metadata"]["finalizers"].as_array().map_or(&[], Vec::as_slice)
}

/// Whether `object` has this finalizer.
#[must_use]
pub fn has_finalizer(object: &Object, name: &str) -> bool {
    finalizers(object.value()).iter().any(|one| one == name)
}

/// Deletes the object at `key`: at once if nothing has to be done before, or else it is marked, and whoever
/// does the last of it removes it ([`finish`]). The object as it is then, and whether it is gone.
pub fn delete(
    store: &Store,
    key: &Key,
    deletion: &Deletion,
) -> Result<(Arc<Object>, bool), StoreError> {
    loop {
        let object = store.get(key)?;
        let value = object.value();
        if !deletion.means(value) {
            return Err(StoreError::Conflict(key.clone()));
        }
        // What the cluster needs comes back. `kubectl delete` asks for what it has deleted by name, twice, and
        // would wait for ever for the end of one that came in its place between the two. So what need not
        // wait is gone when the request is answered.
        let waits = key.kind == Kind::Namespace
            || key.kind == Kind::Pod && grace(deletion, value) > 0
            || !deletion.finalizers(value).is_empty();
        if waits {
            let marked = store.update(key, |object| {
                if !deletion.means(object) {
                    return Err(StoreError::Conflict(key.clone()));
                }
                mark(key.kind, object, deletion);
                Ok(())
            })?;
            if key.kind == Kind::Namespace {
                empty(store, &marked);
            }
            let gone = store.get(key).map_or(true, |object| object.uid() != marked.uid());
            return Ok((marked, gone));
        }
        // Another version may have a finalizer.
        if let Some(last) = store.remove_version(&object)? {
            return Ok((last, true));
        }
    }
}

/// Deletes this object, and none that has come in its place.
pub fn delete_this(store: &Store, object: &Object, propagation: Propagation) {
    let uid = Some(object.uid().to_owned());
    let deletion = Deletion { propagation, uid, ..Deletion::default() };
    if let Err(error) = delete(store, &object.key(), &deletion) {
        // Somebody else deleted it.
        tracing::debug!("{error}");
    }
}

/// How long a pod has to end. One that has ended needs no time, nor does one that has no node: nobody would
/// say that it has ended (`CheckGracefulDelete` of pkg/registry/core/pod; of a node that is none it is the
/// garbage collector that takes the pod away, later).
fn grace(deletion: &Deletion, pod: &Value) -> u64 {
    let has_ended = ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == **phase);
    if has_ended || pod["spec"]["nodeName"] != NODE_NAME {
        return 0;
    }
    let own = &pod["spec"]["terminationGracePeriodSeconds"];
    deletion.grace_seconds.or(own.as_u64()).unwrap_or(30)
}

fn mark(kind: Kind, object: &mut Value, deletion: &Deletion) {
    let finalizers = deletion.finalizers(object);
    if !finalizers.is_empty() {
        object["metadata"]["finalizers"] = finalizers.into();
    }
    match kind {
        Kind::Pod => {
            let grace = grace(deletion, object);
            let metadata = &mut object["metadata"];
            // A second request can only shorten the first.
            let before = metadata["deletionGracePeriodSeconds"].as_u64();
            if before.is_none_or(|before| grace < before) {
                let end = Timestamp::now() + Duration::from_secs(grace.min(86_400));
                metadata["deletionTimestamp"] = timestamp(end).into();
                metadata["deletionGracePeriodSeconds"] = grace.into();
            }
            return;
        }
        Kind::Namespace => object["status"]["phase"] = "Terminating".into(),
        _ => object["metadata"]["deletionGracePeriodSeconds"] = 0.into(),
    }
    if object["metadata"]["deletionTimestamp"].is_null() {
        object["metadata"]["deletionTimestamp"] = now().into();
    }
}

/// Removes an object that is being deleted and waits for nothing more. A namespace's controller knows when
/// that is empty, and a pod's worker when it has ended.
pub fn finish(store: &Store, key: &Key) {
    if key.kind == Kind::Namespace {
        return;
    }
    while let Ok(object) = store.get(key) {
        let grace = &object.value()["metadata"]["deletionGracePeriodSeconds"];
        let has_ended = key.kind != Kind::Pod || *grace == 0;
        let done = object.is_terminating() && has_ended && finalizers(object.value()).is_empty();
        if !done || !matches!(store.remove_version(&object), Ok(None)) {
            return;
        }
    }
}

/// What [`delete`] has waited for is done, but for finalizers: a pod has ended, a namespace is empty. It is
/// removed, unless it has some.
pub fn ended(store: &Store, key: &Key, uid: &str) {
    while let Ok(object) = store.get(key) {
        if object.uid() != uid {
            return;
        }
        if key.kind == Kind::Namespace && namespace::waits_for_others(store, &object) {
            return;
        }
        if !finalizers(object.value()).is_empty() {
            if key.kind == Kind::Pod {
                // One that is gone needs no mark.
                let _ = store.change(key, |pod| {
                    let metadata = &mut pod["metadata"];
                    if metadata["deletionTimestamp"].is_null() {
                        metadata["deletionTimestamp"] = now().into();
                    }
                    metadata["deletionGracePeriodSeconds"] = 0.into();
                });
            }
            return finish(store, key);
        }
        if !matches!(store.remove_version(&object), Ok(None)) {
            return;
        }
    }
}

/// Takes a finalizer away, and with the last one the object.
pub fn remove_finalizer(store: &Store, key: &Key, name: &str) {
    // One that is gone has none.
    let _ = store.change(key, |object| {
        let left: Vec<Value> =
            finalizers(object).iter().filter(|one| *one != name).cloned().collect();
        if left.is_empty() {
            remove(&mut object["metadata"], "finalizers");
        } else {
            object["metadata"]["finalizers"] = json!(left);
        }
    });
    finish(store, key);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store_with(kind: Kind, finalizers: &[&str]) -> (Store, Key) {
        let store = Store::default();
        let object = json!({
            "metadata": {"name": "a", "namespace": "n", "finalizers": finalizers},
            "spec": {"terminationGracePeriodSeconds": 7, "nodeName": NODE_NAME},
        });
        let mut object = object;
        if kind != Kind::Pod {
            remove(&mut object, "spec");
        }
        store.create(kind, object).unwrap();
        (store, Key::new(kind, "n", "a"))
    }

    #[test]
    fn a_pod_has_its_own_grace_period_unless_the_request_has_another() {
        let (store, key) = store_with(Kind::Pod, &[]);
        let grace = |grace_seconds| {
            let deletion = Deletion { grace_seconds, ..Deletion::default() };
            let (pod, gone) = delete(&store, &key, &deletion).unwrap();
            assert_eq!(gone, grace_seconds == Some(0));
            pod.value()["metadata"]["deletionGracePeriodSeconds"].as_u64()
        };
        assert_eq!(grace(None), Some(7));
        assert_eq!(grace(Some(9)), Some(7), "it cannot be made longer");
        assert_eq!(grace(Some(2)), Some(2));
        grace(Some(0));
        assert!(store.get(&key).is_err());
    }

    #[test]
    fn a_pod_that_nobody_would_end_is_gone_at_once() {
        for (node, phase) in [
            (Value::Null, "Pending"),
            ("".into(), "Pending"),
            ("no-such-node".into(), "Pending"),
            (NODE_NAME.into(), "Succeeded"),
            (NODE_NAME.into(), "Failed"),
        ] {
            let store = Store::default();
            let pod = json!({
                "metadata": {"name": "a", "namespace": "n"},
                "spec": {"nodeName": node}, "status": {"phase": phase},
            });
            store.create(Kind::Pod, pod).unwrap();
            let key = Key::new(Kind::Pod, "n", "a");
            let deletion = Deletion { grace_seconds: Some(9), ..Deletion::default() };
            assert!(delete(&store, &key, &deletion).unwrap().1, "{node} {phase}");
            assert!(store.get(&key).is_err());
        }
    }

    #[test]
    fn an_object_is_there_until_its_last_finalizer_is_gone() {
        for kind in [Kind::ConfigMap, Kind::Pod] {
            let (store, key) = store_with(kind, &["a.b/x", "a.b/y"]);
            let (object, gone) = delete(&store, &key, &Deletion::default()).unwrap();
            assert!(!gone && object.is_terminating());
            ended(&store, &key, object.uid());
            remove_finalizer(&store, &key, "a.b/x");
            assert!(store.get(&key).is_ok());
            remove_finalizer(&store, &key, "a.b/y");
            assert!(store.get(&key).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn a_running_pod_without_finalizers_is_its_workers_to_remove() {
        let (store, key) = store_with(Kind::Pod, &["a.b/x"]);
        let (pod, _) = delete(&store, &key, &Deletion::default()).unwrap();
        remove_finalizer(&store, &key, "a.b/x");
        assert!(store.get(&key).is_ok(), "it has not ended");
        ended(&store, &key, "another");
        assert!(store.get(&key).is_ok(), "another has");
        ended(&store, &key, pod.uid());
        assert!(store.get(&key).is_err());
    }

    #[test]
    fn what_comes_back_and_waits_for_nothing_is_gone_when_it_has_been_deleted() {
        let store = Store::default();
        let map = json!({"metadata": {"name": "kube-root-ca.crt", "namespace": "kube-node-lease"}});
        store.create(Kind::ConfigMap, map).unwrap();
        let lease = json!({"metadata": {"name": "kube-node-lease"}});
        store.create(Kind::Namespace, lease).unwrap();
        let key = Key::new(Kind::Namespace, "", "kube-node-lease");
        let (_, gone) = delete(&store, &key, &Deletion::default()).unwrap();
        assert!(gone && store.get(&key).is_err());
        assert!(store.list(Kind::ConfigMap, None).0.is_empty());
    }

    #[test]
    fn only_what_is_meant_is_deleted() {
        let (store, key) = store_with(Kind::ConfigMap, &[]);
        let other = || Some("other".to_owned());
        for deletion in [
            Deletion { uid: other(), ..Deletion::default() },
            Deletion { version: other(), ..Deletion::default() },
        ] {
            let refused = delete(&store, &key, &deletion).map(drop);
            assert_eq!(refused, Err(StoreError::Conflict(key.clone())));
        }
        assert!(store.get(&key).is_ok());
    }
}
