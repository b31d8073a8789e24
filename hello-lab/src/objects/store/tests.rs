//! The promises of the store, one by one.

use serde_json::json;

use super::*;

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"priority": 1}})
}

fn key(name: &str) -> Key {
    Key::new(Kind::Pod, "n", name)
}

#[test]
fn objects_are_listed_by_kind_and_namespace_in_order() {
    let store = Store::default();
    for (kind, namespace, name) in [
        (Kind::Pod, "b", "z"),
        (Kind::Pod, "a", "y"),
        (Kind::Pod, "b", "x"),
        (Kind::Service, "a", "w"),
    ] {
        let value = json!({"metadata": {"name": name, "namespace": namespace}});
        store.create(kind, value).unwrap();
    }
    let names = |namespace| {
        let (objects, version) = store.list(Kind::Pod, namespace);
        assert_eq!(version, 4);
        objects.iter().map(|object| object.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["y", "x", "z"]);
    assert_eq!(names(Some("b")), ["x", "z"]);
    assert!(names(Some("")).is_empty());
}

#[test]
fn the_generation_follows_the_spec_only() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    let labelled = store.change(&key("p"), |pod| pod["metadata"]["labels"] = json!({"a": "b"}));
    assert_eq!(labelled.unwrap().generation(), 1);
    let changed = store.change(&key("p"), |pod| pod["spec"]["priority"] = 2.into());
    assert_eq!(changed.unwrap().generation(), 2);
}

#[test]
fn a_change_of_nothing_is_not_logged() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    store.change(&key("p"), |_| {}).unwrap();
    assert_eq!(store.version(), 1);
}

#[test]
fn an_outdated_resource_version_is_a_conflict() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    let result = store.change(&key("p"), |pod| {
        pod["metadata"]["resourceVersion"] = "0".into();
    });
    assert_eq!(result.unwrap_err(), StoreError::Conflict(key("p")));
}

#[test]
fn names_and_uids_cannot_be_changed() {
    let store = Store::default();
    let uid = store.create(Kind::Pod, pod("p")).unwrap().uid().to_owned();
    let changed = store.change(&key("p"), |pod| {
        pod["metadata"]["name"] = "q".into();
        pod["metadata"]["uid"] = "u".into();
    });
    let changed = changed.unwrap();
    assert_eq!((changed.name(), changed.uid()), ("p", uid.as_str()));
}

#[test]
fn a_watch_sees_every_change_once_and_in_order() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    let start = store.version();
    store.change(&key("p"), |pod| pod["spec"]["priority"] = 2.into()).unwrap();
    store.remove(&key("p")).unwrap();
    let events = store.since(start).unwrap();
    let seen: Vec<_> = events.iter().map(|event| (event.version, event.change)).collect();
    assert_eq!(seen, [(2, Change::Modified), (3, Change::Deleted)]);
    assert_eq!(events[1].object.value()["spec"]["priority"], 2);
    assert!(store.since(3).unwrap().is_empty());
}

#[tokio::test]
async fn who_waits_for_a_kind_is_not_woken_for_another() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    assert_eq!(store.changed(0, &[Kind::Pod]).await, 1);
    let waiting = store.changed(1, &[Kind::Pod]);
    tokio::pin!(waiting);
    let event = json!({"metadata": {"name": "e", "namespace": "n"}});
    store.create(Kind::Event, event).unwrap();
    assert!(futures_util::poll!(&mut waiting).is_pending());
    store.remove(&key("p")).unwrap();
    assert_eq!(waiting.await, 3);
}

#[test]
fn a_watch_from_before_the_log_is_told_so() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    for a in 0..LOG_LENGTH {
        store.change(&key("p"), |pod| pod["spec"]["priority"] = (a + 5).into()).unwrap();
    }
    assert_eq!(store.since(0).unwrap_err(), StoreError::TooOld(0));
    assert_eq!(store.since(1).unwrap().len(), LOG_LENGTH);
}

#[test]
fn a_change_may_use_the_store() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let other = store.clone();
    std::thread::spawn(move || {
        let changed = other.change(&key("p"), |changed| {
            let (pods, _) = other.list(Kind::Pod, None);
            changed["spec"]["priority"] = (pods.len() + 5).into();
            // Also to change it, once, what is being changed.
            if pods.len() == 1 {
                other.create(Kind::Pod, pod("q")).unwrap();
                other.change(&key("p"), |pod| pod["spec"]["hostname"] = "h".into()).unwrap();
            }
        });
        sender.send(changed.unwrap()).unwrap();
    });
    let changed = receiver.recv_timeout(std::time::Duration::from_secs(10));
    let changed = changed.expect("the change to end");
    assert_eq!(changed.value()["spec"], json!({"priority": 7, "hostname": "h"}));
}

