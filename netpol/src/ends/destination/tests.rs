//! Where names of pods and of Services lead.

use super::*;
use crate::read::{Input, manifests};

const CLUSTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: db-a, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-b, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5433}, {name: dns, containerPort: 53, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-c, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.7, selector: {app: db}, ports: [{name: sql, port: 80, targetPort: sql}, {name: dns, port: 53, protocol: UDP, targetPort: 1053}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: shop}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: by-hand, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: away, namespace: shop}
spec: {type: ExternalName, externalName: db.example.com}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}
";

fn to(text: &str) -> Result<String, String> {
    to_in(CLUSTER, text)
}

fn to_in(cluster: &str, text: &str) -> Result<String, String> {
    let cluster = manifests(&[Input::new("-")], cluster.as_bytes()).unwrap().cluster;
    let (end, port) = text.rsplit_once(':').unwrap();
    let (port, protocol) = match port.strip_suffix("/UDP") {
        Some(port) => (port, Protocol::Udp),
        None => (port, Protocol::Tcp),
    };
    let port = port.parse().map_or_else(|_| PortName::Named(port.to_owned()), PortName::Number);
    let found =
        destination(&cluster, "shop", end, &port, protocol).map_err(|error| error.to_string())?;
    let ends = found.ends.iter().map(|(end, port)| match end {
        End::Pod(pod) => format!("{}:{port}", pod.name),
        End::Outside => format!("outside:{port}"),
        other => format!("{other:?}:{port}"),
    });
    let mut words: Vec<String> = ends.collect();
    words.extend(found.left_out.iter().map(|(end, _)| match end {
        End::Pod(pod) => format!("not {}", pod.name),
        other => format!("not {other:?}"),
    }));
    words.extend(found.families.iter().map(|family| format!("over {family}")));
    if found.is_unknown {
        words.push("unknown".to_owned());
    }
    let through = found.through.map(|(service, _)| format!("{}: ", service.name));
    Ok(through.unwrap_or_default() + &words.join(" "))
}

#[test]
fn a_service_leads_to_its_pods_at_the_port_that_each_calls_so() {
    let all = "db: db-a:5432 db-b:5433 not db-c";
    for text in [
        "svc/db:80",
        "services/db:sql",
        "shop/svc/db:80",
        "db[Service]:80",
        "db.shop.svc:80",
        "db.shop.svc.cluster.local:80",
        "db.shop.svc.cluster.local.:80",
        "db.shop:80",
        "10.96.0.7:80",
    ] {
        assert_eq!(to(text).unwrap(), format!("{all} over IPv4"), "{text}");
    }
    assert_eq!(to("svc/db:53/UDP").unwrap(), "db: db-a:1053 db-b:1053 db-c:1053 over IPv4");
}

#[test]
fn a_bare_name_is_a_services_only_where_no_pod_has_the_port() {
    assert_eq!(to("web:8080").unwrap(), "web:8080");
    assert_eq!(to("web:80").unwrap(), "web: web:8080");
    assert_eq!(to("web:http").unwrap(), "web:8080");
    assert_eq!(to("web:81").unwrap(), "web:81", "nobody's port");
    assert_eq!(to("nobody:80").unwrap(), "nobody: ");
}

#[test]
fn a_service_without_selector_is_unknown_and_one_of_another_name_is_outside() {
    assert_eq!(to("svc/by-hand:80").unwrap(), "by-hand: unknown");
    assert_eq!(to("svc/away:5432").unwrap(), "away: outside:5432");
    assert_eq!(to("svc/alias:80").unwrap(), "alias: web:8080");
}

#[test]
fn a_headless_service_sends_nobody_to_another_port() {
    assert_eq!(to("svc/peers:80").unwrap(), "peers: db-a:80 db-b:80 db-c:80");
    assert_eq!(to("peers.shop.svc:5432").unwrap(), "peers: db-a:5432 db-b:5432 db-c:5432");
}

#[test]
fn connections_to_a_service_are_of_its_addresses_families_and_so_are_its_endpoints() {
    const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop, labels: {app: a}}
spec: {containers: [{name: c}]}
status: {podIPs: [{ip: 10.0.0.1}, {ip: fd00::1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: shop, labels: {app: a}}
spec: {containers: [{name: c}]}
status: {podIPs: [{ip: 10.0.0.2}]}
---
apiVersion: v1
kind: Service
metadata: {name: old, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: a}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: both, namespace: shop}
spec: {clusterIP: 10.96.0.2, clusterIPs: [10.96.0.2, 'fd00:1::2'], selector: {app: a}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, ipFamilies: [IPv6], selector: {app: a}, ports: [{port: 80}]}
";
    let to = |text: &str| to_in(PODS, text).unwrap();
    assert_eq!(to("svc/old:80"), "old: one:80 two:80 over IPv4");
    assert_eq!(to("svc/both:80"), "both: one:80 two:80 over IPv4 over IPv6");
    assert_eq!(to("10.96.0.2:80"), "both: one:80 two:80 over IPv4");
    assert_eq!(to("[fd00:1::2]:80"), "both: one:80 not two over IPv6");
    assert_eq!(to("svc/headless:80"), "headless: one:80 not two over IPv6");
    assert_eq!(to("[fd00::1]:80"), "one:80 over IPv6");
    assert_eq!(to("pod/one:80"), "one:80");
}

