//! The rules of [`crate::isolation`], each shown by a connection that it decides.

use serde_json::{Value, json};

use super::*;
use crate::cluster::{ForeignPolicy, NamedPort, Pod, Workload};
use crate::selector::tests::labels;

/// Namespaces `x` (team=x) and `y` (team=y) with pods `a`, `b` and `c` each (pod=a …), and the
/// policies given as specs, all in namespace `x`.
fn cluster(specs: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    for (n, namespace) in ["x", "y"].into_iter().enumerate() {
        cluster.add_namespace(namespace, labels(&[("team", namespace)]));
        for (p, name) in ["a", "b", "c"].into_iter().enumerate() {
            let host = u8::try_from(n * 10 + p + 1).unwrap();
            cluster.add_pod(Pod {
                namespace: namespace.into(),
                name: name.into(),
                workload: Workload::default(),
                owner: None,
                maker: None,
                labels: labels(&[("pod", name)]),
                addresses: vec![[10, 0, 0, host].into()],
                named_ports: vec![
                    named("http", Protocol::Tcp, 80),
                    named("dns", Protocol::Udp, 53),
                ],
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

fn named(name: &str, protocol: Protocol, port: u16) -> NamedPort {
    NamedPort { name: name.into(), protocol, port }
}

fn end<'a>(cluster: &'a Cluster, text: &str) -> End<'a> {
    match text.split_once('/') {
        Some((namespace, name)) => End::Pod(cluster.pod(namespace, name).unwrap()),
        None if text == "node" => End::Node,
        None => End::Address(text.parse().unwrap()),
    }
}

fn may(cluster: &Cluster, source: &str, destination: &str, protocol: Protocol, port: u16) -> bool {
    let (source, destination) = (end(cluster, source), end(cluster, destination));
    evaluate(cluster, &Connection { source, destination, protocol, port }).allows()
}

/// Who of `sources` may connect to x/a on TCP 80.
fn who<'a>(cluster: &Cluster, sources: &[&'a str]) -> Vec<&'a str> {
    let may = |source: &&&str| may(cluster, source, "x/a", Protocol::Tcp, 80);
    sources.iter().filter(may).copied().collect()
}

const PODS: [&str; 5] = ["x/b", "x/c", "y/a", "y/b", "y/c"];

fn from(peers: Value) -> Value {
    json!({"podSelector": {"matchLabels": {"pod": "a"}}, "ingress": [{"from": peers}]})
}

#[test]
fn rule_1_isolation_is_by_policies_of_the_pods_own_namespace() {
    let cluster = cluster(&[json!({})]);
    assert!(who(&cluster, &PODS).is_empty());
    assert!(may(&cluster, "x/a", "y/a", Protocol::Tcp, 80), "y has no policy");
}

#[test]
fn rule_1_isolation_is_per_direction() {
    let cluster = cluster(&[json!({"podSelector": {"matchLabels": {"pod": "a"}}})]);
    assert!(!may(&cluster, "y/a", "x/a", Protocol::Tcp, 80));
    assert!(may(&cluster, "x/a", "y/a", Protocol::Tcp, 80));
}

#[test]
fn rule_1_policies_add_up() {
    let one = from(json!([{"podSelector": {"matchLabels": {"pod": "b"}}}]));
    let other = from(json!([{"podSelector": {"matchLabels": {"pod": "c"}}}]));
    assert_eq!(who(&cluster(&[one, other, json!({})]), &PODS), ["x/b", "x/c"]);
}

#[test]
fn rule_2_both_ends_must_allow() {
    let egress = json!({"podSelector": {"matchLabels": {"pod": "b"}}, "policyTypes": ["Egress"]});
    let only_in = from(json!([{"podSelector": {}}]));
    assert_eq!(who(&cluster(&[egress, only_in]), &PODS), ["x/c"]);
}

#[test]
fn rule_3_egress_empty_without_policy_types_leaves_egress_open() {
    let cluster = cluster(&[json!({"egress": []})]);
    assert!(may(&cluster, "x/a", "y/a", Protocol::Tcp, 80));
}

