//! The life of one pod: its network, its policies, its containers, its end.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{self as core, PodSpec};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::container::Container;
use super::sandbox::PodSandbox;
use super::status::{ContainerStatus, PodStatus, State};
use super::{Surroundings, Wanted, unsupported};
use crate::dns;
use crate::events::{Severity, record};
use crate::network::{self, PodNetwork};
use crate::shim::Pod;
use crate::store::{Object, now};

/// One pod, as its worker and its containers share it.
pub(super) struct Running {
    pub surroundings: Surroundings,
    pub pod: Arc<Object>,
    status: Mutex<PodStatus>,
}

/// Runs `pod` until it is wanted no more, then removes it from the store.
pub(super) async fn run(
    surroundings: Surroundings,
    pod: Arc<Object>,
    mut wanted: watch::Receiver<Wanted>,
) {
    let running = Arc::new(Running::new(surroundings, pod));
    if let Some(sandbox) = running.start(&mut wanted).await {
        running.run_containers(&Arc::new(sandbox), &wanted).await;
        // Containers may end by themselves; the pod stays until somebody deletes it.
        stopping(&mut wanted).await;
    }
    running.clean_up();
}

/// Resolves when the pod is no longer wanted.
async fn stopping(wanted: &mut watch::Receiver<Wanted>) {
    // A closed channel means that the lab ends.
    let _ = wanted.wait_for(|wanted| *wanted != Wanted::Run).await;
}

impl Running {
    fn new(surroundings: Surroundings, pod: Arc<Object>) -> Self {
        let status = PodStatus { started: now(), ..PodStatus::default() };
        let running = Self { surroundings, pod, status: Mutex::new(status) };
        let spec = running.spec().clone();
        running.update(|status| {
            status.may_end = !matches!(spec.restart_policy.as_deref(), None | Some("Always"));
            for container in &spec.containers {
                let image = container.image.clone().unwrap_or_default();
                status.containers.insert(container.name.clone(), ContainerStatus::new(&image));
            }
        });
        running
    }

    /// The pod's spec.
    pub(super) fn spec(&self) -> &PodSpec {
        static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.pod.typed::<core::Pod>().spec.as_ref().unwrap_or(&EMPTY)
    }

    /// Tells of the pod in an event.
    pub(super) fn tell(&self, severity: Severity, reason: &str, message: &str) {
        record(&self.surroundings.store, "kubelet", &self.pod, severity, reason, message);
    }

    /// Changes the status, here and in the store.
    pub(super) fn update(&self, change: impl FnOnce(&mut PodStatus)) {
        // Held until the store has it, so that a later status is never overwritten.
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        // A pod that is gone needs no status.
        let _ = self.surroundings.store.change(&self.pod.key(), |pod: &mut Value| {
            if pod["metadata"]["uid"] == self.pod.uid() {
                pod["status"] = status.json(&pod["status"]);
            }
        });
    }

    /// What the shim is to know.
    fn for_shim(&self) -> Pod {
        let folder = self.folder();
        let files = ["resolv.conf", "hosts", "hostname", "nsswitch.conf"]
            .map(|name| (Path::new("/etc").join(name), folder.join(name)))
            .into_iter()
            .filter(|(place, _)| place.exists())
            .collect();
        Pod {
            hostname: self.hostname(),
            files,
            shared_memory: Path::new("/dev/shm").exists().then(|| self.shared_memory()),
            privileged: self.surroundings.privileged,
        }
    }

    /// The pod's host name.
    pub(super) fn hostname(&self) -> String {
        let name = self.spec().hostname.clone().unwrap_or_else(|| self.pod.name().to_owned());
        name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
    }

    fn folder(&self) -> PathBuf {
        self.surroundings.files.join(self.pod.uid())
    }

    /// A pod's containers share it (the `pause` container's IPC namespace in Kubernetes).
    fn shared_memory(&self) -> PathBuf {
        self.surroundings.shared_memory.join(self.pod.uid())
    }

