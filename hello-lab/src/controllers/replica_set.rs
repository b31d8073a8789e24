//! Keeps as many pods as a ReplicaSet asks for.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use netpol::selector::labels_of;
use serde_json::{Value, json};

use super::availability::is_available;
use super::pods::{
    self, claim, generated_name, is_active, is_ready, keep_rank, number, selector, tell,
};
use crate::objects::meta::{random_suffix, with_those_of_others};
use crate::objects::{Kind, Object, Store};

const COMPONENT: &str = "replicaset-controller";

pub(super) fn step(store: &Store) {
    for set in store.list(Kind::ReplicaSet, None).0 {
        let spec = set.typed::<ReplicaSet>().spec.as_ref();
        let Some(selector) = selector(spec.map(|spec| &spec.selector)) else { continue };
        let (mut active, _) = store.list(Kind::Pod, Some(set.namespace()));
        active.retain(|pod| is_active(pod));
        let active = claim(store, &set, &selector, active);
        let wanted = replicas(&set);
        if set.is_terminating() {
            // It waits for the end of what it owns.
        } else if active.len() < wanted {
            for _ in active.len()..wanted {
                create(store, &set);
            }
        } else {
            let mut spare = active.clone();
            spare.sort_by_key(|pod| keep_rank(pod));
            for pod in spare.into_iter().take(active.len() - wanted) {
                pods::delete(store, COMPONENT, &set, &pod);
            }
        }
        update_status(store, &set);
    }
}

/// The pods that a set controls.
pub(super) fn pods_of(store: &Store, set: &Object) -> Vec<Arc<Object>> {
    let (mut pods, _) = store.list(Kind::Pod, Some(set.namespace()));
    pods.retain(|pod| pod.controller() == Some(set.uid()));
    pods
}

/// `spec.replicas` of a ReplicaSet.
pub(super) fn replicas(set: &Object) -> usize {
    let spec = set.typed::<ReplicaSet>().spec.as_ref();
    number(spec.and_then(|spec| spec.replicas).unwrap_or(1))
}

fn create(store: &Store, set: &Object) {
    let name = generated_name(set.name(), &random_suffix(5));
    let mut pod = pods::pod_of(set, &set.value()["spec"]["template"], &name);
    pod["metadata"]["generateName"] = format!("{}-", set.name()).into();
    if pods::create(store, pod).is_some() {
        tell(store, COMPONENT, set, "SuccessfulCreate", &format!("Created pod: {name}"));
    }
}

fn update_status(store: &Store, set: &Object) {
    let pods: Vec<_> = pods_of(store, set).into_iter().filter(|pod| is_active(pod)).collect();
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let least = set.typed::<ReplicaSet>().spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let available = pods.iter().filter(|pod| is_available(pod, least)).count();
    let template = labels_of(&set.value()["spec"]["template"]["metadata"]);
    // An adopted one may have the labels of the selector alone.
    let labelled = pods.iter().filter(|pod| {
        let labels = pod.labels();
        template.iter().all(|(key, value)| labels.get(key) == Some(value))
    });
    let labelled = labelled.count();
    let _ = store.change(&set.key(), |set: &mut Value| {
        let generation = set["metadata"]["generation"].clone();
        let others = with_those_of_others(&set["status"], Vec::new());
        set["status"] = json!({
            "replicas": pods.len(),
            "fullyLabeledReplicas": labelled,
            "readyReplicas": ready,
            "availableReplicas": available,
            "observedGeneration": generation,
        });
        if !others.is_empty() {
            set["status"]["conditions"] = others.into();
        }
    });
}
