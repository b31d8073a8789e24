//! A pod's status, as its worker knows it and as the API shows it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::node::network::NODE;
use crate::objects::meta::condition;

/// What a worker knows of its pod.
#[derive(Clone, Debug, Default)]
pub(super) struct PodStatus {
    /// The pod's addresses, once it has some.
    pub addresses: Vec<IpAddr>,
    /// When it was taken on.
    pub started: String,
    /// Whether ended containers stay ended: the pod's `restartPolicy` is not Always.
    pub may_end: bool,
    /// Its containers by name.
    pub containers: BTreeMap<String, ContainerStatus>,
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
        if let Some(message) = &self.not_started {
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

    fn is_ready(&self) -> bool {
        self.ready && matches!(self.state, State::Running(_))
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
            "started": self.started && matches!(self.state, State::Running(_)),
            "restartCount": self.restarts,
        })
    }
}

impl PodStatus {
    fn phase(&self) -> &'static str {
        let ended = |container: &ContainerStatus| match &container.state {
            State::Ended(ending) => Some(ending.code),
            _ => None,
        };
        let codes: Option<Vec<i32>> = self.containers.values().map(ended).collect();
        match codes {
            Some(codes) if self.may_end => {
                if codes.iter().all(|code| *code == 0) {
                    "Succeeded"
                } else {
                    "Failed"
                }
            }
            _ => {
                let begun = |container: &ContainerStatus| {
                    container.restarts > 0 || !matches!(container.state, State::Waiting(..))
                };
                if self.containers.values().all(begun) { "Running" } else { "Pending" }
            }
        }
    }

    /// The `status` of the Pod object. Conditions that stay keep the time of `before`.
    pub(super) fn json(&self, before: &Value) -> Value {
        let phase = self.phase();
        let ready = self.containers.values().all(ContainerStatus::is_ready);
        let unready: Vec<_> = self
            .containers
            .iter()
            .filter(|(_, container)| !container.is_ready())
            .map(|(name, _)| name.as_str())
            .collect();
        let detail = if ready {
            None
        } else if phase == "Succeeded" {
            Some(("PodCompleted", String::new()))
        } else {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            Some(("ContainersNotReady", message))
        };
        let conditions = [
            ("PodReadyToStartContainers", !self.addresses.is_empty(), None),
            ("Initialized", true, None),
            ("Ready", ready, detail.clone()),
            ("ContainersReady", ready, detail),
            ("PodScheduled", true, None),
        ];
        let conditions: Vec<_> = conditions
            .into_iter()
            .map(|(name, holds, detail)| condition(before, name, holds, detail))
            .collect();
        let mut status = json!({
            "phase": phase,
            "conditions": conditions,
            "hostIP": NODE.to_string(),
            "hostIPs": [{"ip": NODE.to_string()}],
            "startTime": self.started,
            "qosClass": "Burstable",
            "containerStatuses": self
                .containers
                .iter()
                .map(|(name, container)| container.json(name))
                .collect::<Vec<_>>(),
        });
        if let Some(first) = self.addresses.first() {
            status["podIP"] = first.to_string().into();
            let all = self.addresses.iter().map(|address| json!({"ip": address.to_string()}));
            status["podIPs"] = all.collect();
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::meta::now;

    fn status(states: &[State], may_end: bool) -> PodStatus {
        let container = |(index, state): (usize, &State)| {
            let mut container = ContainerStatus::new("image");
            container.state = state.clone();
            container.ready = matches!(state, State::Running(_));
            (format!("c{index}"), container)
        };
        let containers = states.iter().enumerate().map(container).collect();
        PodStatus { may_end, containers, ..PodStatus::default() }
    }

    fn ended(code: i32) -> State {
        let (started, finished) = (now(), now());
        State::Ended(Ending { code, signal: None, started, finished, not_started: None })
    }

    #[test]
    fn the_phase_follows_the_containers() {
        let running = || State::Running(now());
        let waiting = || State::Waiting("ContainerCreating", String::new());
        for (states, phase) in [
            (vec![waiting()], "Pending"),
            (vec![running(), waiting()], "Pending"),
            (vec![running(), running()], "Running"),
            (vec![running(), ended(1)], "Running"),
            (vec![ended(0), ended(0)], "Succeeded"),
            (vec![ended(0), ended(1)], "Failed"),
        ] {
            assert_eq!(status(&states, true).phase(), phase, "{states:?}");
        }
    }

    #[test]
    fn a_pod_is_ready_when_all_its_containers_are() {
        let ready = |states: &[State]| {
            let json = status(states, false).json(&Value::Null);
            let conditions = json["conditions"].as_array().unwrap();
            conditions.iter().find(|one| one["type"] == "Ready").unwrap()["status"] == "True"
        };
        assert!(ready(&[State::Running(now())]));
        assert!(!ready(&[State::Running(now()), ended(0)]));
    }
}
