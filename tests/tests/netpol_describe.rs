//! `netpol describe`: a policy by itself, in words.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use end_to_end::{Output, netpol_with_kubectl, program, repository, run};

fn describe(arguments: &[&str], input: &str) -> Output {
    run(Command::new(program("netpol")).arg("describe").args(arguments), input)
}

/// The same, in this folder.
fn describe_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut bash = Command::new("bash");
    let script = "cd \"$1\" && shift && exec \"$@\"";
    bash.args(["-c", script, "bash"]).arg(folder).arg(program("netpol"));
    run(bash.arg("describe").args(arguments), "")
}

const POLICY: &str = "hello-server-allow-from-hello-client";

/// Two policies of namespace shop.
const SHOP: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {}}]}]
";

#[test]
fn the_demos_policy_is_told_in_sentences_with_their_lines() {
    let said = describe(&["manifests/hello-app", "manifests/network-policy.yaml"], "").ok();
    assert_eq!(
        said,
        "\
NetworkPolicy default/hello-server-allow-from-hello-client (manifests/network-policy.yaml:2)
  It selects the pods of namespace default that have the label app=hello-server (manifests/network-policy.yaml:7).
    At the moment that is default/hello-server[Deployment].
  It isolates them for ingress (connections to them), as policyTypes names Ingress: what no policy lets in is dropped (manifests/network-policy.yaml:10).
    Rule spec.ingress[0] lets in connections to every port of every protocol, as it names no ports (manifests/network-policy.yaml:13).
      From pods that have the label app=hello, in the policy's own namespace default, as there is no namespaceSelector (manifests/network-policy.yaml:14).
        At the moment that is default/hello-client-allowed[Deployment].
  It does not touch egress (connections from them), as policyTypes leaves Egress out (manifests/network-policy.yaml:10).
    No other policy isolates them for egress at the moment: everything is let out.
  No other policy selects these pods at the moment.

What holds for every policy
  Policies add up: what any one of them lets pass gets through, and none can forbid what another allows.
  A connection needs both ends: the policies of its source must let it out, and those of its destination let it in. An end that no policy isolates lets everything pass.
  Answers need no rule of their own: they come back over the connection that was let pass.
  Ports are those of the pods, not of a Service in front of them; a port that names no protocol is one of TCP.
  A pod always reaches itself, and a node the pods that run on it.
"
    );
}

#[test]
fn policies_are_picked_by_name_as_kubectl_names_them() {
    for name in ["web", "shop/web", "netpol/web", "networkpolicies.networking.k8s.io/web"] {
        let arguments = [name, "-", "--namespace", "shop"];
        let said = describe(&arguments, SHOP).ok();
        assert!(said.starts_with("NetworkPolicy shop/web (standard input:1)\n"), "{name}: {said}");
        assert!(!said.contains("NetworkPolicy shop/db"), "{name}: {said}");
    }
    // Without a namespace: there is one of this name alone.
    let said = describe(&["db", "-"], SHOP).ok();
    assert!(said.starts_with("NetworkPolicy shop/db (standard input:6)\n"), "{said}");
    // In the order in which they are named, each once; without names all that there are.
    let titles = |arguments: &[&str]| {
        let said = describe(arguments, SHOP).ok();
        let titles = said.lines().filter(|line| line.starts_with("NetworkPolicy "));
        titles.map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles(&["db", "web", "shop/db", "-"]), ["shop/db", "shop/web"]);
    assert_eq!(titles(&["-", "db", "web"]), ["shop/db", "shop/web"]);
    assert_eq!(titles(&["-"]), ["shop/web", "shop/db"]);
    // As kubectl has it: kubectl describe networkpolicies [NAME...]
    assert_eq!(titles(&["networkpolicy", "db", "-"]), ["shop/db"]);
    assert_eq!(titles(&["networkpolicies", "-"]), ["shop/web", "shop/db"]);
}

#[test]
fn a_name_that_is_neither_a_path_nor_a_policy_is_told_with_whom_was_meant() {
    let path = "manifests/network-policy.yaml";
    for (name, words) in [
        (
            "hello-servr-allow-from-hello-client",
            format!("no such policy, and no such file or folder; did you mean default/{POLICY}?"),
        ),
        (
            "nothing",
            format!("no such policy, and no such file or folder; there are: default/{POLICY}"),
        ),
        ("other/nothing.yaml", "no such policy, and no such file or folder".to_owned()),
        ("./nothing.yaml", "./nothing.yaml: No such file or directory".to_owned()),
        ("shop=nothing.yaml", "nothing.yaml: No such file or directory".to_owned()),
        ("deploy/web", "\"deploy/web\": Deployment is no kind of policy".to_owned()),
    ] {
        let output = describe(&[name, path], "");
        assert_eq!((output.status.code(), output.stdout.as_str()), (Some(2), ""), "{name}");
        assert!(output.stderr.contains(&words), "{name}: {}", output.stderr);
    }
    let output = describe(&[POLICY], "");
    assert_eq!((output.status.code(), output.stdout.as_str()), (Some(2), ""));
    assert!(
        output.stderr.contains("no such file or folder; after the names of policies give a PATH"),
        "{}",
        output.stderr
    );
}

