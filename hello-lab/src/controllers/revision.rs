//! The templates that a `StatefulSet` or a `DaemonSet` has had, by which `kubectl rollout` knows and undoes
//! (pkg/controller/history).

use std::sync::Arc;

use netpol::selector::Selector;
use serde_json::{Value, json};

use super::garbage;
use super::pods::{claim, template_hash};
use crate::objects::meta::owner_reference;
use crate::objects::{Kind, Object, Store};

/// The label of a pod that names the template it is of (`ControllerRevisionHashLabelKey`).
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";

/// The label of a revision by which its template is known again (`ControllerRevisionHashLabel`).
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The revisions of `owner`, the oldest first and that of its template last: made, or made the last again.
pub(super) fn sync(store: &Store, owner: &Object, selector: &Selector) -> Vec<Arc<Object>> {
    let template = &owner.value()["spec"]["template"];
    let hash = template_hash(template);
    let (all, _) = store.list(Kind::ControllerRevision, Some(owner.namespace()));
    let mut all = claim(store, owner, selector, all);
    all.sort_by_key(|one| number(one));
    let next = all.last().map_or(0, |last| number(last)) + 1;
    let known = all.iter().position(|one| one.labels().get(HASH_LABEL) == Some(&hash));
    match known {
        Some(place) if place + 1 == all.len() => {}
        Some(place) => {
            let one = all.remove(place);
            all.extend(store.change(&one.key(), |one| one["revision"] = next.into()));
        }
        None => {
            let mut labels = template["metadata"]["labels"].clone();
            for (label, value) in [(HASH_LABEL, &hash), (REVISION_LABEL, &hash)] {
                labels[label] = value.as_str().into();
            }
            let mut whole = template.clone();
            whole["$patch"] = "replace".into();
            let one = json!({
                "metadata": {
                    "name": format!("{}-{hash}", owner.name()),
                    "namespace": owner.namespace(),
                    "labels": labels,
                    "ownerReferences": [owner_reference(owner)],
                },
                "data": {"spec": {"template": whole}},
                "revision": next,
            });
            all.extend(store.create(Kind::ControllerRevision, one));
        }
    }
    all
}

fn number(revision: &Object) -> i64 {
    revision.value()["revision"].as_i64().unwrap_or(0)
}

/// The template of a revision.
pub(super) fn template(revision: &Object) -> Value {
    let mut template = revision.value()["data"]["spec"]["template"].clone();
    crate::objects::object::remove(&mut template, "$patch");
    template
}

/// Removes the oldest of those that no pod is of, beyond `limit`.
pub(super) fn prune(
    store: &Store,
    all: &[Arc<Object>],
    limit: Option<i32>,
    is_used: impl Fn(&Object) -> bool,
) {
    let limit = super::pods::number(limit.unwrap_or(10));
    let Some((_, old)) = all.split_last() else { return };
    let idle: Vec<_> = old.iter().filter(|one| !is_used(one)).collect();
    for one in idle.iter().take(idle.len().saturating_sub(limit)) {
        garbage::delete(store, one);
    }
}
