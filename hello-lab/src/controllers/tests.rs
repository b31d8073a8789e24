//! The controllers together, on a store without pods that really run.

use serde_json::{Value, json};

use super::*;
use crate::objects::{Key, Kind, Store};

fn deployment(image: &str, replicas: u64, strategy: &Value) -> Value {
    json!({
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {
            "replicas": replicas,
            "strategy": strategy,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn rolling(surge: u64, unavailable: u64) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

fn start(replicas: u64, strategy: &Value) -> Store {
    let store = Store::default();
    store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
    store.create(Kind::Deployment, deployment("a:1", replicas, strategy)).unwrap();
    settle(&store);
    store
}

/// Steps until nothing changes any more.
pub(super) fn settle(store: &Store) {
    for _ in 0..50 {
        let before = store.version();
        step(store);
        if store.version() == before {
            return;
        }
    }
    panic!("the controllers never come to rest");
}

/// Names and images of the pods.
fn pods(store: &Store) -> Vec<(String, String)> {
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    let (pods, _) = store.list(Kind::Pod, Some("n"));
    pods.iter().map(|pod| (pod.name().to_owned(), image(pod.value()))).collect()
}

/// Plays kubelet: every pod becomes ready, and those that are to end have ended.
fn run_pods(store: &Store) {
    for pod in store.list(Kind::Pod, Some("n")).0 {
        if pod.is_terminating() {
            store.remove(&pod.key()).unwrap();
        } else {
            let condition = json!([{"type": "Ready", "status": "True"}]);
            store
                .change(&pod.key(), |pod| {
                    pod["spec"]["nodeName"] = crate::objects::names::NODE_NAME.into();
                    pod["status"] = json!({"conditions": condition, "podIP": "10.244.0.9"});
                })
                .unwrap();
        }
    }
}

fn set_image(store: &Store, image: &str) {
    let key = Key::new(Kind::Deployment, "n", "d");
    store
        .change(&key, |object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        })
        .unwrap();
}

fn status(store: &Store) -> Value {
    store.get(&Key::new(Kind::Deployment, "n", "d")).unwrap().value()["status"].clone()
}

#[test]
fn a_deployment_becomes_pods_with_names_like_those_of_kubernetes() {
    let store = start(2, &rolling(1, 0));
    let pods = pods(&store);
    assert_eq!(pods.len(), 2);
    for (name, _) in pods {
        let parts: Vec<_> = name.split('-').collect();
        assert_eq!((parts.len(), parts[0], parts[2].len()), (3, "d", 5), "{name}");
    }
}

#[test]
fn a_deleted_pod_is_replaced_and_a_spare_one_is_given_up() {
    let store = start(2, &rolling(1, 0));
    let first = store.list(Kind::Pod, Some("n")).0[0].key();
    store.remove(&first).unwrap();
    settle(&store);
    assert_eq!(pods(&store).len(), 2);
    let key = Key::new(Kind::Deployment, "n", "d");
    store.change(&key, |object| object["spec"]["replicas"] = 1.into()).unwrap();
    settle(&store);
    run_pods(&store);
    settle(&store);
    assert_eq!(pods(&store).len(), 1);
}

#[test]
fn a_rolling_update_keeps_the_old_pod_until_the_new_one_is_ready() {
    let store = start(1, &rolling(1, 0));
    run_pods(&store);
    settle(&store);
    set_image(&store, "a:2");
    settle(&store);
    let images: Vec<_> = pods(&store).into_iter().map(|(_, image)| image).collect();
    assert_eq!(images.len(), 2, "one more, and none less: {images:?}");
    assert!(store.list(Kind::Pod, None).0.iter().all(|pod| !pod.is_terminating()));
    for _ in 0..3 {
        run_pods(&store);
        settle(&store);
    }
    assert_eq!(pods(&store)[0].1, "a:2");
    assert_eq!(pods(&store).len(), 1);
    assert_eq!(status(&store)["updatedReplicas"], 1);
}

#[test]
fn a_rolling_update_waits_until_the_new_pod_has_been_ready_for_min_ready_seconds() {
    let store = start(1, &rolling(1, 0));
    let key = Key::new(Kind::Deployment, "n", "d");
    store.change(&key, |object| object["spec"]["minReadySeconds"] = 60.into()).unwrap();
    let ready_since = |since: &str| {
        for pod in store.list(Kind::Pod, Some("n")).0 {
            let condition =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
            let change = |pod: &mut Value| pod["status"] = json!({"conditions": condition});
            store.change(&pod.key(), change).unwrap();
        }
        settle(&store);
    };
    ready_since("2020-01-01T00:00:00Z");
    assert_eq!(status(&store)["availableReplicas"], 1);
    set_image(&store, "a:2");
    settle(&store);
    let now = crate::objects::meta::now();
    ready_since(&now);
    let of_sets = |field: &str| {
        let sets = store.list(Kind::ReplicaSet, None).0;
        sets.iter().map(|set| set.value()[field]["minReadySeconds"].clone()).collect::<Vec<_>>()
    };
    assert!(of_sets("spec").contains(&json!(60)), "{:?}", of_sets("spec"));
    assert_eq!((&status(&store)["readyReplicas"], pods(&store).len()), (&json!(2), 2));
    assert!(store.list(Kind::Pod, None).0.iter().all(|pod| !pod.is_terminating()));
    let due = step(&store).unwrap();
    assert!((1..=60).contains(&due.as_secs()), "{due:?}");
    ready_since("2020-01-01T00:00:00Z");
    let images: Vec<_> = pods(&store).into_iter().map(|(_, image)| image).collect();
    assert_eq!(images, ["a:2"]);
}

#[test]
fn a_deployment_that_is_scaled_in_the_midst_of_a_roll_out_keeps_the_shares_of_its_sets() {
    let store = start(10, &rolling(3, 2));
    run_pods(&store);
    settle(&store);
    // The new ones never get ready.
    set_image(&store, "a:2");
    let count = |image: &str| {
        let (pods, _) = store.list(Kind::Pod, Some("n"));
        let there = pods.iter().filter(|pod| !pod.is_terminating());
        there.filter(|pod| pod.value()["spec"]["containers"][0]["image"] == image).count()
    };
    settle(&store);
    assert_eq!((count("a:1"), count("a:2")), (8, 5));
    let key = Key::new(Kind::Deployment, "n", "d");
    store.change(&key, |deployment| deployment["spec"]["replicas"] = 30.into()).unwrap();
    settle(&store);
    assert_eq!((count("a:1"), count("a:2")), (20, 13));
}

#[test]
fn a_recreated_deployment_has_no_two_templates_at_once() {
    let store = start(1, &json!({"type": "Recreate"}));
    run_pods(&store);
    settle(&store);
    set_image(&store, "a:2");
    settle(&store);
    assert_eq!(pods(&store).len(), 1);
    run_pods(&store);
    settle(&store);
    assert_eq!(pods(&store).iter().map(|(_, image)| &**image).collect::<Vec<_>>(), ["a:2"]);
}

#[test]
fn the_status_tells_when_a_roll_out_is_complete() {
    let store = start(2, &rolling(1, 0));
    assert_eq!(status(&store)["readyReplicas"], 0);
    run_pods(&store);
    settle(&store);
    let status = status(&store);
    assert_eq!(status["availableReplicas"], 2);
    assert_eq!(status["conditions"][0]["status"], "True");
    assert_eq!(status["conditions"][1]["reason"], "NewReplicaSetAvailable");
}

#[test]
fn a_template_that_comes_back_gets_a_new_revision() {
    let store = start(1, &rolling(1, 0));
    for image in ["a:2", "a:1"] {
        set_image(&store, image);
        settle(&store);
    }
    let deployment = store.get(&Key::new(Kind::Deployment, "n", "d")).unwrap();
    assert_eq!(
        deployment.value()["metadata"]["annotations"][crate::objects::names::REVISION_ANNOTATION],
        "3"
    );
    assert_eq!(store.list(Kind::ReplicaSet, None).0.len(), 2);
}

#[test]
fn what_a_deleted_deployment_owned_goes_too() {
    let store = start(2, &rolling(1, 0));
    store.remove(&Key::new(Kind::Deployment, "n", "d")).unwrap();
    settle(&store);
    assert!(store.list(Kind::ReplicaSet, None).0.is_empty());
    assert!(store.list(Kind::Pod, None).0.iter().all(|pod| pod.is_terminating()));
}

#[test]
fn a_namespace_goes_when_its_last_pod_is_gone() {
    let store = start(1, &rolling(1, 0));
    run_pods(&store);
    let key = Key::new(Kind::Namespace, "", "n");
    store
        .change(&key, |object| {
            object["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z".into();
        })
        .unwrap();
    settle(&store);
    assert!(store.get(&key).is_ok(), "its pod is still ending");
    run_pods(&store);
    settle(&store);
    assert!(store.get(&key).is_err());
    assert!(store.list(Kind::Deployment, None).0.is_empty());
}

#[test]
fn a_services_endpoints_are_its_ready_pods() {
    let store = start(1, &rolling(1, 0));
    let service = json!({
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "d"}, "ports": [{"port": 80}]},
    });
    store.create(Kind::Service, service).unwrap();
    settle(&store);
    let ready = || {
        let slice = store.get(&Key::new(Kind::EndpointSlice, "n", "s")).unwrap();
        let endpoints = slice.value()["endpoints"].as_array().unwrap().clone();
        endpoints.iter().filter(|one| one["conditions"]["ready"] == true).count()
    };
    assert_eq!(ready(), 0);
    run_pods(&store);
    settle(&store);
    assert_eq!(ready(), 1);
    let pod = store.list(Kind::Pod, Some("n")).0[0].key();
    crate::objects::deletion::delete(&store, &pod, &crate::objects::deletion::Deletion::default())
        .unwrap();
    settle(&store);
    assert_eq!(ready(), 0, "a pod that ends gets no new connections");
    let service = Key::new(Kind::Service, "n", "s");
    let publish = |service: &mut Value| service["spec"]["publishNotReadyAddresses"] = json!(true);
    store.change(&service, publish).unwrap();
    settle(&store);
    assert_eq!(ready(), 1, "unless the Service wants all");
}

#[test]
fn a_named_target_is_each_pods_own_port_and_pods_with_others_are_in_other_slices() {
    let store = Store::default();
    store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
    let add = |name: &str, port: Value| {
        let pod = json!({
            "metadata": {"name": name, "namespace": "n", "labels": {"app": "m"}},
            "spec": {"containers": [{"name": "c", "image": "a:1", "ports": [port]}]},
            "status": {"podIP": format!("10.244.0.{}", name.as_bytes()[0])},
        });
        store.create(Kind::Pod, pod).unwrap();
    };
    add("one", json!({"name": "http", "containerPort": 100}));
    add("two", json!({"name": "http", "containerPort": 101}));
    add("udp", json!({"name": "http", "containerPort": 102, "protocol": "UDP"}));
    let service = json!({
        "metadata": {"name": "s", "namespace": "n"},
        "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "m"}, "ports": [
            {"name": "named", "port": 80, "targetPort": "http"},
            {"name": "number", "port": 81, "targetPort": 9},
        ]},
    });
    store.create(Kind::Service, service).unwrap();
    let seen = || {
        settle(&store);
        let slices = store.list(Kind::EndpointSlice, Some("n")).0;
        let mut seen: Vec<String> = slices
            .iter()
            .map(|slice| {
                let each = |field: &str, part: &dyn Fn(&Value) -> String| {
                    let items = slice.value()[field].as_array().unwrap();
                    items.iter().map(part).collect::<Vec<_>>().join(" ")
                };
                let pods =
                    each("endpoints", &|one| one["targetRef"]["name"].as_str().unwrap().to_owned());
                let ports = each("ports", &|one| format!("{}={}", one["name"], one["port"]));
                let is_its_name = if slice.name() == "s" { "s " } else { "" };
                format!("{is_its_name}{pods}: {ports}").replace('"', "")
            })
            .collect();
        seen.sort();
        seen
    };
    let (one, two, udp) = ("one: named=100 number=9", "two: named=101 number=9", "udp: number=9");
    assert_eq!(seen(), [format!("s {one}"), two.into(), udp.into()]);
    // A slice goes with its last pod. That of the name is another pod's then, and stays so.
    store.remove(&Key::new(Kind::Pod, "n", "one")).unwrap();
    assert_eq!(seen(), [format!("s {two}"), udp.into()]);
    add("one", json!({"name": "http", "containerPort": 100}));
    assert_eq!(seen(), [one.into(), format!("s {two}"), udp.into()]);
    // Another manager's is its own.
    let label = "kubernetes.io/service-name";
    let own = json!({
        "metadata": {"name": "by-hand", "namespace": "n", "labels": {label: "s"}},
        "addressType": "IPv4", "endpoints": [], "ports": [],
    });
    store.create(Kind::EndpointSlice, own).unwrap();
    assert_eq!(seen(), [": ".into(), one.into(), format!("s {two}"), udp.into()]);
}

