//! Removes objects whose owners are gone, and does what owners wait for that are deleted with what they own,
//! or without (pkg/controller/garbagecollector of k8s.io/kubernetes).

use std::sync::Arc;

use serde_json::Value;

use crate::objects::deletion::{self, FOREGROUND, ORPHAN, Propagation, delete_this, has_finalizer};
use crate::objects::object::remove;
use crate::objects::{Key, Kind, Object, Store};

pub(super) fn step(store: &Store) {
    // Events are neither owners nor owned (`ignoredResources`).
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Event);
    let objects: Vec<_> = kinds.flat_map(|kind| store.list(kind, None).0).collect();
    let owned: Vec<_> = objects.iter().filter(|object| !owners(object).is_empty()).collect();
    for object in owned.iter().filter(|object| !object.is_terminating()) {
        collect(store, object, &owned);
    }
    for owner in objects.iter().filter(|object| object.is_terminating()) {
        if has_finalizer(owner, ORPHAN) {
            for object in owned.iter().filter(|object| is_owned_by(object, owner)) {
                let_go(store, object, |reference| reference["uid"] != owner.uid());
            }
            deletion::remove_finalizer(store, &owner.key(), ORPHAN);
        }
        if has_finalizer(owner, FOREGROUND) {
            let blocks = |object: &Object| {
                owners(object)
                    .iter()
                    .any(|one| one["uid"] == owner.uid() && one["blockOwnerDeletion"] == true)
            };
            let is_there = |object: &Object| {
                store.get(&object.key()).is_ok_and(|now| now.uid() == object.uid())
            };
            if !owned.iter().any(|object| blocks(object) && is_there(object)) {
                deletion::remove_finalizer(store, &owner.key(), FOREGROUND);
            }
        }
    }
}

fn owners(object: &Object) -> &[Value] {
    object.value()["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

fn is_owned_by(object: &Object, owner: &Object) -> bool {
    owners(object).iter().any(|reference| reference["uid"] == owner.uid())
}

/// What has become of an owner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is there, or of a kind of which nobody here can know.
    There,
    /// It waits until what it owns is gone.
    Waits,
    Gone,
}

/// Looks an owner up, after the object that names it was seen: an owner is made before what it owns.
fn look_up(store: &Store, object: &Object, reference: &Value) -> Owner {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let Some(kind) = Kind::named(text("apiVersion"), text("kind")) else { return Owner::There };
    let namespace = match (kind.resource().namespaced, object.kind().resource().namespaced) {
        (false, _) => "",
        (true, true) => object.namespace(),
        // Owners are in the namespace of what they own, and this is in none.
        (true, false) => return Owner::There,
    };
    match store.get(&Key::new(kind, namespace, text("name"))) {
        Ok(owner) if owner.uid() != text("uid") => Owner::Gone,
        Ok(owner) if owner.is_terminating() && has_finalizer(&owner, FOREGROUND) => Owner::Waits,
        Ok(_) => Owner::There,
        Err(_) => Owner::Gone,
    }
}

/// Deletes an object whose owners are all gone or wait for its end (`attemptToDeleteItem`).
fn collect(store: &Store, object: &Arc<Object>, owned: &[&Arc<Object>]) {
    let states: Vec<_> =
        owners(object).iter().map(|reference| look_up(store, object, reference)).collect();
    if states.iter().all(|state| *state == Owner::There) {
        return;
    }
    if states.contains(&Owner::There) {
        let_go(store, object, |reference| look_up(store, object, reference) == Owner::There);
        return;
    }
    let dependents = || owned.iter().filter(|other| is_owned_by(other, object));
    let owns = dependents().next().is_some();
    // Of a circle each would wait for the next.
    if states.contains(&Owner::Waits)
        && dependents().any(|other| other.is_terminating() && has_finalizer(other, FOREGROUND))
    {
        stop_blocking(store, object);
    }
    let propagation = if states.contains(&Owner::Waits) && owns {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    delete_this(store, object, propagation);
}

/// Lets the owners of an object end before it.
fn stop_blocking(store: &Store, object: &Object) {
    // One that is gone blocks nobody.
    let _ = store.change(&object.key(), |value| {
        if value["metadata"]["uid"] == object.uid() {
            let references = value["metadata"]["ownerReferences"].as_array_mut();
            for reference in references.into_iter().flatten() {
                reference["blockOwnerDeletion"] = false.into();
            }
        }
    });
}

/// Takes those owners away from an object that do not `stay`.
pub(super) fn let_go(store: &Store, object: &Object, stays: impl Fn(&Value) -> bool) {
    let uid = object.uid();
    // One that is gone needs no owner.
    let _ = store.change(&object.key(), |object| {
        if object["metadata"]["uid"] != uid {
            return;
        }
        if let Some(references) = object["metadata"]["ownerReferences"].as_array_mut() {
            references.retain(&stays);
            if references.is_empty() {
                remove(&mut object["metadata"], "ownerReferences");
            }
        }
    });
}

/// Deletes an object as a client would: a pod has its grace period, and its worker removes it.
pub(super) fn delete(store: &Store, object: &Object) {
    delete_this(store, object, Propagation::Background);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::deletion::Deletion;

    #[test]
    fn owners_that_wait_for_each_other_in_a_circle_all_go() {
        let store = Store::default();
        let key = |name: &str| Key::new(Kind::ConfigMap, "n", name);
        let mut uids = Vec::new();
        for name in ["a", "b", "c"] {
            let map = json!({"metadata": {"name": name, "namespace": "n"}});
            uids.push(store.create(Kind::ConfigMap, map).unwrap().uid().to_owned());
        }
        for (owned, owner) in [(0, 2), (1, 0), (2, 1)] {
            let names = ["a", "b", "c"];
            let reference = json!([{
                "apiVersion": "v1", "kind": "ConfigMap", "name": names[owner], "uid": uids[owner],
                "blockOwnerDeletion": true,
            }]);
            store
                .change(&key(names[owned]), |map| {
                    map["metadata"]["ownerReferences"] = reference.clone();
                })
                .unwrap();
        }
        let foreground = Deletion { propagation: Propagation::Foreground, ..Deletion::default() };
        deletion::delete(&store, &key("a"), &foreground).unwrap();
        for _ in 0..10 {
            step(&store);
        }
        assert!(store.list(Kind::ConfigMap, Some("n")).0.is_empty());
    }
}
