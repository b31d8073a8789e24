//! Whether a pod may run on the lab's node, and why not: the filters of a scheduler, in its words
//! (pkg/scheduler/framework/plugins).

use std::sync::Arc;

use netpol::selector::{Labels, Selector, labels_of};
use serde_json::Value;

use super::kind::{Key, Kind};
use super::names::NODE_NAME;
use super::object::Object;
use super::store::Store;
use super::validation::quantity;

/// The taint of a node that is cordoned (`TaintNodeUnschedulable`).
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// The scheduler's name: pods may ask for another, of which there is none.
pub const SCHEDULER: &str = "default-scheduler";

/// The lab's node.
#[must_use]
pub fn node(store: &Store) -> Option<Arc<Object>> {
    store.get(&Key::new(Kind::Node, "", NODE_NAME)).ok()
}

/// Puts a new pod on the node, if it may run there now; else it waits for the scheduler.
pub fn place(store: &Store, pod: &mut Value) {
    let is_placed = pod["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty());
    if is_placed || !is_for_scheduler(pod) || is_gated(pod) {
        return;
    }
    if let Some(node) = node(store)
        && obstacle(store, pod, &node).is_none()
    {
        pod["spec"]["nodeName"] = node.name().into();
    }
}

/// Whether the scheduler is the one that a pod waits for.
#[must_use]
pub fn is_for_scheduler(pod: &Value) -> bool {
    pod["spec"]["schedulerName"].as_str().is_none_or(|name| name.is_empty() || name == SCHEDULER)
}

/// Whether a pod waits for somebody to let it go (`schedulingGates`).
#[must_use]
pub fn is_gated(pod: &Value) -> bool {
    each(&pod["spec"]["schedulingGates"]).next().is_some()
}

/// Why a pod may not run on `node`, if so: what a scheduler says of one node, in the order of its filters.
#[must_use]
pub fn obstacle(store: &Store, pod: &Value, node: &Object) -> Option<String> {
    let spec = &pod["spec"];
    if node.value()["spec"]["unschedulable"] == true && !tolerates_cordon(spec) {
        return Some("node(s) were unschedulable".to_owned());
    }
    if let Some(taint) = untolerated(spec, node, &["NoSchedule", "NoExecute"]) {
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        return Some(format!(
            "node(s) had untolerated taint {{{}: {}}}",
            text("key"),
            text("value")
        ));
    }
    if !is_wanted_node(spec, node) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    let others = store.list(Kind::Pod, None).0;
    let others: Vec<&Object> = others
        .iter()
        .map(AsRef::as_ref)
        .filter(|other| {
            let value = other.value();
            value["spec"]["nodeName"] == node.name()
                && !matches!(value["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        })
        .collect();
    for resource in ["cpu", "memory"] {
        let Some(all) = quantity::amount(&node.value()["status"]["allocatable"][resource]) else {
            continue;
        };
        let wanted = requested(spec, resource);
        let used: f64 =
            others.iter().map(|other| requested(&other.value()["spec"], resource)).sum();
        if wanted > 0.0 && used + wanted > all {
            return Some(format!("Insufficient {resource}"));
        }
    }
    affinity(store, pod, node, &others).map(str::to_owned)
}

/// The first of a node's taints with one of these effects that a pod does not tolerate.
#[must_use]
pub fn untolerated<'n>(spec: &Value, node: &'n Object, effects: &[&str]) -> Option<&'n Value> {
    each(&node.value()["spec"]["taints"]).find(|taint| {
        // What a cordoned node is tainted with is said above in other words.
        taint["key"] != UNSCHEDULABLE_TAINT
            && taint["effect"].as_str().is_some_and(|effect| effects.contains(&effect))
            && !each(&spec["tolerations"]).any(|toleration| tolerates(toleration, taint))
    })
}

fn tolerates_cordon(spec: &Value) -> bool {
    let taint = serde_json::json!({"key": UNSCHEDULABLE_TAINT, "effect": "NoSchedule"});
    each(&spec["tolerations"]).any(|toleration| tolerates(toleration, &taint))
}

/// `Toleration.ToleratesTaint` of k8s.io/api/core/v1.
#[must_use]
pub fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (effect, key) = (text(toleration, "effect"), text(toleration, "key"));
    if !effect.is_empty() && effect != text(taint, "effect") {
        return false;
    }
    if !key.is_empty() && key != text(taint, "key") {
        return false;
    }
    match &*text(toleration, "operator") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && text(toleration, "value") == text(taint, "value"),
        _ => false,
    }
}

/// Whether a node is one that a pod's `nodeSelector` and required node affinity name.
#[must_use]
pub fn is_wanted_node(spec: &Value, node: &Object) -> bool {
    let labels = node.labels();
    let selector = spec["nodeSelector"].as_object().into_iter().flatten();
    let selected = selector
        .into_iter()
        .all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let required =
        &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let name = Labels::from([("metadata.name".to_owned(), node.name().to_owned())]);
    selected
        && (required.is_null()
            || each(&required["nodeSelectorTerms"]).any(|term| {
                let (labelled, named) = (&term["matchExpressions"], &term["matchFields"]);
                // One without any requirement is no node's.
                each(labelled).chain(each(named)).next().is_some()
                    && each(labelled).all(|one| meets(one, &labels))
                    && each(named).all(|one| meets(one, &name))
            }))
}

/// Whether labels meet a requirement of a node selector.
fn meets(requirement: &Value, labels: &Labels) -> bool {
    let value = labels.get(requirement["key"].as_str().unwrap_or_default());
    let is_one = |value: &String| each(&requirement["values"]).any(|one| one == value.as_str());
    let numbers = || {
        let limit = requirement["values"][0].as_str()?.parse::<i64>().ok()?;
        Some((value?.parse::<i64>().ok()?, limit))
    };
    match requirement["operator"].as_str().unwrap_or_default() {
        "In" => value.is_some_and(is_one),
        "NotIn" => !value.is_some_and(is_one),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(number, limit)| number > limit),
        "Lt" => numbers().is_some_and(|(number, limit)| number < limit),
        _ => false,
    }
}

