//! Ranges of addresses outside the cluster.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::End;
use crate::connections::Connections;
use crate::isolation::Block;

/// Every address of IPv4. Those of IPv6 are listed only where a policy names a block of them.
const EVERY_IPV4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// Cuts what is allowed to everyone and to blocks into ranges of addresses with the same connections.
pub(super) fn ranges<'b>(
    everyone: &Connections,
    blocks: impl Iterator<Item = &'b (Block<'b>, Connections)>,
) -> Vec<(End, Connections)> {
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
        let mut cuts: Vec<u128> = parts
            .iter()
            .flat_map(|((low, high), _)| [Some(*low), high.checked_add(1)])
            .flatten()
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut merged: Vec<(u128, u128, Connections)> = Vec::new();
        for (index, low) in cuts.iter().enumerate() {
            let mut connections = Connections::none();
            let mut covered = false;
            for ((first, last), more) in &parts {
                if (first..=last).contains(&low) {
                    connections.extend(more);
                    covered = true;
                }
            }
            if !covered {
                continue;
            }
            connections.extend(everyone);
            let high =
                cuts.get(index + 1).map_or(if is_v6 { u128::MAX } else { MAX_V4 }, |next| next - 1);
            match merged.last_mut() {
                Some((_, end, same)) if *end + 1 == *low && *same == connections => *end = high,
                _ => merged.push((*low, high, connections)),
            }
        }
        let address = |number: u128| -> IpAddr {
            if is_v6 {
                IpAddr::V6(number.into())
            } else {
                #[expect(clippy::cast_possible_truncation, reason = "made from 32 bits")]
                IpAddr::V4((number as u32).into())
            }
        };
        ranges.extend(merged.into_iter().map(|(low, high, connections)| {
            (End::External(address(low), address(high)), connections)
        }));
    }
    ranges
}

const MAX_V4: u128 = u32::MAX as u128;
