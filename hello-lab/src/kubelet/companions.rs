//! Containers that run beside those that the pod is for: sidecars, and ephemeral containers.

use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::container::Container;
use super::pod::{LEAST_GRACE, Wanted};

/// Those of one kind that run, in the order in which they were started. They are told to end when this is
/// dropped.
#[derive(Default)]
pub(super) struct Companions(Vec<Companion>);

struct Companion {
    wanted: watch::Sender<Wanted>,
    life: JoinHandle<bool>,
}

impl Companions {
    /// Starts one.
    pub(super) fn begin(&mut self, container: impl FnOnce(watch::Receiver<Wanted>) -> Container) {
        let (wanted, receiver) = watch::channel(Wanted::Run);
        let life = tokio::spawn(container(receiver).run());
        self.0.push(Companion { wanted, life });
    }

    /// Has them end by `deadline`, the last that was started first, each when those before have ended; and at
    /// once when the pod is to be gone.
    pub(super) async fn stop(self, deadline: Instant, mut wanted: watch::Receiver<Wanted>) {
        for Companion { wanted: sender, mut life } in self.0.into_iter().rev() {
            let left = deadline.saturating_duration_since(Instant::now()).max(LEAST_GRACE);
            sender.send_replace(Wanted::Stop(left.as_secs()));
            tokio::select! {
                _ = &mut life => continue,
                _ = wanted.wait_for(|wanted| *wanted == Wanted::Gone) => {}
            }
            sender.send_replace(Wanted::Gone);
            // One that panicked has ended, too.
            let _ = life.await;
        }
    }
}
