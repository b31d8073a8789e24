//! Keeps one ReplicaSet for each template that a Deployment had, and moves the replicas from
//! the old ones to the new one.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use serde_json::{Value, json};

use super::replica_set::{pods_of, replicas};
use crate::objects::events::{Severity, record};

use crate::objects::meta::{condition, owner_reference, safe_encode};
use crate::objects::names::{REVISION_ANNOTATION, TEMPLATE_HASH_LABEL};
use crate::objects::{Kind, Object, Store};

pub(super) fn step(store: &Store) {
    for deployment in store.list(Kind::Deployment, None).0 {
        let hash = template_hash(&deployment.value()["spec"]["template"]);
        let sets = sets_of(store, &deployment);
        let (new, old): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| set.labels().get(TEMPLATE_HASH_LABEL) == Some(&hash));
        if deployment.value()["spec"]["paused"] != true {
            match new.first() {
                Some(new) => {
                    set_revision(store, &deployment, new, &old);
                    shift(store, &deployment, new, &old);
                }
                None => create(store, &deployment, &hash, &old),
            }
            prune(store, &deployment, &old);
        } else if let Some(new) = new.first() {
            scale(store, &deployment, new, replicas(&deployment));
        }
        update_status(store, &deployment, &hash);
    }
}

/// The ReplicaSets that a Deployment controls.
fn sets_of(store: &Store, deployment: &Object) -> Vec<Arc<Object>> {
    let (mut sets, _) = store.list(Kind::ReplicaSet, Some(deployment.namespace()));
    sets.retain(|set| set.controller() == Some(deployment.uid()));
    sets
}

/// Names the template: the same for the same content, whatever the order of its fields.
fn template_hash(template: &Value) -> String {
    // Objects are sorted, so equal templates are equal texts. The hasher's keys are fixed.
    #[expect(deprecated, reason = "the only one in std whose result never changes")]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(template.to_string().as_bytes());
    let hash = hasher.finish();
    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    safe_encode(hash as u32)
}

