//! Keeps the Endpoints of each Service that selects pods, which say what its `EndpointSlices` say
//! (pkg/controller/endpoint of k8s.io/kubernetes); and an EndpointSlice for what people write in Endpoints of
//! a Service that selects none (pkg/controller/endpointslicemirroring), where all else looks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use super::endpoint_slice::{MANAGED_BY_LABEL, MANAGER, write};
use crate::objects::deletion::{self, Deletion};
use crate::objects::meta::owner_reference;
use crate::objects::names::SERVICE_NAME_LABEL;
use crate::objects::{Key, Kind, Object, Store};

/// The label of those that are no person's (`LabelManagedBy` of pkg/controller/endpoint).
const OWN_LABEL: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

/// Who makes slices of Endpoints.
const MIRROR: &str = "endpointslicemirroring-controller.k8s.io";

/// With this label Endpoints are not mirrored (`LabelSkipMirror` of k8s.io/api/discovery/v1).
const SKIP_MIRROR_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";

pub(super) fn step(store: &Store) {
    for service in store.list(Kind::Service, None).0 {
        if selects(&service) {
            keep(store, &service);
        }
    }
    let mut mirrored = BTreeSet::new();
    for endpoints in store.list(Kind::Endpoints, None).0 {
        let service = store.get(&Key::new(Kind::Service, endpoints.namespace(), endpoints.name()));
        match service {
            Ok(service) if !selects(&service) && is_a_persons(&endpoints) => {
                for slice in mirrors(&endpoints) {
                    mirrored.insert(key_of(&slice));
                    write(store, &slice);
                }
            }
            // They go with their Service, whoever wrote them; but may be there before it.
            Err(_) if !is_a_persons(&endpoints) || has_mirror(store, &endpoints) => {
                remove(store, &endpoints);
            }
            _ => {}
        }
    }
    for slice in store.list(Kind::EndpointSlice, None).0 {
        let is_mirror =
            slice.labels().get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MIRROR);
        if is_mirror && !mirrored.contains(&slice.key()) {
            remove(store, &slice);
        }
    }
}

fn remove(store: &Store, object: &Object) {
    // One that is gone already is as good.
    let _ = deletion::delete(store, &object.key(), &Deletion::default());
}

fn key_of(slice: &Value) -> Key {
    let text = |field: &str| slice["metadata"][field].as_str().unwrap_or_default();
    Key::new(Kind::EndpointSlice, text("namespace"), text("name"))
}

fn selects(service: &Object) -> bool {
    let spec = service.typed::<core::Service>().spec.as_ref();
    spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty())
}

fn is_a_persons(endpoints: &Object) -> bool {
    let labels = endpoints.labels();
    labels.get(OWN_LABEL.0).is_none_or(|manager| manager != OWN_LABEL.1)
        && labels.get(SKIP_MIRROR_LABEL).is_none_or(|skip| skip != "true")
}

fn has_mirror(store: &Store, endpoints: &Object) -> bool {
    let slices = store.list(Kind::EndpointSlice, Some(endpoints.namespace())).0;
    slices.iter().any(|slice| slice.controller() == Some(endpoints.uid()))
}

/// The slices that the controller of them keeps for a Service, or that mirror an object.
fn slices_of(store: &Store, service: &Object) -> Vec<Value> {
    let is_own = |slice: &Object| {
        slice.is_slice_of(service)
            && slice.labels().get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGER)
    };
    let slices = store.list(Kind::EndpointSlice, Some(service.namespace())).0;
    slices.iter().filter(|slice| is_own(slice)).map(|slice| slice.value().clone()).collect()
}

