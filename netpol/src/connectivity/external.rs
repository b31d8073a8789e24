//! Ranges of addresses outside the cluster.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::filters::{Filters, Pass};
use super::{ListedEnd, NamedEnd};
use crate::connections::Connections;
use crate::isolation::Block;
use crate::policy::Direction;
use crate::ranges::{address, cut, number};

/// Every address of IPv4. Those of IPv6 are listed only where a policy names a block of them.
const EVERY_IPV4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// Cuts what is allowed to everyone and to blocks into ranges of addresses with the same connections.
fn ranges<'b>(
    everyone: &Connections,
    blocks: impl Iterator<Item = &'b (Block<'b>, Connections)>,
) -> Vec<Range> {
    let blocks: Vec<_> = blocks.collect();
    let mut ranges = Vec::new();
    for is_v6 in [false, true] {
        let mut parts = Vec::new();
        if !is_v6 && !everyone.is_none() {
            let everywhere = Block { cidr: &EVERY_IPV4, except: &[] };
            parts.extend(everywhere.ranges().map(|range| (range, everyone)));
        }
        for (block, connections) in &blocks {
            if block.cidr.network().is_ipv6() == is_v6 {
                parts.extend(block.ranges().map(|range| (range, connections)));
            }
        }
        let pieces = cut(parts.iter().map(|(range, _)| *range), |number| {
            let mut here =
                parts.iter().filter(|((low, high), _)| (*low..=*high).contains(&number)).peekable();
            here.peek()?;
            let mut connections = everyone.clone();
            here.for_each(|(_, more)| connections.extend(more));
            Some(connections)
        });
        ranges.extend(pieces.into_iter().map(|piece| Range::new(is_v6, piece)));
    }
    ranges.sort_by(|one, other| one.name.cmp(&other.name));
    ranges
}

/// A range of addresses outside, and what may pass.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// What `end` is called.
    pub name: String,
    pub end: ListedEnd,
    pub connections: Connections,
}

impl Range {
    /// The range, and what it is called.
    pub(super) fn named(&self) -> NamedEnd<'_> {
        NamedEnd { end: &self.end, name: &self.name }
    }

    fn new(is_v6: bool, (low, high, connections): Numbers) -> Self {
        let end = ListedEnd::External(address(low, is_v6), address(high, is_v6));
        Self { name: end.to_string(), end, connections }
    }
}

/// A range of addresses of one family as numbers, and what may pass.
pub(crate) type Numbers = (u128, u128, Connections);

/// What is in `new` and not in `old`: ranges of one family, which may overlap.
pub(crate) fn difference(old: &[Numbers], new: &[Numbers]) -> Vec<Numbers> {
    numbers_combined(old, new, |old, new| new.difference(old))
}

fn numbers_combined(
    one: &[Numbers],
    other: &[Numbers],
    both: impl Fn(&Connections, &Connections) -> Connections,
) -> Vec<Numbers> {
    let at = |ranges: &[Numbers], number: u128| {
        let mut here = Connections::none();
        ranges
            .iter()
            .filter(|(first, last, _)| (*first..=*last).contains(&number))
            .for_each(|(_, _, connections)| here.extend(connections));
        here
    };
    cut(one.iter().chain(other).map(|(first, last, _)| (*first, *last)), |number| {
        let found = both(&at(one, number), &at(other, number));
        (!found.is_none()).then_some(found)
    })
}

/// What is possible and not certain.
pub(super) fn doubtful(certain: &[Range], possible: &[Range]) -> Vec<Range> {
    combined(certain, possible, |certain, possible| possible.difference(certain))
}

fn combined(
    one: &[Range],
    other: &[Range],
    both: impl Fn(&Connections, &Connections) -> Connections,
) -> Vec<Range> {
    let of_family = |ranges: &[Range], is_v6: bool| -> Vec<Numbers> {
        let numbers = ranges.iter().filter_map(|range| match range.end {
            ListedEnd::External(first, last) if first.is_ipv6() == is_v6 => {
                Some((number(first), number(last), range.connections.clone()))
            }
            _ => None,
        });
        numbers.collect()
    };
    let mut found = Vec::new();
    for is_v6 in [false, true] {
        let pieces = numbers_combined(&of_family(one, is_v6), &of_family(other, is_v6), &both);
        found.extend(pieces.into_iter().map(|piece| Range::new(is_v6, piece)));
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// The addresses outside that something may pass to or from, found once for the same filters.
pub(super) struct External<'f, 'a> {
    filters: &'f Filters<'a>,
    found: HashMap<Vec<usize>, Vec<Range>>,
}

impl<'f, 'a> External<'f, 'a> {
    pub(super) fn new(filters: &'f Filters<'a>) -> Self {
        Self { filters, found: HashMap::new() }
    }

    /// Those of an end's pods.
    pub(super) fn of(&mut self, pods: std::ops::Range<usize>) -> &[Range] {
        let mut key = self.filters.of_pod[pods].to_vec();
        key.sort_unstable();
        key.dedup();
        let filters = self.filters;
        self.found.entry(key).or_insert_with_key(|key| {
            let of = || key.iter().map(|filter| &filters.list[*filter]);
            let mut everyone = Connections::none();
            of().for_each(|filter| everyone.extend(&filter.everyone));
            ranges(&everyone, of().flat_map(|filter| &filter.blocks))
        })
    }
}

/// The addresses outside that something may pass to or from, under each of several readings.
pub(super) struct Outside<'f, 'a>(Vec<External<'f, 'a>>);

impl<'f, 'a> Outside<'f, 'a> {
    pub(super) fn new(passes: &'f [Pass<'a>], direction: Direction) -> Self {
        let of = |pass: &'f Pass<'a>| match direction {
            Direction::Ingress => External::new(&pass.ingress),
            Direction::Egress => External::new(&pass.egress),
        };
        Self(passes.iter().map(of).collect())
    }

    /// What may pass under all of the readings.
    pub(super) fn all(&mut self, pods: std::ops::Range<usize>) -> Vec<Range> {
        self.fold(pods, Connections::intersection)
    }

    /// What may pass under any of them.
    pub(super) fn any(&mut self, pods: std::ops::Range<usize>) -> Vec<Range> {
        self.fold(pods, |one, other| {
            let mut either = one.clone();
            either.extend(other);
            either
        })
    }

    fn fold(
        &mut self,
        pods: std::ops::Range<usize>,
        both: impl Fn(&Connections, &Connections) -> Connections,
    ) -> Vec<Range> {
        let mut readings = self.0.iter_mut().map(|external| external.of(pods.clone()).to_vec());
        let first = readings.next().unwrap_or_default();
        readings.fold(first, |one, other| combined(&one, &other, &both))
    }
}
