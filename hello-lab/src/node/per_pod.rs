//! Something for every pod that has a network, by the pod's UID.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is kept for each pod. Clones share it.
pub struct PerPod<T>(Arc<Mutex<HashMap<String, Arc<T>>>>);

impl<T> PerPod<T> {
    /// Keeps `kept` for the pod `uid`.
    pub fn insert(&self, uid: &str, kept: T) -> Arc<T> {
        let kept = Arc::new(kept);
        self.lock().insert(uid.to_owned(), Arc::clone(&kept));
        kept
    }

    /// Lets go of what is kept for a pod.
    pub fn remove(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// What is kept now, of every pod.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<T>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for PerPod<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for PerPod<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}