/// How much of a resource a pod asks for: all its containers together, or one before them if that is more; and
/// beside either the sidecars that run by then.
fn requested(spec: &Value, resource: &str) -> f64 {
    let of = |container: &Value| {
        let resources = &container["resources"];
        let asked = quantity::amount(&resources["requests"][resource]);
        asked.or_else(|| quantity::amount(&resources["limits"][resource])).unwrap_or(0.0)
    };
    let (mut most, mut sidecars) = (0.0_f64, 0.0);
    for container in each(&spec["initContainers"]) {
        if container["restartPolicy"] == "Always" {
            sidecars += of(container);
            most = most.max(sidecars);
        } else {
            most = most.max(sidecars + of(container));
        }
    }
    let all: f64 = each(&spec["containers"]).map(of).sum();
    most.max(all + sidecars)
}

/// What is wrong with a pod's neighbours (plugin `InterPodAffinity`): with one node, those are all pods of a
/// topology that the node has a label of.
fn affinity(store: &Store, pod: &Value, node: &Object, others: &[&Object]) -> Option<&'static str> {
    let labels = node.labels();
    let has =
        |term: &Value| term["topologyKey"].as_str().is_some_and(|key| labels.contains_key(key));
    let text = |value: &Value, field: &str| {
        value["metadata"][field].as_str().unwrap_or_default().to_owned()
    };
    let own = (text(pod, "namespace"), labels_of(&pod["metadata"]));
    let unlike = terms(pod, "podAntiAffinity");
    let is_there = |term: &Value| {
        others.iter().any(|other| means(store, term, &own.0, other.namespace(), &other.labels()))
    };
    if terms(pod, "podAffinity").any(|term| {
        // The first of a group may be its own neighbour.
        !has(term) || !is_there(term) && !means(store, term, &own.0, &own.0, &own.1)
    }) {
        return Some("node(s) didn't match pod affinity rules");
    }
    let mut unlike = unlike.filter(|term| has(term));
    if unlike.any(is_there) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let minds = |other: &&Object| {
        terms(other.value(), "podAntiAffinity")
            .any(|term| has(term) && means(store, term, other.namespace(), &own.0, &own.1))
    };
    others.iter().any(minds).then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

fn terms<'p>(pod: &'p Value, kind: &str) -> impl Iterator<Item = &'p Value> {
    each(&pod["spec"]["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"])
}

