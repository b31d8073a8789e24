//! The steps of <https://github.com/ahmetb/kubernetes-network-policy-recipes>, as people type them: a server
//! from an image that everybody names, a shell in a pod, and wget before and after a policy lands.

use std::process::Command;

use end_to_end::typist::Typist;
use end_to_end::{As, Lab, skip};

/// A lab for one recipe; none where the machine has no wget.
fn lab(recipe: &str) -> Option<Lab> {
    if Command::new("wget").arg("--version").output().is_err() {
        skip(recipe, "no wget on this machine");
        return None;
    }
    // Images of which nothing on the machine could be taken for the program.
    let image = |name: &str| format!("{name}={}", env!("CARGO_BIN_EXE_two_ports"));
    let (redis, two_ports) = (image("redis"), image("ahmet/app-on-two-ports"));
    Some(Lab::start_with(As::Myself, &["--image", &redis, "--image", &two_ports]))
}

/// A policy of namespace `default`.
fn policy(lab: &Lab, name: &str, spec: &str) {
    let head = format!(
        "kind: NetworkPolicy\napiVersion: networking.k8s.io/v1\nmetadata: {{name: {name}}}\n"
    );
    let _ = lab.kubectl_with("apply -f -", &format!("{head}spec: {spec}\n"));
}

/// `kubectl run web --image=nginx`, with its Service.
fn web(lab: &Lab) {
    let _ = lab.kubectl("run web --image=nginx --labels=app=web --expose --port=80");
    let _ = lab.kubectl("wait --for=condition=Ready pod/web --timeout=30s");
}

/// Types `lines` in a shell of a pod that `kubectl run NAME OPTIONS` makes; whether each works.
fn try_out(lab: &Lab, name: &str, options: &str, lines: &[&str]) -> Vec<bool> {
    let run = format!("run {name} {options} --rm -i -t --image=alpine -- sh");
    let mut shell = Typist::start(lab, &run, (120, 40));
    let mut results = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        // What is shown differs from what is typed, which the terminal shows too.
        shell.enter(&format!(
            "{line} && echo {number}-$((1+1))-works || echo {number}-$((1+1))-fails"
        ));
        let ends = [format!("{number}-2-works"), format!("{number}-2-fails")];
        results.push(end_to_end::wait_for(line, || {
            ends.iter().position(|end| shell.has(end)).map(|end| end == 0)
        }));
    }
    shell.enter("exit");
    let _ = shell.end();
    results
}

/// Whether wget gets an answer of `url` in such a pod.
fn reaches(lab: &Lab, name: &str, options: &str, url: &str) -> bool {
    try_out(lab, name, options, &[&format!("wget -qO- --timeout=2 {url}")])[0]
}

const DENY_ALL: &str = "{podSelector: {matchLabels: {app: web}}, ingress: []}";

#[test]
fn recipe_01_and_02a_deny_all_traffic_to_an_application_and_allow_it_again() {
    let Some(lab) = lab("recipes 01 and 02a") else { return };
    web(&lab);
    assert!(reaches(&lab, "before", "", "http://web"));
    policy(&lab, "web-deny-all", DENY_ALL);
    assert!(!reaches(&lab, "denied", "", "http://web"));
    policy(&lab, "web-allow-all", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}");
    assert!(reaches(&lab, "allowed", "", "http://web"));
    lab.end();
}

#[test]
fn recipe_02_limit_traffic_to_an_application() {
    let Some(lab) = lab("recipe 02") else { return };
    let labels = "--labels=app=bookstore,role=api";
    let _ = lab.kubectl(&format!("run apiserver --image=nginx {labels} --expose --port=80"));
    let _ = lab.kubectl("wait --for=condition=Ready pod/apiserver --timeout=30s");
    let from = "[{from: [{podSelector: {matchLabels: {app: bookstore}}}]}]";
    let to = "{matchLabels: {app: bookstore, role: api}}";
    policy(&lab, "api-allow", &format!("{{podSelector: {to}, ingress: {from}}}"));
    assert!(!reaches(&lab, "stranger", "", "http://apiserver"));
    let frontend = "--labels=app=bookstore,role=frontend";
    assert!(reaches(&lab, "frontend", frontend, "http://apiserver"));
    lab.end();
}

