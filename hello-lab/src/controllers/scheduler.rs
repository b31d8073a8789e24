//! Puts pods that wait on the node when it comes to meet them, and says why they wait; taints a node that is
//! cordoned, and has pods leave one whose taints they do not bear (pkg/scheduler,
//! pkg/controller/nodelifecycle, pkg/controller/tainteviction).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::garbage;
use super::pods::has_ended;
use crate::objects::events::{Severity, record};
use crate::objects::meta::{condition, now};
use crate::objects::scheduling::{
    SCHEDULER, UNSCHEDULABLE_TAINT, is_for_scheduler, is_gated, node, obstacle, tolerates,
};
use crate::objects::{Kind, Object, Store};

/// Looks at the node and at every pod; when a pod's toleration ends.
pub(super) fn step(store: &Store) -> Option<Duration> {
    if let Some(node) = node(store) {
        taint(store, &node);
    }
    let node = node(store);
    let mut due = None;
    for pod in store.list(Kind::Pod, None).0.iter().filter(|pod| !pod.is_terminating()) {
        let on = pod.value()["spec"]["nodeName"].as_str().unwrap_or_default();
        if on.is_empty() {
            if is_for_scheduler(pod.value()) {
                schedule(store, pod, node.as_deref());
            }
        } else if let Some(node) = node.as_deref().filter(|node| node.name() == on) {
            let left = evict(store, pod, node);
            due = due.into_iter().chain(left).min();
        }
    }
    due
}

/// A cordoned node has a taint that says so, and the taints that pods leave have the time of their coming.
fn taint(store: &Store, node: &Object) {
    // One that is gone has none.
    let _ = store.change(&node.key(), |node| {
        let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let is_cordon = |taint: &Value| taint["key"] == UNSCHEDULABLE_TAINT;
        if node["spec"]["unschedulable"] != true {
            taints.retain(|taint| !is_cordon(taint));
        } else if !taints.iter().any(is_cordon) {
            taints.push(json!({
                "key": UNSCHEDULABLE_TAINT, "effect": "NoSchedule", "timeAdded": now(),
            }));
        }
        for taint in taints.iter_mut().filter(|taint| taint["effect"] == "NoExecute") {
            if taint["timeAdded"].is_null() {
                taint["timeAdded"] = now().into();
            }
        }
        if !taints.is_empty() {
            node["spec"]["taints"] = taints.into();
        } else if node["spec"].is_object() {
            crate::objects::object::remove(&mut node["spec"], "taints");
        }
    });
}

fn schedule(store: &Store, pod: &Object, node: Option<&Object>) {
    let waits = if is_gated(pod.value()) {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        Some(("SchedulingGated", message.to_owned()))
    } else {
        let why = match node {
            None => Some("no nodes available to schedule pods".to_owned()),
            Some(node) => obstacle(store, pod.value(), node).map(|why| {
                format!(
                    "0/1 nodes are available: 1 {why}. preemption: 0/1 nodes are available: 1 \
                     Preemption is not helpful for scheduling."
                )
            }),
        };
        why.map(|why| ("Unschedulable", why))
    };
    let Some((reason, message)) = waits else {
        let Some(node) = node else { return };
        let uid = pod.uid();
        let placed = store.change(&pod.key(), |pod| {
            if pod["metadata"]["uid"] == uid {
                pod["spec"]["nodeName"] = node.name().into();
            }
        });
        if placed.is_ok() {
            let message = format!(
                "Successfully assigned {}/{} to {}",
                pod.namespace(),
                pod.name(),
                node.name()
            );
            record(store, SCHEDULER, pod, Severity::Normal, "Scheduled", &message);
        }
        return;
    };
    let conditions = pod.value()["status"]["conditions"].as_array();
    let said = conditions.into_iter().flatten().any(|one| {
        one["type"] == "PodScheduled" && one["reason"] == reason && one["message"] == *message
    });
    if said {
        return;
    }
    let detail = Some((reason, message.clone()));
    let written = store.change(&pod.key(), |pod| {
        let one = condition(&pod["status"], "PodScheduled", false, detail.clone());
        match pod["status"]["conditions"].as_array_mut() {
            Some(conditions) => {
                conditions.retain(|one| one["type"] != "PodScheduled");
                conditions.push(one);
            }
            None => pod["status"]["conditions"] = json!([one]),
        }
    });
    if written.is_ok() && reason == "Unschedulable" {
        record(store, SCHEDULER, pod, Severity::Warning, "FailedScheduling", &message);
    }
}

