//! The life of one pod: its network, its policies, its containers, its end.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::companions::Companions;
use super::container::{Container, Role};
use super::image_roots::ImageRoots;
use super::pod::{Running, Surroundings, Wanted, stopping};
use super::resolution::{self, Resolution};
use super::sandbox::PodSandbox;
use super::status::State;
use super::volumes::{self, SubPathError, Volumes};
use super::{deadline, environment, ephemeral, init, unsupported};
use crate::loops::panic_text;
use crate::node::network::{self, PodNetwork};
use crate::objects::events::Severity;
use crate::objects::names::LOOKED_FOR;
use crate::objects::{Key, Kind, Object, deletion};
use crate::shim::Pod;

/// Runs `pod` until it is wanted no more, then removes it from the store.
pub(super) async fn run(
    surroundings: Surroundings,
    pod: watch::Receiver<Arc<Object>>,
    wanted: watch::Receiver<Wanted>,
) {
    let running = Arc::new(Running::new(surroundings, pod));
    let life = async {
        let life = AssertUnwindSafe(live(&running, &wanted)).catch_unwind().await;
        if let Err(panic) = life {
            // A fault of ours, which this pod has to bear and no other.
            running.fail(&format!("hello-lab's worker panicked: {}", panic_text(&*panic)));
        }
    };
    // Containers may end by themselves; the pod stays until somebody deletes it.
    let deleted = async {
        stopping(&mut wanted.clone()).await;
        Instant::now()
    };
    let ((), deleted) = tokio::join!(life, deleted);
    // No kubelet is as quick.
    if running.name_returns() && matches!(*wanted.borrow(), Wanted::Stop(_)) {
        tokio::time::sleep(LOOKED_FOR.saturating_sub(deleted.elapsed())).await;
    }
    running.clean_up();
}

/// Runs the pod until its containers have ended for good, or it is no longer wanted, or its time is over.
async fn live(running: &Arc<Running>, wanted: &watch::Receiver<Wanted>) {
    let (sender, mut inner) = watch::channel(*wanted.borrow());
    let life = async {
        if let Some((sandbox, mut volumes)) = running.start(&mut inner).await {
            let sandbox = Arc::new(sandbox);
            tokio::select! {
                () = running.run_containers(&sandbox, &inner) => {}
                () = volumes.follow(running) => {}
            }
        }
    };
    tokio::select! {
        () = life => {}
        () = deadline::keep(running, wanted.clone(), sender) => {}
    }
}

/// Resolves when the pod is told to stop, with the time that it has for that.
async fn time_to_stop(mut wanted: watch::Receiver<Wanted>) -> Duration {
    stopping(&mut wanted).await;
    match *wanted.borrow() {
        Wanted::Stop(seconds) => Duration::from_secs(seconds),
        Wanted::Run | Wanted::Gone => Duration::ZERO,
    }
}

impl Running {
    /// Whether a pod of the same name comes in this one's place.
    fn name_returns(&self) -> bool {
        self.pod.controller_reference().is_some_and(|owner| owner["kind"] == "StatefulSet")
    }

    /// Says that no container runs or will, and why.
    fn fail(&self, message: &str) {
        tracing::error!("pod {}/{}: {message}", self.pod.namespace(), self.pod.name());
        self.tell(Severity::Warning, "Failed", message);
        self.update(|status| {
            for container in status.not_ended() {
                container.state = State::Waiting("RunContainerError", message.to_owned());
            }
        });
    }

