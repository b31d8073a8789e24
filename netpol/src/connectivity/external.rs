//! Ranges of addresses outside the cluster.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::ListedEnd;
use crate::connections::Connections;
use crate::isolation::Block;
use crate::ranges::{address, cut};

/// Every address of IPv4. Those of IPv6 are listed only where a policy names a block of them.
const EVERY_IPV4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// Cuts what is allowed to everyone and to blocks into ranges of addresses with the same connections.
pub(super) fn ranges<'b>(
    everyone: &Connections,
    blocks: impl Iterator<Item = &'b (Block<'b>, Connections)>,
) -> Vec<(ListedEnd, Connections)> {
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
        ranges.extend(pieces.into_iter().map(|(low, high, connections)| {
            (ListedEnd::External(address(low, is_v6), address(high, is_v6)), connections)
        }));
    }
    ranges
}
