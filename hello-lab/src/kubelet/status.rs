//! A pod's status, as its worker knows it and as the API shows it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::node::network::NODE;
use crate::objects::meta::{condition, with_those_of_others};

/// What a worker knows of its pod.
#[derive(Clone, Debug, Default)]
pub(super) struct PodStatus {
    /// The pod's addresses, once it has some.
    pub addresses: Vec<IpAddr>,
    /// When it was taken on.
    pub started: String,
    /// Whether ended containers stay ended: the pod's `restartPolicy` is not Always.
    pub may_end: bool,
    /// Its init containers, in their order.
    pub init: Vec<InitStatus>,
    /// Its containers by name.
    pub containers: BTreeMap<String, ContainerStatus>,
    /// Its ephemeral containers, in their order. The pod's own state does not depend on them.
    pub ephemeral: Vec<(String, ContainerStatus)>,
    /// Why the whole pod has failed, where it was ended before its time: a reason and a message.
    pub ended_early: Option<(&'static str, &'static str)>,
}

/// What is known of an init container.
#[derive(Clone, Debug)]
pub(super) struct InitStatus {
    /// Its name.
    pub name: String,
    /// Whether it goes on running beside the containers (`restartPolicy: Always`).
    pub is_sidecar: bool,
    /// What is known of it.
    pub status: ContainerStatus,
}

/// What is known of a container.
#[derive(Clone, Debug)]
pub(super) struct ContainerStatus {
    /// The image it was asked to be.
    pub image: String,
    /// What it is doing.
    pub state: State,
    /// How it ended before.
    pub last: Option<Ending>,
    /// Times it was started again.
    pub restarts: u32,
    /// Whether its readiness probe says so.
    pub ready: bool,
    /// Whether its start-up probe says so.
    pub started: bool,
}

/// What a container is doing.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// It waits, for a reason that has a name, and a message that may be empty.
    Waiting(&'static str, String),
    /// It has run since then.
    Running(String),
    /// It has ended, for good.
    Ended(Ending),
}

/// How a container ended.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// The exit code; 128 and the signal's number for a signal, as shells count.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When it was started.
    pub started: String,
    /// When it ended.
    pub finished: String,
    /// Why it was not started, where it was not.
    pub not_started: Option<String>,
    /// What it wrote last, where that is to be told.
    pub last_words: Option<String>,
}

impl Ending {
    fn reason(&self) -> &'static str {
        match self.code {
            _ if self.not_started.is_some() => "StartError",
            0 => "Completed",
            code if code == i32::from(crate::shim::START_FAILED) => "StartError",
            _ => "Error",
        }
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "exitCode": self.code,
            "reason": self.reason(),
            "startedAt": self.started,
            "finishedAt": self.finished,
        });
        if let Some(signal) = self.signal {
            json["signal"] = signal.into();
        }
        if let Some(message) = self.not_started.as_ref().or(self.last_words.as_ref()) {
            json["message"] = message.as_str().into();
        }
        json
    }
}

impl ContainerStatus {
    /// A container that has not been started.
    pub(super) fn new(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            state: State::Waiting("ContainerCreating", String::new()),
            last: None,
            restarts: 0,
            ready: false,
            started: false,
        }
    }

    /// One that waits for others to end or to start.
    pub(super) fn initializing(image: &str) -> Self {
        Self { state: State::Waiting("PodInitializing", String::new()), ..Self::new(image) }
    }

    fn is_ready(&self) -> bool {
        self.ready && self.is_running()
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Its exit code, once it has ended for good.
    fn exit_code(&self) -> Option<i32> {
        match &self.state {
            State::Ended(ending) => Some(ending.code),
            _ => None,
        }
    }

    /// Whether it runs or has run.
    fn has_begun(&self) -> bool {
        self.last.is_some() || !matches!(self.state, State::Waiting(..))
    }

    fn json(&self, name: &str) -> Value {
        let state = match &self.state {
            State::Waiting(reason, message) if message.is_empty() => {
                json!({"waiting": {"reason": reason}})
            }
            State::Waiting(reason, message) => {
                json!({"waiting": {"reason": reason, "message": message}})
            }
            State::Running(since) => json!({"running": {"startedAt": since}}),
            State::Ended(ending) => json!({"terminated": ending.json()}),
        };
        let last = self.last.as_ref().map_or(json!({}), |last| json!({"terminated": last.json()}));
        json!({
            "name": name,
            "image": self.image,
            "imageID": "",
            "state": state,
            "lastState": last,
            "ready": self.is_ready(),
            "started": self.started && self.is_running(),
            "restartCount": self.restarts,
        })
    }
}

impl InitStatus {
    /// Whether what comes after it may start.
    fn is_done(&self) -> bool {
        if self.is_sidecar {
            self.status.started && self.status.is_running()
        } else {
            self.status.exit_code() == Some(0)
        }
    }

    fn json(&self) -> Value {
        let mut json = self.status.json(&self.name);
        if !self.is_sidecar {
            // Nobody asks whether it is ready: to have ended well is all that it is for.
            json["ready"] = self.is_done().into();
        }
        json
    }
}

impl PodStatus {
    /// What is known of the container of this name.
    pub(super) fn container(&mut self, name: &str) -> Option<&mut ContainerStatus> {
        let init = self.init.iter_mut().find(|one| one.name == name);
        let ephemeral = self.ephemeral.iter_mut().find(|one| one.0 == name);
        init.map(|one| &mut one.status)
            .or_else(|| self.containers.get_mut(name))
            .or_else(|| ephemeral.map(|one| &mut one.1))
    }

