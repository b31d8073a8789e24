//! Who is behind a Service, and at which ports.

use serde_json::{Value, json};

use super::*;
use crate::pod::NamedPort;

fn read(spec: &Value) -> Result<Service, Vec<String>> {
    let object = json!({"metadata": {"name": "s", "labels": {"a": "b"}}, "spec": spec});
    Service::from_api(&serde_json::from_value(object).unwrap())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn pod(name: &str, app: &str, ports: &[(&str, Protocol, u16)]) -> Pod {
    let named = |(name, protocol, port): &(&str, Protocol, u16)| NamedPort {
        name: (*name).to_owned(),
        protocol: *protocol,
        port: *port,
    };
    Pod {
        namespace: "default".into(),
        name: name.into(),
        labels: [("app".into(), app.into())].into(),
        named_ports: ports.iter().map(named).collect(),
        ..Pod::default()
    }
}

#[test]
fn a_service_selects_the_pods_of_its_namespace_with_all_its_labels_on_any_network() {
    let pods = [
        pod("a", "web", &[]),
        Pod { host_network: true, ..pod("b", "web", &[]) },
        Pod { namespace: "other".into(), ..pod("c", "web", &[]) },
        pod("d", "db", &[]),
    ];
    let names =
        |selector: Value| match read(&json!({"selector": selector})).unwrap().endpoints(&pods) {
            Endpoints::Pods(pods) => pods.iter().map(|pod| pod.name.clone()).collect(),
            other => vec![format!("{other:?}")],
        };
    assert_eq!(names(json!({"app": "web"})), ["a", "b"]);
    assert_eq!(names(json!({"app": "web", "tier": "x"})), [""; 0]);
}

#[test]
fn a_label_that_a_controller_gives_selects_what_makes_the_pod() {
    let of = |kind: &str| Pod {
        workload: Workload { kind: kind.into(), name: "redis".into() },
        ..pod("redis", "redis", &[])
    };
    let selects = |kind: &str, key: &str, value: &str| {
        let service = read(&json!({"selector": {"app": "redis", key: value}})).unwrap();
        service.selects(&of(kind))
    };
    let name = "statefulset.kubernetes.io/pod-name";
    assert!(selects("StatefulSet", name, "redis-0") && selects("StatefulSet", name, "redis-12"));
    for other in ["redis", "redis-", "redis-a", "redis-a-0", "other-0"] {
        assert!(!selects("StatefulSet", name, other), "{other}");
    }
    assert!(!selects("Deployment", name, "redis-0"));
    assert!(selects("StatefulSet", "apps.kubernetes.io/pod-index", "0"));
    assert!(selects("Job", "job-name", "redis") && !selects("Job", "job-name", "other"));
    // A pod that is there has the labels that it has.
    let one = Pod { name: "redis-1".into(), ..of("StatefulSet") };
    let service = read(&json!({"selector": {name: "redis-1"}})).unwrap();
    assert!(!service.selects(&one));
}

#[test]
fn without_a_selector_the_endpoints_are_not_known() {
    for spec in [json!({}), json!({"selector": {}}), json!({"selector": null})] {
        assert_eq!(read(&spec).unwrap().endpoints(&[]), Endpoints::Unknown, "{spec}");
    }
    let spec = json!({"type": "ExternalName", "externalName": "a.example", "selector": {"a": "b"}});
    assert_eq!(read(&spec).unwrap().endpoints(&[]), Endpoints::External("a.example"));
}

#[test]
fn a_named_target_is_each_pods_own_port_of_that_name_and_protocol() {
    let service = read(&json!({"ports": [
        {"name": "p1", "port": 80, "targetPort": "svc1"},
        {"name": "p2", "port": 81, "targetPort": "svc2"},
        {"name": "udp", "port": 80, "protocol": "UDP", "targetPort": "svc1"},
    ]}))
    .unwrap();
    let one = pod("one", "m", &[("svc1", Protocol::Tcp, 100)]);
    let two = pod("two", "m", &[("svc2", Protocol::Tcp, 101), ("svc1", Protocol::Udp, 102)]);
    let targets = |pod| service.ports.iter().map(|port| port.target_on(pod)).collect::<Vec<_>>();
    assert_eq!(targets(&one), [Some(100), None, None]);
    assert_eq!(targets(&two), [None, Some(101), Some(102)]);
}

#[test]
fn a_target_that_is_not_given_is_the_port_and_a_headless_service_has_no_other() {
    let targets = |cluster_ip: &str| {
        let ports = json!([
            {"port": 1}, {"port": 2, "targetPort": 0}, {"port": 3, "targetPort": ""},
            {"port": 4, "targetPort": 5}, {"port": 6, "targetPort": "http"},
        ]);
        let service = read(&json!({"clusterIP": cluster_ip, "ports": ports})).unwrap();
        let pod = pod("a", "a", &[("http", Protocol::Tcp, 7)]);
        service.ports.iter().map(|port| port.target_on(&pod).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(targets(""), [1, 2, 3, 5, 7]);
    assert_eq!(targets("None"), [1, 2, 3, 4, 6]);
}

#[test]
fn its_addresses_are_those_that_are_written_down() {
    let of = |spec: Value| {
        let service = read(&spec).unwrap();
        (service.headless, service.cluster_ips.len())
    };
    assert_eq!(of(json!({})), (false, 0));
    assert_eq!(of(json!({"clusterIP": ""})), (false, 0));
    assert_eq!(of(json!({"clusterIP": "None", "clusterIPs": ["None"]})), (true, 0));
    assert_eq!(of(json!({"clusterIP": "10.96.0.1"})), (false, 1));
    let both = json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"]});
    assert_eq!(of(both), (false, 2));
}

#[test]
fn its_families_are_those_of_its_addresses_and_a_headless_ones_those_that_are_written_down() {
    let of = |spec: Value| read(&spec).unwrap().families;
    assert_eq!(of(json!({})), []);
    assert_eq!(of(json!({"clusterIP": "10.96.0.1"})), [Family::V4]);
    let both = json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1", "10.96.0.1"]});
    assert_eq!(of(both), [Family::V4, Family::V6]);
    assert_eq!(of(json!({"clusterIP": "None", "ipFamilies": ["IPv6"]})), [Family::V6]);
    assert_eq!(of(json!({"clusterIP": "None"})), []);
}

#[test]
fn what_the_api_server_refuses_is_an_error() {
    let spec = json!({
        "type": "Cluster", "clusterIP": "10.96.0",
        "ports": [{"port": 0}, {"port": 1, "protocol": "tcp"}, {"port": 1, "targetPort": 65536}],
    });
    let errors = read(&spec).unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.split(": ").next().unwrap()).collect();
    let fields = ["spec.type", "spec.clusterIP", "spec.ports[0].port", "spec.ports[1].protocol"];
    assert_eq!(paths, [&fields[..], &["spec.ports[2].targetPort"]].concat());
}