#[test]
fn rule_3_an_egress_only_policy_drops_ingress() {
    assert!(who(&cluster(&[json!({"egress": [{}]})]), &PODS).is_empty());
}

#[test]
fn rule_5_no_ingress_rule_denies_all() {
    assert!(who(&cluster(&[json!({"ingress": []})]), &PODS).is_empty());
}

#[test]
fn rule_6_an_empty_rule_allows_all() {
    let cluster = cluster(&[json!({"ingress": [{}]})]);
    assert_eq!(who(&cluster, &PODS), PODS);
    assert!(may(&cluster, "192.0.2.1", "x/a", Protocol::Sctp, 1));
}

#[test]
fn rule_7_from_empty_is_everyone() {
    assert_eq!(who(&cluster(&[from(json!([]))]), &PODS), PODS);
}

#[test]
fn rule_8_an_empty_pod_selector_isolates_every_pod_of_the_namespace() {
    let cluster = cluster(&[json!({"podSelector": {}})]);
    for pod in ["x/a", "x/b", "x/c"] {
        assert!(!may(&cluster, "y/a", pod, Protocol::Tcp, 80), "{pod}");
    }
}

#[test]
fn rule_9_a_pod_selector_alone_is_of_the_policys_namespace() {
    let peers = json!([{"podSelector": {"matchLabels": {"pod": "b"}}}]);
    assert_eq!(who(&cluster(&[from(peers)]), &PODS), ["x/b"]);
}

#[test]
fn rule_9_a_namespace_selector_alone_is_all_pods_there() {
    let peers = json!([{"namespaceSelector": {"matchLabels": {"team": "y"}}}]);
    assert_eq!(who(&cluster(&[from(peers)]), &PODS), ["y/a", "y/b", "y/c"]);
}

#[test]
fn rule_9_both_selectors_in_one_peer_must_match() {
    let peers = json!([{
        "namespaceSelector": {"matchLabels": {"team": "y"}},
        "podSelector": {"matchLabels": {"pod": "b"}},
    }]);
    assert_eq!(who(&cluster(&[from(peers)]), &PODS), ["y/b"]);
}

#[test]
fn rule_9_of_two_peers_either_will_do() {
    let peers = json!([
        {"namespaceSelector": {"matchLabels": {"team": "y"}}},
        {"podSelector": {"matchLabels": {"pod": "b"}}},
    ]);
    assert_eq!(who(&cluster(&[from(peers)]), &PODS), ["x/b", "y/a", "y/b", "y/c"]);
}

#[test]
fn rule_9_an_empty_selector_selects_all() {
    assert_eq!(who(&cluster(&[from(json!([{"podSelector": {}}]))]), &PODS), ["x/b", "x/c"]);
    assert_eq!(who(&cluster(&[from(json!([{"namespaceSelector": {}}]))]), &PODS), PODS);
}

#[test]
fn rule_12_a_namespace_can_be_selected_by_its_name() {
    let labels = json!({"matchLabels": {"kubernetes.io/metadata.name": "y"}});
    let peers = json!([{ "namespaceSelector": labels }]);
    assert_eq!(who(&cluster(&[from(peers)]), &PODS), ["y/a", "y/b", "y/c"]);
}

#[test]
fn rule_13_the_protocol_counts_even_where_the_port_is_absent() {
    let cluster = cluster(&[json!({"ingress": [{"ports": [{"protocol": "UDP"}]}]})]);
    assert!(may(&cluster, "y/a", "x/a", Protocol::Udp, 7));
    assert!(!may(&cluster, "y/a", "x/a", Protocol::Tcp, 7));
}

#[test]
fn rule_13_a_port_without_protocol_is_tcp() {
    let cluster = cluster(&[json!({"ingress": [{"ports": [{"port": 80}]}]})]);
    assert!(may(&cluster, "y/a", "x/a", Protocol::Tcp, 80));
    assert!(!may(&cluster, "y/a", "x/a", Protocol::Udp, 80));
}