    /// What the shim is to know.
    fn for_shim(&self, network: &PodNetwork, images: &ImageRoots) -> Result<Pod, SubPathError> {
        let (spec, hostname, namespace) = (self.spec(), self.hostname(), self.pod.namespace());
        // A machine without it has no servers either.
        let node = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let hosts = resolution::hosts(spec, namespace, &hostname, &network.addresses());
        let files = [
            ("resolv.conf", Resolution::of_pod(spec, namespace, &node).text()),
            ("hosts", hosts),
            ("hostname", format!("{hostname}\n")),
            // A machine's own list may send names to its local resolver daemon, past the pod's.
            ("nsswitch.conf", "hosts: files dns\n".to_owned()),
            // busybox's, which tutorials mean, gives up at once; GNU's tries twenty times.
            ("wgetrc", "tries = 1\n".to_owned()),
        ];
        let files = files.map(|(name, content)| (name.to_owned(), content)).into();
        let privileged = self.surroundings.privileged;
        let store = &self.surroundings.store;
        // It may have been changed since.
        let now = store.get(&self.pod.key()).ok().filter(|now| now.uid() == self.pod.uid());
        let pod = environment::Surroundings {
            store,
            pod: now.as_ref().unwrap_or(&self.pod),
            addresses: network.addresses().iter().map(ToString::to_string).collect(),
        };
        let own = volumes::count(self);
        let volumes = own + images.mounts.len();
        let mounts = if volumes == 0 { BTreeMap::new() } else { volumes::mounts(self, &pod)? };
        // The images' come after the pod's.
        let roots = images.of_containers.iter().map(|(name, number)| (name.clone(), own + number));
        Ok(Pod { hostname, files, privileged, volumes, mounts, roots: roots.collect() })
    }

    /// Waits for what the volumes show, makes the network and puts the policies in force, and keeps trying
    /// while that fails. `None` when the pod is no longer wanted, or cannot be run here and then is.
    async fn start(&self, wanted: &mut watch::Receiver<Wanted>) -> Option<(PodSandbox, Volumes)> {
        if let Some(refusal) = unsupported::refusal(self.spec()) {
            self.tell(Severity::Warning, "Failed", &refusal);
            self.update(|status| {
                for container in status.not_ended() {
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
        let store = &self.surroundings.store;
        if let Some(message) = unsupported::missing_account(self.spec(), |name| {
            store.get(&Key::new(Kind::ServiceAccount, self.pod.namespace(), name)).is_ok()
        }) {
            self.tell(Severity::Warning, "MissingServiceAccount", &message);
        }
        loop {
            let volumes = tokio::select! {
                biased;
                () = stopping(wanted) => return None,
                volumes = volumes::make(self) => volumes,
            };
            match self.set_up(&volumes).await {
                Ok(sandbox) => return Some((sandbox, volumes)),
                Err(error) if error.is::<SubPathError>() => {
                    let message = error.to_string();
                    self.tell(Severity::Warning, "Failed", &format!("Error: {message}"));
                    self.update(|status| {
                        for container in status.not_ended() {
                            let message = message.clone();
                            container.state = State::Waiting("CreateContainerConfigError", message);
                        }
                    });
                }
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
        let PodSandbox { network, shim, .. } = &mut sandbox;
        let images = ImageRoots::open(self).context("cannot open an image's root folder")?;
        let file_systems = volumes.file_systems().chain(&images.mounts);
        shim.enter(&self.for_shim(network, &images)?, file_systems).await?;
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

    /// Runs the containers until each has ended, or the pod is no longer wanted: init containers first,
    /// and sidecars for as long as the others.
    async fn run_containers(
        self: &Arc<Self>,
        sandbox: &Arc<PodSandbox>,
        wanted: &watch::Receiver<Wanted>,
    ) {
        let (mut sidecars, mut ephemeral) = (Companions::default(), Companions::default());
        let deadline = {
            let mut work = pin!(async {
                if init::run(self, sandbox, wanted, &mut sidecars).await {
                    self.run_apps(sandbox, wanted).await;
                }
            });
            // What the others take of the time to stop, sidecars have not.
            tokio::select! {
                () = &mut work => Instant::now() + self.grace(),
                grace = time_to_stop(wanted.clone()) => {
                    let deadline = Instant::now() + grace;
                    work.await;
                    deadline
                }
                never = ephemeral::follow(self, sandbox, &mut ephemeral) => match never {},
            }
        };
        tokio::join!(
            ephemeral.stop(deadline, wanted.clone()),
            sidecars.stop(deadline, wanted.clone()),
        );
    }

    async fn run_apps(
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
                role: Role::App,
                wanted: wanted.clone(),
                started: Arc::default(),
            };
            containers.spawn(container.run());
        }
        while let Some(ended) = containers.join_next().await {
            // One that panicked is the worker's fault to tell; one that was cancelled ends with the lab.
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
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
