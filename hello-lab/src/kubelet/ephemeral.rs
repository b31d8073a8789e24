//! Ephemeral containers: those that a person adds to a pod that runs, to look at it from within
//! (`kubectl debug`, <https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/>). They are in the
//! pod's network and see its processes, are never started again, and end with the pod.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use tokio::sync::Notify;

use super::companions::Companions;
use super::container::{Container, Role};
use super::pod::Running;
use super::sandbox::PodSandbox;
use super::status::ContainerStatus;
use super::unsupported;
use crate::objects::Object;
use crate::objects::events::Severity;

/// Starts each that the pod gets. Never ends.
pub(super) async fn follow(
    running: &Arc<Running>,
    sandbox: &Arc<PodSandbox>,
    companions: &mut Companions,
) -> Infallible {
    let mut latest = running.latest.clone();
    // They are only ever added to, in any place.
    let mut begun = BTreeSet::new();
    loop {
        let pod = Arc::clone(&latest.borrow_and_update());
        for container in all(&pod) {
            if begun.insert(container.name.clone()) {
                begin(running, sandbox, companions, container);
            }
        }
        if latest.changed().await.is_err() {
            // The lab ends.
            return std::future::pending().await;
        }
    }
}

/// The ephemeral containers of a pod, as containers: they have some of the fields of these, and
/// `targetContainerName`, whose processes all containers of a pod of the lab see.
fn all(pod: &Object) -> Vec<core::Container> {
    let list = pod.value()["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
    // What is stored has been read as its type.
    list.filter_map(|container| serde_json::from_value(container.clone()).ok()).collect()
}

fn begin(
    running: &Arc<Running>,
    sandbox: &Arc<PodSandbox>,
    companions: &mut Companions,
    spec: core::Container,
) {
    let image = spec.image.clone().unwrap_or_default();
    running.update(|status| {
        if status.container(&spec.name).is_none() {
            status.ephemeral.push((spec.name.clone(), ContainerStatus::new(&image)));
        }
    });
    let missing = unsupported::of_an_ephemeral_container(&spec, running.surroundings.privileged);
    if !missing.is_empty() {
        let message = format!(
            "hello-lab does not enforce for container {}: {}",
            spec.name,
            missing.join(", ")
        );
        running.tell(Severity::Warning, "NotEnforced", &message);
    }
    companions.begin(|wanted| Container {
        running: Arc::clone(running),
        sandbox: Arc::clone(sandbox),
        spec,
        role: Role::Ephemeral,
        wanted,
        started: Arc::new(Notify::new()),
    });
}
