//! A pod's filter as an nftables table in the pod's own network namespace, written over
//! netlink in one transaction: no packet ever sees half a policy.
//!
//! ```text
//! table inet netpol {
//!     set ingress0 { type ipv4_addr; flags interval; … }
//!     chain ingress {
//!         type filter hook input priority filter; policy accept;
//!         iifname "lo" accept                      # rule 20
//!         ct direction reply accept                # rule 22
//!         ct state related accept
//!         ip saddr NODE accept                     # rule 21
//!         meta l4proto tcp th dport 8080 ip saddr @ingress0 accept
//!         update @ingresslogv4 { ip saddr limit rate 1/second } log group N
//!         counter drop
//!     }
//!     chain egress { … the same for hook output }
//! }
//! ```
//!
//! A pod that no policy isolates gets the table too: connections that were opened before
//! connection tracking was switched on would be picked up the wrong way round, and then pass a
//! later policy as replies.

pub mod claim;

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{SndBuf, SndBufForce};
use nlink::netlink::nftables::{
    BaseChain, Chain, CmpOp, CtDirection, CtState, DynsetExpr, DynsetOp, Expr, Family, FilterHook,
    LimitExpr, LimitUnit, LogExpr, PacketField, PayloadBase, Policy as ChainPolicy, Priority,
    RangeOp, Register, Rule, Set, SetElement, SetKeyType, Transaction,
};
use nlink::netlink::{Connection, Nftables};

use crate::compile::{Denied, Established, Filter, PeerSet, PodFilter, PortSet};
use crate::policy::Direction;
use crate::port::PortRange;

/// The table's name.
pub const TABLE: &str = "netpol";

/// Elements sent in one message: a netlink attribute holds 65,535 bytes.
const ELEMENTS_A_MESSAGE: usize = 1000;

/// Neighbour discovery, without which IPv6 cannot find even an allowed peer (RFC 4861).
const NEIGHBOUR_DISCOVERY: (u8, u8) = (133, 137);

/// The send buffer that is asked for: a transaction is one message, of some 80 bytes a range.
const SEND_BUFFER: usize = 8 << 20;

/// How much of a denied packet is logged: the headers, with some options.
pub(crate) const LOGGED_BYTES: u32 = 128;

/// How many denied peers are told apart; further ones are dropped without a log line.
const LOGGED_PEERS: u32 = 8192;

/// How long a denied peer is remembered.
const LOGGED_FOR: Duration = Duration::from_secs(10);

/// The kernel refused something.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} over netlink: {cause}{}", hint(.cause))]
pub struct KernelError {
    pub(crate) action: &'static str,
    pub(crate) cause: nlink::netlink::Error,
}

fn hint(cause: &nlink::netlink::Error) -> &'static str {
    if cause.is_permission_denied() {
        "; it needs CAP_NET_ADMIN over the network namespace"
    } else if cause.errno() == Some(Errno::EMSGSIZE as i32) {
        "; the filter has more addresses than a message may: run it as root, or raise net.core.wmem_max"
    } else {
        ""
    }
}

/// Writes the table of one network namespace. Keep it: to open one costs more than an update.
pub struct Firewall {
    connection: Connection<Nftables>,
    /// How many transactions it has committed.
    commits: AtomicU32,
}

impl Firewall {
    /// A writer for the network namespace that `namespace` is an open file of.
    ///
    /// Needs `CAP_SYS_ADMIN` and `CAP_NET_ADMIN` over the namespace, and a tokio runtime.
    pub fn open(namespace: BorrowedFd<'_>) -> Result<Self, KernelError> {
        let connection = Connection::new_in(namespace).map_err(|cause| KernelError {
            action: "reach a network namespace's nftables",
            cause,
        })?;
        Ok(Self::with(connection))
    }

    /// A writer for the network namespace that this process is in. Needs `CAP_NET_ADMIN` over
    /// it, and a tokio runtime.
    pub fn here() -> Result<Self, KernelError> {
        let connection = Connection::<Nftables>::new()
            .map_err(|cause| KernelError { action: "reach nftables", cause })?;
        Ok(Self::with(connection))
    }

    fn with(connection: Connection<Nftables>) -> Self {
        let socket = connection.socket();
        // Past net.core.wmem_max with CAP_NET_ADMIN over the machine (socket(7)), up to it without;
        // with neither all but the largest filters fit.
        if setsockopt(socket, SndBufForce, &SEND_BUFFER).is_err() {
            let _ = setsockopt(socket, SndBuf, &SEND_BUFFER);
        }
        Self { connection, commits: AtomicU32::new(0) }
    }