#[test]
fn recipe_03_deny_all_traffic_in_the_namespace() {
    let Some(lab) = lab("recipe 03") else { return };
    web(&lab);
    policy(&lab, "default-deny-all", "{podSelector: {}, ingress: []}");
    assert!(!reaches(&lab, "denied", "", "http://web"));
    lab.end();
}

#[test]
fn recipe_04_deny_traffic_from_other_namespaces() {
    let Some(lab) = lab("recipe 04") else { return };
    web(&lab);
    // As it stands there: a selector without a value.
    policy(
        &lab,
        "deny-from-other-namespaces",
        "{podSelector: {matchLabels: }, ingress: [{from: [{podSelector: {}}]}]}",
    );
    let _ = lab.kubectl("create namespace foo");
    assert!(!reaches(&lab, "other", "--namespace=foo", "http://web.default"));
    assert!(reaches(&lab, "same", "--namespace=default", "http://web.default"));
    lab.end();
}

#[test]
fn recipe_05_and_06_allow_traffic_from_all_namespaces_and_from_one() {
    let Some(lab) = lab("recipes 05 and 06") else { return };
    web(&lab);
    let to_web = |from: &str| {
        format!("{{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{from: {from}}}]}}")
    };
    policy(&lab, "web-deny-all", DENY_ALL);
    policy(&lab, "web-allow-all-namespaces", &to_web("[{namespaceSelector: {}}]"));
    for (namespace, purpose) in [("dev", "testing"), ("prod", "production")] {
        let _ = lab.kubectl(&format!("create namespace {namespace}"));
        let _ = lab.kubectl(&format!("label namespace/{namespace} purpose={purpose}"));
    }
    assert!(reaches(&lab, "all", "--namespace=dev", "http://web.default"));
    let _ = lab.kubectl("delete networkpolicy web-allow-all-namespaces");
    let production = "[{namespaceSelector: {matchLabels: {purpose: production}}}]";
    policy(&lab, "web-allow-prod", &to_web(production));
    assert!(!reaches(&lab, "one", "--namespace=dev", "http://web.default"));
    assert!(reaches(&lab, "one", "--namespace=prod", "http://web.default"));
    lab.end();
}

#[test]
fn recipe_07_allow_traffic_from_some_pods_in_another_namespace() {
    let Some(lab) = lab("recipe 07") else { return };
    web(&lab);
    let _ = lab.kubectl("create namespace other");
    let _ = lab.kubectl("label namespace/other team=operations");
    let both = "{namespaceSelector: {matchLabels: {team: operations}}, \
                podSelector: {matchLabels: {type: monitoring}}}";
    policy(
        &lab,
        "web-allow-all-ns-monitoring",
        &format!("{{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{from: [{both}]}}]}}"),
    );
    for (name, options, expected) in [
        ("neither", "", false),
        ("label", "--labels=type=monitoring", false),
        ("namespace", "--namespace=other", false),
        ("both", "--namespace=other --labels=type=monitoring", true),
    ] {
        assert_eq!(reaches(&lab, name, options, "http://web.default"), expected, "{name}");
    }
    lab.end();
}

#[test]
fn recipe_08_allow_external_traffic() {
    let Some(lab) = lab("recipe 08") else { return };
    let _ = lab.kubectl("run web --image=nginx --labels=app=web --port=80");
    // The lab has no load balancer, and says so; kubectl port-forward is the way in from outside.
    let refused = lab.refused("expose pod/web --type=LoadBalancer", "");
    assert!(refused.contains("spec.type: Unsupported value: \"LoadBalancer\""), "{refused}");
    let _ = lab.kubectl("expose pod/web");
    policy(&lab, "web-allow-external", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}");
    let _ = lab.kubectl("wait --for=condition=Ready pod/web --timeout=30s");
    assert!(reaches(&lab, "test", "", "http://web"));
    lab.end();
}

