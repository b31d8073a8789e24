//! Addresses for pods.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Hands out the addresses of a network in turn, so that one that was given back is not
/// taken at once for another pod, whose peers might still know the old one.
#[derive(Debug)]
pub(super) struct AddressPool {
    gateway: u32,
    size: u32,
    next: u32,
    used: BTreeSet<u32>,
}

impl AddressPool {
    /// The network of `gateway`; the gateway itself, the first and the last are never given.
    pub(super) fn new(gateway: Ipv4Addr, prefix: u8) -> Self {
        let size = 1 << (32 - u32::from(prefix));
        Self { gateway: gateway.into(), size, next: 0, used: BTreeSet::new() }
    }

    /// An address that nobody has.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let network = self.gateway & !(self.size - 1);
        for _ in 0..self.size {
            self.next = (self.next + 1) % self.size;
            let address = network + self.next;
            let reserved = self.next == 0 || self.next == self.size - 1 || address == self.gateway;
            if !reserved && self.used.insert(address) {
                return Some(address.into());
            }
        }
        None
    }

    /// Takes an address back.
    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_but_three_is_given_once_and_then_in_turn() {
        let mut pool = AddressPool::new(Ipv4Addr::new(10, 0, 0, 1), 29);
        let given: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(given.len(), 5);
        assert_eq!(given[0], Ipv4Addr::new(10, 0, 0, 2));
        pool.give_back(given[0]);
        pool.give_back(given[3]);
        assert_eq!(pool.take(), Some(given[0]));
        assert_eq!(pool.take(), Some(given[3]));
        assert_eq!(pool.take(), None);
    }
}
