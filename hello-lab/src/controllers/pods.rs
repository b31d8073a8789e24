//! What the controllers that own pods share: how pods are counted, made and deleted, and how objects are
//! adopted and let go of by their labels (`ControllerRefManager` of pkg/controller).

use std::hash::Hasher;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use netpol::selector::Selector;
use serde_json::{Value, json};

use super::garbage;
use crate::objects::admission::check_namespace;
use crate::objects::events::{Severity, record};
use crate::objects::meta::{owner_reference, safe_encode};
use crate::objects::{Kind, Object, Store, defaults, scheduling};

pub(super) fn status(pod: &Object) -> Option<&PodStatus> {
    pod.typed::<Pod>().status.as_ref()
}

/// `status.phase`.
pub(super) fn phase(pod: &Object) -> &str {
    status(pod).and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether a pod has ended for good.
pub(super) fn has_ended(pod: &Object) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
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

/// A count of the API; validation refuses negative ones.
pub(super) fn number(count: i32) -> usize {
    usize::try_from(count).unwrap_or(0)
}

/// Those that sort first are given up first: not ready before ready, young before old.
pub(super) fn keep_rank(pod: &Object) -> (bool, std::cmp::Reverse<String>) {
    (is_ready(pod), std::cmp::Reverse(pod.created().to_owned()))
}

/// The name of one of many, as the API server generates it: what is too long for a label loses its end
/// (`maxGeneratedNameLength` of k8s.io/apiserver/pkg/storage/names).
pub(super) fn generated_name(owner: &str, suffix: &str) -> String {
    let base: String = format!("{owner}-").chars().take(63 - 5).collect();
    format!("{base}{suffix}")
}

/// Names the template: the same for the same content, whatever the order of its fields.
pub(super) fn template_hash(template: &Value) -> String {
    // Objects are sorted, so equal templates are equal texts. The hasher's keys are fixed.
    #[expect(deprecated, reason = "the only one in std whose result never changes")]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(template.to_string().as_bytes());
    let hash = hasher.finish();
    #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
    safe_encode(hash as u32)
}

/// A pod of `owner`, of its template's JSON: not stored yet.
pub(super) fn pod_of(owner: &Object, template: &Value, name: &str) -> Value {
    let mut metadata = template["metadata"].clone();
    if !metadata.is_object() {
        metadata = json!({});
    }
    metadata["name"] = name.into();
    metadata["namespace"] = owner.namespace().into();
    metadata["ownerReferences"] = json!([owner_reference(owner)]);
    json!({
        "metadata": metadata,
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    })
}

/// Stores a pod, with its defaults. None where its name is taken: the next step tries again. Nor is there one
/// in a namespace that is being deleted.
pub(super) fn create(store: &Store, mut pod: Value) -> Option<Arc<Object>> {
    check_namespace(store, &pod, Kind::Pod).inspect_err(|error| tracing::debug!("{error}")).ok()?;
    defaults::apply(Kind::Pod, &mut pod);
    scheduling::place(store, &mut pod);
    store.create(Kind::Pod, pod).inspect_err(|error| tracing::debug!("{error}")).ok()
}

/// Tells of `owner` that all is as it should be.
pub(super) fn tell(store: &Store, component: &str, owner: &Object, reason: &str, message: &str) {
    record(store, component, owner, Severity::Normal, reason, message);
}

/// Deletes a pod of `owner`, and tells.
pub(super) fn delete(store: &Store, component: &str, owner: &Object, pod: &Object) {
    let message = format!("Deleted pod: {}", pod.name());
    tell(store, component, owner, "SuccessfulDelete", &message);
    garbage::delete(store, pod);
}

/// A selector of labels; none where there is no valid one, which validation lets nobody write.
pub(super) fn selector(selector: Option<&LabelSelector>) -> Option<Selector> {
    Selector::from_api("spec.selector", selector?).ok()
}

/// Which of `objects` are `owner`'s: those that it controls. One that nobody controls and that its selector
/// matches is adopted, and one whose labels it matches no more is let go of (`ClaimObject`).
pub(super) fn claim(
    store: &Store,
    owner: &Object,
    selector: &Selector,
    objects: Vec<Arc<Object>>,
) -> Vec<Arc<Object>> {
    objects.into_iter().filter_map(|object| claim_one(store, owner, selector, object)).collect()
}

fn claim_one(
    store: &Store,
    owner: &Object,
    selector: &Selector,
    object: Arc<Object>,
) -> Option<Arc<Object>> {
    let matches = selector.matches(&object.labels());
    match object.controller() {
        Some(uid) if uid == owner.uid() => {
            if matches || owner.is_terminating() {
                return Some(object);
            }
            garbage::let_go(store, &object, |reference| reference["uid"] != owner.uid());
            None
        }
        None if matches && !owner.is_terminating() && !object.is_terminating() => {
            let adopted = store.change(&object.key(), |value| {
                let is_free = |value: &Value| {
                    let owners = value["metadata"]["ownerReferences"].as_array();
                    !owners.into_iter().flatten().any(|one| one["controller"] == true)
                };
                if value["metadata"]["uid"] == object.uid() && is_free(value) {
                    let references = &mut value["metadata"]["ownerReferences"];
                    if !references.is_array() {
                        *references = json!([]);
                    }
                    if let Some(references) = references.as_array_mut() {
                        references.push(owner_reference(owner));
                    }
                }
            });
            adopted.ok().filter(|object| object.controller() == Some(owner.uid()))
        }
        // Another's, or nobody's.
        _ => None,
    }
}
