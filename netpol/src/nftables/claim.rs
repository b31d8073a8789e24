//! Who enforces in a network namespace: one process at a time.
//!
//! The claim is an empty table that belongs to a netlink socket (`NFT_TABLE_F_OWNER`, Linux 5.12): the
//! kernel lets nobody else change it, and takes it away when the socket is closed, however its process
//! ends. Only who may change the filter can make it, which a lock file or a socket of some name could
//! not say.

use nlink::netlink::nftables::{Family, NFT_TABLE_F_OWNER};
use nlink::netlink::{Connection, Nftables};

use super::KernelError;

/// The name of the table that is the claim.
pub const CLAIM: &str = "netpol-enforcer";

/// That this process enforces in the network namespace that it is in; no longer when this is dropped.
pub struct Claim {
    _connection: Connection<Nftables>,
}

/// Why a network namespace cannot be claimed. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process has claimed it.
    #[error("another enforcer runs in this network namespace; end it first")]
    Taken,
    /// The kernel knows no tables that belong to a socket.
    #[error("this kernel cannot say who enforces in a network namespace: it takes Linux 5.12")]
    Unsupported,
    /// It cannot be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl Claim {
    /// Claims the network namespace that this process is in. Needs `CAP_NET_ADMIN` over it, and a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// Where another process has claimed it, or the kernel refuses.
    pub async fn take() -> Result<Self, ClaimError> {
        let failed = KernelError::in_doing("claim the network namespace");
        let connection = Connection::<Nftables>::new().map_err(failed)?;
        // The kernel's word for a table of another socket is the one for a missing capability too.
        let tables = connection.list_tables_in(Family::Inet).await.map_err(failed)?;
        if tables.iter().any(|table| table.name == CLAIM) {
            return Err(ClaimError::Taken);
        }
        let made = connection.add_table_with_flags(CLAIM, Family::Inet, NFT_TABLE_F_OWNER).await;
        match made {
            Ok(()) => Ok(Self { _connection: connection }),
            Err(error) if error.is_not_supported() => Err(ClaimError::Unsupported),
            Err(error) if error.is_permission_denied() || error.is_already_exists() => {
                Err(ClaimError::Taken)
            }
            Err(error) => Err(failed(error).into()),
        }
    }
}

/// Whether this process is in the machine's own network namespace, as in a container that shares it.
///
/// The kernel shows some settings there alone (`net/core/sysctl_net_core.c`), and in no other.
#[must_use]
pub fn is_machines_own() -> bool {
    std::path::Path::new("/proc/sys/net/core/netdev_budget").exists()
}