/// Whether a term of a pod in the namespace `home` means a pod with these labels in `namespace`.
fn means(store: &Store, term: &Value, home: &str, namespace: &str, labels: &Labels) -> bool {
    let read = |selector: &Value| {
        let selector = serde_json::from_value(selector.clone()).ok()?;
        Selector::from_api("", &selector).ok()
    };
    let names: Vec<&str> = each(&term["namespaces"]).filter_map(Value::as_str).collect();
    let by_labels = || {
        let selector = read(&term["namespaceSelector"])?;
        let namespace = store.get(&Key::new(Kind::Namespace, "", namespace)).ok()?;
        Some(selector.matches(&namespace.labels()))
    };
    let is_home = names.is_empty() && term["namespaceSelector"].is_null() && home == namespace;
    (is_home || names.contains(&namespace) || by_labels() == Some(true))
        && read(&term["labelSelector"]).is_some_and(|selector| selector.matches(labels))
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store(node_spec: Value) -> Store {
        let store = Store::default();
        let labels = json!({"kubernetes.io/hostname": NODE_NAME, "disk": "ssd", "size": "7"});
        let node = json!({
            "metadata": {"name": NODE_NAME, "labels": labels},
            "spec": node_spec,
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
        });
        store.create(Kind::Node, node).unwrap();
        store
            .create(Kind::Namespace, json!({"metadata": {"name": "n", "labels": {"a": "b"}}}))
            .unwrap();
        store
    }

    fn pod(spec: Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "n", "labels": {"app": "p"}}, "spec": spec})
    }

    fn says(store: &Store, spec: Value) -> String {
        obstacle(store, &pod(spec), &node(store).unwrap()).unwrap_or_default()
    }

    #[test]
    fn a_pod_goes_where_its_selector_and_affinity_say() {
        let store = store(json!({}));
        let unmatched = "node(s) didn't match Pod's node affinity/selector";
        let affinity = |term: Value| {
            let required = json!({"nodeSelectorTerms": [term]});
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": required,
            }}})
        };
        let expression = |operator: &str, values: Value| {
            affinity(
                json!({"matchExpressions": [{"key": "size", "operator": operator, "values": values}]}),
            )
        };
        for (spec, expected) in [
            (json!({}), ""),
            (json!({"nodeSelector": {"disk": "ssd"}}), ""),
            (json!({"nodeSelector": {"disk": "hdd"}}), unmatched),
            (expression("In", json!(["6", "7"])), ""),
            (expression("NotIn", json!(["7"])), unmatched),
            (expression("Gt", json!(["6"])), ""),
            (expression("Lt", json!(["6"])), unmatched),
            (expression("Exists", Value::Null), ""),
            (affinity(json!({})), unmatched),
            (
                affinity(json!({"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": [NODE_NAME]},
                ]})),
                "",
            ),
        ] {
            assert_eq!(says(&store, spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn a_pod_tolerates_what_it_says() {
        let tainted =
            store(json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}));
        assert_eq!(says(&tainted, json!({})), "node(s) had untolerated taint {k: v}");
        for (toleration, tolerated) in [
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "value": "w"}), false),
            (json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}), false),
        ] {
            let said = says(&tainted, json!({"tolerations": [toleration]}));
            assert_eq!(said.is_empty(), tolerated, "{toleration}");
        }
        let cordoned = store(json!({
            "unschedulable": true,
            "taints": [{"key": UNSCHEDULABLE_TAINT, "effect": "NoSchedule"}],
        }));
        assert_eq!(says(&cordoned, json!({})), "node(s) were unschedulable");
        let tolerations = json!([{"key": UNSCHEDULABLE_TAINT, "operator": "Exists"}]);
        assert_eq!(says(&cordoned, json!({"tolerations": tolerations})), "");
    }

    #[test]
    fn a_pod_needs_what_it_requests() {
        let store = store(json!({}));
        let asks = |cpu: &str, memory: &str| {
            let requests = json!({"cpu": cpu, "memory": memory});
            json!({"nodeName": NODE_NAME, "containers": [{"name": "c", "resources": {"requests": requests}}]})
        };
        assert_eq!(says(&store, asks("2", "1Gi")), "");
        assert_eq!(says(&store, asks("2", "2Gi")), "Insufficient memory");
        store.create(Kind::Pod, pod(asks("500m", "0"))).unwrap();
        assert_eq!(says(&store, asks("1500m", "1")), "");
        assert_eq!(says(&store, asks("1501m", "1")), "Insufficient cpu");
    }

    #[test]
    fn pods_are_beside_those_that_they_want_and_not_beside_others() {
        let store = store(json!({}));
        let term = |app: &str, key: &str| json!([{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}]);
        let host = "kubernetes.io/hostname";
        let like = |terms: Value| json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
        let unlike = |terms: Value| {
            json!({"nodeName": NODE_NAME, "affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": terms,
            }}})
        };
        assert_eq!(says(&store, unlike(term("p", host))), "");
        assert_eq!(says(&store, like(term("p", host))), "", "the first of its group");
        let no_friend = "node(s) didn't match pod affinity rules";
        assert_eq!(says(&store, like(term("q", host))), no_friend);
        assert_eq!(says(&store, like(term("p", "zone"))), no_friend);
        store.create(Kind::Pod, pod(unlike(term("p", host)))).unwrap();
        let foe = "node(s) didn't match pod anti-affinity rules";
        assert_eq!(says(&store, unlike(term("p", host))), foe);
        assert_eq!(
            says(&store, json!({})),
            "node(s) didn't satisfy existing pods anti-affinity rules"
        );
        let mut elsewhere = term("p", host);
        elsewhere[0]["namespaces"] = json!(["m"]);
        assert_ne!(says(&store, unlike(elsewhere)), foe);
        let mut labelled = term("p", host);
        labelled[0]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
        assert_eq!(says(&store, unlike(labelled)), foe);
    }

    #[test]
    fn a_new_pod_is_on_the_node_unless_it_must_wait() {
        let store = store(json!({}));
        let placed = |spec: Value| {
            let mut pod = pod(spec);
            place(&store, &mut pod);
            pod["spec"]["nodeName"].clone()
        };
        assert_eq!(placed(json!({})), NODE_NAME);
        assert_eq!(placed(json!({"nodeName": "other"})), "other");
        assert_eq!(placed(json!({"nodeSelector": {"a": "b"}})), Value::Null);
        assert_eq!(placed(json!({"schedulerName": "mine"})), Value::Null);
        assert_eq!(placed(json!({"schedulingGates": [{"name": "g"}]})), Value::Null);
    }
}
