//! Keeps one ReplicaSet for each template that a Deployment had, and moves the replicas from
//! the old ones to the new one.

mod share;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::garbage;
use super::pods::{claim, number, selector, template_hash};
use super::replica_set::{pods_of, replicas};
use crate::objects::events::{Severity, record};
use crate::objects::meta::{condition, owner_reference, with_those_of_others};
use crate::objects::names::{REVISION_ANNOTATION, TEMPLATE_HASH_LABEL};
use crate::objects::object::remove;
use crate::objects::{Kind, Object, Store};

pub(super) fn step(store: &Store) {
    for deployment in store.list(Kind::Deployment, None).0 {
        // It waits for the end of what it owns.
        if deployment.is_terminating() {
            continue;
        }
        let Some(spec) = &deployment.typed::<Deployment>().spec else { continue };
        let hash = template_hash(&deployment.value()["spec"]["template"]);
        let sets = sets_of(store, &deployment);
        let (new, old): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| set.labels().get(TEMPLATE_HASH_LABEL) == Some(&hash));
        if spec.paused != Some(true) {
            match new.first() {
                Some(new) => {
                    set_revision(store, &deployment, new, &old);
                    if !rescale(store, &deployment, spec, new, &old) {
                        shift(store, &deployment, spec, new, &old);
                    }
                }
                None => create(store, &deployment, &hash, &old),
            }
            prune(store, spec, &old);
        } else if let Some(new) = new.first() {
            scale(store, &deployment, new, number(spec.replicas.unwrap_or(1)));
        }
        update_status(store, &deployment, spec, &hash);
    }
}

/// The ReplicaSets that a Deployment controls: also those that were left behind by another of its name.
fn sets_of(store: &Store, deployment: &Object) -> Vec<Arc<Object>> {
    let (sets, _) = store.list(Kind::ReplicaSet, Some(deployment.namespace()));
    let spec = deployment.typed::<Deployment>().spec.as_ref();
    let Some(selector) = selector(spec.map(|spec| &spec.selector)) else { return Vec::new() };
    claim(store, deployment, &selector, sets)
}

fn revision(set: &Object) -> u64 {
    let annotations = &set.typed::<ReplicaSet>().metadata.annotations;
    let annotation = annotations.as_ref().and_then(|all| all.get(REVISION_ANNOTATION));
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
                share::DESIRED: spec["replicas"].to_string(),
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
    let least = deployment.value()["spec"]["minReadySeconds"].as_u64().filter(|least| *least > 0);
    if new.value()["spec"]["minReadySeconds"].as_u64() != least {
        // One that is gone waits for nothing.
        let _ = store.change(&new.key(), |set| match least {
            Some(least) => set["spec"]["minReadySeconds"] = least.into(),
            None => remove(&mut set["spec"], "minReadySeconds"),
        });
    }
    for key in [new.key(), deployment.key()] {
        // One that is gone needs no number.
        let _ = store.change(&key, |object| {
            object["metadata"]["annotations"][REVISION_ANNOTATION] = number.as_str().into();
        });
    }
}

/// How far a roll-out may go beyond and below the number of replicas.
struct Bounds {
    surge: usize,
    unavailable: usize,
}

fn bounds(spec: &DeploymentSpec) -> Bounds {
    let wanted = number(spec.replicas.unwrap_or(1));
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let surge = number_or_percent(surge, wanted, true);
    let unavailable = number_or_percent(unavailable, wanted, false);
    // Both 0 would stand still for ever, which rounding can bring about.
    let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
    Bounds { surge, unavailable: unavailable.min(wanted) }
}

/// An `IntOrString` of `whole`, rounded up or down; 25% where there is none.
fn number_or_percent(value: Option<&IntOrString>, whole: usize, up: bool) -> usize {
    let text = match value {
        Some(IntOrString::Int(value)) => return number(*value),
        Some(IntOrString::String(text)) => text,
        None => "25%",
    };
    let percent: usize = text.trim_end_matches('%').parse().unwrap_or(25);
    let product = whole.saturating_mul(percent);
    if up { product.div_ceil(100) } else { product / 100 }
}

/// Scales the sets of a Deployment whose number of replicas has been changed. Whether it has.
fn rescale(
    store: &Store,
    deployment: &Object,
    spec: &DeploymentSpec,
    new: &Arc<Object>,
    old: &[Arc<Object>],
) -> bool {
    let wanted = number(spec.replicas.unwrap_or(1));
    let all: Vec<_> = [new].into_iter().chain(old).cloned().collect();
    if is_recreated(spec) || !share::is_scaled(&all, wanted) {
        return false;
    }
    for (set, to) in share::shares(&all, wanted, wanted + bounds(spec).surge) {
        scale(store, deployment, &set, to);
        // One that stays as it is has been seen to.
        annotate(store, deployment, &set);
    }
    true
}

