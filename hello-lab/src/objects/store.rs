//! The objects of the lab: the one source of truth.
//!
//! Every change gets the next resource version and is logged, so that a watch can start from
//! any version that is still in the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::kind::{Key, Kind};
use super::meta::{new_uid, now};
use super::object::Object;

/// Changes that are kept for watches. An older start gets [`StoreError::TooOld`].
const LOG_LENGTH: usize = 20_000;

/// Why the store refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("{} {:?} not found", .0.kind.resource().qualified(), .0.name)]
    NotFound(Key),
    /// There is one already.
    #[error("{} {:?} already exists", .0.kind.resource().qualified(), .0.name)]
    AlreadyExists(Key),
    /// Somebody else changed it.
    #[error("Operation cannot be fulfilled on {} {:?}: the object has been modified; please apply your changes to the latest version and try again", .0.kind.resource().qualified(), .0.name)]
    Conflict(Key),
    /// The log does not reach back so far.
    #[error("too old resource version: {0}")]
    TooOld(u64),
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It came to be.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One logged change.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its resource version.
    pub version: u64,
    /// What happened.
    pub change: Change,
    /// The object afterwards; for a deletion, as it was last.
    pub object: Arc<Object>,
    /// The object before, if there was one.
    pub before: Option<Arc<Object>>,
}

/// The store. Clones share their content.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Mutex<Inner>>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<Key, Arc<Object>>,
    log: VecDeque<Event>,
    version: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { inner: Arc::default(), version: watch::Sender::new(0) }
    }
}

impl Store {
    /// Adds an object, setting uid, creation time and resource version.
    pub fn create(&self, kind: Kind, mut value: Value) -> Result<Arc<Object>, StoreError> {
        let metadata = &mut value["metadata"];
        metadata["uid"] = new_uid().into();
        metadata["creationTimestamp"] = now().into();
        metadata["generation"] = 1.into();
        let key = key_of(kind, &value);
        let mut inner = self.lock();
        if inner.objects.contains_key(&key) {
            return Err(StoreError::AlreadyExists(key));
        }
        Ok(self.put(&mut inner, key, value, Change::Added))
    }

    /// The object at `key`.
    pub fn get(&self, key: &Key) -> Result<Arc<Object>, StoreError> {
        self.lock().objects.get(key).cloned().ok_or_else(|| StoreError::NotFound(key.clone()))
    }

    /// The objects of a kind, of one namespace or of all, sorted by namespace and name; and
    /// the version that the list shows.
    #[must_use]
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> (Vec<Arc<Object>>, u64) {
        let inner = self.lock();
        let first = Key::new(kind, namespace.unwrap_or_default(), "");
        let objects = inner
            .objects
            .range(first..)
            .take_while(|(key, _)| {
                key.kind == kind && namespace.is_none_or(|namespace| key.namespace == namespace)
            })
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (objects, inner.version)
    }

    /// Changes the object at `key` by `change`, which may be called several times: each time on the
    /// object as it is then, until nobody else has changed it meanwhile (as `GuaranteedUpdate` of
    /// k8s.io/apiserver/pkg/storage/etcd3). A change that changes nothing is none; a change of `spec`
    /// raises the generation; a resource version that differs is a conflict.
    pub fn update<E: From<StoreError>>(
        &self,
        key: &Key,
        mut change: impl FnMut(&mut Value) -> Result<(), E>,
    ) -> Result<Arc<Object>, E> {
        loop {
            let before = self.get(key)?;
            let mut value = before.value().clone();
            change(&mut value)?;
            if !keep_what_is_fixed(&mut value, before.value()) {
                return Err(StoreError::Conflict(key.clone()).into());
            }
            if value == *before.value() {
                return Ok(before);
            }
            if value["spec"] != before.value()["spec"] {
                value["metadata"]["generation"] = (before.generation() + 1).into();
            }
            if let Some(object) = self.put_after(key, &before, value)? {
                return Ok(object);
            }
        }
    }

    /// Like [`update`](Self::update), for a change that cannot fail.
    pub fn change(
        &self,
        key: &Key,
        mut change: impl FnMut(&mut Value),
    ) -> Result<Arc<Object>, StoreError> {
        self.update(key, |value| {
            change(value);
            Ok(())
        })
    }

