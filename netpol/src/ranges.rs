//! Sets of addresses as disjoint, sorted ranges: what an nftables interval set takes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    v4: Ranges,
    v6: Ranges,
}

/// Inclusive, disjoint, sorted ranges that do not touch each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<(u128, u128)>);

impl Addresses {
    /// Adds one address; an IPv4-mapped one as that of IPv4.
    pub fn add(&mut self, address: IpAddr) {
        self.add_block(&address.to_canonical().into(), &[]);
    }

    /// Adds the addresses of `cidr` that are in none of `except`.
    pub fn add_block(&mut self, cidr: &IpNet, except: &[IpNet]) {
        let block = block_ranges(cidr, except);
        let family = match cidr {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        };
        family.0.extend(block);
    }

    /// Adds everything that is in `other`.
    pub fn extend(&mut self, other: Self) {
        self.v4.0.extend(other.v4.0);
        self.v6.0.extend(other.v6.0);
    }

    /// Whether every address of IPv4 that a host can have is among these: all but those of "this network",
    /// loopback, link-local and multicast addresses and what is reserved (RFC 6890).
    pub(crate) fn holds_all_ipv4_hosts(mut self) -> bool {
        const NO_HOSTS: [(u32, u32); 4] = [
            (0x0000_0000, 0x00ff_ffff),
            (0x7f00_0000, 0x7fff_ffff),
            (0xa9fe_0000, 0xa9fe_ffff),
            (0xe000_0000, 0xffff_ffff),
        ];
        self.v4.0.extend(NO_HOSTS.map(|(low, high)| (u128::from(low), u128::from(high))));
        self.v4.normalise();
        self.v4.0 == [(0, u128::from(u32::MAX))]
    }

    /// Merges what overlaps or touches, and sorts. Call it once everything is added.
    pub fn normalise(&mut self) {
        self.v4.normalise();
        self.v6.normalise();
    }

    /// The IPv4 ranges.
    #[must_use]
    pub fn v4(&self) -> impl ExactSizeIterator<Item = (Ipv4Addr, Ipv4Addr)> {
        self.v4.0.iter().map(|(low, high)| (address_v4(*low), address_v4(*high)))
    }

    /// The IPv6 ranges.
    #[must_use]
    pub fn v6(&self) -> impl ExactSizeIterator<Item = (Ipv6Addr, Ipv6Addr)> {
        self.v6.0.iter().map(|(low, high)| ((*low).into(), (*high).into()))
    }

    /// Whether there is no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }
}

impl Ranges {
    fn remove(&mut self, (low, high): (u128, u128)) {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        for (first, last) in self.0.drain(..) {
            if high < first || last < low {
                rest.push((first, last));
                continue;
            }
            if first < low {
                rest.push((first, low - 1));
            }
            if high < last {
                rest.push((high + 1, last));
            }
        }
        self.0 = rest;
    }

    fn normalise(&mut self) {
        self.0.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0.drain(..) {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }
}

/// The addresses of `cidr` that are in none of `except`, as numbers. One of `except` may be wider than
/// `cidr` ([`crate::validate::cidr`]).
pub(crate) fn block_ranges(cidr: &IpNet, except: &[IpNet]) -> Vec<(u128, u128)> {
    let mut block = Ranges(vec![bounds(cidr)]);
    let is_v4 = cidr.network().is_ipv4();
    for inner in except.iter().filter(|inner| inner.network().is_ipv4() == is_v4) {
        block.remove(bounds(inner));
    }
    block.0
}

fn bounds(block: &IpNet) -> (u128, u128) {
    (number(block.network()), number(block.broadcast()))
}

/// An address as a number, within its family.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address of this number.
pub(crate) fn address(number: u128, is_v6: bool) -> IpAddr {
    if is_v6 { IpAddr::V6(number.into()) } else { IpAddr::V4(address_v4(number)) }
}

#[expect(clippy::cast_possible_truncation, reason = "made from 32 bits")]
fn address_v4(number: u128) -> Ipv4Addr {
    (number as u32).into()
}

/// Cuts one family's numbers wherever one of `ranges` begins or ends, asks what is `at` each piece,
/// and joins neighbours that have the same. Where there is nothing, there is no piece.
pub(crate) fn cut<T: PartialEq>(
    ranges: impl Iterator<Item = (u128, u128)>,
    mut at: impl FnMut(u128) -> Option<T>,
) -> Vec<(u128, u128, T)> {
    let cuts: BTreeSet<u128> =
        ranges.flat_map(|(first, last)| [Some(first), last.checked_add(1)]).flatten().collect();
    let mut pieces: Vec<(u128, u128, T)> = Vec::new();
    let mut cuts = cuts.into_iter().peekable();
    while let Some(first) = cuts.next() {
        let Some(here) = at(first) else { continue };
        let last = cuts.peek().map_or(u128::MAX, |next| next - 1);
        match pieces.last_mut() {
            Some((_, end, same)) if *end + 1 == first && *same == here => *end = last,
            _ => pieces.push((first, last, here)),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(blocks: &[(&str, &[&str])]) -> Vec<String> {
        let mut addresses = Addresses::default();
        for (cidr, except) in blocks {
            let except: Vec<IpNet> = except.iter().map(|block| block.parse().unwrap()).collect();
            addresses.add_block(&cidr.parse().unwrap(), &except);
        }
        addresses.normalise();
        addresses.v4().map(|(low, high)| format!("{low}-{high}")).collect()
    }

    #[test]
    fn what_overlaps_or_touches_is_merged() {
        assert_eq!(
            v4(&[
                ("10.0.0.1/32", &[]),
                ("10.0.0.0/32", &[]),
                ("10.0.0.0/31", &[]),
                ("9.0.0.0/8", &[])
            ]),
            ["9.0.0.0-10.0.0.1"]
        );
    }

    #[test]
    fn except_cuts_holes_and_another_block_fills_them() {
        let block = ("10.0.0.0/24", &["10.0.0.0/25", "10.0.0.255/32"][..]);
        assert_eq!(v4(&[block]), ["10.0.0.128-10.0.0.254"]);
        assert_eq!(v4(&[block, ("10.0.0.255/32", &[])]), ["10.0.0.128-10.0.0.255"]);
    }

    #[test]
    fn a_hole_cuts_only_the_part_that_it_is_in() {
        let holes = ["10.0.0.64/26", "10.0.0.200/32", "10.0.0.2/32", "10.0.0.0/32"];
        assert_eq!(
            v4(&[("10.0.0.0/24", &holes)]),
            [
                "10.0.0.1-10.0.0.1",
                "10.0.0.3-10.0.0.63",
                "10.0.0.128-10.0.0.199",
                "10.0.0.201-10.0.0.255"
            ]
        );
    }

    #[test]
    fn the_whole_space_is_one_range() {
        assert_eq!(v4(&[("0.0.0.0/0", &[])]), ["0.0.0.0-255.255.255.255"]);
        let mut all = Addresses::default();
        all.add_block(&"::/0".parse().unwrap(), &[]);
        all.normalise();
        assert_eq!(all.v6().count(), 1);
        assert!(!all.is_empty() && all.v4().len() == 0);
    }
}
