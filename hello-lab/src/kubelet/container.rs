//! The life of one container: its process, its probes, its restarts.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hello_common::error::Chain;
use hello_common::exit;
use k8s_openapi::api::core::v1 as core;
use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::identity::{User, identity};
use super::images::Image;
use super::pod::{Running, Surroundings, Wanted};
use super::probe::Check;
use super::sandbox::{PodSandbox, Process, pipe};
use super::status::{ContainerStatus, Ending, State};
use crate::node::network::NODE;
use crate::objects::events::Severity;
use crate::objects::meta::now;
use crate::objects::names::NODE_NAME;
use crate::shim::{Spec, Streams};

/// Between an end and the next start: doubled each time, up to the longest. A kubelet begins
/// with ten seconds; here somebody is waiting.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// A container that ran so long begins with the first again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// Between tries of a probe of a container that was never ready, in its first period.
const EARLY_PERIOD: Duration = Duration::from_millis(50);

/// One container of a running pod.
pub(super) struct Container {
    pub running: Arc<Running>,
    pub sandbox: Arc<PodSandbox>,
    pub spec: core::Container,
    pub wanted: watch::Receiver<Wanted>,
}

/// What a probe has turned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    Succeeded,
    Failed,
}

impl Container {
    /// Runs it until it has ended for good or is no longer wanted.
    pub(super) async fn run(mut self) {
        let Surroundings { images, privileged, .. } = &self.running.surroundings;
        let found = identity(&self.spec, self.running.spec(), images, *privileged);
        let (image, user) = match found {
            Ok((image, user)) => (image.clone(), user),
            Err(refusal) => {
                let message = refusal.to_string();
                self.running.tell(Severity::Warning, "Failed", &message);
                self.set(State::Waiting(refusal.reason(), message));
                self.no_longer_wanted().await;
                return;
            }
        };
        let mut back_off = FIRST_BACK_OFF;
        loop {
            if *self.wanted.borrow() != Wanted::Run {
                return;
            }
            let start = Instant::now();
            let (ending, stopped) = self.run_once(&image, user).await;
            let again = match self.running.spec().restart_policy.as_deref() {
                Some("Never") => false,
                Some("OnFailure") => ending.code != 0,
                _ => true,
            };
            if stopped || !again {
                self.set(State::Ended(ending));
                return;
            }
            if start.elapsed() > FORGIVEN_AFTER {
                back_off = FIRST_BACK_OFF;
            }
            let name = &self.spec.name;
            let message = format!("back-off {back_off:?} restarting failed container={name}");
            self.running.tell(Severity::Warning, "BackOff", &message);
            self.status(|status| {
                status.state = State::Waiting("CrashLoopBackOff", message.clone());
                status.last = Some(ending.clone());
            });
            tokio::select! {
                () = tokio::time::sleep(back_off) => {}
                () = self.no_longer_wanted() => return,
            }
            back_off = (back_off * 2).min(LONGEST_BACK_OFF);
            self.status(|status| status.restarts += 1);
        }
    }

    /// Runs it once; how it ended, and whether it was told to.
    async fn run_once(&mut self, image: &Image, user: Option<User>) -> (Ending, bool) {
        let started = now();
        let ended = |code, signal, started| Ending { code, signal, started, finished: now() };
        let spec = self.process(image, user);
        let mut process = match self.spawn(&spec).await {
            Ok(process) => process,
            Err(error) => {
                self.running.tell(Severity::Warning, "Failed", &format!("{error:#}"));
                return (ended(128, None, started), false);
            }
        };
        let name = self.spec.name.clone();
        let (containers, uid) = (&self.running.surroundings.containers, self.running.pod.uid());
        let _entered = containers.enter(uid, &name, Arc::clone(&self.sandbox), spec);
        self.status(|status| status.state = State::Running(started.clone()));
        self.running.tell(Severity::Normal, "Started", &format!("Started container {name}"));
        let (status, stopped) = tokio::select! {
            status = process.wait() => (status, false),
            () = self.no_longer_wanted() => {
                let message = format!("Stopping container {name}");
                self.running.tell(Severity::Normal, "Killing", &message);
                (self.stop(&mut process).await, true)
            }
            reason = self.probe() => {
                let message = format!("Container {name} failed its {reason} probe, will be restarted");
                self.running.tell(Severity::Normal, "Killing", &message);
                (self.stop(&mut process).await, false)
            }
        };
        self.status(|status| (status.ready, status.started) = (false, false));
        let (code, signal) = match &status {
            Ok(status) => (exit::number(*status), status.signal()),
            Err(_) => (255, None),
        };
        (ended(code, signal, started), stopped)
    }

    async fn spawn(&self, spec: &Spec) -> anyhow::Result<Process> {
        let (stdout, out) = pipe().context("cannot make a pipe")?;
        let (stderr, err) = pipe().context("cannot make a pipe")?;
        let process = self.sandbox.shim.start(spec, &[out, err]).await?;
        let logs = &self.running.surroundings.logs;
        let log = logs.begin(self.running.pod.uid(), &self.spec.name);
        tokio::spawn(async move {
            tokio::join!(log.copy(stdout), log.copy(stderr));
        });
        Ok(process)
    }

