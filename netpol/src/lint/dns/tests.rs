//! Who is told to be cut off from the DNS.

use super::super::tests::{pod, policy, service, told};

/// A pod `shop/web` whose egress is isolated, with these rules, beside `others`.
fn web(others: &str, egress: &str) -> Vec<String> {
    let spec = format!(
        "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{egress}]}}"
    );
    let told = told(&(pod("shop/web", "app: web", "") + others + &policy("shop", &spec)));
    let of_dns = |message: &String| message.contains("DNS");
    told.into_iter().filter(of_dns).collect()
}

const CUT: &str = "warning: spec.egress: cuts shop/web off from DNS: no rule allows it UDP port";
const UDP_53: &str = "ports: [{port: 53, protocol: UDP}]";

fn coredns() -> String {
    pod("kube-system/coredns", "k8s-app: kube-dns", "{name: dns, containerPort: 53, protocol: UDP}")
}

/// DNS pods as a cluster has them: what their port is, and what leads there.
fn openshift(port: u16, target: &str) -> String {
    let ports = format!("{{name: dns, containerPort: {port}, protocol: UDP}}");
    pod("openshift-dns/dns-default", "dns: default", &ports)
        + &service(
            "openshift-dns/dns-default",
            &format!(
                "{{clusterIP: 172.30.0.10, selector: {{dns: default}}, \
                 ports: [{{name: dns, port: 53, targetPort: {target}, protocol: UDP}}]}}"
            ),
        )
}

#[test]
fn the_port_after_the_services_translation_counts() {
    let to =
        "to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: openshift-dns}}}]";
    let rule = |port: &str| format!("{{{to}, ports: [{{port: {port}, protocol: UDP}}]}}");
    for (own, target) in [(5353, "dns"), (1053, "1053")] {
        let dns = openshift(own, target);
        assert_eq!(web(&dns, &rule(&own.to_string())), [""; 0]);
        assert_eq!(web(&dns, &rule("dns")), [""; 0]);
        assert_eq!(
            web(&dns, &rule("53")),
            [format!(
                "{CUT} {own} of openshift-dns/dns-default; port 53 is its Service's, and policies \
                 see the pod's port {own}"
            )]
        );
    }
}

#[test]
fn pods_of_coredns_without_their_service_are_the_dns() {
    let system = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}";
    for rule in [
        format!("{{to: [{{{system}}}], {UDP_53}}}"),
        format!("{{to: [{{{system}, podSelector: {{matchLabels: {{k8s-app: kube-dns}}}}}}]}}"),
        "{to: [{namespaceSelector: {}}]}".to_owned(),
        format!("{{{UDP_53}}}"),
        "{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}".to_owned(),
    ] {
        assert_eq!(web(&coredns(), &rule), [""; 0], "{rule}");
    }
    for rule in [
        "{to: [{podSelector: {}}]}".to_owned(),
        format!("{{to: [{{podSelector: {{matchLabels: {{app: db}}}}}}], {UDP_53}}}"),
        format!("{{to: [{{{system}}}], ports: [{{port: 53}}]}}"),
        format!("{{to: [{{{system}, podSelector: {{matchLabels: {{app: x}}}}}}], {UDP_53}}}"),
        "{ports: [{port: 5353, protocol: UDP}]}".to_owned(),
    ] {
        assert_eq!(web(&coredns(), &rule), [format!("{CUT} 53 of kube-system/coredns")], "{rule}");
    }
}

#[test]
fn the_cluster_ip_of_the_dns_is_not_its_pods() {
    let rule = |cidr: &str| format!("{{to: [{{ipBlock: {{cidr: {cidr}}}}}], {UDP_53}}}");
    let instead = |address: &str| {
        format!("; {address} is the address of its Service, and policies see those of its pods")
    };
    let of_pods = format!("{CUT} 53 of kube-system/coredns{}", instead("10.96.0.10"));
    assert_eq!(web(&coredns(), &rule("10.96.0.10/32")), [of_pods]);
    assert_eq!(web("", &rule("10.43.0.10/32")), [format!("{CUT} 53{}", instead("10.43.0.10"))]);
    let known = openshift(5353, "dns").replace("172.30.0.10", "10.7.0.10");
    let said = web(&known, &rule("10.7.0.0/16"));
    assert!(said.len() == 1 && said[0].contains("10.7.0.10 is the address"), "{said:?}");
}

#[test]
fn a_server_outside_and_the_cache_of_each_node_are_a_dns() {
    for cidr in ["192.0.2.53/32", "169.254.20.10/32", "0.0.0.0/0"] {
        let rule = format!("{{to: [{{ipBlock: {{cidr: {cidr}}}}}], {UDP_53}}}");
        assert_eq!(web(&coredns(), &rule), [""; 0], "{cidr}");
        assert_eq!(web("", &rule), [""; 0], "{cidr}");
    }
    let database = "{to: [{ipBlock: {cidr: 192.0.2.7/32}}]}";
    assert_eq!(web("", database), [format!("{CUT} 53")]);
}

