//! Keeps one pod of each `DaemonSet` on the node, unless that is none of its (pkg/controller/daemon).

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::availability::is_available;
use super::pods::{
    self, claim, generated_name, has_ended, is_active, is_ready, phase, selector, tell,
    template_hash,
};
use super::revision::{self, REVISION_LABEL};
use crate::objects::events::{Severity, record};
use crate::objects::meta::{random_suffix, with_those_of_others};
use crate::objects::scheduling::{is_wanted_node, node, untolerated};
use crate::objects::{Kind, Object, Store};

const COMPONENT: &str = "daemonset-controller";

/// What every pod of a `DaemonSet` bears (`AddOrUpdateDaemonPodTolerations`).
const TOLERATIONS: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

pub(super) fn step(store: &Store) {
    for set in store.list(Kind::DaemonSet, None).0 {
        if !set.is_terminating() {
            sync(store, &set);
        }
    }
}

fn sync(store: &Store, set: &Object) {
    let Some(spec) = set.typed::<DaemonSet>().spec.as_ref() else { return };
    let Some(selector) = selector(Some(&spec.selector)) else { return };
    let revisions = revision::sync(store, set, &selector);
    let hash = template_hash(&set.value()["spec"]["template"]);
    let own = || claim(store, set, &selector, store.list(Kind::Pod, Some(set.namespace())).0);
    let template = &set.value()["spec"]["template"]["spec"];
    let node = node(store);
    // A taint that evicts is for those to obey that run already (`nodeShouldRunDaemonPod`).
    let runs = node.as_ref().is_some_and(|node| {
        is_wanted_node(template, node)
            && untolerated(template, node, &["NoSchedule", "NoExecute"]).is_none()
    });
    let stays = node.as_ref().is_some_and(|node| {
        is_wanted_node(template, node) && untolerated(template, node, &["NoExecute"]).is_none()
    });
    manage(store, set, spec, &hash, &own(), (runs, stays));
    let pods = own();
    write_status(store, set, spec, &hash, &pods, runs);
    revision::prune(store, &revisions, spec.revision_history_limit, |one| {
        let name = |pod: &Arc<Object>| pod.labels().get(REVISION_LABEL).cloned();
        pods.iter().any(|pod| name(pod) == one.labels().get(REVISION_LABEL).cloned())
    });
}

fn manage(
    store: &Store,
    set: &Object,
    spec: &DaemonSetSpec,
    hash: &str,
    pods: &[Arc<Object>],
    (runs, stays): (bool, bool),
) {
    let delete = |pod: &Object| pods::delete(store, COMPONENT, set, pod);
    for pod in pods.iter().filter(|pod| has_ended(pod) && !pod.is_terminating()) {
        let (reason, state) = match phase(pod) {
            "Failed" => ("FailedDaemonPod", "failed"),
            _ => ("SucceededDaemonPod", "succeeded"),
        };
        let node = pod.value()["spec"]["nodeName"].as_str().unwrap_or_default();
        let (namespace, name) = (pod.namespace(), pod.name());
        let message = format!(
            "Found {state} daemon pod {namespace}/{name} on node {node}, will try to kill it"
        );
        record(store, COMPONENT, set, Severity::Warning, reason, &message);
        delete(pod);
    }
    let (new, old): (Vec<_>, Vec<_>) = pods
        .iter()
        .filter(|pod| is_active(pod))
        .partition(|pod| pod.labels().get(REVISION_LABEL).is_some_and(|label| label == hash));
    if !stays {
        new.iter().chain(&old).for_each(|pod| delete(pod));
        return;
    }
    // Of two, adopted ones perhaps, the older stays.
    for pods in [&new, &old] {
        pods.iter().skip(1).for_each(|pod| delete(pod));
    }
    if runs && pods.is_empty() {
        return create(store, set, hash);
    }
    let strategy = spec.update_strategy.as_ref();
    let (Some(old), true) =
        (old.first(), strategy.and_then(|one| one.type_.as_deref()) != Some("OnDelete"))
    else {
        return;
    };
    let surge = strategy.and_then(|one| one.rolling_update.as_ref()?.max_surge.as_ref());
    let surges = match surge {
        Some(IntOrString::Int(number)) => *number > 0,
        Some(IntOrString::String(text)) => !text.starts_with('0'),
        None => false,
    };
    match new.first() {
        Some(new) if is_available(new, spec.min_ready_seconds) || !is_ready(old) => delete(old),
        Some(_) => {}
        None if surges && is_available(old, spec.min_ready_seconds) => create(store, set, hash),
        None => delete(old),
    }
}

fn create(store: &Store, set: &Object, hash: &str) {
    let name = generated_name(set.name(), &random_suffix(5));
    let mut pod = pods::pod_of(set, &set.value()["spec"]["template"], &name);
    pod["metadata"]["generateName"] = format!("{}-", set.name()).into();
    pod["metadata"]["labels"][REVISION_LABEL] = hash.into();
    let spec = &mut pod["spec"];
    let tolerations = TOLERATIONS
        .map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect}));
    match spec["tolerations"].as_array_mut() {
        Some(own) => own.extend(tolerations),
        None => spec["tolerations"] = json!(tolerations),
    }
    if pods::create(store, pod).is_some() {
        tell(store, COMPONENT, set, "SuccessfulCreate", &format!("Created pod: {name}"));
    }
}