    /// What the process is to be. As in Kubernetes `command` replaces the image's entrypoint,
    /// which here is always the program, so only what comes after it counts.
    fn process(&self, image: &Image, user: Option<User>) -> Spec {
        let pod = &self.running.pod;
        let command = self.spec.command.iter().flatten().skip(1);
        let address = self.sandbox.network.address().to_string();
        let addresses: Vec<_> =
            self.sandbox.network.addresses().iter().map(ToString::to_string).collect();
        let field = |path: &str| match path {
            "metadata.name" => pod.name().to_owned(),
            "metadata.namespace" => pod.namespace().to_owned(),
            "metadata.uid" => pod.uid().to_owned(),
            "spec.nodeName" => NODE_NAME.to_owned(),
            "status.podIP" => address.clone(),
            "status.podIPs" => addresses.join(","),
            "status.hostIP" | "status.hostIPs" => NODE.to_string(),
            _ => String::new(),
        };
        let mut env = vec![
            (
                "PATH".to_owned(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            ),
            ("HOSTNAME".to_owned(), self.running.hostname()),
        ];
        for variable in self.spec.env.iter().flatten() {
            let source = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
            let value = match source {
                Some(source) => field(&source.field_path),
                None => variable.value.clone().unwrap_or_default(),
            };
            env.push((variable.name.clone(), value));
        }
        Spec {
            program: image.program.clone(),
            is_images: true,
            args: command.chain(self.spec.args.iter().flatten()).cloned().collect(),
            env,
            user,
            streams: Streams::Output,
            working_dir: self.spec.working_dir.as_ref().map(Into::into),
        }
    }

    /// Asks the process to end, and ends it when its time is over.
    async fn stop(&mut self, process: &mut Process) -> std::io::Result<ExitStatus> {
        let grace = match *self.wanted.borrow() {
            Wanted::Stop(seconds) => Duration::from_secs(seconds),
            Wanted::Gone => Duration::ZERO,
            // A liveness probe failed.
            Wanted::Run => Duration::from_secs(
                self.running
                    .spec()
                    .termination_grace_period_seconds
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .unwrap_or(30),
            ),
        };
        process.signal(Signal::SIGTERM).await;
        let forced = async {
            let gone = self.wanted.wait_for(|wanted| *wanted == Wanted::Gone);
            let _ = tokio::time::timeout(grace, gone).await;
        };
        let ended = tokio::select! {
            status = process.wait() => Some(status),
            () = forced => None,
        };
        process.kill().await;
        match ended {
            Some(status) => status,
            None => process.wait().await,
        }
    }

    /// Follows the container's probes; resolves with the name of one that asks for a restart.
    async fn probe(&self) -> &'static str {
        let check = |probe: &Option<core::Probe>| {
            probe.as_ref().and_then(|probe| Check::new(&self.spec, probe))
        };
        if let Some(startup) = check(&self.spec.startup_probe)
            && self.until_turned(&startup, "Startup").await == Turned::Failed
        {
            return "startup";
        }
        self.status(|status| status.started = true);
        let readiness = async {
            let Some(check) = check(&self.spec.readiness_probe) else {
                self.status(|status| status.ready = true);
                return std::future::pending::<()>().await;
            };
            self.until_ready_early(&check).await;
            loop {
                let turned = self.until_turned(&check, "Readiness").await;
                self.status(|status| status.ready = turned == Turned::Succeeded);
                if turned == Turned::Succeeded {
                    tokio::time::sleep(check.period).await;
                    self.until_failed(&check, "Readiness").await;
                    self.status(|status| status.ready = false);
                }
            }
        };
        let liveness = async {
            match check(&self.spec.liveness_probe) {
                Some(check) => {
                    tokio::time::sleep(check.delay.max(check.period)).await;
                    self.until_failed(&check, "Liveness").await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = readiness => "readiness",
            () = liveness => "liveness",
        }
    }

    /// In its first moments a container is asked more often than its period says, for nobody
    /// learns from waiting.
    async fn until_ready_early(&self, check: &Check) {
        tokio::time::sleep(check.delay).await;
        let network = &self.running.surroundings.network;
        let early = async {
            while check.attempt(network, self.sandbox.network.address()).await.is_err() {
                tokio::time::sleep(EARLY_PERIOD).await;
            }
        };
        let _ = tokio::time::timeout(check.period, early).await;
    }

    /// Tries until enough tries in a row have failed.
    async fn until_failed(&self, check: &Check, name: &str) {
        while self.until_turned(check, name).await == Turned::Succeeded {
            tokio::time::sleep(check.period).await;
        }
    }

    /// Tries until enough tries in a row have succeeded, or have failed.
    async fn until_turned(&self, check: &Check, name: &str) -> Turned {
        let network = &self.running.surroundings.network;
        let (mut successes, mut failures) = (0, 0);
        loop {
            match check.attempt(network, self.sandbox.network.address()).await {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(error) => {
                    (successes, failures) = (0, failures + 1);
                    let message = format!("{name} probe failed: {}", Chain(&error));
                    self.running.tell(Severity::Warning, "Unhealthy", &message);
                }
            }
            if successes >= check.successes {
                return Turned::Succeeded;
            }
            if failures >= check.failures {
                return Turned::Failed;
            }
            tokio::time::sleep(check.period).await;
        }
    }

    async fn no_longer_wanted(&self) {
        let mut wanted = self.wanted.clone();
        let _ = wanted.wait_for(|wanted| *wanted != Wanted::Run).await;
    }

    fn set(&self, state: State) {
        self.status(|status| status.state = state.clone());
    }

    fn status(&self, change: impl Fn(&mut ContainerStatus)) {
        self.running.update(|status| {
            if let Some(container) = status.containers.get_mut(&self.spec.name) {
                change(container);
            }
        });
    }
}