/// Has a pod leave a node with a taint that it does not bear, or bears for a time. How long it still does.
fn evict(store: &Store, pod: &Object, node: &Object) -> Option<Duration> {
    if has_ended(pod) {
        return None;
    }
    let tolerations = || pod.value()["spec"]["tolerations"].as_array().into_iter().flatten();
    let mut due: Option<Duration> = None;
    let taints = node.value()["spec"]["taints"].as_array().into_iter().flatten();
    for taint in taints.filter(|taint| taint["effect"] == "NoExecute") {
        let bears: Vec<_> =
            tolerations().filter(|toleration| tolerates(toleration, taint)).collect();
        let limits: Vec<i64> = bears
            .iter()
            .filter_map(|toleration| toleration["tolerationSeconds"].as_i64())
            .collect();
        let left = if bears.is_empty() {
            Duration::ZERO
        } else {
            let Some(least) = limits.into_iter().min() else { continue };
            let added = taint["timeAdded"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
            let end = added
                .and_then(|added| added.checked_add(SignedDuration::from_secs(least.max(0))).ok());
            let left = end.map(|end| end.duration_since(Timestamp::now()));
            left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
        };
        if left.is_zero() {
            let message = format!("Marking for deletion Pod {}/{}", pod.namespace(), pod.name());
            let (component, reason) = ("taint-eviction-controller", "TaintManagerEviction");
            record(store, component, pod, Severity::Normal, reason, &message);
            garbage::delete(store, pod);
            return None;
        }
        due = Some(due.map_or(left, |due| due.min(left)));
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Key;
    use crate::objects::names::NODE_NAME;

    fn start() -> Store {
        let store = Store::default();
        store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
        store.create(Kind::Node, json!({"metadata": {"name": NODE_NAME}, "spec": {}})).unwrap();
        store
    }

    fn add(store: &Store, name: &str, spec: Value) -> Key {
        let pod = json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec});
        store.create(Kind::Pod, pod).unwrap().key()
    }

    fn change_node(store: &Store, change: &Value) {
        let key = Key::new(Kind::Node, "", NODE_NAME);
        store.change(&key, |node| json_patch::merge(node, change)).unwrap();
        step(store);
    }

    #[test]
    fn a_pod_waits_until_the_node_meets_it_and_is_told_why() {
        let store = start();
        let key = add(&store, "p", json!({"nodeSelector": {"disk": "ssd"}, "containers": []}));
        step(&store);
        let version = store.version();
        step(&store);
        assert_eq!(store.version(), version, "it is said once");
        let pod = store.get(&key).unwrap();
        let condition = &pod.value()["status"]["conditions"][0];
        assert_eq!(condition["reason"], "Unschedulable");
        let message = condition["message"].as_str().unwrap();
        assert!(message.starts_with(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
        ));
        assert_eq!(store.list(Kind::Event, None).0[0].value()["reason"], "FailedScheduling");
        change_node(&store, &json!({"metadata": {"labels": {"disk": "ssd"}}}));
        assert_eq!(store.get(&key).unwrap().value()["spec"]["nodeName"], NODE_NAME);
    }

    #[test]
    fn a_cordoned_node_has_a_taint_that_goes_with_the_cordon() {
        let store = start();
        let taints =
            || store.list(Kind::Node, None).0[0].value()["spec"]["taints"].as_array().cloned();
        change_node(&store, &json!({"spec": {"unschedulable": true}}));
        assert_eq!(taints().unwrap()[0]["key"], UNSCHEDULABLE_TAINT);
        let key = add(&store, "p", json!({"containers": []}));
        step(&store);
        assert!(store.get(&key).unwrap().value()["spec"]["nodeName"].is_null());
        change_node(&store, &json!({"spec": {"unschedulable": null}}));
        assert_eq!(taints(), None);
        assert_eq!(store.get(&key).unwrap().value()["spec"]["nodeName"], NODE_NAME);
    }

    #[test]
    fn a_pod_leaves_a_node_with_a_taint_that_it_does_not_bear_or_no_longer() {
        let store = start();
        let on = |tolerations: Value| json!({"nodeName": NODE_NAME, "containers": [], "tolerations": tolerations});
        let bears = |seconds: Value| json!([{"operator": "Exists", "tolerationSeconds": seconds}]);
        let leaves = add(&store, "leaves", on(json!([])));
        let stays = add(&store, "stays", on(json!([{"operator": "Exists"}])));
        let later = add(&store, "later", on(bears(json!(1000))));
        let soon = add(&store, "soon", on(bears(json!(0))));
        change_node(&store, &json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}));
        let gone = |key: &Key| store.get(key).unwrap().is_terminating();
        assert!(gone(&leaves) && gone(&soon) && !gone(&stays) && !gone(&later));
        let due = step(&store).unwrap();
        assert!(due > Duration::from_secs(900) && due <= Duration::from_secs(1000), "{due:?}");
    }

    #[test]
    fn a_gated_pod_waits_without_a_warning() {
        let store = start();
        let key = add(&store, "p", json!({"schedulingGates": [{"name": "g"}], "containers": []}));
        step(&store);
        let pod = store.get(&key).unwrap();
        assert_eq!(pod.value()["status"]["conditions"][0]["reason"], "SchedulingGated");
        assert!(store.list(Kind::Event, None).0.is_empty());
    }
}
