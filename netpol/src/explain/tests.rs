use serde_json::{Value, json};

use super::*;
use crate::cluster::NamedPort;
use crate::port::Protocol;
use crate::selector::tests::labels;

/// Namespaces x and y (team=x, team=y), each with pods a and b (pod=a, pod=b).
fn cluster(specs: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    for namespace in ["x", "y"] {
        cluster.add_namespace(namespace, labels(&[("team", namespace)]));
        for name in ["a", "b"] {
            cluster.add_pod(Pod {
                namespace: namespace.into(),
                name: name.into(),
                labels: labels(&[("pod", name)]),
                named_ports: vec![NamedPort {
                    name: "http".into(),
                    protocol: Protocol::Tcp,
                    port: 8080,
                }],
                ..Pod::default()
            });
        }
    }
    for (index, spec) in specs.iter().enumerate() {
        let metadata = json!({"name": format!("p{index}"), "namespace": "x"});
        let object = json!({"metadata": metadata, "spec": spec});
        let policy = crate::validate::policy(&serde_json::from_value(object).unwrap());
        cluster.add_policy(policy.unwrap());
    }
    cluster
}

/// Why `source` may or may not connect to x/a at a TCP port, as far as x/a has a say.
fn ingress<'a>(cluster: &'a Cluster, source: End<'_>, port: u16) -> Reason<'a> {
    let destination = End::Pod(cluster.pod("x", "a").unwrap());
    let connection = Connection { source, destination, protocol: Protocol::Tcp, port };
    let explanation = explain(cluster, &connection);
    assert_eq!(explanation.answer, evaluate(cluster, &connection).answer());
    explanation.ingress
}

fn pod<'a>(cluster: &'a Cluster, namespace: &str, name: &str) -> End<'a> {
    End::Pod(cluster.pod(namespace, name).unwrap())
}

/// The place and obstacles that kept the only policy from allowing.
fn near(reason: &Reason<'_>) -> (String, Vec<String>) {
    let Reason::Denied(misses) = reason else { panic!("{reason:?}") };
    let [Miss { nearest: Some(Near { place, obstacles }), .. }] = &misses[..] else {
        panic!("{misses:?}")
    };
    (place.clone(), obstacles.clone())
}

#[test]
fn an_allowed_connection_names_rule_peer_and_port() {
    let cluster = cluster(&[json!({"ingress": [
        {"from": [{"podSelector": {"matchLabels": {"pod": "none"}}}]},
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"podSelector": {"matchLabels": {"pod": "b"}}}],
         "ports": [{"port": 1}, {"port": 8000, "endPort": 9000}]},
    ]})]);
    let Reason::AllowedBy(found) = ingress(&cluster, pod(&cluster, "x", "b"), 8080) else {
        panic!("not allowed")
    };
    assert_eq!(found.policy.to_string(), "x/p0");
    assert_eq!(found.rule, "spec.ingress[1]");
    assert_eq!(found.peer, "spec.ingress[1].from[1]: podSelector pod=b");
    assert_eq!(found.port, "spec.ingress[1].ports[1]: TCP 8000-9000");
}

#[test]
fn a_rule_for_everyone_says_so() {
    let cluster = cluster(&[json!({"ingress": [{}]})]);
    let Reason::AllowedBy(found) = ingress(&cluster, pod(&cluster, "y", "b"), 1) else {
        panic!("not allowed")
    };
    assert_eq!(found.peer, "spec.ingress[0] names no peer: everyone");
    assert_eq!(found.port, "spec.ingress[0] names no port: every port");
}

#[test]
fn a_label_that_differs_or_is_missing_is_named() {
    let cluster = cluster(&[json!({"ingress": [{"from": [
        {"podSelector": {"matchLabels": {"pod": "c", "tier": "web"}}},
        {"podSelector": {"matchLabels": {"pod": "c"}}},
    ]}]})]);
    assert_eq!(
        near(&ingress(&cluster, pod(&cluster, "x", "b"), 80)),
        (
            "spec.ingress[0].from[1]".to_owned(),
            vec!["podSelector pod=c does not match: x/b has pod=b".to_owned()]
        )
    );
}

#[test]
fn a_namespace_that_keeps_a_peer_from_matching_is_named() {
    let both = json!({"namespaceSelector": {"matchLabels": {"team": "z"}}, "podSelector": {}});
    let cluster_of_both = cluster(&[json!({"ingress": [{"from": [both]}]})]);
    let (_, obstacles) = near(&ingress(&cluster_of_both, pod(&cluster_of_both, "y", "b"), 80));
    assert_eq!(obstacles, ["namespaceSelector team=z does not match: namespace y has team=y"]);
    let own = cluster(&[json!({"ingress": [{"from": [{"podSelector": {}}]}]})]);
    let (_, obstacles) = near(&ingress(&own, pod(&own, "y", "b"), 80));
    assert_eq!(obstacles, ["without a namespaceSelector it names pods of x only, and y/b is in y"]);
}