#[test]
fn recipe_09_allow_traffic_only_to_a_port() {
    let Some(lab) = lab("recipe 09") else { return };
    let _ = lab.kubectl("run apiserver --image=ahmet/app-on-two-ports --labels=app=apiserver");
    let _ = lab.kubectl("create service clusterip apiserver --tcp 8001:8000 --tcp 5001:5000");
    let _ = lab.kubectl("wait --for=condition=Ready pod/apiserver --timeout=30s");
    let lines = [
        "wget -qO- --timeout=2 http://apiserver:8001",
        "wget -qO- --timeout=2 http://apiserver:5001/metrics",
    ];
    assert_eq!(try_out(&lab, "before", "", &lines), [true, true]);
    policy(
        &lab,
        "api-allow-5000",
        "{podSelector: {matchLabels: {app: apiserver}}, ingress: [{ports: [{port: 5000}], \
         from: [{podSelector: {matchLabels: {role: monitoring}}}]}]}",
    );
    assert_eq!(try_out(&lab, "nobody", "", &lines), [false, false]);
    assert_eq!(try_out(&lab, "monitor", "--labels=role=monitoring", &lines), [false, true]);
    lab.end();
}

#[test]
fn recipe_10_allow_traffic_with_multiple_selectors() {
    let Some(lab) = lab("recipe 10") else { return };
    let _ =
        lab.kubectl("run db --image=redis:4 --labels=app=bookstore,role=db --expose --port=6379");
    let _ = lab.kubectl("wait --for=condition=Ready pod/db --timeout=30s");
    let selectors =
        [("bookstore", "search"), ("bookstore", "api"), ("inventory", "web")].map(|(app, role)| {
            format!("{{podSelector: {{matchLabels: {{app: {app}, role: {role}}}}}}}")
        });
    policy(
        &lab,
        "redis-allow-services",
        &format!(
            "{{podSelector: {{matchLabels: {{app: bookstore, role: db}}}}, ingress: [{{from: [{}]}}]}}",
            selectors.join(", ")
        ),
    );
    let catalog = "--labels=app=inventory,role=web";
    assert!(reaches(&lab, "catalog", catalog, "http://db:6379"));
    assert!(!reaches(&lab, "other", "--labels=app=other", "http://db:6379"));
    lab.end();
}

const TO_DNS: &str = "{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, \
                      podSelector: {matchLabels: {k8s-app: kube-dns}}}], \
                      ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}";

#[test]
fn recipe_11_and_14_deny_egress_from_an_application_but_for_dns() {
    let Some(lab) = lab("recipes 11 and 14") else { return };
    web(&lab);
    let from_foo = |egress: &str| {
        format!(
            "{{podSelector: {{matchLabels: {{app: foo}}}}, policyTypes: [Egress], egress: {egress}}}"
        )
    };
    let lines = ["getent hosts web", "wget -qO- --timeout 1 http://web:80/"];
    policy(&lab, "foo-deny-egress", &from_foo("[]"));
    let _ = lab.kubectl("get pods");
    assert_eq!(try_out(&lab, "nothing", "--labels=app=foo", &lines[1..]), [false]);
    policy(&lab, "foo-deny-egress", &from_foo(&format!("[{TO_DNS}]")));
    assert_eq!(try_out(&lab, "names", "--labels=app=foo", &lines), [true, false]);
    // Recipe 14 has the same policy, and says that web is reached; no engine does that.
    lab.end();
}

#[test]
fn recipe_12_deny_all_traffic_from_the_namespace() {
    let Some(lab) = lab("recipe 12") else { return };
    web(&lab);
    policy(&lab, "default-deny-all-egress", "{policyTypes: [Egress], podSelector: {}, egress: []}");
    assert!(!reaches(&lab, "denied", "", "http://web"));
    let _ = lab.kubectl("create namespace other");
    assert!(reaches(&lab, "other", "--namespace=other", "http://web.default"));
    lab.end();
}
