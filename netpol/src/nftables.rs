//! A pod's filter as an nftables table in the pod's own network namespace, written over netlink.
//!
//! ```text
//! table inet netpol {
//!     set ingress0v4g7 { type ipv4_addr; flags interval; … }
//!     chain ingress {
//!         type filter hook input priority filter; policy accept;
//!         iifname "lo" accept                      # rule 20
//!         ct direction reply accept                # rule 22
//!         ct state related accept
//!         ip saddr NODE accept                     # rule 21
//!         meta l4proto tcp th dport 8080 ip saddr @ingress0v4g7 accept
//!         update @ingresslogv4g7 { ip saddr limit rate 1/second } log group N
//!         counter drop
//!     }
//!     chain egress { … the same for hook output }
//! }
//! ```
//!
//! # What is promised
//!
//! - A packet is judged by one filter, the old one or the new one, and by all of it. No packet that
//!   both permit is lost while one replaces the other, and none that both deny gets through.
//! - When [`Firewall::replace`] returns, the new filter judges every packet that comes from then on.
//!   When it fails, the old one does.
//! - A namespace without a table gets its chains with all their rules at once: there is no half
//!   filter.
//! - The table of a process that has ended is taken over with the same promises. One that somebody
//!   has removed or changed meanwhile is mended by the next replacement. One whose chains are of
//!   another making is replaced in a single transaction, which may lose a packet.
//!
//! A single transaction that replaces the whole table does not keep the first of these, though all
//! its changes come at once. A packet goes through the rules of the generation in which it set out,
//! but looks into sets as they are *now* (`nft_genmask_cur` in `net/netfilter/nft_set_rbtree.c`):
//! between the commit and the end of its way the elements that its rules name are gone, and it is
//! dropped. Of some forty replacements one lost a packet so. Therefore the table and its two base
//! chains live for ever. A first transaction adds the new filter's sets, under names with a number of
//! its own; a second exchanges the rules for those that use them. The rules of a chain are one block,
//! which a packet takes hold of once (`nft_do_chain`). Sets that no rule uses any more stay for
//! another second, longer by far than any packet is on its way.
//!
//! What a pod sends and may not vanishes without an error: see `nftables/silence.rs`.
//!
//! A pod that no policy isolates gets the table too: connections that were opened before
//! connection tracking was switched on would be picked up the wrong way round, and then pass a
//! later policy as replies.

pub mod claim;
mod draft;
mod generations;
mod silence;

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use hello_common::error::Whole;
use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{SndBuf, SndBufForce};
use nlink::netlink::nftables::Family;
use nlink::netlink::{Connection, Nftables};
use tokio::sync::Mutex;

use self::draft::{Draft, draft};
use self::generations::Table;
use self::silence::Silence;

use crate::compile::{Denied, PodFilter};

/// The table's name.
pub const TABLE: &str = "netpol";

/// The send buffer that is asked for: a transaction is one message, of some 250 bytes a rule.
const SEND_BUFFER: usize = 8 << 20;

/// How much of a denied packet is logged: the headers, with some options.
pub(crate) const LOGGED_BYTES: u32 = 128;

/// The kernel refused something.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} over netlink{}", hint(&.cause.0))]
pub struct KernelError {
    action: &'static str,
    #[source]
    cause: Whole<nlink::netlink::Error>,
}

impl KernelError {
    /// What was not done: it follows "cannot".
    pub(crate) fn in_doing(action: &'static str) -> impl Fn(nlink::netlink::Error) -> Self + Copy {
        move |cause| Self { action, cause: Whole(cause) }
    }
}

fn hint(cause: &nlink::netlink::Error) -> &'static str {
    if cause.is_permission_denied() {
        "; it needs CAP_NET_ADMIN over the network namespace"
    } else if cause.errno() == Some(Errno::EMSGSIZE as i32) {
        "; the filter has more rules than a message may: run it as root, or raise net.core.wmem_max"
    } else {
        ""
    }
}

/// Writes the table of one network namespace. Keep it: to open one costs more than an update.
pub struct Firewall(Arc<Shared>);

struct Shared {
    connection: Connection<Nftables>,
    written: Mutex<Written>,
    /// Whether somebody will see to the sets that no rule uses.
    swept: AtomicBool,
}

/// What has been written.
#[derive(Default)]
struct Written {
    /// None where it is not known, and has to be looked at.
    table: Option<Table>,
    /// The number that the namespace's nftables have if nobody else changes them; none where nobody asks,
    /// or a write has failed.
    generation: Option<u32>,
}

impl Firewall {
    /// A writer for the network namespace that `namespace` is an open file of.
    ///
    /// Needs `CAP_SYS_ADMIN` and `CAP_NET_ADMIN` over the namespace, and a tokio runtime.
    pub fn open(namespace: BorrowedFd<'_>) -> Result<Self, KernelError> {
        let connection = Connection::new_in(namespace)
            .map_err(KernelError::in_doing("reach a network namespace's nftables"))?;
        Ok(Self::with(connection))
    }

