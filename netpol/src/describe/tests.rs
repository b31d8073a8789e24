use super::*;
use crate::read::{Input, manifests};

pub(super) fn read(text: &str) -> Manifests {
    manifests(&[Input::new("-")], text.as_bytes()).unwrap()
}

/// A policy `p` in namespace `shop`.
pub(super) fn policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop}}\n\
         spec: {spec}\n---\n"
    )
}

/// A pod: `NAMESPACE/NAME`, with the label `app` of its name, and what else its `spec` has.
fn pod(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}\n\
         spec: {{containers: [{{name: c}}]{spec}}}\n---\n"
    )
}

fn lines(sentence: &Sentence) -> Vec<String> {
    struct Shown<'a>(&'a Sentence);
    impl fmt::Display for Shown<'_> {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.write(out, 0)
        }
    }
    // The line is the policy's own in most of these texts.
    let text = Shown(sentence).to_string().replace(" (standard input:4)", "");
    text.lines().map(str::to_owned).collect()
}

enum Part {
    Selection,
    Ingress,
    Egress,
    Others,
}

/// What is said of a part of the first policy of `text`.
fn said(text: &str, part: &Part) -> Vec<String> {
    let manifests = read(text);
    let description = Describer::new(&manifests).describe(0).unwrap();
    match part {
        Part::Selection => lines(&description.selection),
        Part::Ingress => lines(&description.ingress),
        Part::Egress => lines(&description.egress),
        Part::Others => description.others.iter().flat_map(lines).collect(),
    }
}

fn selection(spec: &str) -> String {
    said(&policy(spec), &Part::Selection).remove(0)
}

/// What is said below the one rule for ingress of this `from`.
fn peers(from: &str) -> Vec<String> {
    let spec = format!("{{podSelector: {{}}, ingress: [{{from: {from}}}]}}");
    let mut said = said(&policy(&spec), &Part::Ingress).split_off(2);
    for line in &mut said {
        *line = line.trim().to_owned();
    }
    said
}

/// What is said of the one rule for ingress of these `ports`.
fn ports(ports: &str) -> String {
    let spec = format!("{{podSelector: {{}}, ingress: [{{ports: {ports}}}]}}");
    said(&policy(&spec), &Part::Ingress).remove(1).trim().to_owned()
}

#[test]
fn rule_8_an_empty_or_missing_pod_selector_selects_every_pod_of_the_namespace() {
    assert_eq!(
        selection("{podSelector: {}}"),
        "It selects every pod of namespace shop, as its podSelector is empty."
    );
    assert_eq!(
        selection("{ingress: []}"),
        "It selects every pod of namespace shop, as it has no podSelector, which means the same as an empty one."
    );
}

#[test]
fn rule_11_what_labels_must_be_is_said_for_every_operator() {
    let having = |selector: &str| {
        let said = selection(&format!("{{podSelector: {selector}}}"));
        let said = said.strip_prefix("It selects the pods of namespace shop that have ").unwrap();
        said.strip_suffix('.').unwrap().to_owned()
    };
    let expression = |one: &str| having(&format!("{{matchExpressions: [{{key: k, {one}}}]}}"));
    assert_eq!(having("{matchLabels: {a: x}}"), "the label a=x");
    assert_eq!(having("{matchLabels: {a: ''}}"), "the label a=\"\"");
    assert_eq!(
        having(
            "{matchLabels: {a: x, b: u, c: z}, matchExpressions: [{key: k, operator: DoesNotExist}]}"
        ),
        "the labels a=x, b=u and c=z and no label k"
    );
    assert_eq!(expression("operator: In, values: [x]"), "the label k=x");
    assert_eq!(expression("operator: In, values: [x, u]"), "a label k with the value x or u");
    assert_eq!(
        expression("operator: NotIn, values: [x, '']"),
        "no label k with the value x or \"\" (pods without any label k are meant too)"
    );
    assert_eq!(
        expression("operator: NotIn, values: [x]"),
        "no label k=x (pods without any label k are meant too)"
    );
    assert_eq!(expression("operator: Exists"), "a label k of any value");
    assert_eq!(expression("operator: DoesNotExist"), "no label k");
}

