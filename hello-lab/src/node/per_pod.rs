//! A table in every pod's network, kept as the store says by one follower: what an agent of a network
//! plugin and kube-proxy do on a node.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hello_common::error::Chain;
use netpol::names::NamespacedName;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use crate::objects::{Key, Kind, Store};

/// How soon what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A table of one pod.
pub trait Table: Send + 'static {
    /// What of the store the pods' tables are written from.
    type Contents: Send + Sync;
    /// Why one could not be written.
    type Error: Error + Send + 'static;

    /// What it is called.
    const NAME: &'static str;
    /// What the contents depend on.
    const KINDS: &'static [Kind];
    /// The tables are not written more often than this.
    const PERIOD: Duration;

    /// What the tables are to be written from now. Never fails: what is wrong with one object is
    /// that object's fault alone.
    fn contents(store: &Store) -> Self::Contents;

    /// Writes what is to be another; whether the contents know of `pod`.
    fn write(
        &mut self,
        pod: &NamespacedName,
        contents: &Self::Contents,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// Keeps the table of every pod that it has taken on. Clones share them.
pub struct Follower<T> {
    store: Store,
    /// By the pods' UIDs.
    pods: Arc<Mutex<HashMap<String, Arc<Kept<T>>>>>,
}

/// A pod's table.
struct Kept<T> {
    pod: NamespacedName,
    table: tokio::sync::Mutex<Versioned<T>>,
}

struct Versioned<T> {
    table: T,
    /// That of the store which it was written from; 0 before it is the pod's own.
    version: u64,
}

/// What the tables are to be written from, as the store was at a version, or later.
pub struct Snapshot<T: Table> {
    version: u64,
    contents: T::Contents,
}

impl<T: Table> Follower<T> {
    /// One of what `store` holds.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, pods: Arc::default() }
    }

    /// What the tables are to be written from now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<T> {
        // In this order: what changes in between makes the contents newer than they claim to be.
        let version = self.store.version();
        Snapshot { version, contents: T::contents(&self.store) }
    }

    /// Takes on the pod `uid`, whose `table` is, and writes it. False, if the store does not know of the
    /// pod: then, and on an error, it is not taken on.
    pub async fn add(
        &self,
        uid: &str,
        pod: NamespacedName,
        table: T,
        snapshot: &Snapshot<T>,
    ) -> Result<bool, T::Error> {
        let table = Versioned { table, version: 0 }.into();
        let kept = Arc::new(Kept { pod, table });
        self.lock().insert(uid.to_owned(), Arc::clone(&kept));
        let written = kept.write(snapshot).await;
        if !matches!(written, Ok(true)) {
            self.remove(uid);
        }
        written
    }

    /// Lets go of a pod; its table goes with its namespace.
    pub fn remove(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Follows the store for ever.
    pub async fn follow(self) {
        let (mut version, mut all_written) = (0, true);
        loop {
            let before = version;
            let changed = self.store.changed(version, T::KINDS);
            if all_written {
                version = changed.await;
            } else if let Ok(changed) = timeout(RETRY, changed).await {
                version = changed;
            }
            self.tell_of_changes(before);
            all_written = self.write_all(&self.snapshot()).await;
            sleep(T::PERIOD).await;
        }
    }

    /// Tells the log which objects have changed since `version`, and so why tables will.
    fn tell_of_changes(&self, version: u64) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        for event in self.store.since(version).unwrap_or_default() {
            let Key { kind, namespace, name } = event.object.key();
            if T::KINDS.contains(&kind) {
                let (kind, change) = (kind.resource().kind, event.change);
                let version = event.version;
                tracing::debug!(kind, namespace, name, ?change, version, "object changed");
            }
        }
    }

    /// Writes every table that has to be another; whether all could be.
    pub async fn write_all(&self, snapshot: &Snapshot<T>) -> bool {
        let all: Vec<_> = self.lock().values().cloned().collect();
        let mut all_written = true;
        for kept in all {
            if let Err(error) = kept.write(snapshot).await {
                // The others must have theirs all the same.
                tracing::error!(pod = %kept.pod, "the {} of pod {}: {}", T::NAME, kept.pod, Chain(&error));
                all_written = false;
            }
        }
        all_written
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Kept<T>>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Table> Kept<T> {
    async fn write(&self, snapshot: &Snapshot<T>) -> Result<bool, T::Error> {
        let mut kept = self.table.lock().await;
        // Another task has written what is as new as this, or newer.
        if snapshot.version <= kept.version {
            return Ok(true);
        }
        let (pod, version) = (&self.pod, snapshot.version);
        let span = tracing::info_span!("write", table = T::NAME, %pod, version);
        let known = kept.table.write(pod, &snapshot.contents).instrument(span).await?;
        if known {
            kept.version = snapshot.version;
        }
        Ok(known)
    }
}

impl<T> Clone for Follower<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), pods: Arc::clone(&self.pods) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    type Seen = Arc<Mutex<Vec<(String, BTreeSet<String>)>>>;

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("not now")]
    struct NotNow;

    /// Writes down what it is to hold; the first pod's cannot at first.
    struct Notes {
        seen: Seen,
        failures: u32,
    }

    impl Table for Notes {
        type Contents = BTreeSet<String>;
        type Error = NotNow;

        const NAME: &'static str = "notes";
        const KINDS: &'static [Kind] = &[Kind::ConfigMap];
        const PERIOD: Duration = Duration::ZERO;

        fn contents(store: &Store) -> BTreeSet<String> {
            let objects = store.list(Kind::ConfigMap, None).0;
            objects.iter().map(|object| object.name().to_owned()).collect()
        }

        async fn write(
            &mut self,
            pod: &NamespacedName,
            all: &BTreeSet<String>,
        ) -> Result<bool, Self::Error> {
            if self.failures > 0 && all.len() > 1 {
                self.failures -= 1;
                return Err(NotNow);
            }
            self.seen.lock().unwrap().push((pod.name.clone(), all.clone()));
            Ok(all.contains(&pod.name))
        }
    }

    fn create(store: &Store, name: &str) {
        let object = json!({"metadata": {"name": name, "namespace": "default"}});
        store.create(Kind::ConfigMap, object).unwrap();
    }

    fn key(name: &str) -> NamespacedName {
        NamespacedName { namespace: "default".into(), name: name.into() }
    }

    #[tokio::test]
    async fn what_cannot_be_written_keeps_no_other_from_it_and_is_tried_again() {
        let (store, seen) = (Store::default(), Seen::default());
        create(&store, "a");
        let follower = Follower::new(store.clone());
        let notes = |failures| Notes { seen: Arc::clone(&seen), failures };
        let snapshot = follower.snapshot();
        // Both are written once, as pods that there are.
        assert_eq!(follower.add("1", key("a"), notes(2), &snapshot).await, Ok(true));
        assert_eq!(follower.add("2", key("a"), notes(0), &snapshot).await, Ok(true));
        assert_eq!(follower.add("3", key("unknown"), notes(0), &snapshot).await, Ok(false));
        seen.lock().unwrap().clear();
        create(&store, "b");
        assert!(!follower.write_all(&follower.snapshot()).await);
        assert_eq!(seen.lock().unwrap().len(), 1, "the other's, and not the unknown one's");
        let following = tokio::spawn(follower.follow());
        let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        while seen.lock().unwrap().len() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        following.abort();
        assert_eq!(*seen.lock().unwrap(), [("a".into(), both.clone()), ("a".into(), both)]);
    }
}
