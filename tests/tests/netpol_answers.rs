//! netpol gives the answer that a cluster would give, or says that it is not known: never a wrong one, and
//! never none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use end_to_end::{As, Lab, Output, program, run};

fn netpol(arguments: &[&str], input: &str) -> Output {
    run(Command::new(program("netpol")).args(arguments), input)
}

/// Every command that reads manifests, on `input`.
fn every_command(input: &str, more: &[&str]) -> Vec<Output> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input.yaml");
    fs::write(&file, input).unwrap();
    let file = file.to_str().unwrap();
    [&["list", file][..], &["why", "a", "b:80", file], &["diff", file, file], &["check", file]]
        .into_iter()
        .map(|arguments| netpol(&[arguments, more].concat(), ""))
        .collect()
}

const PODS: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: a}}\n---\n\
    apiVersion: v1\nkind: Pod\nmetadata: {name: b, labels: {app: b}}\n---\n";

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n---\n"
    )
}

#[test]
fn an_object_that_is_written_twice_is_an_error_that_names_both_places() {
    let (open, closed) = (policy("{podSelector: {}, ingress: [{}]}"), policy("{podSelector: {}}"));
    let twice = format!("{PODS}{open}{closed}");
    for output in every_command(&twice, &[]) {
        assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
        assert!(
            output.stderr.contains("input.yaml:14: NetworkPolicy default/p is written twice")
                && output.stderr.contains("first at /"),
            "{}",
            output.stderr
        );
    }
    for (text, verdict) in [(&twice, "denied"), (&format!("{PODS}{closed}{open}"), "allowed")] {
        let _ = netpol(&["why", "a", "b:80", "-", "--last-wins", "--expect", verdict], text).ok();
    }
    let deployment =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {}}\n---\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n";
    for object in [PODS, deployment, namespace] {
        let output = netpol(&["check", "-"], &object.repeat(2));
        assert!(output.stderr.contains("is written twice"), "{}", output.stderr);
        assert_eq!(output.status.code(), Some(2));
    }
    // Another kind, or another namespace, is another object.
    let elsewhere = deployment.replace("{name: a", "{namespace: x, name: a");
    let _ = netpol(&["check", "-"], &format!("{PODS}{deployment}{elsewhere}{namespace}")).ok();
}

#[test]
fn a_file_that_is_reached_twice_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, PODS).unwrap();
    symlink("a.yaml", folder.path().join("b.yaml")).unwrap();
    let (file, folder) = (file.to_str().unwrap(), folder.path().to_str().unwrap());
    let once = netpol(&["list", file], "").ok();
    assert_eq!(netpol(&["list", folder, file, folder], "").ok(), once);
}

#[test]
fn a_misspelt_kind_or_version_is_an_error() {
    let is_refused = |version: &str, kind: &str| {
        let object = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: p}}\n");
        for output in every_command(&format!("{PODS}{object}"), &[]) {
            assert_eq!(output.status.code(), Some(2), "{version} {kind}");
            let words = format!("no matches for kind {kind:?} in version {version:?}");
            assert!(output.stderr.contains(&words), "{}", output.stderr);
        }
    };
    for kind in ["NetworkPolcy", "Networkpolicy", "networkpolicy", "NetworkPolicies"] {
        is_refused("networking.k8s.io/v1", kind);
    }
    for version in ["v1", "networking/v1", "networking.k8s.io"] {
        is_refused(version, "NetworkPolicy");
    }
    is_refused("apps/v1", "Deploiment");
    let typed = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems: null\n---\n";
    let _ = netpol(&["check", "-"], &format!("{typed}{PODS}")).ok();
}