fn revision(object: &Object) -> u64 {
    let annotation = object.value()["metadata"]["annotations"][REVISION_ANNOTATION].as_str();
    annotation.and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

fn next_revision(sets: &[Arc<Object>]) -> String {
    (sets.iter().map(|set| revision(set)).max().unwrap_or(0) + 1).to_string()
}

fn create(store: &Store, deployment: &Object, hash: &str, old: &[Arc<Object>]) {
    let spec = &deployment.value()["spec"];
    let mut template = spec["template"].clone();
    template["metadata"]["labels"][TEMPLATE_HASH_LABEL] = hash.into();
    let mut selector = spec["selector"].clone();
    selector["matchLabels"][TEMPLATE_HASH_LABEL] = hash.into();
    let set = json!({
        "metadata": {
            "name": format!("{}-{hash}", deployment.name()),
            "namespace": deployment.namespace(),
            "labels": template["metadata"]["labels"],
            "annotations": {
                REVISION_ANNOTATION: next_revision(old),
                "deployment.kubernetes.io/desired-replicas": replicas(deployment).to_string(),
            },
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
        "status": {"replicas": 0},
    });
    if let Err(error) = store.create(Kind::ReplicaSet, set) {
        tracing::debug!("{error}");
    }
}

/// An older template that came back gets a new number; the Deployment shows the latest.
fn set_revision(store: &Store, deployment: &Object, new: &Object, old: &[Arc<Object>]) {
    let highest = old.iter().map(|set| revision(set)).max().unwrap_or(0);
    let number = revision(new).max(highest + 1).to_string();
    for key in [new.key(), deployment.key()] {
        let _ = store.change(&key, |object| {
            if !object["metadata"]["annotations"].is_object() {
                object["metadata"]["annotations"] = json!({});
            }
            object["metadata"]["annotations"][REVISION_ANNOTATION] = number.as_str().into();
        });
    }
}

/// How far a roll-out may go beyond and below the number of replicas.
struct Bounds {
    surge: usize,
    unavailable: usize,
}

fn bounds(deployment: &Object) -> Bounds {
    let wanted = replicas(deployment);
    let rolling = &deployment.value()["spec"]["strategy"]["rollingUpdate"];
    let surge = number_or_percent(&rolling["maxSurge"], wanted, true);
    let unavailable = number_or_percent(&rolling["maxUnavailable"], wanted, false);
    // Both 0 would stand still for ever, which rounding can bring about.
    let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
    Bounds { surge, unavailable: unavailable.min(wanted) }
}

/// An `IntOrString` of `whole`, rounded up or down; 25% where there is none.
fn number_or_percent(value: &Value, whole: usize, up: bool) -> usize {
    if let Some(number) = value.as_u64() {
        return usize::try_from(number).unwrap_or(usize::MAX);
    }
    let text = value.as_str().unwrap_or("25%");
    let percent: usize = text.trim_end_matches('%').parse().unwrap_or(25);
    let product = whole.saturating_mul(percent);
    if up { product.div_ceil(100) } else { product / 100 }
}

/// Moves replicas one step from the old sets to the new one.
fn shift(store: &Store, deployment: &Object, new: &Arc<Object>, old: &[Arc<Object>]) {
    let wanted = replicas(deployment);
    let old_replicas: usize = old.iter().map(|set| replicas(set)).sum();
    let now_new = replicas(new);
    if deployment.value()["spec"]["strategy"]["type"] == "Recreate" {
        for set in old {
            scale(store, deployment, set, 0);
        }
        let gone = old.iter().all(|set| pods_of(store, set).is_empty());
        scale(store, deployment, new, if gone { wanted } else { now_new.min(wanted) });
        return;
    }
    let Bounds { surge, unavailable } = bounds(deployment);
    let room = (wanted + surge).saturating_sub(old_replicas + now_new);
    scale(store, deployment, new, wanted.min(now_new + room));

    let ready = |set: &Object| status_number(set, "readyReplicas");
    let all_ready = ready(new) + old.iter().map(|set| ready(set)).sum::<usize>();
    let mut spare = all_ready.saturating_sub(wanted.saturating_sub(unavailable));
    for set in old.iter().filter(|set| replicas(set) > 0) {
        let unready = replicas(set).saturating_sub(ready(set));
        let down = (unready + spare).min(replicas(set));
        spare -= down.saturating_sub(unready).min(spare);
        scale(store, deployment, set, replicas(set) - down);
    }
}

fn status_number(object: &Object, field: &str) -> usize {
    let number = object.value()["status"][field].as_u64().unwrap_or(0);
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn scale(store: &Store, deployment: &Object, set: &Arc<Object>, to: usize) {
    let from = replicas(set);
    if from == to {
        return;
    }
    let way = if to > from { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {} from {from} to {to}", set.name());
    record(
        store,
        "deployment-controller",
        deployment,
        Severity::Normal,
        "ScalingReplicaSet",
        &message,
    );
    let _ = store.change(&set.key(), |set| set["spec"]["replicas"] = to.into());
}

/// Removes the oldest of the sets that are kept for `rollout undo`.
fn prune(store: &Store, deployment: &Object, old: &[Arc<Object>]) {
    let limit = deployment.value()["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10);
    let mut idle: BTreeMap<u64, &Arc<Object>> = BTreeMap::new();
    for set in old.iter().filter(|set| replicas(set) == 0 && status_number(set, "replicas") == 0) {
        idle.insert(revision(set), set);
    }
    let excess = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for set in idle.into_values().take(excess) {
        let _ = store.remove(&set.key());
    }
}

fn update_status(store: &Store, deployment: &Object, hash: &str) {
    let sets = sets_of(store, deployment);
    let sum = |field| sets.iter().map(|set| status_number(set, field)).sum::<usize>();
    let new = sets
        .iter()
        .find(|set| set.labels().get(TEMPLATE_HASH_LABEL).is_some_and(|one| one == hash));
    let updated = new.map_or(0, |set| status_number(set, "replicas"));
    let (total, ready) = (sum("replicas"), sum("readyReplicas"));
    let wanted = replicas(deployment);
    let least = wanted - bounds(deployment).unavailable.min(wanted);
    let available = ready >= least;
    let complete = updated == wanted && total == wanted && ready >= wanted;
    let _ = store.change(&deployment.key(), |object: &mut Value| {
        let before = object["status"].clone();
        let detail = if available {
            ("MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        let detail = Some((detail.0, detail.1.to_owned()));
        let progress = match new {
            Some(new) if complete => (
                "NewReplicaSetAvailable",
                format!("ReplicaSet {:?} has successfully progressed.", new.name()),
            ),
            _ => ("ReplicaSetUpdated", "The roll-out is under way.".to_owned()),
        };
        let conditions = [
            condition(&before, "Available", available, detail),
            condition(&before, "Progressing", true, Some(progress)),
        ];
        object["status"] = json!({
            "observedGeneration": object["metadata"]["generation"],
            "replicas": total,
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": wanted.max(total).saturating_sub(ready),
            "conditions": conditions,
        });
    });
}