#[test]
fn rule_14_the_end_port_is_included() {
    let cluster = cluster(&[json!({"ingress": [{"ports": [{"port": 80, "endPort": 82}]}]})]);
    let open: Vec<_> =
        (79..=83).filter(|port| may(&cluster, "y/a", "x/a", Protocol::Tcp, *port)).collect();
    assert_eq!(open, [80, 81, 82]);
}

#[test]
fn rule_15_a_named_port_is_looked_up_with_its_protocol() {
    let cluster = cluster(&[json!({"ingress": [{"ports": [{"port": "dns"}, {"port": "http"}]}]})]);
    assert!(may(&cluster, "y/a", "x/a", Protocol::Tcp, 80));
    assert!(!may(&cluster, "y/a", "x/a", Protocol::Udp, 53), "the entry says TCP by default");
    assert!(!may(&cluster, "y/a", "x/a", Protocol::Tcp, 53));
}

#[test]
fn rule_15_an_egress_named_port_is_the_destinations() {
    let mut cluster = cluster(&[json!({"egress": [{"ports": [{"port": "http"}]}]})]);
    cluster.add_pod(Pod {
        namespace: "y".into(),
        name: "other".into(),
        named_ports: vec![named("http", Protocol::Tcp, 8080)],
        ..Pod::default()
    });
    assert!(may(&cluster, "x/a", "y/other", Protocol::Tcp, 8080));
    assert!(!may(&cluster, "x/a", "y/other", Protocol::Tcp, 80), "80 is the source's http");
    assert!(!may(&cluster, "x/a", "192.0.2.1", Protocol::Tcp, 80), "an address has no names");
}

#[test]
fn rule_16_a_rule_for_sctp_only_isolates_tcp() {
    let cluster = cluster(&[json!({"ingress": [{"ports": [{"protocol": "SCTP"}]}]})]);
    assert!(!may(&cluster, "y/a", "x/a", Protocol::Tcp, 80));
    assert!(may(&cluster, "y/a", "x/a", Protocol::Sctp, 80));
}

#[test]
fn rule_17_except_is_taken_out_and_another_rule_may_allow_it_again() {
    let block = json!({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}});
    let sources = ["192.0.2.1", "192.0.2.127", "192.0.2.128", "198.51.100.1"];
    let one = from(json!([block]));
    assert_eq!(who(&cluster(std::slice::from_ref(&one)), &sources), ["192.0.2.1", "192.0.2.127"]);
    let again = from(json!([{"ipBlock": {"cidr": "192.0.2.128/32"}}]));
    assert_eq!(who(&cluster(&[one, again]), &sources), ["192.0.2.1", "192.0.2.127", "192.0.2.128"]);
}

#[test]
fn rule_18_a_block_matches_a_pods_address() {
    let peers = json!([{"ipBlock": {"cidr": "10.0.0.12/32"}}]);
    assert_eq!(who(&cluster(&[from(peers)]), &PODS), ["y/b"]);
}

#[test]
fn rule_19_what_policies_do_to_pods_on_the_hosts_network_is_unknown() {
    let mut cluster = cluster(&[json!({}), from(json!([{"podSelector": {}}]))]);
    let host = |name: &str, namespace: &str| Pod {
        namespace: namespace.into(),
        name: name.into(),
        host_network: true,
        ..Pod::default()
    };
    cluster.add_pod(host("h", "x"));
    cluster.add_pod(host("free", "y"));
    let answer = |source: &str, destination: &str| {
        let (source, destination) = (end(&cluster, source), end(&cluster, destination));
        let connection = Connection { source, destination, protocol: Protocol::Tcp, port: 80 };
        evaluate(&cluster, &connection).answer()
    };
    assert_eq!(answer("y/a", "x/h"), Answer::Unknown, "a policy selects it");
    assert_eq!(answer("x/h", "x/a"), Answer::Unknown, "a selector matches its labels");
    assert_eq!(answer("y/free", "x/a"), Answer::No, "no selector does");
    assert_eq!(answer("x/a", "y/free"), Answer::Yes, "no policy is about it");
}