#[test]
fn no_change_of_many_at_once_is_lost() {
    const EACH: usize = 200;
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let count = |pod: &mut Value| {
                        let before = pod["spec"]["priority"].as_i64().unwrap();
                        pod["spec"]["priority"] = (before + 1).into();
                    };
                    store.change(&key("p"), count).unwrap();
                }
            });
        }
    });
    let changed = store.get(&key("p")).unwrap();
    assert_eq!(changed.value()["spec"]["priority"], 1 + 8 * EACH);
    assert_eq!(changed.generation(), 1 + i64::try_from(8 * EACH).unwrap());
    assert_eq!(store.version(), 1 + 8 * EACH as u64);
}

#[test]
fn a_change_of_one_version_is_not_tried_on_another() {
    let store = Store::default();
    let version =
        store.create(Kind::Pod, pod("p")).unwrap().value()["metadata"]["resourceVersion"].clone();
    let mut tries = 0;
    let result = store.change(&key("p"), |pod| {
        tries += 1;
        if tries == 1 {
            // Somebody else is faster.
            store.change(&key("p"), |pod| pod["spec"]["hostname"] = "h".into()).unwrap();
        }
        pod["metadata"]["resourceVersion"] = version.clone();
        pod["spec"]["priority"] = 2.into();
    });
    assert_eq!(result.unwrap_err(), StoreError::Conflict(key("p")));
    assert_eq!(tries, 2);
    assert_eq!(store.get(&key("p")).unwrap().value()["spec"]["priority"], 1);
    let any = store.change(&key("p"), |pod| {
        pod["metadata"]["resourceVersion"] = "".into();
        pod["spec"]["priority"] = 2.into();
    });
    assert!(any.is_ok(), "an empty one is none, as Go has it");
}

#[test]
fn what_cannot_be_read_is_its_writers_error_and_changes_nothing() {
    let store = Store::default();
    let labels = json!({"metadata": {"name": "q", "namespace": "n", "labels": {"a": 1}}});
    assert!(matches!(store.create(Kind::Pod, labels), Err(StoreError::Unreadable(_))));
    for value in [json!("text"), json!([1]), json!({"metadata": "text"})] {
        assert!(matches!(store.create(Kind::Pod, value), Err(StoreError::Unreadable(_))));
    }
    store.create(Kind::Pod, pod("p")).unwrap();
    for value in [json!("text"), json!({"metadata": []}), json!({"spec": {"containers": 1}})] {
        let result = store.change(&key("p"), |pod| *pod = value.clone());
        assert!(matches!(result, Err(StoreError::Unreadable(_))), "{value}");
    }
    assert_eq!(store.version(), 1);
    assert_eq!(store.list(Kind::Pod, None).0.len(), 1);
}

#[test]
fn nulls_are_stored_as_what_they_are_read_as() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    let null = |pod: &mut Value| {
        pod["metadata"]["labels"] = json!({"team": null});
        pod["spec"]["hostname"] = Value::Null;
    };
    let changed = store.change(&key("p"), null).unwrap();
    assert_eq!(changed.labels()["team"], "");
    assert_eq!(changed.value()["spec"], json!({"priority": 1}));
    assert_eq!(changed.generation(), 1);
    store.change(&key("p"), null).unwrap();
    assert_eq!(store.version(), 2, "the same again is no change");
}

#[test]
fn the_log_holds_no_more_than_its_bytes_and_always_the_latest() {
    let store = Store::default();
    let text = "x".repeat(LOG_BYTES / 4);
    let map = |n: usize| json!({"metadata": {"name": n.to_string()}, "data": {"a": text}});
    for n in 0..8 {
        store.create(Kind::ConfigMap, map(n)).unwrap();
    }
    assert_eq!(store.since(5).unwrap().len(), 3);
    assert_eq!(store.since(4).unwrap_err(), StoreError::TooOld(4));
    let huge = json!({"metadata": {"name": "h"}, "data": {"a": text.repeat(5)}});
    store.create(Kind::ConfigMap, huge).unwrap();
    assert_eq!(store.since(8).unwrap().len(), 1);
    assert_eq!(store.since(7).unwrap_err(), StoreError::TooOld(7));
    store.create(Kind::ConfigMap, map(9)).unwrap();
    assert_eq!(store.since(9).unwrap().len(), 1);
    let inner = store.lock();
    assert_eq!(inner.log_bytes, inner.log.iter().map(|event| event.object.size()).sum::<usize>());
}

#[test]
fn what_is_there_cannot_be_created_and_what_is_not_cannot_be_changed() {
    let store = Store::default();
    store.create(Kind::Pod, pod("p")).unwrap();
    assert!(matches!(store.create(Kind::Pod, pod("p")), Err(StoreError::AlreadyExists(_))));
    assert_eq!(store.remove(&key("q")).unwrap_err().to_string(), "pods \"q\" not found");
}
