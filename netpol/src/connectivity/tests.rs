use crate::read::{Input, manifests};

use super::*;

/// The lines of `text`'s list.
fn list(text: &str) -> Vec<String> {
    let manifests = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
    let pairs = connectivity(&manifests.cluster);
    pairs.iter().map(|((from, to), what)| format!("{from} => {to} : {what}")).collect()
}

fn pod(name: &str, more: &str) -> String {
    format!("kind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}{more}}}\n---\n")
}

fn policy(spec: &str) -> String {
    format!("kind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n---\n")
}

#[test]
fn without_a_policy_everybody_reaches_everybody_but_itself() {
    assert_eq!(
        list(&(pod("a", "") + &pod("b", ""))),
        [
            "0.0.0.0-255.255.255.255[External] => default/a[Pod] : All Connections",
            "0.0.0.0-255.255.255.255[External] => default/b[Pod] : All Connections",
            "default/a[Pod] => 0.0.0.0-255.255.255.255[External] : All Connections",
            "default/a[Pod] => default/b[Pod] : All Connections",
            "default/b[Pod] => 0.0.0.0-255.255.255.255[External] : All Connections",
            "default/b[Pod] => default/a[Pod] : All Connections",
        ]
    );
}

#[test]
fn both_ends_decide_and_only_what_both_allow_passes() {
    let ends = "{podSelector: {}, policyTypes: [Ingress, Egress], \
        ingress: [{from: [{podSelector: {}}], ports: [{port: 80, endPort: 90}]}], \
        egress: [{to: [{podSelector: {matchLabels: {app: b}}}], ports: [{port: 85, endPort: 99}]}]}";
    assert_eq!(
        list(&(pod("a", "") + &pod("b", "") + &policy(ends))),
        ["default/a[Pod] => default/b[Pod] : TCP 85-90"]
    );
}

#[test]
fn blocks_are_cut_where_what_they_allow_changes_and_are_no_pods() {
    let blocks = "{podSelector: {matchLabels: {app: a}}, policyTypes: [Ingress], ingress: [\
        {from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80}]}, \
        {from: [{ipBlock: {cidr: 10.0.0.0/16}}, {ipBlock: {cidr: 'fd00::/127'}}], ports: [{port: 81}]}]}";
    let lines = list(&(pod("a", "") + &pod("b", "") + &policy(blocks)));
    let into_a: Vec<_> = lines.iter().filter(|line| line.contains("=> default/a[Pod]")).collect();
    assert_eq!(
        into_a,
        [
            "10.0.0.0-10.0.255.255[External] => default/a[Pod] : TCP 80-81",
            "10.2.0.0-10.255.255.255[External] => default/a[Pod] : TCP 80",
            "fd00::-fd00::1[External] => default/a[Pod] : TCP 81",
        ]
    );
}

#[test]
fn pods_of_one_owner_are_one_end() {
    let owner = ", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: u, controller: true}]";
    let lines = list(&(pod("web-1", owner) + &pod("web-2", owner)));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("default/web[ReplicaSet]")), "{lines:?}");
    let mirrored =
        ", ownerReferences: [{apiVersion: v1, kind: Node, name: node1, uid: u, controller: true}]";
    assert!(list(&pod("static", mirrored))[0].contains("default/static[Pod]"));
}

#[test]
fn a_named_port_is_the_destinations_and_nobodys_outside() {
    let ports =
        "spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}\n---\n";
    let server = pod("server", "").replace("---\n", ports);
    let named =
        policy("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}");
    let lines = list(&(pod("client", "") + &server + &named));
    let out: Vec<_> = lines.iter().filter(|line| line.starts_with("default/")).collect();
    assert_eq!(out, ["default/client[Pod] => default/server[Pod] : TCP 8080"]);
}

#[test]
fn neighbouring_addresses_with_the_same_connections_are_one_range() {
    let block = |cidr: &str, port: u16| {
        format!("{{from: [{{ipBlock: {{cidr: {cidr}}}}}], ports: [{{port: {port}}}]}}")
    };
    let rules = [block("10.0.0.0/9", 80), block("10.128.0.0/9", 80), block("11.0.0.0/8", 81)];
    let lines = list(
        &(pod("a", "")
            + &policy(&format!("{{podSelector: {{}}, ingress: [{}]}}", rules.join(", ")))),
    );
    assert_eq!(
        lines[..2],
        [
            "10.0.0.0-10.255.255.255[External] => default/a[Pod] : TCP 80",
            "11.0.0.0-11.255.255.255[External] => default/a[Pod] : TCP 81",
        ]
    );
}

#[test]
fn a_rule_without_peers_is_of_everyone_outside_too() {
    let ingress = policy("{podSelector: {}, ingress: [{ports: [{port: 80}]}]}");
    assert_eq!(
        list(&(pod("a", "") + &ingress))[0],
        "0.0.0.0-255.255.255.255[External] => default/a[Pod] : TCP 80"
    );
}

#[test]
fn what_two_rules_allow_to_one_peer_adds_up() {
    let rule = |port: u16| format!("{{from: [{{podSelector: {{}}}}], ports: [{{port: {port}}}]}}");
    let both = format!("{{podSelector: {{}}, ingress: [{}, {}]}}", rule(80), rule(90));
    let lines = list(&(pod("a", "") + &pod("b", "") + &policy(&both)));
    assert!(
        lines.contains(&"default/a[Pod] => default/b[Pod] : TCP 80,90".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn a_named_port_of_an_ingress_rule_is_not_the_peers() {
    let named = |name: &str, number: u16| {
        let ports = format!(
            "spec: {{containers: [{{name: c, ports: [{{name: http, containerPort: {number}}}]}}]}}\n---\n"
        );
        pod(name, "").replace("---\n", &ports)
    };
    let ingress = policy(
        "{podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {}}], ports: [{port: http}]}]}",
    );
    let lines = list(&(named("a", 8080) + &named("b", 9090) + &ingress));
    assert!(lines.contains(&"default/b[Pod] => default/a[Pod] : TCP 8080".to_owned()), "{lines:?}");
}
