//! The addresses of Services, and their ports on the node: each is one Service's alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Addresses, or ports, that are held for Services which are not stored yet. Clones share them.
///
/// Who wants one holds it first, then looks whether a stored Service has it, and lets go of it when
/// their own Service is stored, or is not to be. So of two who want the same at the same moment, the second
/// sees either that it is held, or the first one's Service.
#[derive(Clone, Debug)]
pub(super) struct Pool<T>(Arc<Mutex<BTreeSet<T>>>);

/// What nobody else can have while this is kept.
#[derive(Debug)]
pub(super) struct Held<T: Ord> {
    pool: Pool<T>,
    held: T,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Ord + Copy> Pool<T> {
    /// Holds one; none if somebody else does.
    pub(super) fn hold(&self, one: T) -> Option<Held<T>> {
        let held = self.lock().insert(one);
        held.then(|| Held { pool: Self(Arc::clone(&self.0)), held: one })
    }
}

impl<T> Pool<T> {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Ord> Drop for Held<T> {
    fn drop(&mut self) {
        self.pool.lock().remove(&self.held);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_is_held_by_one_at_a_time() {
        let addresses = Pool::default();
        let address = Ipv4Addr::new(10, 96, 1, 1);
        let held = addresses.hold(address);
        assert!(held.is_some());
        assert!(addresses.clone().hold(address).is_none());
        assert!(addresses.hold(Ipv4Addr::new(10, 96, 1, 2)).is_some());
        drop(held);
        assert!(addresses.hold(address).is_some());
    }
}
