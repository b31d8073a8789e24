//! The life of one container: its process, its hooks and probes, its restarts.

mod cluster_dns;
mod hooks;
mod image;
mod last_words;
mod probing;
mod role;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hello_common::exit;
use k8s_openapi::api::core::v1 as core;
use nix::sys::signal::Signal;
use tokio::sync::{Notify, watch};

pub(super) use self::role::Role;
use super::attach::{Attachable, Output};
use super::environment::{self, Variables, expand};
use super::exec::{self, ExecError, Further, TERM};
use super::handler::Target;
use super::identity::{User, identity};
use super::images::Image;
use super::pod::{Running, Surroundings, Wanted, stopping};
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

/// One container of a running pod.
pub(super) struct Container {
    pub running: Arc<Running>,
    pub sandbox: Arc<PodSandbox>,
    pub spec: core::Container,
    pub role: Role,
    pub wanted: watch::Receiver<Wanted>,
    /// Told when the container has started, as its start-up probe says.
    pub started: Arc<Notify>,
}

/// Why a container that runs is to be started again.
struct Restart {
    /// As an event says it.
    why: String,
    /// What it is given to end, if not what its pod says.
    grace: Option<Duration>,
}

impl Container {
    /// Runs it as the image that it is. None where it is to be another.
    async fn run_image(&mut self) -> Option<bool> {
        let Surroundings { images, privileged, .. } = &self.running.surroundings;
        let found = identity(&self.spec, self.running.spec(), images, *privileged);
        let (image, user) = match found {
            Ok((image, user)) => (image.clone(), user),
            Err(refusal) => {
                let message = refusal.to_string();
                self.running.tell(Severity::Warning, "Failed", &message);
                self.set(State::Waiting(refusal.reason(), message));
                tokio::select! {
                    () = self.no_longer_wanted() => return Some(false),
                    () = self.image_changed() => return None,
                }
            }
        };
        if let Some(message) = self.other_root_folder(&image) {
            self.running.tell(Severity::Warning, "Failed", &message);
            self.set(State::Waiting("CreateContainerConfigError", message));
            tokio::select! {
                () = self.no_longer_wanted() => return Some(false),
                () = self.image_changed() => return None,
            }
        }
        if let Some(stand_in) = &image.stand_in {
            let named = self.spec.image.as_deref().unwrap_or_default();
            let message = format!("In the place of image {named:?} stands {stand_in}");
            self.running.tell(Severity::Normal, "StandIn", &message);
        }
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let Some(variables) = self.variables().await else { return Some(false) };
            let start = Instant::now();
            let (ending, stopped) = self.run_once(&image, user, variables).await;
            if !stopped && self.is_to_be_another() {
                self.status(|status| {
                    status.state = State::Waiting("ContainerCreating", String::new());
                    status.last = Some(ending.clone());
                    status.restarts += 1;
                });
                return None;
            }
            let policy = self.running.spec().restart_policy.as_deref();
            if stopped || !self.role.starts_again(policy, ending.code) {
                let well = ending.code == 0;
                self.set(State::Ended(ending));
                return Some(well);
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
                () = self.no_longer_wanted() => {
                    self.set(State::Ended(ending));
                    return Some(false);
                }
                () = self.image_changed() => {
                    self.status(|status| status.restarts += 1);
                    return None;
                }
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
            let not_started = Some(message);
            let (code, signal, last_words) = (128, None, None);
            (Ending { code, signal, started, finished, not_started, last_words }, false)
        };
        let spec = match self.process(image, user, variables) {
            Ok(spec) => spec,
            Err(error) => return not_started(error.into()),
        };
        let mut process = match self.spawn(&spec).await {
            Ok(process) => process,
            Err(error) => return not_started(error.into()),
        };
        let dns = match self.cluster_dns(image) {
            Ok(dns) => dns,
            Err(error) => return not_started(error),
        };
        let name = self.spec.name.clone();
        let (containers, uid) = (&self.running.surroundings.containers, self.running.pod.uid());
        let mounted = volumes::places(&self.spec);
        let sandbox = Arc::clone(&self.sandbox);
        let entered = containers.enter(uid, &name, sandbox, spec, image.clone(), mounted);
        // Until its hook is done, nobody is told that it runs.
        if !self.has_post_start() {
            self.set(State::Running(started.clone()));
        }
        self.running.tell(Severity::Normal, "Started", &format!("Started container {name}"));
        let target = Target {
            network: &self.running.surroundings.network,
            address: self.sandbox.network.address(),
            container: entered.container(),
        };
        let (status, stopped) = tokio::select! {
            status = process.wait() => (status, false),
            () = self.no_longer_wanted() => {
                let message = format!("Stopping container {name}");
                self.running.tell(Severity::Normal, "Killing", &message);
                (self.stop(&mut process, None, target).await, true)
            }
            () = dns => {
                self.running.tell(Severity::Warning, "Killing", "hello-lab's DNS has ended");
                (self.stop(&mut process, None, target).await, false)
            }
            () = self.image_changed() => {
                let message = format!("Container {name} definition changed, will be restarted");
                self.running.tell(Severity::Normal, "Killing", &message);
                (self.stop(&mut process, None, target).await, false)
            }
            restart = self.follow(target, &started) => {
                self.running.tell(Severity::Normal, "Killing", &restart.why);
                (self.stop(&mut process, restart.grace, target).await, false)
            }
        };
        self.status(|status| (status.ready, status.started) = (false, false));
        if process.was_refused() {
            // What the shim has written in the place of the program.
            let said = self.end_of_log().await.unwrap_or_default();
            return not_started(anyhow::anyhow!("{}", said.trim_end()));
        }
        let (code, signal) = match &status {
            Ok(status) => (exit::number(*status), status.signal()),
            Err(_) => (255, None),
        };
        let finished = now();
        let last_words = self.last_words(code).await;
        (Ending { code, signal, started, finished, not_started: None, last_words }, stopped)
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
        env.extend(image.env.iter().cloned());
        if self.spec.tty == Some(true) {
            env.insert(TERM.0.to_owned(), TERM.1.to_owned());
        }
        env.extend(variables);
        let path = env.get("PATH").map(String::as_str).unwrap_or_default();
        let own = self.spec.working_dir.as_ref().filter(|folder| !folder.is_empty());
        let working_dir = own.map(PathBuf::from).or_else(|| image.working_dir.clone());
        let (mounted, hidden) = (volumes::places(&self.spec), &self.sandbox.hidden);
        let (program, is_images) =
            program::find(&name, image, &mounted, hidden, path, working_dir.as_deref())
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

    /// Follows it while it runs; resolves when it is to be started again.
    async fn follow(&self, target: Target<'_>, started: &str) -> Restart {
        if self.has_post_start() {
            let failed = self.after_start(target).await;
            self.set(State::Running(started.to_owned()));
            if let Some(restart) = failed {
                return restart;
            }
        }
        self.probe(target).await
    }

    /// Asks the process to end, and ends it when its time is over.
    async fn stop(
        &self,
        process: &mut Process,
        grace: Option<Duration>,
        target: Target<'_>,
    ) -> std::io::Result<ExitStatus> {
        let grace = match *self.wanted.borrow() {
            Wanted::Stop(seconds) => Duration::from_secs(seconds),
            Wanted::Gone => Duration::ZERO,
            // It is to be started again.
            Wanted::Run => grace.unwrap_or_else(|| self.running.grace()),
        };
        let mut wanted = self.wanted.clone();
        let mut gone = pin!(wanted.wait_for(|wanted| *wanted == Wanted::Gone));
        let left = tokio::select! {
            status = process.wait() => return status,
            left = self.before_end(grace, target) => Some(left),
            _ = &mut gone => None,
        };
        process.signal(Signal::SIGTERM).await;
        let ended = match left {
            Some(left) => tokio::select! {
                status = process.wait() => Some(status),
                _ = tokio::time::timeout(left, gone) => None,
            },
            None => None,
        };
        process.kill().await;
        match ended {
            Some(status) => status,
            None => process.wait().await,
        }
    }

    async fn no_longer_wanted(&self) {
        stopping(&mut self.wanted.clone()).await;
    }

    fn set(&self, state: State) {
        self.status(|status| status.state = state.clone());
    }

    fn status(&self, change: impl Fn(&mut ContainerStatus)) {
        self.running.update(|status| {
            if let Some(container) = status.container(&self.spec.name) {
                change(container);
            }
        });
    }
}
