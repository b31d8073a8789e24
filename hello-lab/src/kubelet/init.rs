//! Init containers, one after another before the containers that the pod is for, and those among them that
//! go on running: sidecars (<https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>).

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::companions::Companions;
use super::container::{Container, Role};
use super::pod::{Running, Wanted, is_sidecar, stopping};
use super::sandbox::PodSandbox;

/// Runs the init containers. Whether the containers of the pod may start: none of them has failed for good,
/// and the pod is still wanted.
pub(super) async fn run(
    running: &Arc<Running>,
    sandbox: &Arc<PodSandbox>,
    wanted: &watch::Receiver<Wanted>,
    sidecars: &mut Companions,
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
            sidecars.begin(|wanted| container(Role::Sidecar, wanted));
            let mut wanted = wanted.clone();
            tokio::select! {
                () = started.notified() => {}
                () = stopping(&mut wanted) => return false,
            }
        } else if !container(Role::Init, wanted.clone()).run().await {
            return false;
        }
    }
    *wanted.borrow() == Wanted::Run
}