#[test]
fn what_a_policy_of_a_kind_that_is_not_modelled_may_change_is_unknown() {
    for (version, kind) in [
        ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"),
        ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy"),
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
        ("cilium.io/v2", "CiliumNetworkPolicy"),
        ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
        ("projectcalico.org/v3", "NetworkPolicy"),
        ("projectcalico.org/v3", "GlobalNetworkPolicy"),
    ] {
        let object = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n---\n");
        let text = format!("{PODS}{object}");
        let why = |more: &[&str]| netpol(&[&["why", "a", "b:80", "-"], more].concat(), &text);
        let told = why(&[]);
        assert_eq!(told.status.code(), Some(3), "{kind}: {}", told.stdout);
        assert!(
            told.stdout.contains("is unknown") && told.stdout.contains(kind),
            "{}",
            told.stdout
        );
        assert_eq!(why(&["--expect", "allowed"]).status.code(), Some(3));
        assert_eq!(why(&["--expect", "unknown"]).status.code(), Some(0));
        let _ = why(&["--ignore-kinds", "--expect", "allowed"]).ok();
        let _ = why(&[&format!("--ignore-kinds={kind}"), "--expect", "allowed"]).ok();
        assert_eq!(why(&["--ignore-kinds=Other"]).status.code(), Some(3));
        let list = netpol(&["list", "-"], &text).ok();
        let pair = "default/a[Pod] =? default/b[Pod] : All Connections\n";
        assert!(list.contains(pair) && !list.contains("=>"), "{list}");
        // A kind of the whole cluster is in no namespace, whatever is written; "" is none.
        let elsewhere = if kind == "NetworkPolicy" || kind == "CiliumNetworkPolicy" {
            "''"
        } else {
            "elsewhere"
        };
        let written = text.replace("{name: x}", &format!("{{name: x, namespace: {elsewhere}}}"));
        let told = netpol(&["why", "a", "b:80", "-"], &written);
        assert_eq!(told.status.code(), Some(3), "{kind} {elsewhere}: {}", told.stdout);
        let check = netpol(&["check", "-", "--fail-on", "warning"], &text);
        assert_eq!(check.status.code(), Some(1), "{}", check.stderr);
        assert!(check.stderr.contains(kind), "{}", check.stderr);
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (old, new) = (file("old", PODS), file("new", &text));
        let diff = netpol(&["diff", &old, &new], "");
        assert_eq!(diff.status.code(), Some(3), "{}", diff.stderr);
        assert!(diff.stdout.contains(&format!("? {pair}")), "{}", diff.stdout);
    }
}

#[test]
fn without_a_workload_it_is_said_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for input in ["manifests/network-policy.yaml", folder] {
        for arguments in
            [&["list", input][..], &["why", "a", "b:80", input], &["diff", input, input]]
        {
            let output = netpol(arguments, "");
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(output.stderr.contains("no workload or pod"), "{}", output.stderr);
        }
    }
    for (text, there) in [
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", "nothing that has pods"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1}]}\n",
            "nothing that has pods",
        ),
        ("apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\n", "nothing that has pods"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Failed}\n",
            "only pods that have finished",
        ),
        ("# nothing\n", "no object of Kubernetes at all"),
    ] {
        let said = netpol(&["list", "-"], text);
        assert_eq!(said.status.code(), Some(2));
        assert!(said.stderr.contains(&format!("no workload or pod: {there}")), "{}", said.stderr);
    }
    assert_eq!(netpol(&["check", folder], "").status.code(), Some(2));
    assert_eq!(netpol(&["check", "manifests/network-policy.yaml"], "").status.code(), Some(0));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    for arguments in [
        &["list", "manifests/hello-app"][..],
        &["list", "-o", "json", "manifests/hello-app"],
        &["why", "hello-client-allowed", "hello-server:8080", "manifests/hello-app"],
        &["check", "manifests/hello-app"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
        &["why", "--help"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(program("netpol"))
            .current_dir(end_to_end::repository())
            .args(arguments)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot write the answer: No space left"), "{said}");
    }
}

#[test]
fn a_block_of_every_address_holds_a_pod_whose_address_is_not_known_and_a_smaller_one_may() {
    let why = |cidr: &str| {
        let spec = format!(
            "{{podSelector: {{matchLabels: {{app: a}}}}, policyTypes: [Egress], \
             egress: [{{to: [{{ipBlock: {{cidr: '{cidr}'}}}}]}}]}}"
        );
        netpol(&["why", "a", "b:80", "-"], &format!("{PODS}{}", policy(&spec)))
    };
    let all = why("0.0.0.0/0");
    assert_eq!(all.status.code(), Some(0));
    assert!(all.stdout.contains("is allowed") && all.stdout.contains("differs between engines"));
    let some = why("10.0.0.0/8");
    assert_eq!(some.status.code(), Some(3));
    assert!(some.stdout.contains("which default/b will have is not known"), "{}", some.stdout);
}

#[test]
fn a_dual_stack_pod_has_an_answer_for_each_family_where_they_differ() {
    let pod = |name: &str, number: u8| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
             status: {{podIPs: [{{ip: 10.0.0.{number}}}, {{ip: 'fd00::{number}'}}]}}\n---\n"
        )
    };
    let pods = pod("a", 1) + &pod("b", 2);
    let why = |peers: &str| {
        let spec =
            format!("{{podSelector: {{matchLabels: {{app: b}}}}, ingress: [{{from: [{peers}]}}]}}");
        netpol(&["why", "a", "b:80", "-"], &format!("{pods}{}", policy(&spec))).ok()
    };
    let said = why("{ipBlock: {cidr: 0.0.0.0/0}}");
    assert!(
        said.contains("is allowed over IPv4") && said.contains("is denied over IPv6"),
        "{said}"
    );
    let said = why("{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}");
    assert!(said.contains("is allowed\n"), "{said}");
}

