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
    State::Ended(Ending {
        code,
        signal: None,
        started,
        finished,
        not_started: None,
        last_words: None,
    })
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

fn init(is_sidecar: bool, state: State) -> InitStatus {
    let mut status = ContainerStatus::initializing("image");
    status.started = matches!(state, State::Running(_));
    status.state = state;
    InitStatus { name: "i".to_owned(), is_sidecar, status }
}

#[test]
fn what_comes_before_the_containers_keeps_the_pod_pending_or_fails_it() {
    let (running, waiting) =
        (|| State::Running(now()), || State::Waiting("PodInitializing", String::new()));
    for (is_sidecar, before, container, phase, initialized) in [
        (false, waiting(), waiting(), "Pending", "False"),
        (false, running(), waiting(), "Pending", "False"),
        (false, ended(0), waiting(), "Pending", "True"),
        (false, ended(0), running(), "Running", "True"),
        (false, ended(1), waiting(), "Failed", "False"),
        (true, running(), running(), "Running", "True"),
        (true, running(), ended(0), "Running", "True"),
        (true, ended(143), ended(0), "Succeeded", "True"),
    ] {
        let mut pod = status(&[container], true);
        pod.init.push(init(is_sidecar, before));
        let json = pod.json(&Value::Null);
        assert_eq!(json["phase"], phase, "{pod:?}");
        assert_eq!(json["conditions"][1]["status"], initialized, "{pod:?}");
    }
    let mut starting = status(&[waiting()], true);
    starting.init.push(init(true, running()));
    starting.init[0].status.started = false;
    assert_eq!(starting.phase(), "Pending");
    assert_eq!(starting.json(&Value::Null)["conditions"][1]["status"], "False");
}

#[test]
fn a_pod_ended_early_has_failed_once_nothing_of_it_runs() {
    let early = |state: State| {
        let ended_early = Some(("DeadlineExceeded", "too late"));
        PodStatus { ended_early, ..status(&[state], false) }.json(&Value::Null)
    };
    let running = early(State::Running(now()));
    assert_eq!((&running["phase"], &running["reason"]), (&json!("Running"), &Value::Null));
    let ended = early(ended(143));
    assert_eq!((&ended["phase"], &ended["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
}
