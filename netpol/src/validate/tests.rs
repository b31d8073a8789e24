//! The API's rules for a NetworkPolicy, each shown by a spec that it decides.

use serde_json::{Value, json};

use super::*;
use crate::policy::Direction;

fn validate(spec: Value) -> Result<Policy, Vec<String>> {
    let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
    policy(&serde_json::from_value(object).unwrap())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn isolates(spec: Value) -> (bool, bool) {
    let policy = validate(spec).unwrap();
    (policy.rules(Direction::Ingress).is_some(), policy.rules(Direction::Egress).is_some())
}

#[test]
fn a_name_may_be_left_to_the_api_server_where_it_is_told_how_it_begins() {
    let named = |metadata: Value| {
        let object = json!({"metadata": metadata, "spec": {}});
        let errors = policy(&serde_json::from_value(object).unwrap()).err().unwrap_or_default();
        errors.iter().map(|error| error.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(json!({"generateName": "p-"})), [""; 0]);
    assert_eq!(named(json!({"generateName": "P-"})), ["metadata.generateName"]);
    assert_eq!(named(json!({"generateName": ""})), ["metadata.name"]);
    assert_eq!(named(json!({})), ["metadata.name"]);
}

#[test]
fn rule_3_without_policy_types_egress_is_isolated_only_if_a_rule_is_there() {
    assert_eq!(isolates(json!({})), (true, false));
    assert_eq!(isolates(json!({"egress": []})), (true, false));
    assert_eq!(isolates(json!({"egress": null})), (true, false));
    assert_eq!(isolates(json!({"egress": [{}]})), (true, true));
}

#[test]
fn rule_3_an_egress_only_policy_without_policy_types_still_isolates_ingress() {
    let policy = validate(json!({"egress": [{}]})).unwrap();
    assert_eq!(policy.rules(Direction::Ingress), Some(&[][..]));
}

#[test]
fn rule_4_policy_types_wins_over_the_sections_present() {
    let with =
        |types: Value| isolates(json!({"ingress": [{}], "egress": [{}], "policyTypes": types}));
    assert_eq!(with(json!(["Egress"])), (false, true));
    assert_eq!(with(json!(["Ingress"])), (true, false));
    assert_eq!(with(json!([])), (true, true));
    assert_eq!(isolates(json!({"policyTypes": ["Egress"]})), (false, true));
}

#[test]
fn rule_5_ingress_empty_absent_or_null_denies_all() {
    for spec in [json!({"ingress": []}), json!({}), json!({"ingress": null})] {
        assert_eq!(validate(spec).unwrap().ingress, Some(vec![]));
    }
}

#[test]
fn rule_6_an_empty_rule_allows_all() {
    let rule = Rule { peers: Peers::Everyone, ports: Ports::Every };
    assert_eq!(validate(json!({"ingress": [{}]})).unwrap().ingress, Some(vec![rule]));
}

#[test]
fn rule_7_missing_and_empty_peers_and_ports_are_no_restriction() {
    let empty = validate(json!({"ingress": [{"from": [], "ports": []}]})).unwrap();
    assert_eq!(empty, validate(json!({"ingress": [{}]})).unwrap());
}

#[test]
fn rule_8_an_absent_pod_selector_selects_all_pods() {
    assert_eq!(validate(json!({})).unwrap(), validate(json!({"podSelector": {}})).unwrap());
}

#[test]
fn rule_10_a_peer_is_a_selector_or_a_block() {
    let peer = |peer: Value| validate(json!({"ingress": [{"from": [peer]}]}));
    assert_eq!(
        peer(json!({})).unwrap_err(),
        ["spec.ingress[0].from[0]: Required value: must specify a peer"]
    );
    assert_eq!(
        peer(json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}})).unwrap_err(),
        ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]
    );
}

#[test]
fn rule_13_the_protocol_defaults_to_tcp_and_a_port_to_all() {
    let policy = validate(json!({"ingress": [{"ports": [{"port": 80}, {"protocol": "UDP"}]}]}));
    let range = PortSpec::Range(PortRange::single(80));
    assert_eq!(
        policy.unwrap().ingress.unwrap()[0].ports,
        Ports::Any(vec![
            Port { protocol: Protocol::Tcp, ports: range },
            Port { protocol: Protocol::Udp, ports: PortSpec::Every },
        ])
    );
}

