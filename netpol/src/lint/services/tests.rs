//! What is told of Services.

use crate::lint::tests::{pod, policy, service, told};

fn shop(service_spec: &str) -> String {
    pod("shop/db", "app: db", "{name: pg, containerPort: 5432}")
        + &pod("shop/web", "app: web", "")
        + &service("shop/db", service_spec)
}

const DB: &str = "{clusterIP: 10.96.7.7, selector: {app: db}, ports: [{port: 5432}]}";

fn egress(cidr: &str) -> Vec<String> {
    let rule = format!(
        "{{to: [{{ipBlock: {{cidr: {cidr}}}}}]}}, {{ports: [{{port: 53, protocol: UDP}}]}}"
    );
    told(&(shop(DB) + &policy("shop", &format!("{{policyTypes: [Egress], egress: [{rule}]}}"))))
}

#[test]
fn a_block_that_holds_a_cluster_ip_is_told_with_the_pods_to_name() {
    for cidr in ["10.96.7.7/32", "10.96.0.0/12", "10.0.0.0/8"] {
        assert_eq!(
            egress(cidr),
            [format!(
                "warning: spec.egress[0].to[0].ipBlock: {cidr} holds 10.96.7.7, the ClusterIP of \
              Service shop/db; policies see the pods' addresses, not the ClusterIP: name the pods, \
              which have app=db"
            )]
        );
    }
    for cidr in ["0.0.0.0/0", "10.96.7.8/32", "192.0.2.0/24"] {
        assert_eq!(egress(cidr), [""; 0], "{cidr}");
    }
}

#[test]
fn a_service_that_selects_nobody_is_told_where_pods_are_known() {
    let spec = "{selector: {app: bd}, ports: [{port: 5432}]}";
    assert_eq!(
        told(&shop(spec)),
        [
            "warning: spec.selector: Service shop/db selects no pod: none in namespace shop has app=bd"
        ]
    );
    assert_eq!(told(&service("shop/db", spec)), [""; 0]);
    for spec in ["{ports: [{port: 1}]}", "{type: ExternalName, externalName: a.example}"] {
        assert_eq!(told(&shop(spec)), [""; 0], "{spec}");
    }
}

#[test]
fn a_service_that_names_no_namespace_may_be_meant_for_that_of_its_pods() {
    let unnamed = |app: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\n\
             spec: {{selector: {{app: {app}}}, ports: [{{port: 5432}}]}}\n---\n"
        )
    };
    let pods = pod("shop/db", "app: db", "");
    assert_eq!(
        told(&(pods.clone() + &unnamed("db"))),
        [
            "note: spec.selector: Service default/db selects no pod in namespace default, where it is \
             as it names none; if it is applied to namespace shop, as shop/db is, it is right"
        ]
    );
    assert!(told(&(pods.clone() + &unnamed("bd")))[0].starts_with("warning: "));
    let named = unnamed("db").replace("{name: db}", "{name: db, namespace: default}");
    assert!(told(&(pods + &named))[0].starts_with("warning: "));
}

#[test]
fn a_service_whose_endpoints_no_one_may_reach_is_told() {
    let deny = policy("shop", "{podSelector: {matchLabels: {app: db}}}");
    let said = told(&(shop(DB) + &deny));
    let last = said.last().unwrap();
    assert!(last.contains("nobody may reach Service shop/db at port 5432"), "{said:?}");
    let other = policy(
        "shop",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 9187}]}]}",
    );
    assert_eq!(
        told(&(shop(DB) + &other)),
        [
            "warning: spec.ports[0]: nobody may reach Service shop/db at port 5432: no rule lets anyone to \
          TCP port 5432 of shop/db (only to TCP 9187)"
        ]
    );
}

#[test]
fn a_service_that_somebody_may_reach_or_that_waits_for_its_peers_is_not() {
    let allow = "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: pg}]}]}";
    assert_eq!(told(&(shop(DB) + &policy("shop", allow))), [""; 0]);
    let gone = allow.replace("ports:", "from: [{podSelector: {matchLabels: {app: gone}}}], ports:");
    let told = told(&(shop(DB) + &policy("shop", &gone)));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("matches nobody"), "{told:?}");
}

#[test]
fn a_target_port_that_no_pod_of_the_service_has_is_told() {
    let spec = "{selector: {app: db}, ports: [{port: 5432, targetPort: postgres}]}";
    assert_eq!(
        told(&shop(spec)),
        [
            "warning: spec.ports[0].targetPort: Service shop/db leads to no port: no pod that it selects \
          has a TCP port \"postgres\""
        ]
    );
}

/// A Service without a selector, and where somebody says that it leads.
fn by_hand(list: &str) -> String {
    pod("shop/db", "app: db", "")
        + &pod("shop/web", "app: web", "")
        + &service("shop/ext", "{clusterIP: 10.96.7.8, ports: [{port: 80}]}")
        + list
}

fn slice(port: &str, endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: ext-1, namespace: shop, labels: {{kubernetes.io/service-name: ext}}}}\n\
         addressType: IPv4\nports: [{port}]\nendpoints: [{endpoints}]\n---\n"
    )
}

const OF_POD: &str = "{addresses: [10.0.0.2], targetRef: {kind: Pod, name: db}}";
const OUTSIDE: &str = "{addresses: [10.9.9.9]}";