#[test]
fn what_is_undefined_for_a_pod_on_its_nodes_network_is_unknown_in_list_and_why() {
    let agent = "apiVersion: v1\nkind: Pod\nmetadata: {name: agent, labels: {app: b}}\nspec: {hostNetwork: true}\n---\n";
    let spec =
        "{podSelector: {matchLabels: {app: b}}, ingress: [{ports: [{protocol: UDP, port: 53}]}]}";
    let text = format!("{PODS}{agent}{}", policy(spec));
    let list = netpol(&["list", "-"], &text).ok();
    assert!(list.contains("default/a[Pod] => default/agent[Pod] : UDP 53\n"), "{list}");
    assert!(
        list.contains("default/a[Pod] =? default/agent[Pod] : SCTP 1-65535,TCP 1-65535,UDP 1-52")
    );
    let why = |port: &str| netpol(&["why", "a", &format!("agent:{port}"), "-"], &text);
    assert_eq!(why("53/UDP").status.code(), Some(0));
    let told = why("4242");
    assert_eq!(told.status.code(), Some(3));
    assert!(
        told.stdout.contains("node's network, where policies are undefined"),
        "{}",
        told.stdout
    );
}

#[test]
fn a_list_is_in_the_order_of_its_bytes() {
    let spec = "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 9.0.0.0/8}}, {ipBlock: {cidr: 10.0.0.0/8}}, {podSelector: {}}]}]}";
    let more = "apiVersion: v1\nkind: Pod\nmetadata: {name: c, namespace: 1-first}\n---\n\
        apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {}}\n---\n";
    let list = netpol(&["list", "-"], &format!("{PODS}{more}{}", policy(spec))).ok();
    let lines: Vec<&str> = list.lines().collect();
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(lines, sorted);
    assert!(lines.len() > 10);
}

#[test]
fn ends_are_named_as_kubectl_names_them_and_policies_with_their_place() {
    let why = |source: &str, destination: &str| {
        let paths = ["manifests/hello-app", "manifests/network-policy.yaml"];
        netpol(&[&["why", source, destination], &paths[..]].concat(), "")
    };
    let said = why("deploy/hello-client-blocked", "deployments.apps/hello-server:8080").ok();
    assert!(said.contains("is denied"), "{said}");
    assert!(said.contains("manifests/network-policy.yaml:"), "{said}");
    let said = why("hello-client-blocked", "hello-server:9999").ok();
    assert!(said.contains("declares no port 9999/TCP"), "{said}");
    let unknown = why("hello-client", "hello-server:8080");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(unknown.stderr.contains("did you mean default/hello-client-"), "{}", unknown.stderr);
    for port in ["0", "65536", "99999999999999999999"] {
        let output = why("hello-client-blocked", &format!("hello-server:{port}"));
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr.contains("ports are 1 to 65535"), "{}", output.stderr);
    }
}

