//! Pods' networks made ahead: to make one takes the kernel longer than anything else of a pod's start,
//! the more so while it is taking down those of pods that are gone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Network, NetworkError, PodNetwork};

/// How many are kept: the pods of a small application.
const KEPT: usize = 10;
/// None is made within this time of the last that was taken: pods that start come first.
const QUIET: Duration = Duration::from_millis(500);

/// Networks for pods to come. Clones share them.
#[derive(Clone)]
pub struct Spares {
    network: Network,
    shelf: Arc<Mutex<Shelf>>,
    taken: Arc<Notify>,
}

struct Shelf {
    /// The one that was made first is taken first: it has the lowest address.
    ready: VecDeque<PodNetwork>,
    last_taken: Instant,
}

impl Spares {
    /// None yet, of `network`.
    #[must_use]
    pub fn new(network: Network) -> Self {
        let shelf = Shelf { ready: VecDeque::new(), last_taken: Instant::now() };
        Self { network, shelf: Arc::new(shelf.into()), taken: Arc::default() }
    }

    /// A network that nobody has: one that is ready, or else a new one.
    pub async fn take(&self) -> Result<PodNetwork, NetworkError> {
        let ready = {
            let mut shelf = self.shelf();
            shelf.last_taken = Instant::now();
            shelf.ready.pop_front()
        };
        self.taken.notify_one();
        match ready {
            Some(network) => Ok(network),
            None => self.network.add_pod().await,
        }
    }

    /// Sees for ever that some are ready.
    pub async fn keep(self) {
        loop {
            let until_quiet = {
                let shelf = self.shelf();
                let wait = || QUIET.saturating_sub(shelf.last_taken.elapsed());
                (shelf.ready.len() < KEPT).then(wait)
            };
            match until_quiet {
                Some(Duration::ZERO) => match self.network.add_pod().await {
                    Ok(network) => self.shelf().ready.push_back(network),
                    // The pod that needs one will say why there is none.
                    Err(_) => self.taken.notified().await,
                },
                Some(wait) => tokio::time::sleep(wait).await,
                None => self.taken.notified().await,
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
