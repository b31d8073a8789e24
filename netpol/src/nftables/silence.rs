//! How a packet that a pod sends is dropped without the pod being told.
//!
//! A `drop` in the output hook, or in any later one, is an error of the sender's own system call:
//! `sendto` fails at once with EPERM (`NF_DROP` in `net/netfilter/core.c`), a resolver gives up in
//! milliseconds, and a program takes its own policy for a broken machine. In a cluster the packet
//! leaves the pod and vanishes on the node. What does the same within the pod is the verdict `queue`
//! to a queue where nobody listens: the kernel frees the packet and tells the sender nothing ("QUEUE
//! == DROP if no one is waiting", `net/netfilter/nf_queue.c`). (The bare verdict `NF_QUEUE` would need
//! neither of the two options below, but kernels of 2026 refuse it.)
//!
//! Other ways were weighed. To let the packet out with a mark, for the node to drop, would leave an
//! entry in connection tracking, by which the other end could answer and the next packet would be
//! that of an open connection; this leaves none, like a drop. A drop in the egress hook of the
//! device (`NF_NETDEV_EGRESS`) still is ENOBUFS to sockets with `IP_RECVERR`, which glibc's resolver
//! uses, and that hook knows no connections.

use std::sync::OnceLock;

use nlink::netlink::nftables::{Chain, Expr, Family, QueueExpr, RawMessage, Rule, Transaction};
use nlink::netlink::{Connection, Nftables};

/// A queue that nobody listens at. Who could, in the pod's namespace, could remove the filter, too.
const QUEUE: u16 = 0xEC47;

/// What the kernel has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The expression `queue` (`CONFIG_NFT_QUEUE`).
    Queue,
    /// The target of iptables that does the same, as an expression (`CONFIG_NFT_COMPAT`).
    Target,
    /// Neither: the sender is told.
    None,
}

impl Silence {
    /// The best that the kernel has: found out once, and said if it is none.
    pub(super) async fn of_this_kernel(connection: &Connection<Nftables>) -> Self {
        static FOUND: OnceLock<Silence> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return *found;
        }
        let mut found = Self::None;
        for silence in [Self::Queue, Self::Target] {
            if silence.is_there(connection).await {
                found = silence;
                break;
            }
        }
        if FOUND.set(found).is_ok() && found == Self::None {
            tracing::warn!(
                "this kernel's nftables cannot queue: what a pod sends and may not fails at once, \
                 instead of vanishing"
            );
        }
        found
    }

    /// Asks with a chain that no packet comes to, of a table that is gone in the same transaction.
    pub(super) async fn is_there(self, connection: &Connection<Nftables>) -> bool {
        const PROBE: &str = "netpol-probe";
        let Ok(chain) = Chain::new(PROBE, PROBE) else { return false };
        let transaction = connection
            .transaction()
            .update_table(PROBE, Family::Inet, 0)
            .add_chain(chain.family(Family::Inet));
        let transaction = self.add_rule(transaction, PROBE, PROBE, |rule| rule);
        transaction.del_table(PROBE, Family::Inet).commit(connection).await.is_ok()
    }

    /// Adds a rule to `chain`, of what `matching` adds and the drop.
    pub(super) fn add_rule(
        self,
        transaction: Transaction,
        table: &str,
        chain: &str,
        matching: impl FnOnce(Rule) -> Rule,
    ) -> Transaction {
        let rule = matching(Rule::new(table, chain).family(Family::Inet));
        match self {
            Self::Queue => transaction.add_rule(rule.expr(Expr::Queue(QueueExpr::num(QUEUE)))),
            // nlink has no targets, so it is a rule of its own, after one that decides nothing.
            Self::Target => transaction.add_rule(rule).raw(target_rule(table, chain)),
            Self::None => transaction.add_rule(rule.drop()),
        }
    }
}

/// The message that adds a rule of the target `NFQUEUE` alone: attributes of
/// `include/uapi/linux/netfilter/nf_tables.h` and `nf_tables_compat.h`, and `struct xt_NFQ_info`.
fn target_rule(table: &str, chain: &str) -> RawMessage {
    const NFT_MSG_NEWRULE: u8 = 6;
    const NLM_F_CREATE_APPEND: u16 = 0x400 | 0x800;
    const REVISION: u32 = 0;
    let name = |name: &str| [name.as_bytes(), &[0]].concat();
    // As large as the strictest alignment makes it.
    let mut info = [0; 8];
    info[..2].copy_from_slice(&QUEUE.to_ne_bytes());
    let target = [
        attribute(1, &name("NFQUEUE")),
        attribute(2, &REVISION.to_be_bytes()),
        attribute(3, &info),
    ];
    let expression = [attribute(1, &name("target")), nest(2, &target.concat())].concat();
    let expressions = nest(4, &nest(1, &expression));
    let attributes = [attribute(1, &name(table)), attribute(2, &name(chain)), expressions];
    RawMessage::new(NFT_MSG_NEWRULE, Family::Inet)
        .flags(NLM_F_CREATE_APPEND)
        .attrs(attributes.concat())
}

/// An attribute of attributes.
fn nest(kind: u16, content: &[u8]) -> Vec<u8> {
    const NLA_F_NESTED: u16 = 1 << 15;
    attribute(kind | NLA_F_NESTED, content)
}

/// A netlink attribute: its length, its type, its content, padded to four octets.
fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    // All of them are a few names long.
    let length = u16::try_from(4 + content.len()).unwrap_or(u16::MAX);
    let mut octets = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), content].concat();
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}
