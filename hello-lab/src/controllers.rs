//! Controllers: each looks at the store and brings it one step nearer to what is asked for.
//!
//! They are functions of the store alone, called again after every change, so that a missed
//! change cannot matter.

mod deployment;
mod endpoints;
mod garbage;
mod namespace;
mod replica_set;

#[cfg(test)]
mod tests;

use crate::objects::{Kind, Store};

/// Runs every controller, for ever.
pub async fn run(store: Store) {
    // No controller looks at events, of which there are the most.
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Event).collect();
    let mut version = 0;
    loop {
        version = store.changed(version, &kinds).await;
        step(&store);
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