#[test]
fn rules_3_to_5_each_direction_says_whether_it_is_isolated_and_why() {
    let first = |spec: &str, part: &Part| said(&policy(spec), part).remove(0);
    let (ingress, egress) = (Part::Ingress, Part::Egress);
    for (spec, part, expected) in [
        (
            "{policyTypes: [Ingress]}",
            &ingress,
            "It isolates them for ingress (connections to them), as policyTypes names Ingress: what no \
             policy lets in is dropped.",
        ),
        (
            "{egress: [{}]}",
            &ingress,
            "It isolates them for ingress (connections to them), as a policy without policyTypes always does: \
             what no policy lets in is dropped.",
        ),
        (
            "{policyTypes: [Egress]}",
            &ingress,
            "It does not touch ingress (connections to them), as policyTypes leaves Ingress out.",
        ),
        (
            "{policyTypes: [Egress]}",
            &egress,
            "It isolates them for egress (connections from them), as policyTypes names Egress: what no \
             policy lets out is dropped.",
        ),
        (
            "{egress: [{}]}",
            &egress,
            "It isolates them for egress (connections from them), as a policy without policyTypes does if it \
             has an egress rule: what no policy lets out is dropped.",
        ),
        (
            "{policyTypes: [], ingress: []}",
            &egress,
            "It does not touch egress (connections from them), as it has neither policyTypes nor an egress \
             rule.",
        ),
        (
            "{egress: []}",
            &egress,
            "It does not touch egress (connections from them), as it has no policyTypes, without which an \
             empty egress isolates nothing.",
        ),
        (
            "{policyTypes: [Ingress], egress: [{}]}",
            &egress,
            "It does not touch egress (connections from them), as policyTypes leaves Egress out: what stands \
             in egress has no effect.",
        ),
    ] {
        assert_eq!(first(spec, part), expected, "{spec}");
    }
}

#[test]
fn several_rules_are_each_enough() {
    let count =
        |rules: &str| said(&policy(&format!("{{ingress: [{rules}]}}")), &Part::Ingress).remove(0);
    let each = "what no policy lets in is dropped. Each of its 2 rules is enough by itself.";
    assert!(count("{ports: [{port: 1}]}, {ports: [{port: 2}]}").ends_with(each));
    assert!(!count("{ports: [{port: 1}]}").contains("rules"));
}

#[test]
fn rule_5_without_a_rule_nobody_is_let_in() {
    for (spec, list) in
        [("{ingress: []}", "empty"), ("{podSelector: {}}", "missing"), ("{ingress: }", "empty")]
    {
        assert_eq!(
            said(&policy(spec), &Part::Ingress)[1],
            format!("  It has no rule, as its ingress is {list}: by itself it lets nobody in."),
            "{spec}"
        );
    }
    assert_eq!(
        said(&policy("{policyTypes: [Egress]}"), &Part::Egress)[1],
        "  It has no rule, as its egress is missing: by itself it lets nothing out."
    );
}

#[test]
fn rules_6_and_7_what_is_missing_or_empty_means_everyone_and_every_port() {
    let open = said(&policy("{ingress: [{}]}"), &Part::Ingress);
    assert_eq!(
        open[1..],
        [
            "  Rule spec.ingress[0] lets in connections to every port of every protocol, as it names no ports.",
            "    From everyone: every pod, and every address outside the cluster, as it has no from.",
            "    That lets everything in, whatever other NetworkPolicies say.",
        ]
    );
    let empty =
        said(&policy("{policyTypes: [Egress], egress: [{to: [], ports: []}]}"), &Part::Egress);
    assert_eq!(
        empty[1..],
        [
            "  Rule spec.egress[0] lets out connections to every port of every protocol, as its list of ports \
             is empty, which means every port and not none.",
            "    To everyone: every pod, and every address outside the cluster, as its to is empty, which means \
             everyone and not nobody.",
            "    That lets everything out, whatever other NetworkPolicies say.",
        ]
    );
}