/// Writes the Endpoints of a Service that selects pods.
fn keep(store: &Store, service: &Object) {
    let subsets: Vec<Value> = slices_of(store, service).iter().filter_map(subset).collect();
    let mut labels = service.value()["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[OWN_LABEL.0] = OWN_LABEL.1.into();
    if service.value()["spec"]["clusterIP"] == "None" {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    let key = Key::new(Kind::Endpoints, service.namespace(), service.name());
    if store.get(&key).is_ok() {
        // One that is gone meanwhile comes back with the next step.
        let _ = store.change(&key, |endpoints| {
            endpoints["metadata"]["labels"] = labels.clone();
            endpoints["subsets"] = subsets.clone().into();
        });
    } else {
        let metadata = json!({
            "name": service.name(), "namespace": service.namespace(), "labels": labels,
        });
        let _ = store.create(Kind::Endpoints, json!({"metadata": metadata, "subsets": subsets}));
    }
}

/// What Endpoints say of a slice's pods; none of one without.
fn subset(slice: &Value) -> Option<Value> {
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for endpoint in each(&slice["endpoints"]) {
        let conditions = &endpoint["conditions"];
        let list = if conditions["ready"] == true {
            "addresses"
        } else if conditions["terminating"] == true {
            continue;
        } else {
            "notReadyAddresses"
        };
        let mut address = json!({"ip": endpoint["addresses"][0]});
        for field in ["hostname", "nodeName", "targetRef"] {
            if !endpoint[field].is_null() {
                address[field] = endpoint[field].clone();
            }
        }
        lists.entry(list).or_default().push(address);
    }
    if lists.is_empty() {
        return None;
    }
    let mut subset = json!(lists);
    let ports: Vec<Value> = each(&slice["ports"])
        .map(|port| {
            let mut port = port.clone();
            if port["name"] == "" {
                crate::objects::object::remove(&mut port, "name");
            }
            port
        })
        .collect();
    if !ports.is_empty() {
        subset["ports"] = ports.into();
    }
    Some(subset)
}

/// The slices that say what Endpoints say: one for each set of ports and each family of addresses.
fn mirrors(endpoints: &Object) -> Vec<Value> {
    let mut slices: BTreeMap<(String, &str), (Value, Vec<Value>)> = BTreeMap::new();
    for subset in each(&endpoints.value()["subsets"]) {
        let ports: Value = each(&subset["ports"])
            .map(|port| {
                let name = port["name"].as_str().unwrap_or_default();
                json!({"name": name, "protocol": port["protocol"], "port": port["port"]})
            })
            .collect();
        for (list, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            for address in each(&subset[list]) {
                let family = match address["ip"].as_str().map(str::parse) {
                    Some(Ok(IpAddr::V4(_))) => "IPv4",
                    Some(Ok(IpAddr::V6(_))) => "IPv6",
                    // Validation lets none in.
                    _ => continue,
                };
                let mut endpoint = json!({
                    "addresses": [address["ip"]], "conditions": {"ready": ready},
                });
                for field in ["hostname", "nodeName", "targetRef"] {
                    if !address[field].is_null() {
                        endpoint[field] = address[field].clone();
                    }
                }
                let slice = slices.entry((ports.to_string(), family));
                slice.or_insert_with(|| (ports.clone(), Vec::new())).1.push(endpoint);
            }
        }
    }
    let slice = |((text, family), (ports, list)): ((String, &str), (Value, Vec<Value>))| {
        let mut hasher = DefaultHasher::new();
        (text, family).hash(&mut hasher);
        let mut labels = endpoints.value()["metadata"]["labels"].clone();
        if !labels.is_object() {
            labels = json!({});
        }
        labels[SERVICE_NAME_LABEL] = endpoints.name().into();
        labels[MANAGED_BY_LABEL] = MIRROR.into();
        json!({
            "metadata": {
                "name": format!("{}-{:08x}", endpoints.name(), hasher.finish() >> 32),
                "namespace": endpoints.namespace(),
                "labels": labels,
                "ownerReferences": [owner_reference(endpoints)],
            },
            "addressType": family,
            "endpoints": list,
            "ports": ports,
        })
    };
    slices.into_iter().map(slice).collect()
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let store = Store::default();
        store.create(Kind::Namespace, json!({"metadata": {"name": "n"}})).unwrap();
        store
    }

    fn settle(store: &Store) {
        for _ in 0..10 {
            super::super::step(store);
        }
        let version = store.version();
        super::super::step(store);
        assert_eq!(store.version(), version, "they never come to rest");
    }

    fn subsets(store: &Store) -> Value {
        store.get(&Key::new(Kind::Endpoints, "n", "s")).unwrap().value()["subsets"].clone()
    }

    #[test]
    fn the_endpoints_of_a_service_that_selects_pods_say_what_its_slices_say() {
        let store = store();
        let ports = json!([{"port": 80, "protocol": "TCP", "targetPort": 8080}]);
        let spec = json!({"clusterIP": "10.96.0.9", "selector": {"a": "b"}, "ports": ports});
        let metadata = json!({"name": "s", "namespace": "n", "labels": {"x": "y"}});
        store.create(Kind::Service, json!({"metadata": metadata, "spec": spec})).unwrap();
        settle(&store);
        assert!(subsets(&store).as_array().is_none_or(Vec::is_empty));
        for (name, status) in [("p", "True"), ("q", "False")] {
            let pod = json!({
                "metadata": {"name": name, "namespace": "n", "labels": {"a": "b"}},
                "spec": {"containers": []},
                "status": {
                    "podIP": format!("10.244.0.{}", name.as_bytes()[0]),
                    "conditions": [{"type": "Ready", "status": status}],
                },
            });
            store.create(Kind::Pod, pod).unwrap();
        }
        settle(&store);
        let subsets = subsets(&store);
        assert_eq!(subsets[0]["addresses"][0]["ip"], "10.244.0.112");
        assert_eq!(subsets[0]["notReadyAddresses"][0]["targetRef"]["name"], "q");
        assert_eq!(subsets[0]["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
        let endpoints = store.get(&Key::new(Kind::Endpoints, "n", "s")).unwrap();
        assert_eq!(endpoints.labels()["x"], "y");
        store.remove(&Key::new(Kind::Service, "n", "s")).unwrap();
        settle(&store);
        assert!(store.list(Kind::Endpoints, None).0.is_empty());
    }

    #[test]
    fn what_people_write_for_a_service_without_a_selector_becomes_slices() {
        let store = store();
        let subsets = json!([{
            "addresses": [{"ip": "10.244.0.5"}, {"ip": "fd00::5"}],
            "notReadyAddresses": [{"ip": "10.244.0.6"}],
            "ports": [{"port": 9, "protocol": "TCP"}],
        }]);
        let metadata = json!({"name": "s", "namespace": "n"});
        let endpoints = json!({"metadata": metadata, "subsets": subsets});
        store.create(Kind::Endpoints, endpoints).unwrap();
        settle(&store);
        assert!(store.list(Kind::EndpointSlice, None).0.is_empty(), "there is no Service yet");
        let service = json!({"metadata": metadata, "spec": {"ports": [{"port": 80}]}});
        store.create(Kind::Service, service.clone()).unwrap();
        settle(&store);
        let slices = store.list(Kind::EndpointSlice, None).0;
        let types: BTreeSet<_> =
            slices.iter().map(|slice| slice.value()["addressType"].to_string()).collect();
        assert_eq!(types.len(), 2);
        let four = slices.iter().find(|slice| slice.value()["addressType"] == "IPv4").unwrap();
        assert_eq!(four.value()["endpoints"].as_array().unwrap().len(), 2);
        assert_eq!(four.value()["endpoints"][1]["conditions"]["ready"], false);
        assert_eq!(four.labels()[SERVICE_NAME_LABEL], "s");
        let key = Key::new(Kind::Endpoints, "n", "s");
        store.change(&key, |endpoints| endpoints["subsets"] = json!([])).unwrap();
        settle(&store);
        assert!(store.list(Kind::EndpointSlice, None).0.is_empty());
        store.change(&key, |endpoints| endpoints["subsets"] = subsets.clone()).unwrap();
        settle(&store);
        store.remove(&Key::new(Kind::Service, "n", "s")).unwrap();
        settle(&store);
        assert!(store.list(Kind::Endpoints, None).0.is_empty(), "they go with their Service");
    }
}
