//! The objects of the lab: the one source of truth, and the only place where its rooms meet. What etcd
//! and the storage layer of an API server are to Kubernetes.
//!
//! # What it holds
//!
//! One [`Object`] for each [`Key`], as it is now, and a log of the latest changes. Objects are shared and
//! never changed: a change puts a new one in the place of the old. Who holds an object holds that version
//! of it for as long as they like.
//!
//! # Versions
//!
//! The store has one number, the version of its latest change, which every change raises by one and writes
//! into its object as `metadata.resourceVersion`. So versions order all changes of all kinds, a list is the
//! whole truth at its version, and [`Store::since`] of that version is what it lacks.
//!
//! # What it promises
//!
//! - An object in the store can be read: its JSON has been decoded as the type of its kind before it was
//!   put there, by whoever. [`Object::typed`] never fails, and no null is left in the JSON. Who wants to put
//!   something else there gets [`StoreError::Unreadable`]; nobody else notices.
//! - `metadata.uid`, `creationTimestamp`, `generation` and `resourceVersion` are the store's own, and with
//!   `name` and `namespace` stay what they are, whatever a change does to them. The generation rises with
//!   each change of `spec` and with nothing else.
//! - A change is of the object as it is then. [`Store::update`] reads, changes a copy, and writes if nobody
//!   else has written meanwhile; else it tries again with what they wrote. No change is lost, and none
//!   waits for another. A change that names a resource version is of that version alone, and else a
//!   [`StoreError::Conflict`].
//! - A change that changes nothing is none: no version, no event. Controllers rely on it to come to rest.
//! - Nobody's code but the store's own runs with the lock held, nothing there can panic, wait or ask for
//!   memory in proportion to what users send but for the few bytes of a version. The closures of
//!   [`Store::update`] run without it and may use the store as they like; since they may run more than once,
//!   they must have no other effect than on their argument. The same holds for every lock of the lab.
//!
//! # What it does not enforce
//!
//! The rules of a kind: fields that a type does not have, names, defaults, references from one object to
//! another, that a namespace exists, what may be changed, what has finalizers. These are those of
//! [admission](super::admission), [validation](super::validation) and [deletion](super::deletion), and a
//! controller that writes here itself passes none of them. Nor does it keep anything beyond the lab's life.
//!
//! # Watching
//!
//! There are no callbacks. [`Store::changes`] tells that there is a new version, [`Store::since`] what has
//! happened since an older one, each change once and in order. The log is bounded in number and in bytes;
//! who falls behind its end is told so ([`StoreError::TooOld`]) and must list again. [`Store::changed`] does
//! all of this for a loop that looks at the whole state anyway: such a loop can miss nothing, since it
//! compares what is with what should be rather than counting changes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::allocation::Pool;
use super::kind::{Key, Kind};
use super::meta::{new_uid, now};
use super::object::{Object, Unreadable, metadata_mut};

/// Changes that are kept for watches. An older start gets [`StoreError::TooOld`].
const LOG_LENGTH: usize = 20_000;

/// How large they may be together, as JSON: some 6,000 changes of usual pods.
const LOG_BYTES: usize = 16 << 20;

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
    /// It is not what objects of its kind are.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
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
    /// Addresses of Services that are not stored yet.
    pub(super) addresses: Pool<Ipv4Addr>,
    /// Ports on the node that are held for Services which are not stored yet.
    pub(super) node_ports: Pool<u16>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<Key, Arc<Object>>,
    log: VecDeque<Event>,
    /// How large the log's objects are together.
    log_bytes: usize,
    version: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            version: watch::Sender::new(0),
            addresses: Pool::default(),
            node_ports: Pool::default(),
        }
    }
}