#[test]
fn rule_9_selectors_of_one_peer_must_both_hold_and_of_several_peers_any_is_enough() {
    let (pods, namespaces) =
        ("podSelector: {matchLabels: {a: x}}", "namespaceSelector: {matchLabels: {t: u}}");
    assert_eq!(
        peers(&format!("[{{{pods}, {namespaces}}}]")),
        [
            "From pods that have the label a=x, in namespaces that have the label t=u: both must hold, as the \
             two selectors are in one peer."
        ]
    );
    assert_eq!(
        peers(&format!("[{{{pods}}}, {{{namespaces}}}]")),
        [
            "From pods that have the label a=x, in the policy's own namespace shop, as there is no \
             namespaceSelector.",
            "Or from every pod in namespaces that have the label t=u.",
        ]
    );
    assert_eq!(
        peers(&format!("[{{{pods}, namespaceSelector: {{}}}}]")),
        [
            "From pods that have the label a=x, in every namespace, as an empty namespaceSelector names all of \
             them, but nobody outside the cluster."
        ]
    );
    assert_eq!(
        peers("[{podSelector: {}}, {namespaceSelector: {}}]"),
        [
            "From every pod in the policy's own namespace shop, as there is no namespaceSelector.",
            "Or from every pod in every namespace, as an empty namespaceSelector names all of them, but nobody outside the cluster.",
        ]
    );
    let expression =
        "namespaceSelector: {matchExpressions: [{key: t, operator: NotIn, values: [u]}]}";
    assert_eq!(
        peers(&format!("[{{{expression}}}]")),
        [
            "From every pod in namespaces that have no label t=u (namespaces without any label t are meant \
             too)."
        ]
    );
}

#[test]
fn rule_12_namespaces_are_named_by_their_label() {
    const HINT: &str = "(a namespace's label kubernetes.io/metadata.name is its name).";
    let of = |operator: &str, names: &str| {
        peers(&format!(
            "[{{namespaceSelector: {{matchExpressions: [{{key: kubernetes.io/metadata.name, \
             operator: {operator}, values: [{names}]}}]}}}}]"
        ))
        .remove(0)
    };
    assert_eq!(of("In", "a"), format!("From every pod in namespace a {HINT}"));
    assert_eq!(of("In", "a, b"), format!("From every pod in the namespaces a and b {HINT}"));
    assert_eq!(
        of("NotIn", "a, b"),
        format!("From every pod in every namespace but a and b {HINT}")
    );
}

#[test]
fn rule_17_blocks_are_addresses_from_the_first_to_the_last_but_for_some() {
    assert_eq!(
        peers(
            "[{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.1/32]}}, {ipBlock: {cidr: '::/0'}}, \
             {ipBlock: {cidr: 0.0.0.0/0}}]"
        ),
        [
            "From the addresses 10.0.0.0 to 10.255.255.255 (10.0.0.0/8), except the addresses 10.1.0.0 to \
             10.1.255.255 (10.1.0.0/16) and the address 10.2.0.1.",
            "Or from every address of IPv6 (::/0).",
            "Or from every address of IPv4 (0.0.0.0/0).",
        ]
    );
}

#[test]
fn rules_13_to_15_ports_are_numbers_ranges_all_of_a_protocol_or_names() {
    assert_eq!(
        ports("[{port: 80}, {protocol: UDP}, {protocol: SCTP, port: 1, endPort: 9}, {port: http}]"),
        "Rule spec.ingress[0] lets in connections to TCP port 80, every UDP port, SCTP ports 1 to 9 or the \
         TCP port that each pod the policy selects calls \"http\"."
    );
}

