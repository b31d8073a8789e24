//! `activeDeadlineSeconds`: a pod that is active for longer has failed
//! (`pkg/kubelet/active_deadline.go`).

use std::future::pending;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use super::pod::{Running, Wanted, stopping};
use crate::objects::Object;
use crate::objects::events::Severity;

const REASON: &str = "DeadlineExceeded";
const MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// How long a pod may be active.
fn time(pod: &Object) -> Option<Duration> {
    let seconds = pod.typed::<Pod>().spec.as_ref()?.active_deadline_seconds?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Passes on to `containers` what is wanted of the pod, and has them stop when its time is over. It begins
/// when the pod is taken on, and never resolves.
pub(super) async fn keep(
    running: &Running,
    mut wanted: watch::Receiver<Wanted>,
    containers: watch::Sender<Wanted>,
) {
    let start = tokio::time::Instant::now();
    let mut latest = running.latest.clone();
    let over = async {
        loop {
            let time = time(&latest.borrow_and_update());
            let end = async {
                match time.and_then(|time| start.checked_add(time)) {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = end => return,
                changed = latest.changed() => if changed.is_err() {
                    // The lab ends.
                    pending::<()>().await;
                },
            }
        }
    };
    let is_late = tokio::select! {
        () = stopping(&mut wanted) => false,
        () = over => true,
    };
    if is_late {
        running.tell(Severity::Normal, REASON, MESSAGE);
        running.update(|status| status.ended_early = Some((REASON, MESSAGE)));
        containers.send_replace(Wanted::Stop(running.grace().as_secs()));
        stopping(&mut wanted).await;
    }
    loop {
        let now = *wanted.borrow_and_update();
        // One that has been told to stop is not told to go on.
        if now != Wanted::Run {
            containers.send_replace(now);
        }
        if wanted.changed().await.is_err() {
            // The lab ends.
            drop(containers);
            return pending().await;
        }
    }
}
