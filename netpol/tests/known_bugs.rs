//! Bugs that others have had, and mutants that an analyser's own corpus does not kill: each test is
//! named after the one that it would catch.

#![allow(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use netpol::evaluate::{Connection, evaluate};
use netpol::isolation::End;
use netpol::port::Protocol::{self, Tcp, Udp};
use netpol::read::{Input, manifests};

/// Two pods of one namespace: a client without labels and a server with some; the name http is a
/// port of each, and not the same one.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8001}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8002}]}]}
";

/// Whether `source` may connect to `destination` under a policy of this spec.
fn passes(spec: &str, source: &str, destination: &str, protocol: Protocol, port: u16) -> bool {
    let policy = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
    );
    let text = PODS.to_owned() + &policy;
    let cluster = manifests(&[Input::new("-")], text.as_bytes()).unwrap().cluster;
    let pod = |name| End::Pod(cluster.pod("default", name).unwrap());
    let (source, destination) = (pod(source), pod(destination));
    evaluate(&cluster, &Connection { source, destination, protocol, port }).allows()
}

fn client_reaches_server(spec: &str) -> bool {
    passes(spec, "client", "server", Tcp, 80)
}

fn server_reaches_client(spec: &str) -> bool {
    passes(spec, "server", "client", Tcp, 80)
}

#[test]
fn not_in_does_not_match_a_missing_key_as_in_cyclonus_and_policy_assistant() {
    let from = "{matchExpressions: [{key: app, operator: NotIn, values: [other]}]}";
    let spec = format!("{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {from}}}]}}]}}");
    assert!(client_reaches_server(&spec), "the client has no label app: NotIn matches it");
}

#[test]
fn an_empty_value_matches_a_missing_key_as_in_cyclonus_and_policy_assistant() {
    let from = "{matchLabels: {app: ''}}";
    let spec = format!("{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {from}}}]}}]}}");
    assert!(!client_reaches_server(&spec), "the client has no label app, not an empty one");
}

#[test]
fn ingress_of_no_rule_allows_all_as_in_kube_network_policies() {
    for section in ["ingress: []", "ingress: null", "policyTypes: [Ingress]"] {
        assert!(!client_reaches_server(&format!("{{podSelector: {{}}, {section}}}")), "{section}");
    }
}

#[test]
fn egress_of_no_rule_isolates_without_policy_types_as_in_two_rust_projects() {
    let spec = "{podSelector: {matchLabels: {app: server}}, egress: []}";
    assert!(server_reaches_client(spec), "only policyTypes or a rule makes it isolate egress");
}

#[test]
fn mutant_a_missing_key_is_the_empty_value() {
    for (expression, matches) in [
        ("{key: app, operator: In, values: ['']}", false),
        ("{key: app, operator: NotIn, values: ['']}", true),
        ("{key: app, operator: Exists}", false),
        ("{key: app, operator: DoesNotExist}", true),
    ] {
        let from = format!("{{podSelector: {{matchExpressions: [{expression}]}}}}");
        let spec = format!("{{podSelector: {{}}, ingress: [{{from: [{from}]}}]}}");
        assert_eq!(client_reaches_server(&spec), matches, "{expression}");
    }
}

#[test]
fn mutant_the_default_for_egress_of_no_rule() {
    let selected = "podSelector: {matchLabels: {app: server}}";
    assert!(server_reaches_client(&format!("{{{selected}, egress: []}}")));
    assert!(!server_reaches_client(&format!("{{{selected}, policyTypes: [Egress], egress: []}}")));
    assert!(!server_reaches_client(&format!("{{{selected}, egress: [{{ports: [{{port: 1}}]}}]}}")));
}

#[test]
fn mutant_a_policy_of_egress_alone_drops_the_default_of_ingress() {
    let selected = "podSelector: {matchLabels: {app: server}}";
    assert!(!client_reaches_server(&format!("{{{selected}, egress: [{{}}]}}")));
    assert!(client_reaches_server(&format!(
        "{{{selected}, policyTypes: [Egress], egress: [{{}}]}}"
    )));
}

#[test]
fn mutant_an_empty_from_is_nobody() {
    for peers in ["from: []", "from: null", ""] {
        let spec = format!("{{podSelector: {{}}, ingress: [{{{peers}}}]}}");
        assert!(client_reaches_server(&spec), "{peers:?} is everyone");
    }
}

#[test]
fn mutant_the_protocol_is_ignored_where_there_is_no_port() {
    let spec = "{podSelector: {}, ingress: [{ports: [{protocol: UDP}]}]}";
    assert!(passes(spec, "client", "server", Udp, 80));
    assert!(!passes(spec, "client", "server", Tcp, 80));
}

#[test]
fn mutant_a_named_port_of_egress_is_the_sources() {
    let spec = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}";
    assert!(passes(spec, "client", "server", Tcp, 8002), "the server's");
    assert!(!passes(spec, "client", "server", Tcp, 8001), "the client's own");
}