#[test]
fn rule_15_a_name_of_a_port_is_told_with_whom_it_is_which_number_of() {
    let serves = |port: u16| {
        format!(
            ", initContainers: [{{name: i, restartPolicy: Always, ports: [{{name: http, containerPort: {port}}}]}}]"
        )
    };
    let pods = pod("shop/a", &serves(80)) + &pod("shop/b", &serves(81)) + &pod("shop/c", "");
    let ingress = policy("{podSelector: {}, ingress: [{ports: [{port: http}, {port: other}]}]}");
    let told = said(&(ingress + &pods), &Part::Ingress);
    assert_eq!(
        told[3..],
        [
            "    At the moment \"http\" is TCP port 80 of shop/a[Pod] and port 81 of shop/b[Pod]; there is no such port at shop/c[Pod].",
            "    At the moment none of them has a TCP port named \"other\": shop/a[Pod], shop/b[Pod] and \
             shop/c[Pod].",
        ]
    );
    // Whom the rule names has the names, not whom the policy selects (rule 15).
    let to = "[{podSelector: {matchLabels: {app: b}}}, {ipBlock: {cidr: 9.0.0.0/8}}]";
    let egress = policy(&format!(
        "{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: {to}, ports: [{{port: http}}]}}]}}"
    ));
    let told = said(&(egress.clone() + &pods), &Part::Egress);
    assert!(told[1].contains("the TCP port that the pod connected to calls \"http\""), "{told:?}");
    assert_eq!(
        told[5..],
        [
            "    At the moment \"http\" is TCP port 81 of shop/b[Pod].",
            "    An address outside the cluster has no port with a name: nothing is let out to one by that.",
        ]
    );
    let pods_alone = egress.replace(", {ipBlock: {cidr: 9.0.0.0/8}}", "");
    let told = said(&(pods_alone + &pods), &Part::Egress);
    assert!(!told.iter().any(|line| line.contains("outside")), "{told:?}");
}

#[test]
fn who_is_meant_at_the_moment_is_told_of_selections_and_peers() {
    let text = policy(
        "{podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {matchLabels: {app: nil}}}, \
         {namespaceSelector: {}}]}]}",
    ) + &pod("shop/a", "")
        + &pod("other/a", "")
        + &pod("other/m", ", hostNetwork: true");
    assert_eq!(said(&text, &Part::Selection)[1..], ["  At the moment that is shop/a[Pod]."]);
    let told = said(&text, &Part::Ingress);
    assert_eq!(told[3], "      No pod at the moment.");
    assert_eq!(
        told[5..],
        [
            "      At the moment these are other/a[Pod] and shop/a[Pod].",
            "      Not known of other/m[Pod]: it uses its node's network, where policies are undefined.",
        ]
    );
}

#[test]
fn rule_19_it_is_not_known_what_policies_do_to_pods_on_their_nodes_network() {
    let on_node = |name: &str| pod(name, ", hostNetwork: true");
    let text = policy("{podSelector: {}}") + &on_node("shop/m") + &on_node("other/m");
    assert_eq!(
        said(&text, &Part::Selection)[1..],
        ["  Not known of shop/m[Pod]: it uses its node's network, where policies are undefined."]
    );
    let text = text + &on_node("shop/k") + &pod("shop/a", "");
    assert_eq!(
        said(&text, &Part::Selection)[1..],
        [
            "  At the moment that is shop/a[Pod].",
            "  Not known of shop/k[Pod] and shop/m[Pod]: they use their node's network, where policies are \
             undefined.",
        ]
    );
}

#[test]
fn of_many_pods_ten_are_named_and_the_rest_counted() {
    let pods: String = (10..23).map(|number| pod(&format!("shop/n{number}"), "")).collect();
    let told = said(&(policy("{podSelector: {}}") + &pods), &Part::Selection);
    assert!(told[1].ends_with("shop/n18[Pod], shop/n19[Pod] and 3 more."), "{told:?}");
}

#[test]
fn without_pods_in_the_inputs_nothing_is_said_of_the_moment() {
    let manifests = read(&policy("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"));
    let description = Describer::new(&manifests).describe(0).unwrap();
    assert!(!description.to_string().contains("moment"), "{description}");
    let general = general(&manifests, &[description]).to_string();
    assert!(general.contains("there is no pod or workload"), "{general}");
}

#[test]
fn rule_18_a_block_that_holds_a_pods_address_says_so() {
    let address = "status: {podIPs: [{ip: 10.0.0.1}]}\n---\n";
    let pods = pod("shop/a", "").replace("---\n", address);
    let text = policy("{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}") + &pods;
    assert_eq!(
        said(&text, &Part::Ingress)[3..],
        [
            "      At the moment it holds addresses of shop/a[Pod]; whether a block names pods differs between engines."
        ]
    );
    let manifests = read(&text);
    let description = Describer::new(&manifests).describe(0).unwrap();
    let told = general(&manifests, &[description]).to_string();
    assert!(told.contains("ipBlock") && !told.contains("excepts"), "{told}");
    assert!(!general(&manifests, &[]).to_string().contains("ipBlock"));
    let manifests = read(&text.replace("/8}", "/8, except: [10.1.0.0/16]}"));
    let told = general(&manifests, &[Describer::new(&manifests).describe(0).unwrap()]).to_string();
    assert!(told.contains("excepts"), "{told}");
}