#[test]
fn whom_list_prints_why_takes() {
    let owned = |name: &str, kind: &str, owner: &str, label: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{label}}}, ownerReferences: \
             [{{apiVersion: v1, kind: {kind}, name: {owner}, uid: u, controller: true}}]}}\n---\n"
        )
    };
    let pods = PODS.to_owned()
        + &owned("web-5d-x", "ReplicaSet", "web-5d", "pod-template-hash: 5d")
        + &owned("backup-29402640-x", "Job", "backup-29402640", "a: b");
    let deployment =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {}}\n---\n";
    for text in [pods.clone(), pods + deployment] {
        let list = netpol(&["list", "-"], &text).ok();
        let ends: std::collections::BTreeSet<&str> =
            list.lines().map(|line| line.split(" => ").next().unwrap()).collect();
        assert!(ends.contains("default/backup-29402640[Job]"), "{list}");
        for end in ends.iter().filter(|end| !end.ends_with("[External]")) {
            let _ = netpol(&["why", end, "192.0.2.1:80", "-", "--expect", "allowed"], &text).ok();
        }
        for end in ["rs/web-5d", "deploy/web", "job/backup-29402640", "cj/backup", "backup"] {
            let said = netpol(&["why", "a", &format!("{end}:80"), "-"], &text).ok();
            assert!(said.starts_with("default/a[Pod] => default/"), "{said}");
        }
    }
}

#[test]
fn a_dump_of_the_lab_is_asked_by_the_names_of_deployments_and_has_not_drifted() {
    let lab = Lab::start(As::Myself);
    let manifests = ["manifests/hello-app", "manifests/network-policy.yaml"];
    for path in manifests {
        let _ = run(lab.command("kubectl").args(["apply", "-f", path]), "").ok();
    }
    let _ = run(
        lab.command("kubectl").args(["wait", "--for=condition=Available", "deployments", "--all"]),
        "",
    )
    .ok();
    let dump =
        |kinds: &str| run(lab.command("kubectl").args(["get", kinds, "-A", "-o", "yaml"]), "").ok();
    for kinds in [
        "namespaces,pods,networkpolicies",
        "namespaces,pods,networkpolicies,deployments,replicasets,services",
    ] {
        let dump = dump(kinds);
        let live = |arguments: &[&str]| netpol(arguments, &dump);
        let _ =
            live(&["why", "hello-client-blocked", "hello-server:8080", "-", "--expect", "denied"])
                .ok();
        let _ = live(&[
            "why",
            "hello-client-allowed",
            "deploy/hello-server:8080",
            "-",
            "--expect",
            "allowed",
        ])
        .ok();
        let written = tempfile::tempdir().unwrap();
        copy(&manifests, written.path());
        let written = written.path().to_str().unwrap();
        let drift = live(&["diff", written, "-", "--fail-on", "any"]);
        assert_eq!((drift.status.code(), drift.stdout.as_str()), (Some(0), ""), "{}", drift.stderr);
        assert!(drift.stderr.contains("kube-system"), "{}", drift.stderr);
        let back = live(&["diff", "-", written, "--fail-on", "any"]);
        assert_eq!((back.status.code(), back.stdout.as_str()), (Some(0), ""), "{}", back.stderr);
    }
    let _ = run(lab.command("kubectl").args(["delete", "networkpolicies", "--all"]), "").ok();
    let written = tempfile::tempdir().unwrap();
    copy(&manifests, written.path());
    let dump = dump("namespaces,pods,networkpolicies");
    let drift = netpol(&["diff", written.path().to_str().unwrap(), "-"], &dump);
    assert_eq!(drift.status.code(), Some(1));
    assert!(
        drift.stdout.contains(
            "+ default/hello-client-blocked[Deployment] => default/hello-server[Deployment] : All Connections"
        ),
        "{}",
        drift.stdout
    );
    lab.end();
}

