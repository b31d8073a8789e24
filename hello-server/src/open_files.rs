//! How many connections the process may have: each is an open file.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are no connections: standard streams, the listener, the runtime's own.
const OTHERS: u64 = 32;

/// Raises the limit of open files as far as `connections` need and may, and returns for how many
/// of them it is enough: all that were asked for, or fewer.
#[must_use]
pub fn allow(connections: u32) -> u32 {
    let wanted = u64::from(connections) + OTHERS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return connections };
    let raised = wanted.min(hard);
    let limit = if soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
        raised
    } else {
        soft
    };
    let room = limit.saturating_sub(OTHERS).max(1);
    u32::try_from(room).unwrap_or(u32::MAX).min(connections)
}
