//! The life of one container: its process, its probes, its restarts.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hello_common::error::Chain;
use hello_common::exit;
use k8s_openapi::api::core::v1 as core;
use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::attach::{Attachable, Output};
use super::environment::{self, Variables, expand};
use super::exec::{self, ExecError, Further, TERM};
use super::identity::{User, identity};
use super::images::Image;
use super::pod::{Running, Surroundings, Wanted};
use super::probe::Check;
use super::program;
use super::sandbox::{PodSandbox, Process, StartError};
use super::status::{ContainerStatus, Ending, State};
use super::volumes;
use crate::objects::Kind;
use crate::objects::events::Severity;
use crate::objects::meta::now;
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
        if let Some(stand_in) = &image.stand_in {
            let named = self.spec.image.as_deref().unwrap_or_default();
            let message = format!("In the place of image {named:?} stands {stand_in}");
            self.running.tell(Severity::Normal, "StandIn", &message);
        }
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let Some(variables) = self.variables().await else { return };
            let start = Instant::now();
            let (ending, stopped) = self.run_once(&image, user, variables).await;
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
    async fn run_once(
        &mut self,
        image: &Image,
        user: Option<User>,
        variables: Variables,
    ) -> (Ending, bool) {
        let started = now();
        let not_started = |error: anyhow::Error| {
            let message = format!("{error:#}");
            self.running.tell(Severity::Warning, "Failed", &format!("Error: {message}"));
            let (started, finished) = (started.clone(), now());
            let ending =
                Ending { code: 128, signal: None, started, finished, not_started: Some(message) };
            (ending, false)
        };
        let spec = match self.process(image, user, variables) {
            Ok(spec) => spec,
            Err(error) => return not_started(error.into()),
        };
        let mut process = match self.spawn(&spec).await {
            Ok(process) => process,
            Err(error) => return not_started(error.into()),
        };
        let name = self.spec.name.clone();
        let (containers, uid) = (&self.running.surroundings.containers, self.running.pod.uid());
        let mounted = volumes::places(&self.spec);
        let sandbox = Arc::clone(&self.sandbox);
        let _entered = containers.enter(uid, &name, sandbox, spec, image.program.clone(), mounted);
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
        if process.was_refused() {
            let message = format!("Error: cannot start container {name}: its log says why");
            self.running.tell(Severity::Warning, "Failed", &message);
        }
        self.status(|status| (status.ready, status.started) = (false, false));
        let (code, signal) = match &status {
            Ok(status) => (exit::number(*status), status.signal()),
            Err(_) => (255, None),
        };
        (Ending { code, signal, started, finished: now(), not_started: None }, stopped)
    }

    async fn spawn(&self, spec: &Spec) -> Result<Process, StartError> {
        let Further { process, stdin, stdout, stderr, terminal } =
            exec::start(&self.sandbox, spec).await?;
        let Surroundings { logs, attachables, .. } = &self.running.surroundings;
        let (uid, name) = (self.running.pod.uid(), &self.spec.name);
        let log = logs.begin(uid, name);
        let stdin = stdin.filter(|_| self.spec.stdin == Some(true));
        let once = self.spec.stdin_once == Some(true);
        let streams = Attachable::new(stdin, once, terminal);
        attachables.begin(uid, name, streams.clone());
        tokio::spawn(async move {
            tokio::join!(
                async {
                    if let Some(stdout) = stdout {
                        log.copy(stdout, &streams, Output::Stdout).await;
                    }
                },
                async {
                    if let Some(stderr) = stderr {
                        log.copy(stderr, &streams, Output::Stderr).await;
                    }
                },
            );
            streams.end();
        });
        Ok(process)
    }

    /// What the container's variables are, once all that they are read from is there; none when it is no
    /// longer wanted.
    async fn variables(&self) -> Option<Variables> {
        let Surroundings { store, .. } = &self.running.surroundings;
        loop {
            if *self.wanted.borrow() != Wanted::Run {
                return None;
            }
            let version = store.version();
            let addresses = self.sandbox.network.addresses();
            let pod = environment::Surroundings {
                store,
                pod: &self.running.pod,
                addresses: addresses.iter().map(ToString::to_string).collect(),
            };
            let message = match pod.variables(&self.spec) {
                Ok(variables) => return Some(variables),
                Err(error) => error.to_string(),
            };
            self.running.tell(Severity::Warning, "Failed", &format!("Error: {message}"));
            self.set(State::Waiting("CreateContainerConfigError", message));
            tokio::select! {
                _ = store.changed(version, &[Kind::ConfigMap, Kind::Secret]) => {}
                () = self.no_longer_wanted() => return None,
            }
        }
    }

    /// What the process is to be. `command` replaces the image's entrypoint and its own arguments, `args`
    /// these alone (<https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>).
    fn process(
        &self,
        image: &Image,
        user: Option<User>,
        variables: Variables,
    ) -> Result<Spec, ExecError> {
        let named = |name: &str| {
            variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
        };
        let given = |words: &Option<Vec<String>>| -> Option<Vec<String>> {
            let words = words.as_ref().filter(|words| !words.is_empty())?;
            Some(words.iter().map(|word| expand(word, named)).collect())
        };
        let mut line = match (given(&self.spec.command), given(&self.spec.args)) {
            (Some(command), args) => [command, args.unwrap_or_default()].concat(),
            (None, Some(args)) => [image.entrypoint.clone(), args].concat(),
            (None, None) => [image.entrypoint.clone(), image.cmd.clone()].concat(),
        };
        let name = if line.is_empty() { String::new() } else { line.remove(0) };
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), program::PATH.to_owned()),
            ("HOSTNAME".to_owned(), self.running.hostname()),
        ]);
        if self.spec.tty == Some(true) {
            env.insert(TERM.0.to_owned(), TERM.1.to_owned());
        }
        env.extend(variables);
        let path = env.get("PATH").map(String::as_str).unwrap_or_default();
        let working_dir: Option<PathBuf> = self.spec.working_dir.as_ref().map(Into::into);
        let (own, mounted) = (image.program.as_deref(), volumes::places(&self.spec));
        let (program, is_images) =
            program::find(&name, own, &mounted, path, working_dir.as_deref())
                .ok_or(ExecError::NoSuchProgram(name))?;
        Ok(Spec {
            container: self.spec.name.clone(),
            program,
            is_images,
            args: line,
            env: env.into_iter().collect(),
            user,
            streams: Streams::of(self.spec.tty == Some(true), self.spec.stdin == Some(true)),
            working_dir,
        })
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