    /// Puts `value` in the place of `before`; none where that is no longer there.
    fn put_after(
        &self,
        key: &Key,
        before: &Arc<Object>,
        value: Value,
    ) -> Result<Option<Arc<Object>>, StoreError> {
        let mut inner = self.lock();
        let there = inner.objects.get(key).ok_or_else(|| StoreError::NotFound(key.clone()))?;
        if !Arc::ptr_eq(there, before) {
            return Ok(None);
        }
        Ok(Some(self.put(&mut inner, key.clone(), value, Change::Modified)))
    }

    /// Removes the object at `key`.
    pub fn remove(&self, key: &Key) -> Result<Arc<Object>, StoreError> {
        let mut inner = self.lock();
        let before = inner.objects.remove(key).ok_or_else(|| StoreError::NotFound(key.clone()))?;
        let mut last = before.value().clone();
        inner.version += 1;
        last["metadata"]["resourceVersion"] = inner.version.to_string().into();
        let object = Arc::new(Object::new(key.kind, last));
        self.log(&mut inner, Change::Deleted, Arc::clone(&object), Some(before));
        Ok(object)
    }

    /// The changes after `version`.
    pub fn since(&self, version: u64) -> Result<Vec<Event>, StoreError> {
        let inner = self.lock();
        let oldest = inner.log.front().map_or(inner.version + 1, |event| event.version);
        if version + 1 < oldest {
            return Err(StoreError::TooOld(version));
        }
        let start = inner.log.partition_point(|event| event.version <= version);
        Ok(inner.log.range(start..).cloned().collect())
    }

    /// The version of the latest change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Tells of each new version; several at once may be told as one.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until an object of one of these kinds has changed since `version`. The version to wait
    /// from the next time.
    pub async fn changed(&self, version: u64, kinds: &[Kind]) -> u64 {
        let mut changes = self.changes();
        let mut version = version;
        loop {
            let Ok(events) = self.since(version) else { return self.version() };
            if events.iter().any(|event| kinds.contains(&event.object.kind())) {
                return events.last().map_or(version, |event| event.version);
            }
            version = events.last().map_or(version, |event| event.version);
            // This store sends, so there is always a sender.
            let _ = changes.changed().await;
        }
    }

    fn put(&self, inner: &mut Inner, key: Key, mut value: Value, change: Change) -> Arc<Object> {
        inner.version += 1;
        value["metadata"]["resourceVersion"] = inner.version.to_string().into();
        let object = Arc::new(Object::new(key.kind, value));
        let before = inner.objects.insert(key, Arc::clone(&object));
        self.log(inner, change, Arc::clone(&object), before);
        object
    }