    /// A writer for the network namespace that this process is in. Needs `CAP_NET_ADMIN` over
    /// it, and a tokio runtime.
    pub fn here() -> Result<Self, KernelError> {
        let connection =
            Connection::<Nftables>::new().map_err(KernelError::in_doing("reach nftables"))?;
        Ok(Self::with(connection))
    }

    fn with(connection: Connection<Nftables>) -> Self {
        let socket = connection.socket();
        // Past net.core.wmem_max with CAP_NET_ADMIN over the machine (socket(7)), up to it without;
        // with neither all but the largest filters fit.
        if setsockopt(socket, SndBufForce, &SEND_BUFFER).is_err() {
            let _ = setsockopt(socket, SndBuf, &SEND_BUFFER);
        }
        let (written, swept) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { connection, written, swept }))
    }

    /// Whether the namespace has a filter, of whichever process.
    pub async fn is_there(&self) -> Result<bool, KernelError> {
        let cannot = KernelError::in_doing("list the tables of nftables");
        let tables = self.0.connection.list_tables_in(Family::Inet).await.map_err(cannot)?;
        Ok(tables.iter().any(|table| table.name == TABLE))
    }

    /// Takes the filter away. Whether there was one.
    pub async fn remove(&self) -> Result<bool, KernelError> {
        let cannot = KernelError::in_doing("remove a pod's filter");
        self.0.connection.del_table_if_exists(TABLE, Family::Inet).await.map_err(cannot)
    }

    /// Whether nobody but this writer has changed the namespace's nftables since [`Firewall::observe`]: the
    /// kernel counts the transactions. False if a write has failed since.
    pub async fn is_intact(&self) -> Result<bool, KernelError> {
        let written = self.0.written.lock().await;
        Ok(written.generation == Some(self.0.generation().await?))
    }

    /// Takes the namespace's nftables for intact as they are. What they are, the next replacement looks at.
    pub async fn observe(&self) -> Result<(), KernelError> {
        let mut written = self.0.written.lock().await;
        *written = Written { table: None, generation: Some(self.0.generation().await?) };
        Ok(())
    }

    /// Replaces what is in force by `filter`, and tells how many filters there have been. On an error
    /// the old one stays in force.
    pub async fn replace(&self, filter: &PodFilter) -> Result<u64, KernelError> {
        let failed = KernelError::in_doing("replace a pod's filter");
        let Shared { connection, written, .. } = &*self.0;
        let silence = match filter.behaviour.denied {
            Denied::Drop => Silence::of_this_kernel(connection).await,
            Denied::Reject => Silence::None,
        };
        let began = Instant::now();
        let mut written = written.lock().await;
        let generation = written.generation.take();
        // Put back when all is well: who fails, or is dropped half way, leaves nothing untrue.
        let kept = match written.table.take() {
            Some(mut table) => {
                let replaced = table.replace(connection, |number| draft(filter, number, silence));
                // If not, somebody may have meddled with the table.
                replaced.await.map(|()| table).ok()
            }
            None => None,
        };
        let mut table = if let Some(table) = kept {
            table
        } else {
            let mut table = Table::find(connection).await.map_err(failed)?;
            let replaced = table.replace(connection, |number| draft(filter, number, silence));
            replaced.await.map_err(failed)?;
            table
        };
        let (number, has_retired) = (table.generation(), table.has_retired());
        // What others have changed meanwhile is not counted, so that it is noticed.
        let commits = table.take_commits();
        written.generation = generation.map(|generation| generation.wrapping_add(commits));
        written.table = Some(table);
        drop(written);
        if has_retired && !self.0.swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let took = began.elapsed();
            let Draft { sets, rules, .. } = draft(filter, number, silence);
            let (rules, sets) = (rules.len(), sets.len());
            tracing::debug!(generation = number, rules, sets, ?took, "filter written");
        }
        Ok(number)
    }
}

impl Shared {
    /// The number of the namespace's nftables as they are now, whoever changed them: each transaction
    /// raises it by one.
    async fn generation(&self) -> Result<u32, KernelError> {
        let cannot = KernelError::in_doing("ask for the state of nftables");
        self.connection.generation().await.map_err(cannot)
    }
}

/// Deletes the sets that no rule uses, until there are none, or nobody writes the table any more.
async fn sweep(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(Table::SWEEP_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut written = shared.written.lock().await;
        let generation = written.generation.take();
        if let Some(mut table) = written.table.take()
            && table.sweep(&shared.connection).await.is_ok()
        {
            written.generation =
                generation.map(|generation| generation.wrapping_add(table.take_commits()));
            written.table = Some(table);
        }
        if !written.table.as_ref().is_some_and(Table::has_retired) {
            shared.swept.store(false, Ordering::Relaxed);
            return;
        }
    }
}

#[cfg(test)]
mod tests;
