//! Events: what `kubectl describe` and `kubectl get events` tell of an object.

use serde_json::json;

use super::kind::{Key, Kind};
use super::meta::now;
use super::object::Object;
use super::store::Store;

/// How an event is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Worth a look.
    Warning,
}

/// Records that `reason` happened to `object`; the same again raises a count.
pub fn record(
    store: &Store,
    component: &str,
    object: &Object,
    severity: Severity,
    reason: &str,
    message: &str,
) {
    let severity = if severity == Severity::Normal { "Normal" } else { "Warning" };
    let namespace = match object.namespace() {
        "" => "default",
        namespace => namespace,
    };
    let same = |event: &Object| {
        let value = event.value();
        value["involvedObject"]["uid"] == object.uid()
            && value["reason"] == reason
            && value["message"] == message
    };
    let (events, _) = store.list(Kind::Event, Some(namespace));
    let time = now();
    if let Some(event) = events.iter().find(|event| same(event)) {
        // An event that is deleted meanwhile needs no count.
        let _ = store.change(&event.key(), |event| {
            event["count"] = (event["count"].as_i64().unwrap_or(1) + 1).into();
            event["lastTimestamp"] = time.as_str().into();
        });
        return;
    }
    let name = format!("{}.{:016x}", object.name(), rand::random::<u64>());
    let event = json!({
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": object.kind().api_version(),
            "kind": object.kind().resource().kind,
            "namespace": object.namespace(),
            "name": object.name(),
            "uid": object.uid(),
        },
        "type": severity,
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": component},
        "reportingComponent": component,
    });
    if let Err(error) = store.create(Kind::Event, event) {
        tracing::debug!("an event was not recorded: {error}");
    }
    trim(store, namespace);
}

/// Events kept for each namespace; the oldest go first.
const KEPT: usize = 1000;

fn trim(store: &Store, namespace: &str) {
    let (events, _) = store.list(Kind::Event, Some(namespace));
    if events.len() > KEPT {
        let oldest = events.iter().min_by_key(|event| event.value()["lastTimestamp"].to_string());
        if let Some(oldest) = oldest {
            let _ = store.remove(&Key::new(Kind::Event, namespace, oldest.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_event_again_is_counted() {
        let store = Store::default();
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}});
        let pod = store.create(Kind::Pod, pod).unwrap();
        for message in ["a", "b", "a"] {
            record(&store, "kubelet", &pod, Severity::Normal, "Started", message);
        }
        let (events, _) = store.list(Kind::Event, Some("n"));
        let mut counts: Vec<_> =
            events.iter().map(|event| event.value()["count"].as_i64().unwrap()).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 2]);
    }
}
