//! Controllers: each looks at the store and brings it one step nearer to what is asked for.
//!
//! They are functions of the store alone, called again after every change, so that a missed
//! change cannot matter.

mod availability;
mod cron_job;
mod daemon_set;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod garbage;
mod job;
mod namespace;
mod pods;
mod replica_set;
mod revision;
mod scheduler;
mod stateful_set;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::objects::{Kind, Store};

/// Runs every controller, for ever.
pub async fn run(store: Store) {
    // No controller looks at events, of which there are the most, or at leases, which are renewed for ever.
    let kinds: Vec<_> =
        Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Event | Kind::Lease)).collect();
    let mut version = store.changed(0, &kinds).await;
    loop {
        let due = step(&store);
        let time = async {
            match due {
                Some(due) => tokio::time::sleep(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = store.changed(version, &kinds) => version = changed,
            () = time => {}
        }
    }
}

/// Lets every controller look at the store once. When one wants to look again though nothing has changed.
pub(crate) fn step(store: &Store) -> Option<Duration> {
    namespace::step(store);
    garbage::step(store);
    deployment::step(store);
    replica_set::step(store);
    daemon_set::step(store);
    stateful_set::step(store);
    let due = [
        cron_job::step(store),
        job::step(store),
        scheduler::step(store),
        availability::next(store),
    ];
    endpoint_slice::step(store);
    endpoints::step(store);
    due.into_iter().flatten().min()
}
