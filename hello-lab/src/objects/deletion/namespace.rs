//! How a namespace goes: its pods first, and what lets nobody near them stays until they have ended; then all else
//! that is in it (`namespacedResourcesDeleter` of pkg/controller/namespace, and
//! <https://kep.k8s.io/5080>).

use std::sync::Arc;

use serde_json::Value;

use super::{Propagation, delete_this, ended};
use crate::objects::kind::Kind;
use crate::objects::meta::{condition, with_those_of_others};
use crate::objects::object::Object;
use crate::objects::store::Store;

/// What a namespace waits for that the cluster itself does: its objects' end.
const OWN_FINALIZER: &str = "kubernetes";

/// Deletes all that is in a namespace which is being deleted, and then the namespace.
pub fn empty(store: &Store, namespace: &Object) {
    let objects = |kind| store.list(kind, Some(namespace.name())).0;
    let delete = |kind| {
        for object in objects(kind).iter().filter(|object| !object.is_terminating()) {
            delete_this(store, object, Propagation::Background);
        }
        objects(kind)
    };
    // A pod has to end first, and what has finalizers waits for them.
    let mut left = delete(Kind::Pod);
    if left.is_empty() {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.resource().namespaced);
        left = kinds.flat_map(delete).collect();
    }
    if left.is_empty() {
        ended(store, &namespace.key(), namespace.uid());
    } else {
        tell(store, namespace, &left);
    }
}

/// Says in the namespace's status what it waits for.
fn tell(store: &Store, namespace: &Object, left: &[Arc<Object>]) {
    let mut kinds: Vec<_> = left.iter().map(|object| object.kind()).collect();
    kinds.dedup();
    let count = |kind: &Kind| left.iter().filter(|object| object.kind() == *kind).count();
    let words = kinds.iter().map(|kind| {
        format!("{} has {} resource instances", kind.resource().qualified(), count(kind))
    });
    let remaining =
        format!("Some resources are remaining: {}", words.collect::<Vec<_>>().join(", "));
    let names: Vec<_> = kinds.iter().map(|kind| kind.resource().qualified()).collect();
    let failure = format!(
        "Failed to delete all resource types, {} remaining: unexpected items still remain in namespace: {} for {}",
        kinds.len(),
        namespace.name(),
        names.join(", ")
    );
    // One that is gone waits for nothing.
    let _ = store.change(&namespace.key(), |object| {
        let status = &mut object["status"];
        let conditions = vec![
            condition(
                status,
                "NamespaceDeletionContentFailure",
                true,
                Some(("ContentDeletionFailed", failure.clone())),
            ),
            condition(
                status,
                "NamespaceContentRemaining",
                true,
                Some(("SomeResourcesRemain", remaining.clone())),
            ),
        ];
        status["conditions"] = with_those_of_others(status, conditions).into();
    });
}

/// Whether somebody else has to do something before an empty namespace is gone: they take their mark out of
/// its spec by the subresource `finalize`. The cluster's own mark is taken out here.
pub(super) fn waits_for_others(store: &Store, namespace: &Object) -> bool {
    let list = namespace.value()["spec"]["finalizers"].as_array();
    if !list.is_some_and(|list| list.iter().any(|one| one != OWN_FINALIZER)) {
        return false;
    }
    // One that is gone has none.
    let _ = store.change(&namespace.key(), |namespace: &mut Value| {
        if let Some(list) = namespace["spec"]["finalizers"].as_array_mut() {
            list.retain(|one| one != OWN_FINALIZER);
        }
    });
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Deletion, delete};
    use super::*;
    use crate::objects::kind::Key;
    use crate::objects::names::NODE_NAME;

    fn store() -> (Store, Key) {
        let store = Store::default();
        let finalizers = json!({"finalizers": ["kubernetes", "a.b/x"]});
        let namespace = json!({"metadata": {"name": "n"}, "spec": finalizers});
        store.create(Kind::Namespace, namespace).unwrap();
        (store, Key::new(Kind::Namespace, "", "n"))
    }

    #[test]
    fn a_namespace_is_there_until_those_have_finished_whose_mark_is_in_its_spec() {
        let (store, key) = store();
        let (_, gone) = delete(&store, &key, &Deletion::default()).unwrap();
        assert!(!gone);
        let namespace = store.get(&key).unwrap();
        assert_eq!(namespace.value()["spec"]["finalizers"], json!(["a.b/x"]));
        store.change(&key, |namespace| namespace["spec"]["finalizers"] = json!([])).unwrap();
        empty(&store, &store.get(&key).unwrap());
        assert!(store.get(&key).is_err());
    }

    #[test]
    fn a_namespaces_pods_end_first_and_its_policies_hold_until_then() {
        let (store, key) = store();
        store.change(&key, |namespace| namespace["spec"]["finalizers"] = json!([])).unwrap();
        let metadata = json!({"metadata": {"name": "a", "namespace": "n"}});
        let mut pod = metadata.clone();
        pod["spec"]["nodeName"] = NODE_NAME.into();
        store.create(Kind::Pod, pod).unwrap();
        store.create(Kind::NetworkPolicy, metadata).unwrap();
        let (namespace, gone) = delete(&store, &key, &Deletion::default()).unwrap();
        assert!(!gone && namespace.value()["status"]["phase"] == "Terminating");
        let (pod, policy) =
            (Key::new(Kind::Pod, "n", "a"), Key::new(Kind::NetworkPolicy, "n", "a"));
        assert!(store.get(&pod).unwrap().is_terminating() && store.get(&policy).is_ok());
        let conditions = store.get(&key).unwrap().value()["status"]["conditions"].clone();
        assert_eq!(conditions[0]["type"], "NamespaceDeletionContentFailure");
        let uid = store.get(&pod).unwrap().uid().to_owned();
        ended(&store, &pod, &uid);
        empty(&store, &store.get(&key).unwrap());
        assert!(store.get(&policy).is_err() && store.get(&key).is_err());
    }
}