    /// Makes the network and puts the policies in force, and keeps trying while that fails.
    /// `None` when the pod is no longer wanted, or cannot be run here and then is.
    async fn start(&self, wanted: &mut watch::Receiver<Wanted>) -> Option<PodSandbox> {
        if let Some(refusal) = unsupported::refusal(self.spec()) {
            self.tell(Severity::Warning, "Failed", &refusal);
            self.update(|status| {
                for container in status.containers.values_mut() {
                    container.state = State::Waiting("CreateContainerConfigError", refusal.clone());
                }
            });
            stopping(wanted).await;
            return None;
        }
        let missing = unsupported::not_enforced(self.spec(), self.surroundings.privileged);
        if !missing.is_empty() {
            let message = format!("hello-lab does not enforce: {}", missing.join(", "));
            self.tell(Severity::Warning, "NotEnforced", &message);
        }
        if let Some(message) = unsupported::missing_sctp(self.spec(), network::kernel_has_sctp) {
            self.tell(Severity::Warning, "MissingProtocol", &message);
        }
        loop {
            if *wanted.borrow() != Wanted::Run {
                return None;
            }
            match self.set_up().await {
                Ok(sandbox) => return Some(sandbox),
                Err(error) => {
                    self.tell(Severity::Warning, "FailedCreatePodSandBox", &format!("{error:#}"));
                }
            }
            tokio::select! {
                () = stopping(wanted) => {}
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
        }
    }

    async fn set_up(&self) -> anyhow::Result<PodSandbox> {
        let Surroundings { spares, enforcer, proxy, .. } = &self.surroundings;
        let (mut sandbox, tables) = spares.take().await?;
        let PodSandbox { network, shim } = &mut sandbox;
        self.write_files(network)?;
        shim.enter(&self.for_shim()).await?;
        // The others' policies must know the addresses before the pod uses them.
        self.update(|status| status.addresses = network.addresses());
        let (uid, namespace, name) = (self.pod.uid(), self.pod.namespace(), self.pod.name());
        let (filter, services) = tokio::join!(
            enforcer.add(uid, namespace, name, tables.filter),
            proxy.add(uid, tables.services),
        );
        filter?;
        services?;
        Ok(sandbox)
    }

    fn write_files(&self, network: &PodNetwork) -> std::io::Result<()> {
        let (folder, shared_memory) = (self.folder(), self.shared_memory());
        std::fs::create_dir_all(&folder)?;
        std::fs::create_dir_all(&shared_memory)?;
        std::fs::set_permissions(&shared_memory, Permissions::from_mode(0o1777))?;
        let (hostname, namespace) = (self.hostname(), self.pod.namespace());
        let domain = dns::DOMAIN;
        let resolv = format!(
            "search {namespace}.svc.{domain} svc.{domain} {domain}\nnameserver {}\noptions ndots:5\n",
            dns::SERVICE_ADDRESS
        );
        let own = network.addresses().into_iter().map(|address| format!("{address}\t{hostname}\n"));
        let hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned()
            + &own.collect::<Vec<_>>().concat();
        std::fs::write(folder.join("resolv.conf"), resolv)?;
        std::fs::write(folder.join("hosts"), hosts)?;
        std::fs::write(folder.join("hostname"), format!("{hostname}\n"))?;
        // A machine's own list may send names to its local resolver daemon, past the pod's.
        std::fs::write(folder.join("nsswitch.conf"), "hosts: files dns\n")
    }

    /// Runs the containers until each has ended, or the pod is no longer wanted.
    async fn run_containers(
        self: &Arc<Self>,
        sandbox: &Arc<PodSandbox>,
        wanted: &watch::Receiver<Wanted>,
    ) {
        let mut containers = JoinSet::new();
        for spec in &self.spec().containers {
            let container = Container {
                running: Arc::clone(self),
                sandbox: Arc::clone(sandbox),
                spec: spec.clone(),
                wanted: wanted.clone(),
            };
            containers.spawn(container.run());
        }
        containers.join_all().await;
    }

    fn clean_up(&self) {
        let Surroundings { store, logs, enforcer, proxy, .. } = &self.surroundings;
        enforcer.remove(self.pod.uid());
        proxy.remove(self.pod.uid());
        logs.remove(self.pod.uid());
        for folder in [self.folder(), self.shared_memory()] {
            if let Err(error) = std::fs::remove_dir_all(folder)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!("the files of pod {} were not removed: {error}", self.pod.name());
            }
        }
        let key = self.pod.key();
        if store.get(&key).is_ok_and(|pod| pod.uid() == self.pod.uid()) {
            let _ = store.remove(&key);
        }
    }
}