    /// The number of the namespace's nftables as they are now, whoever changed them: each transaction
    /// raises it by one.
    pub async fn generation(&self) -> Result<u32, KernelError> {
        let cannot = |cause| KernelError { action: "ask for the state of nftables", cause };
        self.connection.generation().await.map_err(cannot)
    }

    /// How many transactions this writer has committed, of those that [`Firewall::generation`] counts.
    #[must_use]
    pub fn commits(&self) -> u32 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Whether the namespace has a filter, of whichever process.
    pub async fn is_there(&self) -> Result<bool, KernelError> {
        let cannot = |cause| KernelError { action: "list the tables of nftables", cause };
        let tables = self.connection.list_tables_in(Family::Inet).await.map_err(cannot)?;
        Ok(tables.iter().any(|table| table.name == TABLE))
    }

    /// Takes the filter away. Whether there was one.
    pub async fn remove(&self) -> Result<bool, KernelError> {
        let cannot = |cause| KernelError { action: "remove a pod's filter", cause };
        self.connection.del_table_if_exists(TABLE, Family::Inet).await.map_err(cannot)
    }

    /// Replaces the table by one that enforces `filter`. On an error the old one stays in force.
    pub async fn replace(&self, filter: &PodFilter) -> Result<(), KernelError> {
        fill(self.connection.transaction(), filter)
            .commit(&self.connection)
            .await
            .map_err(|cause| KernelError { action: "replace a pod's filter", cause })?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn fill(transaction: Transaction, filter: &PodFilter) -> Transaction {
    // Made, if it is not there, so that it can be deleted: then the table is a new one,
    // whatever was there before.
    let mut transaction = transaction
        .update_table(TABLE, Family::Inet, 0)
        .del_table(TABLE, Family::Inet)
        .add_table(TABLE, Family::Inet);
    for direction in Direction::BOTH {
        transaction = add_direction(transaction, filter, direction);
    }
    transaction
}

/// Where a direction's packets are met, and where in them the peer's address is.
struct Way {
    chain: &'static str,
    hook: FilterHook,
    v4: PacketField,
    v6: PacketField,
}

fn way(direction: Direction) -> Way {
    match direction {
        Direction::Ingress => Way {
            chain: "ingress",
            hook: FilterHook::Input,
            v4: PacketField::Ip4Saddr,
            v6: PacketField::Ip6Saddr,
        },
        Direction::Egress => Way {
            chain: "egress",
            hook: FilterHook::Output,
            v4: PacketField::Ip4Daddr,
            v6: PacketField::Ip6Daddr,
        },
    }
}

fn add_direction(
    mut transaction: Transaction,
    filter: &PodFilter,
    direction: Direction,
) -> Transaction {
    let way = way(direction);
    let base = BaseChain::filter(way.hook.clone(), Priority::Filter).policy(ChainPolicy::Accept);
    let chain = Chain::new(TABLE, way.chain).expect("both names are valid").family(Family::Inet);
    transaction = transaction.add_chain(chain.base(base));

    let rule = || Rule::new(TABLE, way.chain).family(Family::Inet);
    let loopback = match direction {
        Direction::Ingress => rule().match_iif("lo"),
        Direction::Egress => rule().match_oif("lo"),
    };
    let tracked = match filter.behaviour.established {
        Established::Cut => rule().match_ct_direction(CtDirection::Reply),
        Established::Keep => rule().match_ct_state(CtState::ESTABLISHED),
    };
    let related = rule().match_ct_state(CtState::RELATED);
    for always in [loopback, tracked, related] {
        transaction = transaction.add_rule(always.accept());
    }

    let only = match direction {
        Direction::Ingress => &filter.ingress,
        Direction::Egress => &filter.egress,
    };
    let Filter::Only(accepts) = only else { return transaction };
    for node in &filter.nodes {
        let from_node = match (direction, node) {
            (Direction::Ingress, IpAddr::V4(node)) => rule().match_saddr_v4(*node, 32),
            (Direction::Ingress, IpAddr::V6(node)) => rule().match_saddr_v6(*node, 128),
            (Direction::Egress, IpAddr::V4(node)) => rule().match_daddr_v4(*node, 32),
            (Direction::Egress, IpAddr::V6(node)) => rule().match_daddr_v6(*node, 128),
        };
        transaction = transaction.add_rule(from_node.accept());
    }
    transaction = transaction.add_rule(neighbour_discovery(rule()).accept());

    for (index, accept) in accepts.iter().enumerate() {
        let ports = |rule| match_ports(rule, accept.ports);
        let addresses = match &accept.peers {
            PeerSet::Everyone => {
                transaction = transaction.add_rule(ports(rule()).accept());
                continue;
            }
            PeerSet::Addresses(addresses) => addresses,
        };
        let v4 = addresses.v4().map(|(low, high)| SetElement::ipv4_range(low, high)).collect();
        let v6 = addresses.v6().map(|(low, high)| SetElement::ipv6_range(low, high)).collect();
        for (elements, field, family) in [(v4, way.v4, 4), (v6, way.v6, 6)] {
            let elements: Vec<SetElement> = elements;
            if elements.is_empty() {
                continue;
            }
            let name = format!("{}{index}v{family}", way.chain);
            transaction = add_set(transaction, &name, field.key_type(), &elements);
            let accept = ports(rule()).match_in_interval_set(field, &name).accept();
            transaction = transaction.add_rule(accept);
        }
    }
    if let Some(group) = filter.behaviour.log_group {
        transaction = add_log(transaction, &way, group);
    }
    let denied = rule().counter();
    transaction.add_rule(match filter.behaviour.denied {
        Denied::Drop => denied.drop(),
        Denied::Reject => denied.reject(),
    })
}

/// Sends a packet of each peer to the log group, once a second at most.
fn add_log(mut transaction: Transaction, way: &Way, group: u16) -> Transaction {
    for (field, family) in [(way.v4, 4), (way.v6, 6)] {
        let name = format!("{}logv{family}", way.chain);
        let set = Set::new(TABLE, &name).family(Family::Inet).key_type(field.key_type());
        transaction = transaction.add_set(set.dynamic().size(LOGGED_PEERS).timeout(LOGGED_FOR));
        let once = LimitExpr::packets(1, LimitUnit::Second).burst(1);
        let peer = DynsetExpr::new(DynsetOp::Update, &name, Register::R0).statement(once);
        // Without a threshold of one the kernel holds packets back until more have come.
        let log =
            LogExpr::new().group(group).prefix(way.chain).snaplen(LOGGED_BYTES).queue_threshold(1);
        let rule = Rule::new(TABLE, way.chain).family(Family::Inet);
        transaction = transaction.add_rule(rule.dynset(field, peer).expr(Expr::Log(log)));
    }
    transaction
}

fn add_set(
    mut transaction: Transaction,
    name: &str,
    key_type: SetKeyType,
    elements: &[SetElement],
) -> Transaction {
    let set = Set::new(TABLE, name).family(Family::Inet).key_type(key_type).interval();
    transaction = transaction.add_set(set.clone());
    for chunk in elements.chunks(ELEMENTS_A_MESSAGE) {
        transaction = transaction.add_set_elements(&set, chunk);
    }
    transaction
}

fn match_ports(rule: Rule, ports: PortSet) -> Rule {
    match ports {
        PortSet::Everything => rule,
        PortSet::Protocol(protocol) => rule.match_l4proto(protocol.number()),
        PortSet::Range(protocol, range) => {
            match_destination_port(rule.match_l4proto(protocol.number()), range)
        }
    }
}

/// The destination port is at the same place in TCP, UDP and SCTP.
fn match_destination_port(rule: Rule, range: PortRange) -> Rule {
    let sreg = Register::R0;
    let load = Expr::Payload { dreg: sreg, base: PayloadBase::Transport, offset: 2, len: 2 };
    let (from, to) = (range.first.to_be_bytes().to_vec(), range.last.to_be_bytes().to_vec());
    rule.expr(load).expr(if from == to {
        Expr::Cmp { sreg, op: CmpOp::Eq, data: from }
    } else {
        Expr::Range { sreg, op: RangeOp::Eq, from, to }
    })
}

fn neighbour_discovery(rule: Rule) -> Rule {
    const ICMPV6: u8 = 58;
    let sreg = Register::R0;
    let (first, last) = NEIGHBOUR_DISCOVERY;
    rule.match_l4proto(ICMPV6)
        .expr(Expr::Payload { dreg: sreg, base: PayloadBase::Transport, offset: 0, len: 1 })
        .expr(Expr::Range { sreg, op: RangeOp::Eq, from: vec![first], to: vec![last] })
}