impl Store {
    /// Adds an object, setting creation time and resource version, and its uid unless [admission] has chosen
    /// it.
    ///
    /// [admission]: super::admission
    pub fn create(&self, kind: Kind, mut value: Value) -> Result<Arc<Object>, StoreError> {
        // Where there can be no metadata, the object cannot be read.
        if let Some(metadata) = metadata_mut(&mut value) {
            if metadata.get("uid").is_none_or(|uid| uid.as_str().is_none_or(str::is_empty)) {
                metadata.insert("uid".to_owned(), new_uid().into());
            }
            metadata.insert("creationTimestamp".to_owned(), now().into());
            metadata.insert("generation".to_owned(), 1.into());
        }
        let object = Object::new(kind, value)?;
        let mut key = object.key();
        if !kind.resource().namespaced {
            key.namespace.clear();
        }
        let mut inner = self.lock();
        if inner.objects.contains_key(&key) {
            return Err(StoreError::AlreadyExists(key));
        }
        Ok(self.put(&mut inner, key, object, Change::Added))
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
            let mut object = Object::new(key.kind, value).map_err(StoreError::from)?;
            // They may have differed in nulls alone.
            if object.value() == before.value() {
                return Ok(before);
            }
            if object.value()["spec"] != before.value()["spec"] {
                object.set_generation(before.generation() + 1);
            }
            if let Some(object) = self.put_after(key, &before, object)? {
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

    /// Puts `object` in the place of `before`; none where that is no longer there.
    fn put_after(
        &self,
        key: &Key,
        before: &Arc<Object>,
        object: Object,
    ) -> Result<Option<Arc<Object>>, StoreError> {
        let mut inner = self.lock();
        let there = inner.objects.get(key).ok_or_else(|| StoreError::NotFound(key.clone()))?;
        if !Arc::ptr_eq(there, before) {
            return Ok(None);
        }
        Ok(Some(self.put(&mut inner, key.clone(), object, Change::Modified)))
    }

    /// Removes the object at `key`.
    pub fn remove(&self, key: &Key) -> Result<Arc<Object>, StoreError> {
        loop {
            let before = self.get(key)?;
            let last = Object::clone(&before);
            if let Some(removed) = self.remove_after(key, before, last)? {
                return Ok(removed);
            }
        }
    }

    /// Removes this version of an object; none where it is no longer there, but another version.
    pub fn remove_version(&self, object: &Arc<Object>) -> Result<Option<Arc<Object>>, StoreError> {
        self.remove_after(&object.key(), Arc::clone(object), Object::clone(object))
    }

    /// Removes `before`, whose copy is logged; none where it is no longer there.
    fn remove_after(
        &self,
        key: &Key,
        before: Arc<Object>,
        mut last: Object,
    ) -> Result<Option<Arc<Object>>, StoreError> {
        let mut inner = self.lock();
        let there = inner.objects.get(key).ok_or_else(|| StoreError::NotFound(key.clone()))?;
        if !Arc::ptr_eq(there, &before) {
            return Ok(None);
        }
        inner.objects.remove(key);
        inner.version += 1;
        last.set_version(inner.version);
        let last = Arc::new(last);
        self.log(&mut inner, Change::Deleted, Arc::clone(&last), Some(before));
        Ok(Some(last))
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

    fn put(&self, inner: &mut Inner, key: Key, mut object: Object, change: Change) -> Arc<Object> {
        inner.version += 1;
        object.set_version(inner.version);
        let object = Arc::new(object);
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
        inner.log_bytes += object.size();
        inner.log.push_back(Event { version: inner.version, change, object, before });
        // The latest stays, however large it is.
        while inner.log.len() > LOG_LENGTH || inner.log.len() > 1 && inner.log_bytes > LOG_BYTES {
            let Some(oldest) = inner.log.pop_front() else { break };
            inner.log_bytes -= oldest.object.size();
        }
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
    let fixed = &before["metadata"];
    // Where there can be no metadata, the object cannot be read.
    let Some(metadata) = metadata_mut(value) else { return true };
    let expected = metadata.remove("resourceVersion").unwrap_or_default();
    for field in ["uid", "creationTimestamp", "generation", "resourceVersion", "name", "namespace"]
    {
        if let Some(fixed) = fixed.get(field) {
            metadata.insert(field.to_owned(), fixed.clone());
        }
    }
    // Go knows no difference between none and an empty one.
    expected.is_null() || expected == "" || expected == fixed["resourceVersion"]
}