#[test]
fn a_service_or_port_that_is_not_there_is_told_with_those_that_are() {
    assert_eq!(
        to("svc/db:81").unwrap_err(),
        "Service shop/db has no TCP port 81; it has: 80/TCP (sql), 53/UDP (dns)"
    );
    let said = to("svc/bd:80").unwrap_err();
    assert!(said.starts_with("\"svc/bd\": no such Service; there are: shop/db, "), "{said}");
    assert!(to("db.other.svc:80").unwrap_err().contains("no such Service"));
    assert_eq!(
        to("db-b:dnss/UDP").unwrap_err(),
        "shop/db-b has no UDP port named \"dnss\"; it names: sql, dns (UDP)"
    );
}

#[test]
fn a_pod_that_is_not_ready_is_no_endpoint_unless_the_service_publishes_such() {
    let unready = CLUSTER.replace(
        "containerPort: 8080}]}]}",
        "containerPort: 8080}]}]}\nstatus: {conditions: [{type: Ready, status: 'False'}]}",
    );
    let said = |cluster: &str| to_in(cluster, "svc/web:80").unwrap();
    assert!(!said(&unready).contains("web:8080"), "{}", said(&unready));
    assert!(said(CLUSTER).contains("web:8080"), "{}", said(CLUSTER));
    let published = unready.replace(
        "spec: {selector: {app: web}",
        "spec: {publishNotReadyAddresses: true, selector: {app: web}",
    );
    assert!(said(&published).contains("web:8080"), "{}", said(&published));
}

/// Two pods, one of which has an address, and a Service without a selector.
const BY_HAND: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop}
spec: {containers: [{name: c}]}
status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: shop}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {ports: [{name: sql, port: 80, targetPort: 99}, {name: dns, port: 53, protocol: UDP}]}
---
";

fn slice(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: db}}}}\n{rest}\n---\n"
    )
}

#[test]
fn a_service_without_selector_leads_where_its_slices_say_to_pods_of_the_inputs_or_outside() {
    let ports = "ports: [{name: sql, port: 5432}]";
    let to = |slices: &[&str], text: &str| {
        let slices = slices.iter().enumerate().map(|(at, rest)| slice(&format!("db-{at}"), rest));
        to_in(&(BY_HAND.to_owned() + &slices.collect::<String>()), text).unwrap()
    };
    assert_eq!(to(&[], "svc/db:80"), "db: unknown");
    let v4 = format!(
        "addressType: IPv4\n{ports}\nendpoints: [{{addresses: [10.0.0.1]}}, {{addresses: [10.9.9.9]}}, \
         {{addresses: [10.0.0.7], targetRef: {{kind: Pod, name: b}}}}]"
    );
    assert_eq!(to(&[&v4], "svc/db:80"), "db: a:5432 Address(10.9.9.9):5432 b:5432");
    assert_eq!(to(&[&v4], "db.shop.svc:sql"), to(&[&v4], "svc/db:80"));
    // The other port is in no list, and so nobody's.
    assert_eq!(to(&[&v4], "svc/db:53/UDP"), "db: not a not Address(10.9.9.9) not b");
    let v6 = format!(
        "addressType: IPv6\n{ports}\nendpoints: [{{addresses: ['fd00::1']}}, {{addresses: ['fd00::9']}}]"
    );
    assert_eq!(
        to(&[&v6, &v4], "svc/db:80"),
        "db: a:5432 Address(fd00::9):5432 Address(10.9.9.9):5432 b:5432"
    );
    for nobody in ["endpoints: []", "endpoints: null", "endpoints:"] {
        assert_eq!(to(&[&format!("addressType: IPv4\n{ports}\n{nobody}")], "svc/db:80"), "db: ");
    }
}

#[test]
fn an_endpoint_that_is_not_ready_is_none_and_one_that_ends_only_where_no_other_is() {
    let of = |endpoints: &str| {
        let slice = slice(
            "db-0",
            &format!(
                "addressType: IPv4\nports: [{{name: sql, port: 1}}]\nendpoints: [{endpoints}]"
            ),
        );
        to_in(&(BY_HAND.to_owned() + &slice), "svc/db:80").unwrap()
    };
    let ready = "{addresses: [10.0.0.1]}";
    let unready = "{addresses: [10.0.0.2], conditions: {ready: false}}";
    let ending =
        "{addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}";
    assert_eq!(
        of(&format!("{ready}, {unready}, {ending}")),
        "db: a:1 not Address(10.0.0.2) not Address(10.0.0.3)"
    );
    assert_eq!(
        of(&format!("{unready}, {ending}")),
        "db: Address(10.0.0.3):1 not Address(10.0.0.2)"
    );
}

