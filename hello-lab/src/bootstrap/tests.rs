//! The cluster's own objects together with the controllers: whatever happens to them, all is as it was once
//! everybody has come to rest.

use super::*;
use crate::controllers;
use crate::objects::deletion::{Deletion, Propagation, delete};
use crate::objects::names::SERVICE_NAME_LABEL;

fn start() -> (Store, Bootstrap) {
    let store = Store::default();
    let mut bootstrap = Bootstrap::new(store.clone(), "v1.34.0", "a certificate");
    settle(&store, &mut bootstrap);
    (store, bootstrap)
}

/// Steps until nothing changes any more.
fn settle(store: &Store, bootstrap: &mut Bootstrap) {
    for _ in 0..100 {
        let before = store.version();
        bootstrap.step();
        controllers::step(store);
        if store.version() == before {
            return;
        }
    }
    panic!("they never come to rest");
}

/// Every object, without what is new of one that came back.
fn everything(store: &Store) -> Vec<(Key, Value)> {
    // Those of pods, and of what happened to them, are made anew with other names.
    let kinds = Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Pod | Kind::Event));
    let all = kinds.flat_map(|kind| store.list(kind, None).0);
    let mut all: Vec<_> = all
        .map(|object| {
            let mut value = object.value().clone();
            for field in ["uid", "creationTimestamp", "resourceVersion", "generation"] {
                crate::objects::object::remove(&mut value["metadata"], field);
            }
            let status = &mut value["status"];
            for field in ["observedGeneration", "terminatingReplicas"] {
                crate::objects::object::remove(status, field);
            }
            for condition in status["conditions"].as_array_mut().into_iter().flatten() {
                condition["lastTransitionTime"].take();
            }
            for pointer in [
                "/metadata/ownerReferences/0/uid",
                "/endpoints/0/targetRef/uid",
                "/subsets/0/addresses/0/targetRef/uid",
                "/spec/renewTime",
            ] {
                value.pointer_mut(pointer).map(Value::take);
            }
            (object.key(), value)
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn assert_same(store: &Store, before: &[(Key, Value)], after_what: &str) {
    let after = everything(store);
    let one_sided = |from: &[(Key, Value)], other: &[(Key, Value)], sign| {
        let missing = from.iter().filter(|one| !other.contains(one));
        missing.map(|(key, value)| format!("{sign} {key:?}: {value}")).collect::<Vec<_>>()
    };
    let differences = [one_sided(before, &after, '-'), one_sided(&after, before, '+')].concat();
    assert!(differences.is_empty(), "{after_what}: {differences:#?}");
}

#[test]
fn a_cluster_has_its_objects_from_the_start() {
    let (store, _) = start();
    let names = |kind| {
        let names = store.list(kind, None).0.iter().map(|object| name(object)).collect::<Vec<_>>();
        names.join(" ")
    };
    assert_eq!(names(Kind::Namespace), "/default /kube-node-lease /kube-public /kube-system");
    assert_eq!(names(Kind::Service), "default/kubernetes kube-system/kube-dns");
    assert_eq!(names(Kind::Deployment), "kube-system/coredns");
    let pods = names(Kind::Pod);
    assert!(pods.starts_with("kube-system/coredns-") && !pods.contains(' '), "{pods}");
    assert_eq!(names(Kind::EndpointSlice), "kube-system/kube-dns");
    assert_eq!(store.list(Kind::ConfigMap, None).0.len(), 4);
    assert_eq!(store.list(Kind::ServiceAccount, None).0.len(), 4);
}

#[test]
fn each_object_that_is_removed_comes_back_and_so_do_all_at_once() {
    let (store, mut bootstrap) = start();
    let before = everything(&store);
    for (key, _) in &before {
        let removed = store.remove(key).unwrap();
        settle(&store, &mut bootstrap);
        assert_same(&store, &before, &format!("{key:?}"));
        assert_ne!(store.get(key).unwrap().uid(), removed.uid());
    }
    for (key, _) in &before {
        store.remove(key).unwrap();
    }
    settle(&store, &mut bootstrap);
    assert_same(&store, &before, "at the end");
}

#[test]
fn the_deployment_of_the_dns_has_as_many_pods_as_somebody_says() {
    let (store, mut bootstrap) = start();
    let (namespace, name) = DNS_DEPLOYMENT;
    let key = Key::new(Kind::Deployment, namespace, name);
    for replicas in [2, 0, 1] {
        store.change(&key, |dns| dns["spec"]["replicas"] = replicas.into()).unwrap();
        settle(&store, &mut bootstrap);
        let pods = store.list(Kind::Pod, Some(namespace)).0;
        // Nobody runs them here, nor ends them.
        let wanted = pods.iter().filter(|pod| !pod.is_terminating()).count();
        assert_eq!(wanted, replicas);
    }
}

#[test]
fn what_makes_them_what_they_are_is_put_right() {
    let (store, mut bootstrap) = start();
    let before = everything(&store);
    let changes: [(Kind, (&str, &str), Value); 10] = [
        (Kind::Service, DNS_SERVICE, json!({"spec": {"selector": {"k8s-app": "x", "y": "z"}}})),
        (Kind::Service, DNS_SERVICE, json!({"spec": {"clusterIP": "10.96.9.9", "ports": null}})),
        (Kind::Service, DNS_SERVICE, json!({"spec": null, "metadata": {"labels": null}})),
        (Kind::Service, API_SERVICE, json!({"spec": {"ports": [{"port": 1}]}})),
        (Kind::Deployment, DNS_DEPLOYMENT, json!({"metadata": {"labels": {"k8s-app": "mine"}}})),
        (
            Kind::Deployment,
            DNS_DEPLOYMENT,
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
        ),
        (Kind::Node, ("", NODE_NAME), json!({"spec": null, "status": null})),
        (Kind::ConfigMap, ("kube-system", ROOT_CA), json!({"data": {"ca.crt": "mine", "x": "y"}})),
        (Kind::ConfigMap, ("default", ROOT_CA), json!({"data": null})),
        (
            Kind::EndpointSlice,
            DNS_SERVICE,
            json!({
                "metadata": {"labels": {SERVICE_NAME_LABEL: "other"}, "ownerReferences": null},
                "endpoints": [],
            }),
        ),
    ];
    for (kind, (namespace, name), change) in changes {
        let key = Key::new(kind, namespace, name);
        store.change(&key, |object| json_patch::merge(object, &change)).unwrap();
        assert_ne!(everything(&store), before, "{change}");
        settle(&store, &mut bootstrap);
        assert_same(&store, &before, &change.to_string());
    }
}

#[test]
fn what_somebody_adds_stays() {
    let (store, mut bootstrap) = start();
    let key = Key::new(Kind::Node, "", NODE_NAME);
    let change = json!({"metadata": {"labels": {"disk": "ssd"}}, "spec": {"unschedulable": true}});
    store.change(&key, |node| json_patch::merge(node, &change)).unwrap();
    settle(&store, &mut bootstrap);
    let node = store.get(&key).unwrap();
    assert_eq!(node.labels()["disk"], "ssd");
    assert_eq!(node.value()["spec"]["unschedulable"], true);
}

#[test]
fn what_leaves_in_two_steps_comes_back_when_its_name_has_been_free_for_a_while() {
    let (store, mut bootstrap) = start();
    let (namespace, name) = DNS_DEPLOYMENT;
    let key = Key::new(Kind::Deployment, namespace, name);
    let deletion = Deletion { propagation: Propagation::Orphan, ..Deletion::default() };
    let (_, gone) = delete(&store, &key, &deletion).unwrap();
    assert!(!gone);
    bootstrap.step();
    let began = Instant::now();
    controllers::step(&store);
    assert!(store.get(&key).is_err());
    while store.get(&key).is_err() {
        bootstrap.step();
    }
    assert!(began.elapsed() >= LOOKED_FOR);
    // What leaves in one is there again at once.
    let (_, gone) = delete(&store, &key, &Deletion::default()).unwrap();
    bootstrap.step();
    assert!(gone && store.get(&key).is_ok());
}
