//! Sandboxes made ahead: to make one takes the kernel longer than anything else of a pod's start,
//! the more so while it is taking down those of pods that are gone.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::sandbox::{PodSandbox, Tables};
use crate::node::network::Network;
use crate::node::policy_enforcer::Enforcer;

/// How many are kept: the pods of a small application.
const KEPT: usize = 10;
/// None is made within this time of the last that was taken: pods that start come first.
const QUIET: Duration = Duration::from_millis(500);

/// Sandboxes for pods to come. Clones share them.
#[derive(Clone)]
pub struct SandboxPool {
    network: Network,
    enforcer: Enforcer,
    /// The program of their shims.
    shim: Arc<File>,
    /// What of the machine's programs they do not see.
    hidden: Arc<[PathBuf]>,
    shelf: Arc<Mutex<Shelf>>,
    taken: Arc<Notify>,
}

struct Shelf {
    /// The one that was made first is taken first: it has the lowest address.
    ready: VecDeque<(PodSandbox, Tables)>,
    last_taken: Instant,
}

impl SandboxPool {
    /// None yet, in `network`, with filters of `enforcer` and shims of the program that `shim` is, which do not
    /// see what is `hidden`.
    #[must_use]
    pub fn new(network: Network, enforcer: Enforcer, shim: File, hidden: &[PathBuf]) -> Self {
        let shelf = Shelf { ready: VecDeque::new(), last_taken: Instant::now() };
        let (shelf, taken) = (Arc::new(shelf.into()), Arc::default());
        let (shim, hidden) = (Arc::new(shim), hidden.into());
        Self { network, enforcer, shim, hidden, shelf, taken }
    }

    /// A sandbox that nobody has: one that is ready, or else a new one.
    pub async fn take(&self) -> anyhow::Result<(PodSandbox, Tables)> {
        let ready = {
            let mut shelf = self.shelf();
            shelf.last_taken = Instant::now();
            shelf.ready.pop_front()
        };
        self.taken.notify_one();
        match ready {
            Some(sandbox) => Ok(sandbox),
            None => self.make().await,
        }
    }

    /// Keeps some ready, for as long as the lab runs.
    pub async fn keep(self) {
        loop {
            let until_quiet = {
                let shelf = self.shelf();
                let wait = || QUIET.saturating_sub(shelf.last_taken.elapsed());
                (shelf.ready.len() < KEPT).then(wait)
            };
            match until_quiet {
                Some(Duration::ZERO) => match self.make().await {
                    Ok(sandbox) => self.shelf().ready.push_back(sandbox),
                    // The pod that needs one will say why there is none.
                    Err(_) => self.taken.notified().await,
                },
                Some(wait) => tokio::time::sleep(wait).await,
                None => self.taken.notified().await,
            }
        }
    }

    async fn make(&self) -> anyhow::Result<(PodSandbox, Tables)> {
        PodSandbox::new(&self.network, &self.enforcer, &self.shim, &self.hidden).await
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
