//! The cells of a pod (`printPod` of pkg/printers/internalversion).

use serde_json::{Value, json};

use super::{age, each, text};
use crate::objects::Object;

pub(super) fn cells(object: &Object, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object.value()["spec"], &object.value()["status"]);
    let sidecars = each(&spec["initContainers"]).filter(|one| is_sidecar(one)).count();
    let containers = each(&spec["containers"]).count() + sidecars;
    let state = State::of(object);
    vec![
        name,
        format!("{}/{containers}", state.ready).into(),
        state.word.into(),
        state.restarts.shown().into(),
        age,
        status["podIP"].as_str().unwrap_or("<none>").into(),
        spec["nodeName"].clone(),
        "<none>".into(),
        "<none>".into(),
    ]
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// What a pod is doing, as one looks at it from afar.
#[derive(Debug, Default)]
struct State {
    /// The one word: the most telling reason of a container, else of the pod, else its phase.
    word: String,
    /// How many containers are ready, sidecars included.
    ready: usize,
    restarts: Restarts,
}

/// How often containers were started again, and when the last of them ended before.
#[derive(Debug, Default)]
struct Restarts {
    count: u64,
    last: Option<String>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += container["restartCount"].as_u64().unwrap_or(0);
        let end = container["lastState"]["terminated"]["finishedAt"].as_str();
        // In this form the later is the greater.
        self.last = self.last.take().max(end.map(str::to_owned));
    }

    fn shown(&self) -> String {
        match &self.last {
            Some(last) if self.count > 0 => format!("{} ({} ago)", self.count, age(last)),
            _ => self.count.to_string(),
        }
    }
}

/// What an init container says of the pod.
enum Before {
    /// Nothing: what comes after it may start.
    Done,
    /// That it is not done.
    Initializing(String),
}

impl State {
    fn of(object: &Object) -> Self {
        let status = &object.value()["status"];
        let phase = text(&status["phase"]);
        let word = reason(status).map_or_else(|| phase.clone(), str::to_owned);
        let mut state = Self { word, ..Self::default() };
        let is_initializing = state.look_at_init_containers(object);
        let holds = |name: &str| {
            each(&status["conditions"]).any(|one| one["type"] == name && one["status"] == "True")
        };
        if !is_initializing || holds("Initialized") {
            state.look_at_containers(status, holds("Ready"));
        }
        if object.is_terminating() && !matches!(phase.as_str(), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut state.word);
        }
        state
    }

    /// Whether one of them is not done yet.
    fn look_at_init_containers(&mut self, object: &Object) -> bool {
        let spec: Vec<_> = each(&object.value()["spec"]["initContainers"]).collect();
        let mut of_sidecars = Restarts::default();
        for (index, status) in each(&object.value()["status"]["initContainerStatuses"]).enumerate()
        {
            let named = spec.iter().find(|one| one["name"] == status["name"]);
            let is_sidecar = named.is_some_and(|one| is_sidecar(one));
            self.restarts.add(status);
            if is_sidecar {
                of_sidecars.add(status);
            }
            match before(status, is_sidecar, &format!("{index}/{}", spec.len())) {
                Before::Done => {
                    self.ready += usize::from(is_sidecar && status["ready"] == true);
                }
                Before::Initializing(word) => {
                    self.word = word;
                    return true;
                }
            }
        }
        self.restarts = of_sidecars;
        false
    }

    fn look_at_containers(&mut self, status: &Value, is_ready: bool) {
        let mut runs = false;
        let all: Vec<_> = each(&status["containerStatuses"]).collect();
        // The first that has something to say has the last word.
        for container in all.into_iter().rev() {
            self.restarts.add(container);
            let (waiting, terminated) =
                (&container["state"]["waiting"], &container["state"]["terminated"]);
            if let Some(reason) = reason(waiting).or_else(|| reason(terminated)) {
                reason.clone_into(&mut self.word);
            } else if container["ready"] == true && container["state"]["running"].is_object() {
                runs = true;
                self.ready += 1;
            }
        }
        if self.word == "Completed" && runs {
            if is_ready { "Running" } else { "NotReady" }.clone_into(&mut self.word);
        }
    }
}

fn reason(state: &Value) -> Option<&str> {
    state["reason"].as_str().filter(|reason| !reason.is_empty())
}

fn before(status: &Value, is_sidecar: bool, place: &str) -> Before {
    let (waiting, terminated) = (&status["state"]["waiting"], &status["state"]["terminated"]);
    if terminated["exitCode"] == json!(0) || is_sidecar && status["started"] == true {
        return Before::Done;
    }
    let word = match (reason(terminated), reason(waiting)) {
        (Some(reason), _) => reason,
        (None, Some(reason)) if reason != "PodInitializing" => reason,
        _ => place,
    };
    Before::Initializing(format!("Init:{word}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Kind;

    fn state(spec: Value, status: Value) -> State {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
        State::of(&Object::new(Kind::Pod, pod).unwrap())
    }

    #[test]
    fn a_pods_state_is_its_most_telling_reason() {
        let state = |pod: Value| State::of(&Object::new(Kind::Pod, pod).unwrap()).word;
        assert_eq!(state(json!({"status": {"phase": "Running"}})), "Running");
        let late = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
        assert_eq!(state(json!({ "status": late })), "DeadlineExceeded");
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let status = json!({"phase": "Running", "containerStatuses": [{"state": waiting}]});
        assert_eq!(state(json!({ "status": status })), "CrashLoopBackOff");
        let metadata = json!({"deletionTimestamp": "2020-01-01T00:00:00Z"});
        assert_eq!(state(json!({"metadata": metadata, "status": status})), "Terminating");
    }

    #[test]
    fn of_init_containers_the_first_that_is_not_done_is_told() {
        let spec = json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]});
        let ended =
            |code: i32, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let running = json!({"running": {}});
        for (first, second, word) in [
            (waiting("PodInitializing"), waiting("PodInitializing"), "Init:0/2"),
            (running.clone(), waiting("PodInitializing"), "Init:0/2"),
            (ended(0, "Completed"), running, "Init:1/2"),
            (ended(0, "Completed"), ended(1, "Error"), "Init:Error"),
            (waiting("CrashLoopBackOff"), waiting("PodInitializing"), "Init:CrashLoopBackOff"),
            (ended(0, "Completed"), ended(0, "Completed"), "PodInitializing"),
        ] {
            let status = json!({
                "phase": "Pending",
                "initContainerStatuses": [{"name": "a", "state": first}, {"name": "b", "state": second}],
                "containerStatuses": [{"name": "c", "state": waiting("PodInitializing")}],
            });
            assert_eq!(state(spec.clone(), status).word, word);
        }
    }

    #[test]
    fn sidecars_count_among_the_containers_that_are_ready() {
        let spec = json!({
            "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}],
        });
        let running = json!({"running": {}});
        let status = json!({
            "phase": "Running",
            "initContainerStatuses": [
                {"name": "s", "state": running, "started": true, "ready": true, "restartCount": 2},
            ],
            "containerStatuses": [{"name": "c", "state": running, "ready": true, "restartCount": 1}],
        });
        let state = state(spec, status);
        assert_eq!((state.ready, state.word.as_str()), (2, "Running"));
        assert_eq!(state.restarts.shown(), "3");
        let restarts = Restarts { count: 1, last: Some(crate::objects::meta::now()) };
        assert!(restarts.shown().starts_with("1 (") && restarts.shown().ends_with("s ago)"));
    }
}