    /// What is known of each container that has not ended for good.
    pub(super) fn not_ended(&mut self) -> impl Iterator<Item = &mut ContainerStatus> {
        let init = self.init.iter_mut().map(|one| &mut one.status);
        init.chain(self.containers.values_mut()).filter(|one| one.exit_code().is_none())
    }

    /// `getPhase` of `pkg/kubelet/kubelet_pods.go`.
    fn phase(&self) -> &'static str {
        let mut all = self.init.iter().map(|one| &one.status).chain(self.containers.values());
        let runs = all.any(ContainerStatus::is_running);
        let has_failed = |one: &InitStatus| {
            !one.is_sidecar && one.status.exit_code().is_some_and(|code| code != 0)
        };
        if self.ended_early.is_some() && !runs || self.may_end && self.init.iter().any(has_failed) {
            return "Failed";
        }
        let waits = |one: &InitStatus| {
            // A sidecar that has once started is no reason any more to wait.
            let runs = one.is_sidecar && one.status.has_begun() && !one.status.is_running();
            !one.is_done() && !runs
        };
        let codes: Option<Vec<i32>> =
            self.containers.values().map(ContainerStatus::exit_code).collect();
        match codes {
            Some(codes) if self.may_end && !runs => {
                if codes.iter().all(|code| *code == 0) {
                    "Succeeded"
                } else {
                    "Failed"
                }
            }
            _ if self.init.iter().any(waits) => "Pending",
            _ if self.containers.values().all(ContainerStatus::has_begun) => "Running",
            _ => "Pending",
        }
    }

    /// Whether the init containers are done, and if not, which are not (`GeneratePodInitializedCondition`
    /// of pkg/kubelet/status).
    fn initialized(&self, phase: &str) -> (bool, Option<(&'static str, String)>) {
        let names = self.init.iter().filter(|one| !one.is_done()).map(|one| one.name.as_str());
        let incomplete: Vec<_> = names.collect();
        match &incomplete[..] {
            _ if phase == "Succeeded" => (true, Some(("PodCompleted", String::new()))),
            _ if self.containers.values().any(ContainerStatus::has_begun) => (true, None),
            [] => (true, None),
            names => {
                let message = format!("containers with incomplete status: [{}]", names.join(" "));
                (false, Some(("ContainersNotInitialized", message)))
            }
        }
    }

    /// Whether all that is to run is ready, and if not, why not (`GenerateContainersReadyCondition`).
    fn ready(&self, phase: &str) -> (bool, Option<(&'static str, String)>) {
        let sidecars = self.init.iter().filter(|one| one.is_sidecar);
        let sidecars = sidecars.map(|one| (one.name.as_str(), &one.status));
        let containers = self.containers.iter().map(|(name, status)| (name.as_str(), status));
        let unready: Vec<_> = sidecars
            .chain(containers)
            .filter(|(_, container)| !container.is_ready())
            .map(|(name, _)| name)
            .collect();
        match phase {
            "Succeeded" => (false, Some(("PodCompleted", String::new()))),
            "Failed" => (false, Some(("PodFailed", String::new()))),
            _ if unready.is_empty() => (true, None),
            _ => {
                let message = format!("containers with unready status: [{}]", unready.join(" "));
                (false, Some(("ContainersNotReady", message)))
            }
        }
    }

    /// The `status` of the Pod object. Conditions that stay keep the time of `before`.
    pub(super) fn json(&self, before: &Value) -> Value {
        let phase = self.phase();
        let ready = self.ready(phase);
        let conditions = [
            ("PodReadyToStartContainers", (!self.addresses.is_empty(), None)),
            ("Initialized", self.initialized(phase)),
            ("Ready", ready.clone()),
            ("ContainersReady", ready),
            ("PodScheduled", (true, None)),
        ];
        let conditions = conditions
            .into_iter()
            .map(|(name, (holds, detail))| condition(before, name, holds, detail))
            .collect();
        let conditions = with_those_of_others(before, conditions);
        let containers = self.containers.iter().map(|(name, container)| container.json(name));
        let mut status = json!({
            "phase": phase,
            "conditions": conditions,
            "hostIP": NODE.to_string(),
            "hostIPs": [{"ip": NODE.to_string()}],
            "startTime": self.started,
            "qosClass": before["qosClass"],
            "containerStatuses": containers.collect::<Vec<_>>(),
        });
        if !self.init.is_empty() {
            status["initContainerStatuses"] = self.init.iter().map(InitStatus::json).collect();
        }
        if !self.ephemeral.is_empty() {
            let all = self.ephemeral.iter().map(|(name, container)| container.json(name));
            status["ephemeralContainerStatuses"] = all.collect();
        }
        if let Some((reason, message)) = self.ended_early.filter(|_| phase == "Failed") {
            status["reason"] = reason.into();
            status["message"] = message.into();
        }
        if let Some(first) = self.addresses.first() {
            status["podIP"] = first.to_string().into();
            let all = self.addresses.iter().map(|address| json!({"ip": address.to_string()}));
            status["podIPs"] = all.collect();
        }
        status
    }
}

#[cfg(test)]
mod tests;