#[test]
fn ports_are_checked_as_the_api_server_does() {
    let bad = [
        (json!({"port": 0}), "port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        (
            json!({"port": 65536}),
            "port: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"port": "80"}),
            r#"port: Invalid value: "80": must contain at least one letter (a-z)"#,
        ),
        (
            json!({"endPort": 80}),
            "port: Required value: must be specified when `endPort` is specified",
        ),
        (
            json!({"port": "http", "endPort": 80}),
            "endPort: Forbidden: may not be specified when `port` is non-numeric",
        ),
        (
            json!({"port": 80, "endPort": 79}),
            "endPort: Invalid value: 79: must be greater than or equal to `port`",
        ),
        (
            json!({"port": 80, "protocol": "ICMP"}),
            r#"protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP""#,
        ),
        (
            json!({"port": 80, "protocol": "tcp"}),
            r#"protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP""#,
        ),
    ];
    for (port, words) in bad {
        let errors = validate(json!({"egress": [{"ports": [port]}]})).unwrap_err();
        assert_eq!(errors, [format!("spec.egress[0].ports[0].{words}")]);
    }
}

#[test]
fn blocks_are_checked_as_the_api_server_does() {
    let block = |block: Value| validate(json!({"ingress": [{"from": [{"ipBlock": block}]}]}));
    for bad in ["", "10.0.0.0", "10.0.0.0/33", "a/8", "10.0.0/8"] {
        assert!(block(json!({ "cidr": bad })).is_err(), "{bad}");
    }
    for good in ["0.0.0.0/0", "10.0.0.1/8", "010.0.0.0/8", "::/0", "2001:db8::/64"] {
        assert!(block(json!({ "cidr": good })).is_ok(), "{good}");
    }
    for outside in ["11.0.0.0/8", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "x"] {
        let result = block(json!({"cidr": "10.0.0.0/8", "except": [outside]}));
        assert!(result.is_err(), "{outside}");
    }
    assert!(block(json!({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]})).is_ok());
}

#[test]
fn zeros_in_front_are_not_octal_and_an_empty_octet_is_no_zero() {
    assert_eq!(parse_cidr("010.000.001.1/32"), Some("10.0.1.1/32".parse().unwrap()));
    assert_eq!(parse_cidr("10..0.1/32"), None);
}

#[test]
fn a_policy_whose_name_alone_is_wrong_is_invalid_and_has_a_meaning() {
    let object = json!({"metadata": {"name": "A"}, "spec": {"podSelector": {}}});
    let object = serde_json::from_value(object).unwrap();
    assert!(policy(&object).is_err() && meaning(&object).is_ok());
}

#[test]
fn policy_types_are_two_known_ones() {
    for bad in [json!(["ingress"]), json!(["Ingress", "Egress", "Ingress"]), json!([""])] {
        assert!(validate(json!({ "policyTypes": bad })).is_err());
    }
}

#[test]
fn every_fault_is_reported() {
    let spec = json!({
        "podSelector": {"matchLabels": {"-": ""}},
        "ingress": [{"from": [{}], "ports": [{"port": 0}]}],
    });
    assert!(validate(spec).unwrap_err().len() >= 3);
}

#[test]
fn what_is_invalid_of_a_policy_in_force_is_denied_and_the_rest_means_what_it_says() {
    let of = |spec: Value| {
        let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        let (policy, errors) = in_force(&serde_json::from_value(object).unwrap());
        (policy, errors.len())
    };
    let selector = json!({"matchLabels": {"app": "a"}});
    let good = json!({"podSelector": selector, "ingress": [{}]});
    assert_eq!(of(good.clone()), (validate(good).unwrap(), 0));
    // The errors of both rules, and neither rule, nor the good one beside them.
    let (bad, errors) = of(json!({
        "podSelector": selector,
        "ingress": [{"from": [{}]}, {"ports": [{"port": 0}]}, {}],
    }));
    assert_eq!((bad.ingress, bad.egress, errors), (Some(vec![]), None, 2));
    let selected = validate(json!({"podSelector": selector})).unwrap().pods;
    assert_eq!(bad.pods, selected);
    let (types, _) = of(json!({"podSelector": selector, "policyTypes": ["Both"]}));
    assert_eq!((types.ingress, types.egress, types.pods), (Some(vec![]), Some(vec![]), selected));
    let (everyone, _) = of(json!({"podSelector": {"matchLabels": {"-": ""}}, "egress": [{}]}));
    assert_eq!((everyone.ingress, everyone.egress), (Some(vec![]), Some(vec![])));
    assert_eq!(everyone.pods, Selector::default());
}
