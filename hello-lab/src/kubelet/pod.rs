//! A pod as its worker and its containers share it: what is wanted of it, and what is known of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{self as core, PodSpec};
use serde_json::Value;
use tokio::sync::watch;

use super::attach::Attachables;
use super::exec::Containers;
use super::images::Images;
use super::logs::Logs;
use super::messages::Messages;
use super::sandbox_pool::SandboxPool;
use super::status::{ContainerStatus, InitStatus, PodStatus};
use crate::node::network::Network;
use crate::node::policy_enforcer::Enforcer;
use crate::node::service_proxy::ServiceProxy;
use crate::objects::events::{Severity, record};
use crate::objects::meta::now;
use crate::objects::{Object, Store};

/// What pods need of the lab.
#[derive(Clone)]
pub struct Surroundings {
    /// Where pods are read from, and their status is written to.
    pub store: Store,
    /// The node's network, from which they are probed.
    pub network: Network,
    /// Where they get their sandboxes.
    pub sandboxes: SandboxPool,
    /// Who puts their policies in force.
    pub enforcer: Enforcer,
    /// Who has them find Services.
    pub proxy: ServiceProxy,
    /// Those of their containers that run.
    pub containers: Containers,
    /// What they can be made of.
    pub images: Arc<Images>,
    /// Where what they write is kept.
    pub logs: Logs,
    /// Where who attaches to a container finds it.
    pub attachables: Attachables,
    /// Whether the lab is root's, and so can take other users' identities.
    pub privileged: bool,
}

/// What is wanted of a pod's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To run.
    Run,
    /// To stop within so many seconds.
    Stop(u64),
    /// To be gone: it is in the store no more.
    Gone,
}

/// What a container is given at least to end, also after a hook, and the last of many too
/// (`minimumGracePeriodInSeconds` of pkg/kubelet/kuberuntime).
pub(super) const LEAST_GRACE: Duration = Duration::from_secs(2);

/// Resolves when the pod is no longer wanted.
pub(super) async fn stopping(wanted: &mut watch::Receiver<Wanted>) {
    // A closed channel means that the lab ends.
    let _ = wanted.wait_for(|wanted| *wanted != Wanted::Run).await;
}

/// The containers of a pod's spec, in the order in which they are started.
pub(super) fn containers(spec: &PodSpec) -> impl Iterator<Item = &core::Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// Whether an init container goes on running beside the containers that come after it
/// (`IsRestartableInitContainer` of pkg/api/v1/pod).
pub(super) fn is_sidecar(container: &core::Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// One pod that runs.
pub(super) struct Running {
    pub surroundings: Surroundings,
    pub pod: Arc<Object>,
    /// The pod with the ephemeral containers, images and deadline that it has by now.
    pub latest: watch::Receiver<Arc<Object>>,
    /// Where its containers leave what is told of their ends.
    pub messages: Messages,
    status: Mutex<Known>,
}

/// The status, and how often it has been changed.
struct Known {
    status: PodStatus,
    changes: u64,
}

impl Running {
    pub(super) fn new(surroundings: Surroundings, latest: watch::Receiver<Arc<Object>>) -> Self {
        let status = PodStatus { started: now(), ..PodStatus::default() };
        let pod = Arc::clone(&latest.borrow());
        let status = Mutex::new(Known { status, changes: 0 });
        let messages = Messages::default();
        let running = Self { surroundings, pod, latest, messages, status };
        let spec = running.spec().clone();
        running.update(|status| {
            status.may_end = !matches!(spec.restart_policy.as_deref(), None | Some("Always"));
            let init = spec.init_containers.as_deref().unwrap_or_default();
            let new = |container: &core::Container| {
                let image = container.image.as_deref().unwrap_or_default();
                if init.is_empty() {
                    ContainerStatus::new(image)
                } else {
                    ContainerStatus::initializing(image)
                }
            };
            let before = init.iter().map(|container| InitStatus {
                name: container.name.clone(),
                is_sidecar: is_sidecar(container),
                status: new(container),
            });
            status.init = before.collect();
            let containers = spec.containers.iter();
            let containers = containers.map(|container| (container.name.clone(), new(container)));
            status.containers = containers.collect();
        });
        running
    }

    /// The pod's spec.
    pub(super) fn spec(&self) -> &PodSpec {
        static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.pod.typed::<core::Pod>().spec.as_ref().unwrap_or(&EMPTY)
    }

    /// The image that a container of the pod is to be by now.
    pub(super) fn latest_image(&self, container: &str) -> Option<String> {
        let pod = Arc::clone(&self.latest.borrow());
        let spec = pod.typed::<core::Pod>().spec.as_ref()?;
        containers(spec).find(|one| one.name == container)?.image.clone()
    }

    /// Tells of the pod in an event.
    pub(super) fn tell(&self, severity: Severity, reason: &str, message: &str) {
        record(&self.surroundings.store, "kubelet", &self.pod, severity, reason, message);
    }

    /// Changes the status, here and in the store. Others may change it at the same time: then
    /// `change` is called again, on what they have left.
    pub(super) fn update(&self, change: impl Fn(&mut PodStatus)) {
        loop {
            let (mut status, changes) = {
                let known = self.known();
                (known.status.clone(), known.changes)
            };
            change(&mut status);
            let mut known = self.known();
            if known.changes == changes {
                *known = Known { status, changes: changes + 1 };
                break;
            }
        }
        // What is written is the latest: if it changes meanwhile, then either the store has been
        // written too, and this is tried again, or it will be, by whoever changed it.
        let write = |pod: &mut Value| {
            if pod["metadata"]["uid"] == self.pod.uid() {
                let status = self.known().status.clone();
                pod["status"] = status.json(&pod["status"]);
            }
        };
        // A pod that is gone needs no status.
        let _ = self.surroundings.store.change(&self.pod.key(), write);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod's host name.
    pub(super) fn hostname(&self) -> String {
        let name = self.spec().hostname.clone().unwrap_or_else(|| self.pod.name().to_owned());
        name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
    }

    /// The time that its processes have to end when they are told to.
    pub(super) fn grace(&self) -> Duration {
        let seconds = self.spec().termination_grace_period_seconds;
        Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30))
    }
}