#[test]
fn rule_1_other_policies_of_the_same_pods_are_told_with_their_place() {
    let one = policy("{podSelector: {matchLabels: {app: a}}}");
    let two = policy("{podSelector: {}, policyTypes: [Egress]}").replace("name: p", "name: q");
    let three = policy("{podSelector: {}}").replace("name: p", "name: r");
    let a = pod("shop/a", "");
    assert_eq!(
        said(&(one.clone() + &a), &Part::Others),
        ["No other policy selects these pods at the moment."]
    );
    let text = one.clone() + &two + &a;
    assert_eq!(
        said(&text, &Part::Others),
        ["Another policy selects some of these pods too: shop/q (standard input:6)."]
    );
    assert_eq!(
        said(&(text.clone() + &three), &Part::Others),
        [
            "Other policies select some of these pods too: shop/q (standard input:6) and shop/r (standard \
             input:16)."
        ]
    );
    assert_eq!(said(&(one.clone() + &two), &Part::Others), [""; 0]);
    let elsewhere = two.replace("namespace: shop", "namespace: other");
    assert!(
        said(&(one.clone() + &elsewhere + &a), &Part::Others)[0].starts_with("No other policy")
    );
    // What this one leaves alone another isolates, and a third leaves it alone too.
    let text = text + &three;
    assert_eq!(said(&text, &Part::Egress)[1], "  But shop/q isolates some of them for egress.");
    assert_eq!(
        said(&(one.clone() + &pod("shop/a", "")), &Part::Egress)[1],
        "  No other policy isolates them for egress at the moment: everything is let out."
    );
    assert_eq!(
        said(&one, &Part::Egress)[1],
        "  Unless another policy isolates them for egress, everything is let out."
    );
}

#[test]
fn each_part_is_told_with_the_line_where_it_is_written() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelector:\n    matchLabels: {a: b}\n  policyTypes: [Ingress]\n  ingress:\n  - from:\n    - podSelector: {}\n    - ipBlock: {cidr: 9.9.9.9/32}\n  - {}\n";
    let manifests = read(text);
    let description = Describer::new(&manifests).describe(0).unwrap();
    let line = |sentence: &Sentence| sentence.place.as_ref().unwrap().line.unwrap();
    assert_eq!(description.place.line, Some(1));
    assert_eq!(line(&description.selection), 5);
    assert_eq!(line(&description.ingress), 7);
    let rules = &description.ingress.below;
    assert_eq!(rules.iter().map(line).collect::<Vec<_>>(), [9, 12]);
    assert_eq!(rules[0].below.iter().map(line).collect::<Vec<_>>(), [10, 11]);
}

#[test]
fn policies_of_other_kinds_are_named_and_not_described() {
    let foreign = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x, namespace: shop}\n---\n";
    let manifests = read(&(policy("{}") + foreign));
    let general = general(&manifests, &[]).to_string();
    assert!(
        general.contains(
            "not modelled, or cannot be seen: CiliumNetworkPolicy shop/x (standard input:6)."
        ),
        "{general}"
    );
}

#[test]
fn what_a_policy_of_another_kind_may_change_is_not_claimed() {
    const DOUBT: &str =
        "What else may decide on these pods is not known: CiliumNetworkPolicy shop/x.";
    let foreign = |namespace: &str| {
        format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: x, namespace: {namespace}}}\n---\n"
        )
    };
    for pods in [String::new(), pod("shop/a", "")] {
        let text = policy("{}") + &pods;
        let doubted = text.clone() + &foreign("shop");
        assert_eq!(said(&doubted, &Part::Others).last().unwrap(), DOUBT);
        assert_eq!(
            said(&doubted, &Part::Egress)[1],
            "  Whether another policy isolates them for egress is not known."
        );
        let other = text + &foreign("other");
        assert!(!said(&other, &Part::Others).iter().any(|line| line.contains("Cilium")));
        assert!(said(&other, &Part::Egress)[1].contains("everything is let out"));
    }
}