/// Notes on a set what its Deployment wanted when it was scaled.
fn annotate(store: &Store, deployment: &Object, set: &Object) {
    let Some(spec) = &deployment.typed::<Deployment>().spec else { return };
    let wanted = number(spec.replicas.unwrap_or(1));
    let most = if is_recreated(spec) { wanted } else { wanted + bounds(spec).surge };
    // One that is gone needs no note.
    let _ = store.change(&set.key(), |set| {
        let annotations = &mut set["metadata"]["annotations"];
        annotations[share::DESIRED] = wanted.to_string().into();
        annotations[share::MOST] = most.to_string().into();
    });
}

fn is_recreated(spec: &DeploymentSpec) -> bool {
    let strategy = spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    strategy == Some("Recreate")
}

/// Moves replicas one step from the old sets to the new one.
fn shift(
    store: &Store,
    deployment: &Object,
    spec: &DeploymentSpec,
    new: &Arc<Object>,
    old: &[Arc<Object>],
) {
    let wanted = number(spec.replicas.unwrap_or(1));
    let old_replicas: usize = old.iter().map(|set| replicas(set)).sum();
    let now_new = replicas(new);
    if is_recreated(spec) {
        for set in old {
            scale(store, deployment, set, 0);
        }
        let gone = old.iter().all(|set| pods_of(store, set).is_empty());
        scale(store, deployment, new, if gone { wanted } else { now_new.min(wanted) });
        return;
    }
    let Bounds { surge, unavailable } = bounds(spec);
    let room = wanted.saturating_add(surge).saturating_sub(old_replicas + now_new);
    let now_new = wanted.min(now_new + room);
    scale(store, deployment, new, now_new);

    // `reconcileOldReplicaSets`: of those that are not ready so many as the new ones that are not leave.
    let available = |set: &Object| status(set).map_or(0, available);
    let least = wanted.saturating_sub(unavailable);
    let all_available = available(new) + old.iter().map(|set| available(set)).sum::<usize>();
    let new_unready = now_new.saturating_sub(available(new));
    let most = (old_replicas + now_new).saturating_sub(least + new_unready);
    let (mut broken, mut spare) = (most, all_available.saturating_sub(least).min(most));
    for set in old.iter().filter(|set| replicas(set) > 0) {
        let unready = replicas(set).saturating_sub(available(set)).min(broken);
        broken -= unready;
        let down = spare.min(replicas(set) - unready);
        spare -= down;
        scale(store, deployment, set, replicas(set) - unready - down);
    }
}

fn status(set: &Object) -> Option<&ReplicaSetStatus> {
    set.typed::<ReplicaSet>().status.as_ref()
}

fn ready(status: &ReplicaSetStatus) -> usize {
    number(status.ready_replicas.unwrap_or(0))
}

fn available(status: &ReplicaSetStatus) -> usize {
    number(status.available_replicas.unwrap_or(0))
}

fn exist(status: &ReplicaSetStatus) -> usize {
    number(status.replicas)
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
    // One that is gone needs no replicas.
    let _ = store.change(&set.key(), |set| set["spec"]["replicas"] = to.into());
    annotate(store, deployment, set);
}

/// Removes the oldest of the sets that are kept for `rollout undo`.
fn prune(store: &Store, spec: &DeploymentSpec, old: &[Arc<Object>]) {
    let limit = number(spec.revision_history_limit.unwrap_or(10));
    let is_idle = |set: &Object| replicas(set) == 0 && status(set).map_or(0, exist) == 0;
    let mut idle: BTreeMap<u64, &Arc<Object>> = BTreeMap::new();
    for set in old.iter().filter(|set| is_idle(set)) {
        idle.insert(revision(set), set);
    }
    let excess = idle.len().saturating_sub(limit);
    for set in idle.into_values().take(excess) {
        garbage::delete(store, set);
    }
}

fn update_status(store: &Store, deployment: &Object, spec: &DeploymentSpec, hash: &str) {
    let sets = sets_of(store, deployment);
    let sum = |count: fn(&ReplicaSetStatus) -> usize| -> usize {
        sets.iter().filter_map(|set| status(set)).map(count).sum()
    };
    let new = sets
        .iter()
        .find(|set| set.labels().get(TEMPLATE_HASH_LABEL).is_some_and(|one| one == hash));
    let updated = new.and_then(|set| status(set)).map_or(0, exist);
    let (total, ready, ready_for_long) = (sum(exist), sum(ready), sum(available));
    let wanted = number(spec.replicas.unwrap_or(1));
    let least = wanted - bounds(spec).unavailable.min(wanted);
    let available = ready_for_long >= least;
    let complete = updated == wanted && total == wanted && ready_for_long >= wanted;
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
        let conditions = vec![
            condition(&before, "Available", available, detail),
            condition(&before, "Progressing", true, Some(progress)),
        ];
        let conditions = with_those_of_others(&before, conditions);
        object["status"] = json!({
            "observedGeneration": object["metadata"]["generation"],
            "replicas": total,
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": ready_for_long,
            "unavailableReplicas": wanted.max(total).saturating_sub(ready_for_long),
            "conditions": conditions,
        });
    });
}
