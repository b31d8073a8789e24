//! What is told of a client and a server with one policy; and what the tests of the themes share.

use super::*;
use crate::read::{Input, manifests};

/// What is said of these manifests: `warning: ` or `note: `, and the message.
pub(super) fn told(text: &str) -> Vec<String> {
    let manifests = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
    let told = |remark: &Remark| format!("{}: {}", remark.level, remark.finding.message);
    warnings(&manifests, Version::default()).iter().map(told).collect()
}

/// A pod in one line: `NAMESPACE/NAME`, its labels and its ports in YAML.
pub(super) fn pod(name: &str, labels: &str, ports: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{containers: [{{name: c, ports: [{ports}]}}]}}\n---\n"
    )
}

/// A Service in one line.
pub(super) fn service(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

/// A policy `p` of this spec.
pub(super) fn policy(namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

/// The warnings about a policy of this spec, in a namespace with a client and a server.
fn warnings_of(spec: &str) -> Vec<String> {
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
             spec: {{containers: [{{name: c, ports: [{{name: http, containerPort: 80}}]}}]}}\n\
             status: {{podIPs: [{{ip: 10.0.0.1}}]}}\n---\n"
        )
    };
    let policy = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
    );
    let text = pod("client") + &pod("server") + &policy;
    let manifests = manifests(&[Input::new("-")], text.as_bytes()).unwrap();
    warnings(&manifests, Version::default())
        .iter()
        .map(|remark| remark.finding.message.clone())
        .collect()
}

const SERVER: &str = "podSelector: {matchLabels: {app: server}}";

#[test]
fn what_is_meant_has_no_warning() {
    let rule = "{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}";
    assert_eq!(warnings_of(&format!("{{{SERVER}, ingress: [{rule}]}}")), [""; 0]);
    let rules = "{ports: [{port: 53, protocol: UDP}]}, {ports: [{port: http}]}";
    let spec = format!("{{{SERVER}, policyTypes: [Egress], egress: [{rules}]}}");
    assert_eq!(warnings_of(&spec), [""; 0]);
}

#[test]
fn a_policy_that_selects_no_pod_is_told() {
    assert_eq!(
        warnings_of("{podSelector: {matchLabels: {app: sever}}, ingress: [{}]}"),
        ["spec.podSelector: selects no pod: none in namespace default has app=sever"]
    );
}

#[test]
fn a_peer_that_matches_nobody_is_told() {
    let peers =
        "{podSelector: {matchLabels: {app: cliend}}}, {podSelector: {matchLabels: {app: client}}}";
    assert_eq!(
        warnings_of(&format!("{{{SERVER}, ingress: [{{from: [{peers}]}}]}}")),
        [
            "spec.ingress[0].from[0]: matches nobody: there is no pod with app=cliend in namespace default"
        ]
    );
    let peers = "{namespaceSelector: {matchLabels: {team: nobody}}}, {podSelector: {}}";
    assert_eq!(
        warnings_of(&format!("{{{SERVER}, ingress: [{{from: [{peers}]}}]}}")),
        [
            "spec.ingress[0].from[0]: matches nobody: there is no pod in a namespace with team=nobody"
        ]
    );
}

#[test]
fn a_named_port_that_nobody_has_is_told() {
    assert_eq!(
        warnings_of(&format!("{{{SERVER}, ingress: [{{}}, {{ports: [{{port: https}}]}}]}}")),
        ["spec.ingress[1].ports[0].port: no pod that is selected has a TCP port \"https\""]
    );
}

#[test]
fn egress_without_dns_is_told() {
    let spec = format!("{{{SERVER}, policyTypes: [Egress], egress: [{{ports: [{{port: 80}}]}}]}}");
    assert_eq!(
        warnings_of(&spec),
        ["spec.egress: cuts default/server off from DNS: no rule allows it UDP port 53"]
    );
}

#[test]
fn a_dns_server_outside_the_cluster_is_one() {
    let outside = "{to: [{ipBlock: {cidr: 192.0.2.53/32}}], ports: [{port: 53, protocol: UDP}]}";
    let spec = format!("{{{SERVER}, policyTypes: [Egress], egress: [{outside}]}}");
    assert_eq!(warnings_of(&spec), [""; 0]);
}

#[test]
fn a_pod_that_nobody_reaches_is_told() {
    assert_eq!(
        warnings_of(&format!("{{{SERVER}}}")),
        ["spec.ingress: nobody reaches default/server: it is isolated, and no rule lets anyone in"]
    );
}

#[test]
fn rule_18_a_block_that_holds_a_pod_is_told() {
    let rule = "{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}";
    let told = warnings_of(&format!("{{{SERVER}, ingress: [{rule}]}}"));
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("spec.ingress[0].from[0].ipBlock: 10.0.0.0/8 holds"), "{told:?}");
}