#[test]
fn a_policy_of_a_kind_that_is_not_modelled_makes_unknown_what_it_may_be_about() {
    let mut cluster = cluster(&[json!({})]);
    let foreign = |namespace: Option<&str>| ForeignPolicy {
        kind: "K.g".into(),
        namespace: namespace.map(str::to_owned),
        name: "f".into(),
        is_hidden: false,
    };
    cluster.add_foreign(foreign(Some("y")));
    let ask = |cluster: &Cluster, source: &str, destination: &str| {
        let (source, destination) = (end(cluster, source), end(cluster, destination));
        let connection = Connection { source, destination, protocol: Protocol::Tcp, port: 80 };
        evaluate(cluster, &connection).answer()
    };
    assert_eq!(ask(&cluster, "x/a", "y/a"), Answer::Unknown);
    assert_eq!(ask(&cluster, "y/a", "x/a"), Answer::No, "x denies, whatever y lets out");
    assert_eq!(ask(&cluster, "y/a", "y/a"), Answer::Yes, "a pod reaches itself");
    cluster.add_foreign(foreign(None));
    assert_eq!(ask(&cluster, "y/a", "x/a"), Answer::Unknown, "it may allow what others deny");
}

#[test]
fn a_block_and_a_pod_of_unknown_address_is_unknown_unless_the_block_holds_every_address() {
    let answer = |peers: Value| {
        let mut cluster = cluster(&[from(peers)]);
        cluster.pods_mut().iter_mut().for_each(|pod| pod.addresses.clear());
        let (source, destination) = (end(&cluster, "y/a"), end(&cluster, "x/a"));
        let connection = Connection { source, destination, protocol: Protocol::Tcp, port: 80 };
        evaluate(&cluster, &connection).answer()
    };
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    assert_eq!(answer(json!([block("0.0.0.0/0")])), Answer::Yes);
    assert_eq!(answer(json!([block("0.0.0.0/1"), block("128.0.0.0/1")])), Answer::Yes);
    assert_eq!(answer(json!([block("10.0.0.0/8")])), Answer::Unknown);
    assert_eq!(answer(json!([block("::/0")])), Answer::Unknown, "if the cluster has IPv6");
    let but = |except: &str| json!([{"ipBlock": {"cidr": "0.0.0.0/0", "except": [except]}}]);
    assert_eq!(answer(but("10.0.0.0/8")), Answer::Unknown);
    assert_eq!(answer(but("169.254.169.254/32")), Answer::Yes, "no pod has that address");
    assert_eq!(answer(json!([{"podSelector": {}}])), Answer::No);
}

#[test]
fn rule_20_a_pod_always_reaches_itself() {
    let cluster = cluster(&[json!({"policyTypes": ["Ingress", "Egress"]})]);
    assert!(may(&cluster, "x/a", "x/a", Protocol::Tcp, 80));
    assert!(!may(&cluster, "x/a", "x/b", Protocol::Tcp, 80));
}

#[test]
fn rule_21_a_node_always_reaches_its_own_pods() {
    let cluster = cluster(&[json!({"policyTypes": ["Ingress", "Egress"]})]);
    assert!(may(&cluster, "node", "x/a", Protocol::Tcp, 80));
    assert!(may(&cluster, "x/a", "node", Protocol::Tcp, 80));
}

#[test]
fn the_verdict_names_the_rule_that_allowed_and_the_policies_that_denied() {
    let one = from(json!([{"podSelector": {"matchLabels": {"pod": "b"}}}]));
    let cluster = cluster(&[json!({}), one]);
    let ask = |source| {
        let (source, destination) = (end(&cluster, source), end(&cluster, "x/a"));
        let connection = Connection { source, destination, protocol: Protocol::Tcp, port: 80 };
        evaluate(&cluster, &connection).ingress
    };
    let Decision::AllowedBy(allowance) = ask("x/b") else { panic!("allowed") };
    assert_eq!((allowance.policy.name.as_str(), allowance.index), ("p1", 0));
    let Decision::Denied(policies) = ask("x/c") else { panic!("denied") };
    assert_eq!(policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>(), ["p0", "p1"]);
}