#[test]
fn where_no_dns_is_shown_a_rule_counts_that_may_be_meant_for_it() {
    let system = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}";
    let labelled = "podSelector: {matchLabels: {k8s-app: kube-dns}}";
    for rule in [
        format!("{{{UDP_53}}}"),
        "{}".to_owned(),
        format!("{{to: [{{{system}}}]}}"),
        format!("{{to: [{{namespaceSelector: {{}}, {labelled}}}], {UDP_53}}}"),
        format!(
            "{{to: [{{namespaceSelector: {{matchLabels: {{name: kube-system}}}}}}], {UDP_53}}}"
        ),
        "{to: [{namespaceSelector: {}}], ports: [{port: 5353, protocol: UDP}]}".to_owned(),
        format!("{{to: [{{podSelector: {{matchLabels: {{app: unbound}}}}}}], {UDP_53}}}"),
    ] {
        assert_eq!(web("", &rule), [""; 0], "{rule}");
    }
}

#[test]
fn where_no_dns_is_shown_a_rule_for_those_who_cannot_be_it_is_none() {
    let db = pod("shop/db", "app: db", "");
    for rule in [
        "{to: [{podSelector: {}}]}".to_owned(),
        format!("{{to: [{{podSelector: {{}}}}], {UDP_53}}}"),
        format!("{{to: [{{podSelector: {{matchLabels: {{app: db}}}}}}], {UDP_53}}}"),
        "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]}"
            .to_owned(),
        "{ports: [{port: 443}]}".to_owned(),
    ] {
        let said = web(&db, &rule);
        assert!(said.len() == 1 && said[0].starts_with(&format!("{CUT} 53")), "{rule}: {said:?}");
    }
}

#[test]
fn a_dns_on_its_nodes_network_is_not_told_to_be_cut_off_by_what_is_undefined() {
    let on_node = coredns().replace("spec: {", "spec: {hostNetwork: true, ");
    assert_eq!(web(&on_node, &format!("{{to: [{{namespaceSelector: {{}}}}], {UDP_53}}}")), [""; 0]);
    assert_eq!(web(&on_node, "{ports: [{port: 443}]}").len(), 1);
}

#[test]
fn a_policy_that_keeps_pods_from_asking_the_dns_is_told() {
    let spec =
        "{podSelector: {matchLabels: {k8s-app: kube-dns}}, ingress: [{from: [{podSelector: {}}]}]}";
    let text = pod("shop/web", "app: web", "") + &coredns();
    let said = told(&(text.clone() + &policy("kube-system", spec)));
    let cut = "warning: spec.ingress: cuts shop/web off from DNS: no rule lets it in at UDP port 53 of kube-system/coredns";
    assert!(said.contains(&cut.to_owned()), "{said:?}");
    let open = spec.replace("podSelector: {}}]", "namespaceSelector: {}}]");
    assert_eq!(told(&(text + &policy("kube-system", &open))), [""; 0]);
}

#[test]
fn another_server_of_port_53_is_the_dns_only_where_nothing_is_known_as_it() {
    let bind = pod("shop/bind", "app: bind", "{name: dns, containerPort: 53, protocol: UDP}")
        + &service("shop/bind", "{selector: {app: bind}, ports: [{port: 53, protocol: UDP}]}");
    let rule = format!("{{to: [{{podSelector: {{matchLabels: {{app: bind}}}}}}], {UDP_53}}}");
    assert_eq!(web(&bind, &rule), [""; 0]);
    assert_eq!(web(&(bind + &coredns()), &rule), [format!("{CUT} 53 of kube-system/coredns")]);
}

#[test]
fn a_rule_for_everybody_means_the_clusters_dns_whose_pods_may_have_another_port() {
    let rules =
        [format!("{{{UDP_53}}}"), format!("{{to: [{{ipBlock: {{cidr: 0.0.0.0/0}}}}], {UDP_53}}}")];
    let hint = "; port 53 is its Service's, and policies see the pod's port 5353";
    for rule in &rules {
        let own = openshift(5353, "dns");
        assert_eq!(web(&own, rule), [format!("{CUT} 5353 of openshift-dns/dns-default{hint}")]);
        assert_eq!(web(&openshift(53, "dns"), rule), [""; 0]);
        // Pods ask the cache of their node, at 53.
        let cache = pod("kube-system/cache", "k8s-app: node-local-dns", "")
            .replace("spec: {", "spec: {hostNetwork: true, ");
        assert_eq!(web(&(own.clone() + &cache), rule), [""; 0]);
        // Whoever else serves a port of DNS may be somebody else's.
        let mdns = pod("shop/x", "app: x", "{containerPort: 5353, protocol: UDP}");
        assert_eq!(web(&mdns, rule), [""; 0]);
    }
    let except = "{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}";
    let outside = format!("{{to: [{{ipBlock: {except}}}], {UDP_53}}}");
    assert_eq!(web(&openshift(5353, "dns"), &outside), [""; 0]);
}

#[test]
fn a_dns_whose_endpoints_are_written_down_is_asked_at_their_port() {
    let dns = pod("kube-system/resolver", "app: resolver", "")
        + &service("kube-system/kube-dns", "{ports: [{name: dns, port: 53, protocol: UDP}]}")
        + "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
           metadata: {name: d, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}\n\
           addressType: IPv4\nports: [{name: dns, port: 1053, protocol: UDP}]\n\
           endpoints: [{addresses: [10.0.0.9], targetRef: {kind: Pod, name: resolver}}]\n---\n";
    let to = "to: [{namespaceSelector: {}}]";
    let rule = |port: u16| format!("{{{to}, ports: [{{port: {port}, protocol: UDP}}]}}");
    assert_eq!(web(&dns, &rule(1053)), [""; 0]);
    let said = web(&dns, &rule(53));
    assert!(said.len() == 1 && said[0].starts_with(&format!("{CUT} 1053")), "{said:?}");
}