/// Ready pods and others, by name: the value of their label `app`, and whether the only set controls them.
fn owned(store: &Store) -> Vec<(String, bool)> {
    let set = store.list(Kind::ReplicaSet, Some("n")).0.remove(0);
    let pods = store.list(Kind::Pod, Some("n")).0;
    let mut owned: Vec<_> = pods
        .iter()
        .map(|pod| (pod.labels()["app"].clone(), pod.controller() == Some(set.uid())))
        .collect();
    owned.sort();
    owned
}

#[test]
fn a_pod_whose_labels_match_no_more_is_let_go_of_and_replaced() {
    let store = start(1, &rolling(1, 0));
    run_pods(&store);
    settle(&store);
    let pod = store.list(Kind::Pod, Some("n")).0[0].key();
    store.change(&pod, |pod| pod["metadata"]["labels"]["app"] = "quarantine".into()).unwrap();
    settle(&store);
    assert_eq!(owned(&store), [("d".to_owned(), true), ("quarantine".to_owned(), false)]);
    assert!(store.get(&pod).unwrap().value()["metadata"]["ownerReferences"].is_null());
    // And back: two, of which one is too many.
    store.change(&pod, |pod| pod["metadata"]["labels"]["app"] = "d".into()).unwrap();
    for _ in 0..2 {
        settle(&store);
        run_pods(&store);
    }
    assert_eq!(owned(&store), [("d".to_owned(), true)]);
}

#[test]
fn a_pod_that_nobody_controls_is_adopted_by_the_set_that_selects_it() {
    let store = Store::default();
    store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
    let owner = json!([{"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "u"}]);
    for (name, labels) in [("own", json!({"app": "d"})), ("other", json!({"app": "x"}))] {
        let metadata = json!({
            "name": name, "namespace": "n", "labels": labels, "ownerReferences": owner,
        });
        store.create(Kind::Pod, json!({"metadata": metadata, "spec": {"containers": []}})).unwrap();
    }
    let mut set = deployment("a:1", 1, &Value::Null);
    crate::objects::object::remove(&mut set["spec"], "strategy");
    store.create(Kind::ReplicaSet, set).unwrap();
    settle(&store);
    assert_eq!(owned(&store), [("d".to_owned(), true), ("x".to_owned(), false)]);
    let adopted = store.get(&Key::new(Kind::Pod, "n", "own")).unwrap();
    assert_eq!(adopted.value()["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
}