#[test]
fn endpoints_count_once_beside_the_slices_that_a_controller_makes_of_them() {
    const ENDPOINTS: &str = "apiVersion: v1\nkind: Endpoints\nmetadata: {name: db, namespace: shop}\n\
        subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.9.9.9}], ports: [{name: sql, port: 5432}]}]\n---\n";
    let mirrored = slice(
        "db-xyz",
        "addressType: IPv4\nports: [{name: sql, port: 5432}]\nendpoints: [{addresses: [10.9.9.9]}, {addresses: [10.0.0.1]}]",
    );
    let both = BY_HAND.to_owned() + ENDPOINTS;
    assert_eq!(to_in(&both, "svc/db:80").unwrap(), "db: a:5432 Address(10.9.9.9):5432");
    assert_eq!(to_in(&(both.clone() + &mirrored), "svc/db:80"), to_in(&both, "svc/db:80"));
    let headless = both.replace("spec: {ports:", "spec: {clusterIP: None, ports:");
    assert_eq!(to_in(&headless, "svc/db:7").unwrap(), "db: a:7 Address(10.9.9.9):7");
    let v6 = both.replace("spec: {ports:", "spec: {clusterIP: 'fd00:1::7', ports:");
    assert_eq!(to_in(&v6, "svc/db:80").unwrap(), "db: not a not Address(10.9.9.9) over IPv6");
}

#[test]
fn beside_its_own_pods_a_service_has_the_endpoints_that_others_add_and_not_those_of_its_controller()
{
    let selecting = BY_HAND
        .replace("spec: {ports:", "spec: {selector: {app: b}, ports:")
        .replace("{name: b, namespace: shop}", "{name: b, namespace: shop, labels: {app: b}}");
    let rest =
        "addressType: IPv4\nports: [{name: sql, port: 1}]\nendpoints: [{addresses: [10.9.9.9]}]";
    let others = slice("others", rest);
    assert_eq!(
        to_in(&(selecting.clone() + &others), "svc/db:80").unwrap(),
        "db: b:99 Address(10.9.9.9):1"
    );
    let own = others.replace(
        "labels: {",
        "labels: {endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io, ",
    );
    assert_eq!(to_in(&(selecting + &own), "svc/db:80").unwrap(), "db: b:99");
}

#[test]
fn the_address_of_an_endpoint_says_whose_it_is_and_not_the_pod_that_is_named_beside_it() {
    let of = |endpoint: &str| {
        let rest =
            format!("addressType: IPv4\nports: [{{name: sql, port: 1}}]\nendpoints: [{endpoint}]");
        to_in(&(BY_HAND.to_owned() + &slice("db-0", &rest)), "svc/db:80").unwrap()
    };
    let named = |address: &str, rest: &str| {
        of(&format!("{{addresses: [{address}], targetRef: {{kind: Pod, {rest}}}}}"))
    };
    assert_eq!(named("10.0.0.1", "name: b"), "db: b:1", "whose address is not known");
    // Of another namespace, and of one whose address is another.
    assert_eq!(named("10.0.0.9", "name: b, namespace: other"), "db: Address(10.0.0.9):1");
    assert_eq!(named("10.0.0.9", "name: a"), "db: Address(10.0.0.9):1");
    assert_eq!(named("10.0.0.1", "name: a"), "db: a:1");
    assert_eq!(named("10.0.0.1", "name: a, namespace: other"), "db: a:1");
}

#[test]
fn an_endpoint_in_several_lists_is_one_and_is_ready_if_any_of_them_says_so() {
    let list = |name: &str, ports: &str, conditions: &str| {
        slice(
            name,
            &format!(
                "addressType: IPv4\nports: [{ports}]\nendpoints: [{{addresses: [10.0.0.1], conditions: {conditions}}}]"
            ),
        )
    };
    let sql = "{name: sql, port: 1}";
    let both =
        |one: &str, other: &str| to_in(&(BY_HAND.to_owned() + one + other), "svc/db:80").unwrap();
    let (ready, unready) = (list("db-0", sql, "{}"), list("db-1", sql, "{ready: false}"));
    assert_eq!(both(&unready, &ready), "db: a:1");
    assert_eq!(both(&ready, &list("db-1", "{name: other, port: 1}", "{}")), "db: a:1");
    // Beside the pod of a selector.
    let selecting = BY_HAND
        .replace("spec: {ports:", "spec: {selector: {app: a}, ports:")
        .replace("targetPort: 99", "targetPort: 1")
        .replace("{name: a, namespace: shop}", "{name: a, namespace: shop, labels: {app: a}}");
    assert_eq!(to_in(&(selecting + &ready), "svc/db:80").unwrap(), "db: a:1");
}

#[test]
fn a_name_stands_for_none_that_ends() {
    let ends =
        "{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}";
    let rest = format!("addressType: IPv4\nports: [{{name: sql, port: 1}}]\nendpoints: [{ends}]");
    let cluster = BY_HAND.replace("spec: {ports:", "spec: {clusterIP: None, ports:");
    assert_eq!(to_in(&(cluster + &slice("db-0", &rest)), "svc/db:80").unwrap(), "db: not a");
}