#[test]
fn what_is_a_path_is_read_and_the_policy_of_that_name_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.yaml"), SHOP).unwrap();
    fs::create_dir(folder.path().join("web")).unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    let both = describe_in(folder.path(), &["web", "shop.yaml"]);
    assert!(both.stderr.contains("the policy of this name is netpol/web"), "{}", both.stderr);
    assert!(both.ok().contains("NetworkPolicy shop/db"));
    let one = describe_in(folder.path(), &["netpol/web", "shop.yaml"]);
    assert_eq!(one.stderr, "");
    assert!(!one.ok().contains("NetworkPolicy shop/db"));
    let empty = describe_in(folder.path(), &["d", "shop.yaml"]);
    assert!(
        empty
            .stderr
            .contains("nothing of Kubernetes in it; no policy is called so; did you mean shop/db"),
        "{}",
        empty.stderr
    );
}

#[test]
fn without_any_policy_it_is_said_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (input, words) in [
        (
            "manifests/hello-app",
            "there is no NetworkPolicy: the 3 pods and workloads may be reached by everyone",
        ),
        (folder, "there is no NetworkPolicy: there is no object of Kubernetes at all"),
        ("-", "standard input: there is no NetworkPolicy"),
    ] {
        for arguments in [&[input][..], &["name", input]] {
            let output = describe(arguments, "");
            assert_eq!((output.status.code(), output.stdout.as_str()), (Some(2), ""), "{input}");
            assert!(output.stderr.contains(words), "{input}: {}", output.stderr);
        }
    }
    assert_eq!(describe(&[], "").status.code(), Some(2));
}

#[test]
fn a_policy_of_a_kind_that_is_not_modelled_is_named_and_not_described() {
    let cilium = "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c, namespace: shop}\n";
    let text = format!("{SHOP}{cilium}");
    let all = describe(&["-"], &text).ok();
    assert!(
        all.contains(
            "What is not modelled, or cannot be seen: CiliumNetworkPolicy shop/c (standard input:14)"
        ),
        "{all}"
    );
    assert!(all.contains("these pods is not known: CiliumNetworkPolicy shop/c."), "{all}");
    let ignored = describe(&["-", "--ignore-kinds"], &text).ok();
    assert!(!ignored.contains("Cilium"), "{ignored}");
    let named = describe(&["shop/ciliumnetworkpolicy/c", "-"], &text);
    assert_eq!(named.status.code(), Some(3), "{}", named.stderr);
    let alone = describe(&["-"], cilium);
    assert_eq!(alone.status.code(), Some(3), "{}", alone.stderr);
    let nothing = describe(&["-", "--ignore-kinds"], cilium);
    assert_eq!(nothing.status.code(), Some(2), "{}", nothing.stderr);
}

#[test]
fn bad_input_is_told_as_everywhere_and_a_full_disk_too() {
    let misspelt = SHOP.replacen("podSelector", "podSelecter", 1);
    let output = describe(&["-"], &misspelt);
    assert_eq!((output.status.code(), output.stdout.as_str()), (Some(2), ""));
    assert!(output.stderr.starts_with("standard input:4: spec.podSelecter"), "{}", output.stderr);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(program("netpol"))
        .current_dir(repository())
        .args(["describe", "manifests/network-policy.yaml"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write the answer: No space left"), "{said}");
}

/// A kubectl that may not list networkpolicies in namespace b.
const KUBECTL: &str = r#"#!/bin/sh
case "$*" in
  *api-resources*) printf '%s\n' 'namespaces ns v1 false Namespace' 'pods po v1 true Pod' \
    'networkpolicies netpol networking.k8s.io/v1 true NetworkPolicy' ;;
  *config*) echo a ;;
  "get namespaces --all"*) echo '{"kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}]}' ;;
  "get pods --all"*) echo '{"kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "a", "uid": "1"}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "z", "namespace": "b", "uid": "3"}}]}' ;;
  "get networkpolicies"*"--namespace=a"*) echo '{"kind": "List", "items": [
    {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
     "metadata": {"name": "p", "namespace": "a", "uid": "4"}, "spec": {"podSelector": {}}}]}' ;;
  *) echo 'Error from server (Forbidden): it is forbidden' >&2; exit 1 ;;
esac
"#;

#[test]
fn a_clusters_policies_are_described_in_the_namespace_of_kubectls_context() {
    let describe = |arguments: &[&str]| {
        netpol_with_kubectl(KUBECTL, &[&["describe", "--cluster"], arguments].concat())
    };
    for arguments in [&["p"][..], &["netpol/p"], &["a/p"], &[]] {
        let said = describe(arguments).ok();
        assert!(said.starts_with("NetworkPolicy a/p (the cluster)\n"), "{said}");
        assert!(said.contains("At the moment that is a/x[Pod]."), "{said}");
        assert!(
            said.contains("every NetworkPolicy of namespace b: kubectl may not list"),
            "{said}"
        );
    }
    let unseen = describe(&["b/q"]);
    assert_eq!(unseen.status.code(), Some(2), "{}", unseen.stdout);
    assert!(
        unseen.stderr.contains("no such policy")
            && unseen.stderr.contains("not seen: every NetworkPolicy of namespace b"),
        "{}",
        unseen.stderr
    );
}