#[test]
fn a_port_a_protocol_and_a_named_port_that_do_not_match_are_named() {
    let cluster = cluster(&[json!({"ingress": [{"ports": [
        {"port": 80}, {"port": 8080, "protocol": "UDP"}, {"port": "http"}, {"port": "metrics"},
    ]}]})]);
    let (place, obstacles) = near(&ingress(&cluster, pod(&cluster, "x", "b"), 9090));
    assert_eq!(place, "spec.ingress[0]");
    assert_eq!(
        obstacles,
        ["TCP 80 is not port 9090; UDP 8080 is another protocol than TCP; \
          the port named http of x/a is 8080, not 9090; x/a has no TCP port named metrics"]
    );
}

#[test]
fn the_rule_with_the_fewest_obstacles_is_nearest_and_every_policy_is_told() {
    let peer = |label: &str| json!([{"podSelector": {"matchLabels": {"pod": label}}}]);
    let cluster = cluster(&[
        json!({"ingress": [
            {"from": peer("c"), "ports": [{"port": 1}]},
            {"from": peer("b"), "ports": [{"port": 2}]},
        ]}),
        json!({"ingress": []}),
    ]);
    let Reason::Denied(misses) = ingress(&cluster, pod(&cluster, "x", "b"), 80) else {
        panic!("allowed")
    };
    assert_eq!(misses[0].nearest.as_ref().unwrap().place, "spec.ingress[1].from[0]");
    assert_eq!(misses[0].nearest.as_ref().unwrap().obstacles, ["TCP 2 is not port 80"]);
    assert!(misses[1].nearest.is_none());
}

#[test]
fn addresses_and_pods_are_not_taken_for_each_other() {
    let cluster = cluster(&[json!({"ingress": [{"from": [
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
    ]}]})]);
    let outside = End::Address([10, 1, 2, 3].into());
    let (_, obstacles) = near(&ingress(&cluster, outside, 80));
    assert_eq!(obstacles, ["ipBlock 10.0.0.0/8 except 10.1.0.0/16 does not hold 10.1.2.3"]);
    let reason = ingress(&cluster, pod(&cluster, "x", "b"), 80);
    let Reason::UnknownPeer(Miss { nearest: Some(near), .. }) = reason else { panic!("unknown") };
    assert!(near.obstacles[0].contains("which x/b will have is not known"), "{near:?}");
}

#[test]
fn a_block_that_holds_the_address_is_no_obstacle_and_one_that_does_not_says_which_it_was() {
    let of_block = |cidr: &str| {
        let peers = json!([{"ipBlock": {"cidr": cidr}}]);
        let mut cluster = cluster(&[json!({"ingress": [{"from": peers, "ports": [{"port": 1}]}]})]);
        let b = cluster.pods_mut().iter_mut().find(|pod| pod.namespace == "x" && pod.name == "b");
        b.unwrap().addresses = vec![[10, 0, 0, 2].into()];
        cluster
    };
    let holds = of_block("10.0.0.0/24");
    let (_, obstacles) = near(&ingress(&holds, pod(&holds, "x", "b"), 80));
    assert_eq!(obstacles, ["TCP 1 is not port 80"]);
    let other = of_block("10.0.1.0/24");
    let (_, obstacles) = near(&ingress(&other, pod(&other, "x", "b"), 80));
    assert_eq!(obstacles[0], "ipBlock 10.0.1.0/24 does not hold x/b (10.0.0.2)");
}

#[test]
fn a_selector_names_no_address_and_perhaps_a_pod_of_its_nodes_network() {
    let mut cluster = cluster(&[json!({"ingress": [{"from": [{"podSelector": {}}]}]})]);
    let (_, obstacles) = near(&ingress(&cluster, End::Address([192, 0, 2, 1].into()), 80));
    assert_eq!(obstacles, ["podSelector <all> names pods, and 192.0.2.1 is none"]);
    cluster.pods_mut().iter_mut().for_each(|pod| pod.host_network = pod.name == "b");
    let Reason::UnknownPeer(Miss { nearest: Some(near), .. }) =
        ingress(&cluster, pod(&cluster, "x", "b"), 80)
    else {
        panic!("unknown")
    };
    assert_eq!(
        near.obstacles,
        [
            "x/b has these labels and uses its node's network: whether a selector names it is undefined"
        ]
    );
}

#[test]
fn an_end_that_nothing_isolates_says_why() {
    let free = cluster(&[]);
    assert!(matches!(ingress(&free, pod(&free, "x", "b"), 80), Reason::Open));
    let mut cluster = cluster(&[json!({})]);
    cluster.pods_mut().iter_mut().for_each(|pod| pod.host_network = true);
    assert!(matches!(ingress(&cluster, pod(&cluster, "x", "b"), 80), Reason::HostNetwork(_)));
}
