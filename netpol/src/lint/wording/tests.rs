//! What is told of how a policy is written.

use super::super::tests::{policy, told};

/// What is told of a policy of this spec, where no pod is known.
fn said(spec: &str) -> Vec<String> {
    told(&policy("shop", spec))
}

#[test]
fn a_list_of_peers_that_is_written_and_empty_is_told_to_mean_everyone() {
    for rule in
        ["{from: , ports: [{port: 3000}]}", "{from: [], ports: [{port: 3000}]}", "{from: []}"]
    {
        let said = said(&format!("{{ingress: [{{ports: [{{port: 1}}]}}, {rule}]}}"));
        assert_eq!(said.len(), 1, "{rule}: {said:?}");
        assert!(
            said[0].starts_with("warning: spec.ingress[1].from: is written and empty"),
            "{said:?}"
        );
        assert!(said[0].contains("everyone may connect"), "{said:?}");
    }
    let said = said("{policyTypes: [Egress], egress: [{to: [], ports: [{port: 3000}]}]}");
    assert!(said.len() == 1 && said[0].contains("spec.egress[0].to: is written"), "{said:?}");
}

#[test]
fn a_list_of_ports_that_is_written_and_empty_is_told_to_mean_every_port() {
    for ports in ["[]", "null"] {
        let said =
            said(&format!("{{ingress: [{{from: [{{podSelector: {{}}}}], ports: {ports}}}]}}"));
        assert!(
            said.len() == 1 && said[0].contains("spec.ingress[0].ports: is written"),
            "{said:?}"
        );
    }
    assert_eq!(said("{ingress: [{}, {from: [{podSelector: {}}]}]}"), [""; 0]);
}

#[test]
fn an_empty_egress_without_policy_types_is_told_to_isolate_nothing() {
    for spec in ["{egress: []}", "{egress: }", "{egress: [], policyTypes: []}"] {
        let said = said(spec);
        assert!(
            said.len() == 1 && said[0].contains("isolates nothing for egress"),
            "{spec}: {said:?}"
        );
    }
    for spec in ["{ingress: []}", "{policyTypes: [Egress], egress: []}", "{}"] {
        assert_eq!(said(spec), [""; 0], "{spec}");
    }
}

#[test]
fn a_section_that_policy_types_leaves_out_is_told_to_have_no_effect() {
    for (spec, section) in [
        (
            "{policyTypes: [Egress], ingress: [{from: [{podSelector: {}}]}], egress: [{}]}",
            "ingress",
        ),
        ("{policyTypes: [Ingress], egress: [{}]}", "egress"),
    ] {
        let said = said(spec);
        let begin = format!("warning: spec.{section}: has no effect");
        assert!(said.len() == 1 && said[0].starts_with(&begin), "{said:?}");
    }
    for spec in ["{policyTypes: [Egress], ingress: []}", "{policyTypes: [Ingress], egress: []}"] {
        let said = said(spec);
        assert!(said.len() == 1 && said[0].contains("policyTypes leaves"), "{said:?}");
    }
    assert_eq!(said("{policyTypes: [Egress], egress: [{}]}"), [""; 0]);
}

/// Which peers of this list are told to add nothing.
fn contained(peers: &str) -> Vec<String> {
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n---\n";
    let spec = format!("{{ingress: [{{from: [{peers}]}}]}}");
    let told = told(&(namespace.to_owned() + &policy("shop", &spec)));
    let peer = |message: &String| {
        let rest = message.strip_prefix("warning: spec.ingress[0].")?;
        let (peer, rest) = rest.split_once(": adds nothing: ")?;
        Some(format!("{peer} {}", rest.split(' ').next()?))
    };
    told.iter().map(|message| peer(message).unwrap_or_else(|| message.clone())).collect()
}

#[test]
fn a_peer_that_another_one_contains_is_told_to_add_nothing() {
    let name = "kubernetes.io/metadata.name";
    for (narrow, wide) in [
        (
            format!("{{namespaceSelector: {{matchExpressions: [{{key: {name}, operator: NotIn, values: [testing]}}]}}}}"),
            "{namespaceSelector: {}}",
        ),
        ("{podSelector: {matchLabels: {app: a}}}".into(), "{podSelector: {}}"),
        ("{podSelector: {}}".into(), "{namespaceSelector: {}}"),
        ("{podSelector: {}}".into(), "{namespaceSelector: {matchLabels: {team: a}}}"),
        (
            "{namespaceSelector: {matchLabels: {b: c}}, podSelector: {matchLabels: {app: a, x: z}}}".into(),
            "{namespaceSelector: {matchExpressions: [{key: b, operator: Exists}]}, podSelector: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}}",
        ),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}}".into(),
            "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [x]}]}}",
        ),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [x, z]}]}}".into(),
            "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [x]}]}}",
        ),
        ("{ipBlock: {cidr: 10.1.0.0/16}}".into(), "{ipBlock: {cidr: 10.0.0.0/8}}"),
        (
            "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}".into(),
            "{ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.0/16, 192.0.2.0/24]}}",
        ),
        ("{ipBlock: {cidr: fd00::/16}}".into(), "{ipBlock: {cidr: \"::/0\"}}"),
    ] {
        assert_eq!(contained(&format!("{narrow}, {wide}")), ["from[0] from[1]"], "{narrow} in {wide}");
        assert_eq!(contained(&format!("{wide}, {narrow}")), ["from[1] from[0]"], "{narrow} in {wide}");
    }
    let twice = "{podSelector: {}}, {podSelector: {}}";
    assert_eq!(contained(twice), ["from[1] from[0]"]);
    let same =
        format!("{{podSelector: {{}}}}, {{namespaceSelector: {{matchLabels: {{{name}: shop}}}}}}");
    assert_eq!(contained(&same), ["from[1] from[0]"]);
}

#[test]
fn peers_of_which_none_contains_the_other_are_not_told() {
    for peers in [
        "{podSelector: {matchLabels: {app: a}}}, {podSelector: {matchLabels: {app: b}}}",
        "{podSelector: {matchLabels: {app: a}}}, {namespaceSelector: {matchLabels: {other: b}}}",
        "{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 0.0.0.0/0, except: [10.1.0.0/16]}}",
        "{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: \"::/0\"}}",
        "{ipBlock: {cidr: 0.0.0.0/0}}, {podSelector: {}}",
        "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [x]}]}}, {podSelector: {matchExpressions: [{key: a, operator: Exists}]}}",
        // The namespace may have a label that is not shown.
        "{podSelector: {}}, {namespaceSelector: {matchExpressions: [{key: x, operator: DoesNotExist}]}}",
    ] {
        assert_eq!(contained(peers), [""; 0], "{peers}");
    }
}