/// Copies files, and those of folders, into one folder.
fn copy(paths: &[&str], to: &Path) {
    for path in paths {
        let path = end_to_end::repository().join(path);
        let files = if path.is_dir() {
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect()
        } else {
            vec![path]
        };
        for file in files {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
}

#[test]
fn policies_see_the_port_of_the_pod_behind_a_service() {
    let text = |port: u16| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: backend}}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: db}}\n\
             spec: {{template: {{metadata: {{labels: {{app: db}}}}, spec: {{containers: [{{name: c, ports: [{{containerPort: 8080}}]}}]}}}}}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec: {{selector: {{app: db}}, ports: [{{port: 80, targetPort: 8080}}]}}\n---\n{}",
            policy(&format!(
                "{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{ports: [{{port: {port}}}]}}]}}"
            ))
        )
    };
    for destination in ["svc/db:80", "db:80", "db.default.svc:80"] {
        let why = |port: u16, expected: &str| {
            netpol(&["why", "backend", destination, "-", "--expect", expected], &text(port)).ok()
        };
        let said = why(80, "denied");
        assert!(
            said.starts_with("Service default/db:80/TCP stands for default/db[Deployment]:8080\n"),
            "{said}"
        );
        let _ = why(8080, "allowed");
    }
    let source = netpol(&["why", "svc/db", "backend:80", "-"], &text(80));
    assert_eq!(source.status.code(), Some(2));
    assert!(source.stderr.contains("opens no connection"), "{}", source.stderr);
    let none = text(80).replace("selector: {app: db}, ", "selector: {app: d}, ");
    let said = netpol(&["why", "backend", "svc/db:80", "-"], &none).ok();
    assert_eq!(said, "Service default/db:80/TCP has no endpoint: nobody answers\n");
    let by_hand = text(80).replace("selector: {app: db}, ", "");
    let said = netpol(&["why", "backend", "svc/db:80", "-"], &by_hand);
    assert_eq!(said.status.code(), Some(3), "{}", said.stdout);
}

#[test]
fn a_service_without_selector_leads_where_endpoint_slices_of_the_inputs_say() {
    let text = |list: &str| {
        format!(
            "{PODS}apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec: {{ports: [{{port: 80}}]}}\n---\n{}{list}",
            policy(
                "{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}]}]}"
            )
        )
    };
    let slice = |family: &str, endpoints: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: db-1, labels: {{kubernetes.io/service-name: db}}}}\naddressType: {family}\n\
             ports: [{{port: 5432}}]\nendpoints: [{endpoints}]\n"
        )
    };
    let of_pod = "{addresses: [10.0.0.2], targetRef: {kind: Pod, name: b}}";
    let said = netpol(
        &["why", "a", "svc/db:80", "-", "--expect", "allowed"],
        &text(&slice("IPv4", &format!("{of_pod}, {{addresses: [10.9.9.9]}}"))),
    )
    .ok();
    let first =
        "Service default/db:80/TCP stands for 10.9.9.9:5432, default/b[Pod]:5432 (2 endpoints)\n";
    assert!(said.starts_with(first), "{said}");
    let far = slice("IPv6", "{addresses: ['2001:db8::9']}");
    let said = netpol(&["why", "a", "db:80", "-", "--expect", "denied"], &text(&far)).ok();
    assert!(said.contains("default/a[Pod] => [2001:db8::9]:5432/TCP is denied"), "{said}");
    let endpoints = "apiVersion: v1\nkind: Endpoints\nmetadata: {name: db}\n\
        subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 5432}]}]\n";
    let said = netpol(&["why", "a", "db:80", "-", "--expect", "denied"], &text(endpoints)).ok();
    assert!(said.contains("default/a[Pod] => 192.0.2.1:5432/TCP is denied"), "{said}");
    let nobody =
        netpol(&["why", "a", "db:80", "-", "--expect", "denied"], &text(&slice("IPv4", ""))).ok();
    assert_eq!(nobody, "Service default/db:80/TCP has no endpoint: nobody answers\n");
    let twice = slice("IPv4", of_pod) + "---\n" + &slice("IPv4", of_pod);
    let said = netpol(&["why", "a", "db:80", "-"], &text(&twice));
    assert_eq!(said.status.code(), Some(2));
    assert!(said.stderr.contains("EndpointSlice default/db-1 is written twice"), "{}", said.stderr);
}
