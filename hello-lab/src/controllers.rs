//! Controllers: each looks at the store and brings it one step nearer to what is asked for.
//!
//! They are functions of the store alone, called again after every change, so that a missed
//! change cannot matter.

mod deployment;
mod endpoints;
mod garbage;
mod namespace;
mod replica_set;

pub use self::replica_set::random_suffix;
#[cfg(test)]
mod tests;

use crate::store::Store;

/// Runs every controller, for ever.
pub async fn run(store: Store) {
    let mut changes = store.changes();
    loop {
        step(&store);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Lets every controller look at the store once.
pub fn step(store: &Store) {
    namespace::step(store);
    garbage::step(store);
    deployment::step(store);
    replica_set::step(store);
    endpoints::step(store);
}