    fn log(
        &self,
        inner: &mut Inner,
        change: Change,
        object: Arc<Object>,
        before: Option<Arc<Object>>,
    ) {
        if inner.log.len() == LOG_LENGTH {
            inner.log.pop_front();
        }
        inner.log.push_back(Event { version: inner.version, change, object, before });
        self.version.send_replace(inner.version);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic is done with the lock held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives `value` what the system sets of an object and nobody else changes, as it was `before`. Whether
/// it is a change of this version: one that names none is.
fn keep_what_is_fixed(value: &mut Value, before: &Value) -> bool {
    let metadata = &before["metadata"];
    let expected = value["metadata"]["resourceVersion"].take();
    for field in ["uid", "creationTimestamp", "generation", "resourceVersion", "name", "namespace"]
    {
        if let Some(fixed) = metadata.get(field) {
            value["metadata"][field] = fixed.clone();
        }
    }
    expected.is_null() || expected == metadata["resourceVersion"]
}

fn key_of(kind: Kind, value: &Value) -> Key {
    let field = |name: &str| value["metadata"][name].as_str().unwrap_or_default();
    Key::new(kind, if kind.resource().namespaced { field("namespace") } else { "" }, field("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"a": 1}})
    }

    fn key(name: &str) -> Key {
        Key::new(Kind::Pod, "n", name)
    }

    #[test]
    fn objects_are_listed_by_kind_and_namespace_in_order() {
        let store = Store::default();
        for (kind, namespace, name) in [
            (Kind::Pod, "b", "z"),
            (Kind::Pod, "a", "y"),
            (Kind::Pod, "b", "x"),
            (Kind::Service, "a", "w"),
        ] {
            let value = json!({"metadata": {"name": name, "namespace": namespace}});
            store.create(kind, value).unwrap();
        }
        let names = |namespace| {
            let (objects, version) = store.list(Kind::Pod, namespace);
            assert_eq!(version, 4);
            objects.iter().map(|object| object.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["y", "x", "z"]);
        assert_eq!(names(Some("b")), ["x", "z"]);
        assert!(names(Some("")).is_empty());
    }

    #[test]
    fn the_generation_follows_the_spec_only() {
        let store = Store::default();
        store.create(Kind::Pod, pod("p")).unwrap();
        let labelled = store.change(&key("p"), |pod| pod["metadata"]["labels"] = json!({"a": "b"}));
        assert_eq!(labelled.unwrap().generation(), 1);
        let changed = store.change(&key("p"), |pod| pod["spec"]["a"] = 2.into());
        assert_eq!(changed.unwrap().generation(), 2);
    }

    #[test]
    fn a_change_of_nothing_is_not_logged() {
        let store = Store::default();
        store.create(Kind::Pod, pod("p")).unwrap();
        store.change(&key("p"), |_| {}).unwrap();
        assert_eq!(store.version(), 1);
    }

    #[test]
    fn an_outdated_resource_version_is_a_conflict() {
        let store = Store::default();
        store.create(Kind::Pod, pod("p")).unwrap();
        let result = store.change(&key("p"), |pod| {
            pod["metadata"]["resourceVersion"] = "0".into();
        });
        assert_eq!(result.unwrap_err(), StoreError::Conflict(key("p")));
    }

    #[test]
    fn names_and_uids_cannot_be_changed() {
        let store = Store::default();
        let uid = store.create(Kind::Pod, pod("p")).unwrap().uid().to_owned();
        let changed = store.change(&key("p"), |pod| {
            pod["metadata"]["name"] = "q".into();
            pod["metadata"]["uid"] = "u".into();
        });
        let changed = changed.unwrap();
        assert_eq!((changed.name(), changed.uid()), ("p", uid.as_str()));
    }

    #[test]
    fn a_watch_sees_every_change_once_and_in_order() {
        let store = Store::default();
        store.create(Kind::Pod, pod("p")).unwrap();
        let start = store.version();
        store.change(&key("p"), |pod| pod["spec"]["a"] = 2.into()).unwrap();
        store.remove(&key("p")).unwrap();
        let events = store.since(start).unwrap();
        let seen: Vec<_> = events.iter().map(|event| (event.version, event.change)).collect();
        assert_eq!(seen, [(2, Change::Modified), (3, Change::Deleted)]);
        assert_eq!(events[1].object.value()["spec"]["a"], 2);
        assert!(store.since(3).unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_kind_is_not_woken_for_another() {
        let store = Store::default();
        store.create(Kind::Pod, pod("p")).unwrap();
        assert_eq!(store.changed(0, &[Kind::Pod]).await, 1);
        let waiting = store.changed(1, &[Kind::Pod]);
        tokio::pin!(waiting);
        let event = json!({"metadata": {"name": "e", "namespace": "n"}});
        store.create(Kind::Event, event).unwrap();
        assert!(futures_util::poll!(&mut waiting).is_pending());
        store.remove(&key("p")).unwrap();
        assert_eq!(waiting.await, 3);
    }

    #[test]
    fn a_watch_from_before_the_log_is_told_so() {
        let store = Store::default();
        store.create(Kind::Pod, pod("p")).unwrap();
        for a in 0..LOG_LENGTH {
            store.change(&key("p"), |pod| pod["spec"]["a"] = (a + 5).into()).unwrap();
        }
        assert_eq!(store.since(0).unwrap_err(), StoreError::TooOld(0));
        assert_eq!(store.since(1).unwrap().len(), LOG_LENGTH);
    }

    #[test]
    fn what_is_there_cannot_be_created_and_what_is_not_cannot_be_changed() {
        let store = Store::default();
        store.create(Kind::Pod, pod("p")).unwrap();
        assert!(matches!(store.create(Kind::Pod, pod("p")), Err(StoreError::AlreadyExists(_))));
        assert_eq!(store.remove(&key("q")).unwrap_err().to_string(), "pods \"q\" not found");
    }
}
