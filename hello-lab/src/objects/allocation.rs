//! The addresses of Services: each is one Service's alone.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Addresses that are held for Services which are not stored yet. Clones share them.
///
/// Who wants an address holds it first, then looks whether a stored Service has it, and lets go of it when
/// their own Service is stored, or is not to be. So of two who want the same at the same moment, the second
/// sees either that it is held or the first one's Service.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<BTreeSet<Ipv4Addr>>>);

/// An address that nobody else can have while this is kept.
#[derive(Debug)]
pub(super) struct Held {
    addresses: Addresses,
    address: Ipv4Addr,
}

impl Addresses {
    /// Holds `address`; none if somebody else does.
    pub(super) fn hold(&self, address: Ipv4Addr) -> Option<Held> {
        let held = self.lock().insert(address);
        held.then(|| Held { addresses: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Ipv4Addr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.addresses.lock().remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_by_one_at_a_time() {
        let addresses = Addresses::default();
        let address = Ipv4Addr::new(10, 96, 1, 1);
        let held = addresses.hold(address);
        assert!(held.is_some());
        assert!(addresses.clone().hold(address).is_none());
        assert!(addresses.hold(Ipv4Addr::new(10, 96, 1, 2)).is_some());
        drop(held);
        assert!(addresses.hold(address).is_some());
    }
}
