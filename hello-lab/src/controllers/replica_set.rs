//! Keeps as many pods as a ReplicaSet asks for.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use super::garbage;
use crate::objects::events::{Severity, record};
use crate::objects::meta::{owner_reference, random_suffix};
use crate::objects::{Kind, Object, Store};

pub(super) fn step(store: &Store) {
    for set in store.list(Kind::ReplicaSet, None).0 {
        let pods = pods_of(store, &set);
        let active: Vec<_> = pods.iter().filter(|pod| is_active(pod)).collect();
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
                let message = format!("Deleted pod: {}", pod.name());
                record(
                    store,
                    "replicaset-controller",
                    &set,
                    Severity::Normal,
                    "SuccessfulDelete",
                    &message,
                );
                garbage::delete(store, pod);
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

pub(super) fn status(pod: &Object) -> Option<&PodStatus> {
    pod.typed::<Pod>().status.as_ref()
}

/// Whether a pod has ended for good.
pub(super) fn has_ended(pod: &Object) -> bool {
    let phase = status(pod).and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a pod counts as one of the replicas.
pub(super) fn is_active(pod: &Object) -> bool {
    !pod.is_terminating() && !has_ended(pod)
}

/// Whether a pod's Ready condition holds.
pub(super) fn is_ready(pod: &Object) -> bool {
    let conditions = status(pod).and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// `spec.replicas` of a ReplicaSet.
pub(super) fn replicas(set: &Object) -> usize {
    let spec = set.typed::<ReplicaSet>().spec.as_ref();
    number(spec.and_then(|spec| spec.replicas).unwrap_or(1))
}

/// A count of the API; validation refuses negative ones.
pub(super) fn number(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// Those that sort first are given up first: not ready before ready, young before old.
fn keep_rank(pod: &Object) -> (bool, std::cmp::Reverse<String>) {
    (is_ready(pod), std::cmp::Reverse(pod.created().to_owned()))
}

fn create(store: &Store, set: &Object) {
    let template = &set.value()["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    if !metadata.is_object() {
        metadata = json!({});
    }
    let name = format!("{}-{}", set.name(), random_suffix(5));
    metadata["name"] = name.as_str().into();
    metadata["generateName"] = format!("{}-", set.name()).into();
    metadata["namespace"] = set.namespace().into();
    metadata["ownerReferences"] = json!([owner_reference(set)]);
    let pod = json!({
        "metadata": metadata,
        "spec": crate::objects::defaults::scheduled(template["spec"].clone()),
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    });
    match store.create(Kind::Pod, pod) {
        Ok(_) => {
            let message = format!("Created pod: {name}");
            record(
                store,
                "replicaset-controller",
                set,
                Severity::Normal,
                "SuccessfulCreate",
                &message,
            );
        }
        // The name is taken: the next step tries another.
        Err(error) => tracing::debug!("{error}"),
    }
}

fn update_status(store: &Store, set: &Object) {
    let pods: Vec<_> = pods_of(store, set).into_iter().filter(|pod| is_active(pod)).collect();
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let _ = store.change(&set.key(), |set: &mut Value| {
        let generation = set["metadata"]["generation"].clone();
        set["status"] = json!({
            "replicas": pods.len(),
            "fullyLabeledReplicas": pods.len(),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "observedGeneration": generation,
        });
    });
}
