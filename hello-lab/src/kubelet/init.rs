//! Init containers, one after another before the containers that the pod is for, and those among them that
//! go on running: sidecars (<https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::container::{Container, Role};
use super::pod::{Running, Wanted, is_sidecar};
use super::sandbox::PodSandbox;

/// The sidecars that run, in the order in which they were started. They are told to end when this is
/// dropped.
#[derive(Default)]
pub(super) struct Sidecars(Vec<Sidecar>);

struct Sidecar {
    wanted: watch::Sender<Wanted>,
    life: JoinHandle<bool>,
}

/// What each is given at least to end, the last of many too (`minimumGracePeriodInSeconds` of
/// pkg/kubelet/kuberuntime).
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// Runs the init containers. Whether the containers of the pod may start: none of them has failed for good,
/// and the pod is still wanted.
pub(super) async fn run(
    running: &Arc<Running>,
    sandbox: &Arc<PodSandbox>,
    wanted: &watch::Receiver<Wanted>,
    sidecars: &mut Sidecars,
) -> bool {
    for spec in running.spec().init_containers.iter().flatten() {
        if *wanted.borrow() != Wanted::Run {
            return false;
        }
        let started = Arc::new(Notify::new());
        let container = |role, wanted| Container {
            running: Arc::clone(running),
            sandbox: Arc::clone(sandbox),
            spec: spec.clone(),
            role,
            wanted,
            started: Arc::clone(&started),
        };
        if is_sidecar(spec) {
            let (sender, receiver) = watch::channel(Wanted::Run);
            let life = tokio::spawn(container(Role::Sidecar, receiver).run());
            sidecars.0.push(Sidecar { wanted: sender, life });
            let mut wanted = wanted.clone();
            tokio::select! {
                () = started.notified() => {}
                _ = wanted.wait_for(|wanted| *wanted != Wanted::Run) => return false,
            }
        } else if !container(Role::Init, wanted.clone()).run().await {
            return false;
        }
    }
    *wanted.borrow() == Wanted::Run
}

impl Sidecars {
    /// Has them end by `deadline`, the last that was started first, each when those before have ended; and at
    /// once when the pod is to be gone.
    pub(super) async fn stop(self, deadline: Instant, mut wanted: watch::Receiver<Wanted>) {
        for Sidecar { wanted: sender, mut life } in self.0.into_iter().rev() {
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
