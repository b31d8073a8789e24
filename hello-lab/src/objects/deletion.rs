//! How pods are deleted: in two steps, so that their processes can end in order.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::kind::Key;
use super::meta::timestamp;
use super::names::DNS_POD;
use super::object::Object;
use super::store::{Store, StoreError};

/// Marks a pod for deletion; its worker ends it and removes it. With a grace period of 0 it
/// is removed at once. Without one the pod's own counts.
pub fn terminate_pod(
    store: &Store,
    key: &Key,
    grace_seconds: Option<u64>,
) -> Result<Arc<Object>, StoreError> {
    let pod = store.get(key)?;
    let own = pod.value()["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    // The DNS's pod is no process, so nothing has to end: it is gone before kubectl looks, which would
    // else take the one that comes in its place for the old one, and wait for ever.
    let is_dns = (key.namespace.as_str(), key.name.as_str()) == DNS_POD;
    let grace = if is_dns { 0 } else { grace_seconds.unwrap_or(own) };
    if grace == 0 {
        return store.remove(key);
    }
    store.change(key, |pod| {
        let metadata = &mut pod["metadata"];
        // A second request can only shorten the first.
        let before = metadata["deletionGracePeriodSeconds"].as_u64();
        if before.is_none_or(|before| grace < before) {
            let end = Timestamp::now() + Duration::from_secs(grace.min(86_400));
            metadata["deletionTimestamp"] = timestamp(end).into();
            metadata["deletionGracePeriodSeconds"] = grace.into();
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::kind::Kind;

    #[test]
    fn a_pod_has_its_own_grace_period_unless_the_request_has_another() {
        let store = Store::default();
        let key = Key::new(Kind::Pod, "n", "p");
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"terminationGracePeriodSeconds": 7},
        });
        store.create(Kind::Pod, pod).unwrap();
        let grace = |seconds| {
            let pod = terminate_pod(&store, &key, seconds).unwrap();
            assert!(pod.is_terminating() || seconds == Some(0));
            pod.value()["metadata"]["deletionGracePeriodSeconds"].as_u64()
        };
        assert_eq!(grace(None), Some(7));
        assert_eq!(grace(Some(9)), Some(7), "it cannot be made longer");
        assert_eq!(grace(Some(2)), Some(2));
        grace(Some(0));
        assert!(store.get(&key).is_err());
    }
}
