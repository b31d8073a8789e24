//! A pod sends in its own name alone.
//!
//! For IPv4 the kernel sees to that itself: without privileges no packet leaves by an address that is not the
//! namespace's (`ip_route_output_key_hash_rcu`). For IPv6 it looks at `bind` alone, and not there either
//! with `IPV6_FREEBIND`, which anybody may set (ipv6(7)): a blocked pod could send in the name of an
//! allowed one, or in the node's, to which no policy applies. Network plugins drop such packets on
//! the node; here the pod's own namespace does, whose rules no container can change.

use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;

use nlink::netlink::nftables::{
    BaseChain, Chain, Family, FilterHook, Policy, Priority, Rule, Transaction,
};
use nlink::netlink::{Connection, Nftables};

use super::{Doing, NetworkError};

const TABLE: &str = "source";
const SEND: &str = "send";

/// What else a packet of a pod may come from, with the length of the prefix: its loopback, an address of the
/// link, and none at all (RFC 4291), which the kernel itself uses to find neighbours.
const EVERYBODYS: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::UNSPECIFIED, 128),
];

/// Has the network namespace that `namespace` is an open file of send nothing of IPv6 that does not come
/// from `own`.
pub(super) async fn hold(namespace: BorrowedFd<'_>, own: Ipv6Addr) -> Result<(), NetworkError> {
    let doing = "hold a pod to its own address";
    let connection: Connection<Nftables> = Connection::new_in(namespace).doing(doing)?;
    let chain = Chain::new(TABLE, SEND).doing(doing)?;
    let base = BaseChain::filter(FilterHook::Output, Priority::Raw).policy(Policy::Drop);
    let transaction = connection
        .transaction()
        .add_table(TABLE, Family::Ip6)
        .add_chain(chain.family(Family::Ip6).base(base));
    let sources = [(own, 128)].into_iter().chain(EVERYBODYS);
    let rule = |(address, prefix)| {
        Rule::new(TABLE, SEND).family(Family::Ip6).match_saddr_v6(address, prefix).accept()
    };
    sources
        .map(rule)
        .fold(transaction, Transaction::add_rule)
        .commit(&connection)
        .await
        .doing(doing)
}
