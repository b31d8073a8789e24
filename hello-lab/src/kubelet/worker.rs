//! The life of one pod: its network, its policies, its containers, its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::container::Container;
use super::pod::{Running, Surroundings, Wanted};
use super::sandbox::PodSandbox;
use super::status::State;
use super::unsupported;
use super::volumes::{self, Volumes};
use crate::loops::panic_text;
use crate::node::network::{self, PodNetwork};
use crate::objects::events::Severity;
use crate::objects::names::{CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS};
use crate::objects::{Object, deletion};
use crate::shim::Pod;

/// Runs `pod` until it is wanted no more, then removes it from the store.
pub(super) async fn run(
    surroundings: Surroundings,
    pod: Arc<Object>,
    mut wanted: watch::Receiver<Wanted>,
) {
    let running = Arc::new(Running::new(surroundings, pod));
    let life = AssertUnwindSafe(live(&running, &mut wanted)).catch_unwind().await;
    if let Err(panic) = life {
        // A fault of ours, which this pod has to bear and no other.
        running.fail(&format!("hello-lab's worker panicked: {}", panic_text(&*panic)));
        stopping(&mut wanted).await;
    }
    running.clean_up();
}

async fn live(running: &Arc<Running>, wanted: &mut watch::Receiver<Wanted>) {
    if let Some((sandbox, mut volumes)) = running.start(wanted).await {
        let run = async {
            running.run_containers(&Arc::new(sandbox), wanted).await;
            // Containers may end by themselves; the pod stays until somebody deletes it.
            stopping(&mut wanted.clone()).await;
        };
        tokio::select! {
            () = run => {}
            () = volumes.follow(running) => {}
        }
    }
}

/// Resolves when the pod is no longer wanted.
async fn stopping(wanted: &mut watch::Receiver<Wanted>) {
    // A closed channel means that the lab ends.
    let _ = wanted.wait_for(|wanted| *wanted != Wanted::Run).await;
}

impl Running {
    /// Says that no container runs or will, and why.
    fn fail(&self, message: &str) {
        tracing::error!("pod {}/{}: {message}", self.pod.namespace(), self.pod.name());
        self.tell(Severity::Warning, "Failed", message);
        self.update(|status| {
            for container in status.containers.values_mut() {
                container.state = State::Waiting("RunContainerError", message.to_owned());
            }
        });
    }

    /// What the shim is to know.
    fn for_shim(&self, network: &PodNetwork) -> Pod {
        let (hostname, namespace) = (self.hostname(), self.pod.namespace());
        let resolv = format!(
            "search {namespace}.svc.{CLUSTER_DOMAIN} svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}\n\
             nameserver {DNS_SERVICE_ADDRESS}\noptions ndots:5\n"
        );
        let own = network.addresses().into_iter().map(|address| format!("{address}\t{hostname}\n"));
        let hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned()
            + &own.collect::<Vec<_>>().concat();
        let files = [
            ("resolv.conf", resolv),
            ("hosts", hosts),
            ("hostname", format!("{hostname}\n")),
            // A machine's own list may send names to its local resolver daemon, past the pod's.
            ("nsswitch.conf", "hosts: files dns\n".to_owned()),
        ];
        let files = files.map(|(name, content)| (name.to_owned(), content)).into();
        let privileged = self.surroundings.privileged;
        let volumes = self.spec().volumes.as_ref().map_or(0, Vec::len);
        Pod { hostname, files, privileged, volumes, mounts: volumes::mounts(self) }
    }

    /// Waits for what the volumes show, makes the network and puts the policies in force, and keeps trying
    /// while that fails. `None` when the pod is no longer wanted, or cannot be run here and then is.
    async fn start(&self, wanted: &mut watch::Receiver<Wanted>) -> Option<(PodSandbox, Volumes)> {
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
            let volumes = tokio::select! {
                biased;
                () = stopping(wanted) => return None,
                volumes = volumes::make(self) => volumes,
            };
            match self.set_up(&volumes).await {
                Ok(sandbox) => return Some((sandbox, volumes)),
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

    async fn set_up(&self, volumes: &Volumes) -> anyhow::Result<PodSandbox> {
        let Surroundings { sandboxes, enforcer, proxy, .. } = &self.surroundings;
        let (mut sandbox, tables) = sandboxes.take().await?;
        let PodSandbox { network, shim } = &mut sandbox;
        shim.enter(&self.for_shim(network), volumes.file_systems()).await?;
        // The others' policies must know the addresses before the pod uses them.
        self.update(|status| status.addresses = network.addresses());
        let (uid, namespace, name) = (self.pod.uid(), self.pod.namespace(), self.pod.name());
        let (filter, services) = tokio::join!(
            enforcer.add(uid, namespace, name, tables.filter),
            proxy.add(uid, namespace, name, tables.services),
        );
        filter?;
        services?;
        Ok(sandbox)
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
        let Surroundings { store, logs, attachables, enforcer, proxy, .. } = &self.surroundings;
        enforcer.remove(self.pod.uid());
        proxy.remove(self.pod.uid());
        logs.remove(self.pod.uid());
        attachables.remove(self.pod.uid());
        deletion::ended(store, &self.pod.key(), self.pod.uid());
    }
}
