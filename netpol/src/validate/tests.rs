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
    assert_eq!(written("010.000.001.1/32"), Some("10.0.1.1/32".parse().unwrap()));
    assert_eq!(written("10..0.1/32"), None);
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

fn written(text: &str) -> Option<ipnet::IpNet> {
    Written::parse(text).map(|written| written.block())
}

/// The blocks of a policy with this ipBlock, as they count.
fn block(cidr: &str, except: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let block = json!({"cidr": cidr, "except": except});
    let policy = validate(json!({"ingress": [{"from": [{"ipBlock": block}]}]}))?;
    let rule = &policy.ingress.unwrap()[0];
    let Peers::Any(peers) = &rule.peers else { return Ok(Vec::new()) };
    let Peer::Block { cidr, except } = &peers[0] else { return Ok(Vec::new()) };
    let mut addresses = crate::ranges::Addresses::default();
    addresses.add_block(cidr, except);
    addresses.normalise();
    let v4 = addresses.v4().map(|(first, last)| format!("{first}-{last}"));
    let v6 = addresses.v6().map(|(first, last)| format!("{first}-{last}"));
    Ok(v4.chain(v6).collect())
}

#[test]
fn an_ipv4_mapped_block_is_one_of_ipv4_as_in_gos_contains() {
    let of = |cidr: &str, except: &[&str]| block(cidr, except).unwrap();
    assert_eq!(of("::ffff:10.0.0.0/104", &[]), ["10.0.0.0-10.255.255.255"]);
    assert_eq!(of("::ffff:0:0/96", &[]), ["0.0.0.0-255.255.255.255"]);
    assert_eq!(of("::FFFF:a01:203/128", &[]), ["10.1.2.3-10.1.2.3"]);
    assert_eq!(of("0:0:0:0:0:ffff:010.1.2.3/112", &[]), ["10.1.0.0-10.1.255.255"]);
    // With fewer than 96 bits it is no address of IPv4 that is left.
    assert_eq!(of("::ffff:10.0.0.0/90", &[]), ["::ffc0:0:0-::ffff:255.255.255.255"]);
    let mapped = of("10.0.0.0/8", &["::ffff:10.128.0.0/105"]);
    assert_eq!(mapped, ["10.0.0.0-10.127.255.255"]);
}

#[test]
fn whether_except_is_strictly_inside_is_asked_of_lengths_as_they_are_written() {
    let refused = |cidr, except: &str| block(cidr, &[except]).is_err();
    // 104 is not less than 16, although the one block is in the other.
    assert!(refused("::ffff:10.0.0.0/104", "10.1.0.0/16"));
    assert!(!refused("::ffff:10.0.0.0/104", "::ffff:10.1.0.0/112"));
    assert!(!refused("10.0.0.0/8", "::ffff:10.1.0.0/112"));
    // Addresses of IPv4 are in no block of IPv6, however they are written.
    assert!(refused("::/0", "::ffff:10.0.0.0/104"));
    assert!(!refused("::/0", "::ffff:0:0/90"));
}

#[test]
fn what_is_taken_out_may_be_wider_than_the_block_and_leaves_nothing() {
    // 16 is less than 104, and 10.0.0.0/16 holds 10.0.0.0: the API server takes it.
    assert_eq!(block("10.0.0.0/16", &["::ffff:10.0.0.0/104"]).unwrap(), [""; 0]);
    assert!(block("10.1.0.0/16", &["::ffff:10.0.0.0/104"]).is_err());
}

#[test]
fn zeros_in_front_are_taken_wherever_the_api_servers_parser_takes_them() {
    for (text, range) in [
        ("010.0.0.0/8", "10.0.0.0-10.255.255.255"),
        ("10.0.0.0/08", "10.0.0.0-10.255.255.255"),
        ("10.0.0.0/00008", "10.0.0.0-10.255.255.255"),
        ("2001:00000db8::/0032", "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("64:ff9b::010.0.0.1/128", "64:ff9b::a00:1-64:ff9b::a00:1"),
    ] {
        assert_eq!(block(text, &[]), Ok(vec![range.to_owned()]), "{text}");
    }
    for bad in [
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0/8",
        "10.0.0.0/+8",
        "10.0.0.0/33",
        "0x0a.0.0.0/8",
        "::1%eth0/128",
        "1:2:3:4:5:6:7::8/128x",
        "::/129",
        "/8",
        "10.0.0.0/8/8",
        " 10.0.0.0/8",
    ] {
        assert!(block(bad, &[]).is_err(), "{bad}");
    }
}

#[test]
fn an_ipv4_mapped_address_is_in_blocks_of_ipv4_and_in_none_of_ipv6() {
    let holds = |cidr: &str, address: &str| {
        let cidr = written(cidr).unwrap();
        let peer = Peer::Block { cidr, except: Vec::new() };
        let end = crate::isolation::End::Address(address.parse().unwrap());
        peer.matches(&crate::cluster::Cluster::default(), "default", end)
    };
    assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert!(holds("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert!(!holds("::/0", "::ffff:10.1.2.3"));
    assert!(holds("::/0", "fd00::1"));
}