fn endpoints(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: ext, namespace: shop}}\n\
         subsets: [{{addresses: [{{ip: {address}}}], ports: [{{port: 5432}}]}}]\n---\n"
    )
}

const DNS: &str = "{ports: [{port: 53, protocol: UDP}]}";

#[test]
fn a_service_whose_written_endpoints_no_one_may_reach_is_told() {
    let closed = "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80}]}]}";
    let said = told(&(by_hand(&slice("{port: 5432}", OF_POD)) + &policy("shop", closed)));
    assert_eq!(
        said.last().unwrap(),
        "warning: spec.ports[0]: nobody may reach Service shop/ext at port 80: no rule lets anyone to TCP \
         port 5432 of shop/db (only to TCP 80)"
    );
    let out =
        |rule: &str| policy("shop", &format!("{{policyTypes: [Egress], egress: [{rule}{DNS}]}}"));
    for list in [slice("{port: 5432}", OUTSIDE), endpoints("10.9.9.9")] {
        assert_eq!(
            told(&(by_hand(&list) + &out(""))),
            [
                "warning: spec.ports[0]: nobody may reach Service shop/ext at port 80: no rule lets a pod out to \
                 TCP port 5432 of 10.9.9.9"
            ]
        );
        let right = "{to: [{ipBlock: {cidr: 10.9.9.9/32}}], ports: [{port: 5432}]}, ";
        assert_eq!(told(&(by_hand(&list) + &out(right))), [""; 0]);
        assert_eq!(told(&by_hand(&list)), [""; 0]);
    }
    // One that may be reached is enough.
    let both = slice("{port: 5432}", &format!("{OUTSIDE}, {OF_POD}"));
    assert_eq!(told(&(by_hand(&both) + &policy("shop", closed))).len(), 1, "the port alone");
}

#[test]
fn a_rule_that_names_a_services_port_which_no_written_endpoint_has_is_told() {
    let into = "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80}]}]}";
    let said = told(&(by_hand(&slice("{port: 5432}", OF_POD)) + &policy("shop", into)));
    assert_eq!(
        said[0],
        "warning: spec.ingress[0].ports[0].port: port 80 is Service ext's; policies see the pod's port 5432"
    );
    let out = |cidr: &str, port: &str| {
        let rule = format!("{{to: [{{ipBlock: {{cidr: {cidr}}}}}], ports: [{port}]}}, {DNS}");
        policy("shop", &format!("{{policyTypes: [Egress], egress: [{rule}]}}"))
    };
    let outside = by_hand(&endpoints("10.9.9.9"));
    for cidr in ["10.9.9.9/32", "10.9.9.0/24"] {
        let said = told(&(outside.clone() + &out(cidr, "{port: 80}")));
        assert_eq!(
            said[0],
            "warning: spec.egress[0].ports[0].port: port 80 is Service ext's; policies see its endpoint's \
             port 5432"
        );
    }
    for (cidr, port) in [
        ("10.9.9.9/32", "{port: 80}, {port: 5432}"),
        ("10.9.9.9/32", "{port: 5432}"),
        ("10.9.9.9/32", "{port: 81}"),
        ("10.9.9.8/32", "{port: 80}"),
        ("10.0.0.0/8", "{port: 80}"),
    ] {
        let said = told(&(outside.clone() + &out(cidr, port)));
        assert!(!said.iter().any(|one| one.contains("port 80 is")), "{cidr} {port}: {said:?}");
    }
    // Who serves the number itself is meant.
    let same = by_hand(&slice("{port: 80}", OUTSIDE));
    assert_eq!(told(&(same + &out("10.9.9.9/32", "{port: 80}"))), [""; 0]);
}

#[test]
fn a_port_that_no_list_of_a_services_endpoints_has_is_told() {
    for (port, outcome) in [
        ("{port: 80}", None),
        ("{name: web, port: 80}", Some("a TCP port without a name")),
        ("{port: 80, protocol: UDP}", Some("a TCP port without a name")),
    ] {
        let said = told(&by_hand(&slice(port, OUTSIDE)));
        let expected = outcome.map(|what| {
            format!(
                "warning: spec.ports[0]: Service shop/ext leads to no port: no list of its endpoints has {what}"
            )
        });
        assert_eq!(said, expected.into_iter().collect::<Vec<_>>(), "{port}");
    }
    assert_eq!(told(&by_hand(&slice("{port: 1}", ""))), [""; 0]);
}

#[test]
fn a_block_that_holds_the_address_of_a_service_by_hand_is_told_with_its_endpoints() {
    let rule = |cidr: &str| {
        format!(
            "{{policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: {cidr}}}}}]}}, {DNS}]}}"
        )
    };
    let said = |cidr: &str| told(&(by_hand(&endpoints("10.9.9.9")) + &policy("shop", &rule(cidr))));
    assert_eq!(
        said("10.96.7.8/32")[0],
        "warning: spec.egress[0].to[0].ipBlock: 10.96.7.8/32 holds 10.96.7.8, the ClusterIP of Service \
         shop/ext; policies see the pods' addresses, not the ClusterIP: name its endpoints, 10.9.9.9"
    );
    assert_eq!(said("10.0.0.0/8"), [""; 0], "it holds the endpoint too");
}