fn write_status(
    store: &Store,
    set: &Object,
    spec: &DaemonSetSpec,
    hash: &str,
    pods: &[Arc<Object>],
    runs: bool,
) {
    let pods: Vec<_> = pods.iter().filter(|pod| is_active(pod)).collect();
    let is_new = |pod: &Object| pod.labels().get(REVISION_LABEL).is_some_and(|label| label == hash);
    let (scheduled, misplaced) =
        if runs { (!pods.is_empty(), false) } else { (false, !pods.is_empty()) };
    let ready = runs && pods.iter().any(|pod| is_ready(pod));
    let available = runs && pods.iter().any(|pod| is_available(pod, spec.min_ready_seconds));
    let updated = runs && pods.iter().any(|pod| is_new(pod));
    let _ = store.change(&set.key(), |set: &mut Value| {
        let mut status = json!({
            "observedGeneration": set["metadata"]["generation"],
            "desiredNumberScheduled": usize::from(runs),
            "currentNumberScheduled": usize::from(scheduled),
            "numberMisscheduled": usize::from(misplaced),
            "numberReady": usize::from(ready),
        });
        // Go leaves out what is 0.
        for (field, holds) in [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", runs && !available),
        ] {
            if holds {
                status[field] = 1.into();
            }
        }
        let others = with_those_of_others(&set["status"], Vec::new());
        if !others.is_empty() {
            status["conditions"] = others.into();
        }
        set["status"] = status;
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::settle;
    use super::*;
    use crate::objects::names::NODE_NAME;
    use crate::objects::{Key, defaults};

    fn start() -> Store {
        let store = Store::default();
        store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
        store.create(Kind::Node, json!({"metadata": {"name": NODE_NAME}, "spec": {}})).unwrap();
        let mut set = json!({
            "metadata": {"name": "d", "namespace": "n"},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "c", "image": "a:1"}]},
                },
            },
        });
        defaults::apply(Kind::DaemonSet, &mut set);
        store.create(Kind::DaemonSet, set).unwrap();
        settle(&store);
        store
    }

    /// Plays kubelet, once.
    fn run_pods(store: &Store) {
        for pod in pods(store) {
            if pod.is_terminating() {
                store.remove(&pod.key()).unwrap();
            } else {
                let status = json!({
                    "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                });
                store.change(&pod.key(), |pod| pod["status"] = status.clone()).unwrap();
            }
        }
        settle(store);
    }

    fn pods(store: &Store) -> Vec<Arc<Object>> {
        store.list(Kind::Pod, Some("n")).0
    }

    fn change(store: &Store, kind: Kind, change: &Value) {
        let (namespace, name) = if kind == Kind::Node { ("", NODE_NAME) } else { ("n", "d") };
        let key = Key::new(kind, namespace, name);
        store.change(&key, |object| json_patch::merge(object, change)).unwrap();
        settle(store);
    }

    #[test]
    fn the_node_has_one_pod_of_each_also_when_it_is_cordoned() {
        let store = start();
        change(&store, Kind::Node, &json!({"spec": {"unschedulable": true}}));
        store.remove(&pods(&store)[0].key()).unwrap();
        settle(&store);
        assert_eq!(pods(&store).len(), 1);
        assert_eq!(pods(&store)[0].value()["spec"]["nodeName"], NODE_NAME);
        run_pods(&store);
        let set = store.get(&Key::new(Kind::DaemonSet, "n", "d")).unwrap();
        assert_eq!(set.value()["status"]["numberReady"], 1);
        assert_eq!(set.value()["status"]["desiredNumberScheduled"], 1);
    }

    #[test]
    fn a_new_template_replaces_the_pod_when_the_old_one_is_gone() {
        let store = start();
        run_pods(&store);
        let containers = json!([{"name": "c", "image": "a:2"}]);
        let template = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        change(&store, Kind::DaemonSet, &template);
        assert!(pods(&store).len() == 1 && pods(&store)[0].is_terminating());
        run_pods(&store);
        assert_eq!(pods(&store)[0].value()["spec"]["containers"][0]["image"], "a:2");
        assert_eq!(store.list(Kind::ControllerRevision, None).0.len(), 2);
    }

    #[test]
    fn a_node_that_is_none_of_its_has_no_pod() {
        let store = start();
        let selector = json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}});
        change(&store, Kind::DaemonSet, &selector);
        run_pods(&store);
        assert!(pods(&store).is_empty());
        change(&store, Kind::Node, &json!({"metadata": {"labels": {"disk": "ssd"}}}));
        assert_eq!(pods(&store).len(), 1);
    }
}
