//! When a pod counts as available: once it has been ready for its workload's `minReadySeconds` (`IsPodAvailable`
//! of pkg/api/v1/pod).

use std::time::Duration;

use jiff::Timestamp;

use super::pods::{is_ready, status};
use crate::objects::{Kind, Object, Store};

/// The kinds that have pods of their own and wait for them to be available.
const KINDS: [Kind; 3] = [Kind::ReplicaSet, Kind::DaemonSet, Kind::StatefulSet];

/// Whether a pod is available now, of a workload with this `minReadySeconds`.
pub(super) fn is_available(pod: &Object, min_ready_seconds: Option<i32>) -> bool {
    left(pod, min_ready_seconds.unwrap_or(0).into(), Timestamp::now()) == Some(Duration::ZERO)
}

/// When a pod will be available that is only ready by now, the first of all that are.
pub(super) fn next(store: &Store) -> Option<Duration> {
    let now = Timestamp::now();
    let sets = KINDS.into_iter().flat_map(|kind| store.list(kind, None).0);
    let waiting = sets.filter_map(|set| {
        let least = set.value()["spec"]["minReadySeconds"].as_i64().filter(|least| *least > 0)?;
        let (pods, _) = store.list(Kind::Pod, Some(set.namespace()));
        let own = pods.iter().filter(|pod| pod.controller() == Some(set.uid()));
        own.filter_map(|pod| left(pod, least, now)).filter(|left| !left.is_zero()).min()
    });
    waiting.min()
}

/// How long a pod has to stay ready until it is available; none where it is not ready.
fn left(pod: &Object, least: i64, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if least <= 0 {
        return Some(Duration::ZERO);
    }
    let conditions = status(pod)?.conditions.as_ref()?;
    let since =
        conditions.iter().find(|one| one.type_ == "Ready")?.last_transition_time.as_ref()?;
    let due = since.0.as_second().saturating_add(least);
    let millis = due.saturating_mul(1000).saturating_sub(now.as_millisecond());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_available_once_it_has_been_ready_for_so_long() {
        let pod = |status: &str| {
            let ready = json!({"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:10Z"});
            let pod = json!({"metadata": {"name": "p"}, "status": {"conditions": [ready]}});
            Object::new(Kind::Pod, pod).unwrap()
        };
        let now = "2026-01-01T00:00:12.5Z".parse().unwrap();
        for (least, expected) in [(0, 0), (2, 0), (3, 500), (10, 7500)] {
            let expected = Some(Duration::from_millis(expected));
            assert_eq!(left(&pod("True"), least, now), expected, "{least}");
            assert_eq!(left(&pod("False"), least, now), None);
        }
    }
}
