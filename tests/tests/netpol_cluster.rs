//! netpol asks a cluster by kubectl: the same answers as of manifests, and none where kubectl may not look.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use end_to_end::{As, Lab, Output, netpol_with_kubectl, program, repository, run, wait_for};
use serde_json::json;

fn netpol(lab: &Lab, line: &str) -> Output {
    run(lab.command(program("netpol")).args(line.split(' ')), "")
}

#[test]
fn a_cluster_is_asked_by_kubectl_and_answers_as_its_manifests_do() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    let said =
        netpol(&lab, "why hello-client-blocked hello-server:8080 --cluster --expect denied").ok();
    assert!(
        said.contains("policy default/hello-server-allow-from-hello-client, nearest at spec.ingress[0].from[0] (the cluster)"),
        "{said}"
    );
    let _ = netpol(
        &lab,
        "why deploy/hello-client-allowed svc/hello-server:8080 --cluster --expect allowed",
    )
    .ok();
    let list = netpol(&lab, "list --cluster").ok();
    assert!(
        list.contains("default/hello-client-allowed[Deployment] => default/hello-server[Deployment] : All Connections\n"),
        "{list}"
    );
    let checked = netpol(&lab, "check --cluster").ok();
    assert!(checked.starts_with("no findings in 1 policy"), "{checked}");
    // Of a cluster it is known that a Service without selector has no endpoints, and which it has.
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "by-hand"},
        "spec": {"ports": [{"port": 80}]},
    });
    let _ = lab.kubectl_with("create -f -", &service.to_string());
    let nobody = netpol(&lab, "why hello-client-blocked svc/by-hand:80 --cluster --expect denied");
    assert_eq!(nobody.ok(), "Service default/by-hand:80/TCP has no endpoint: nobody answers\n");
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 5432}]}],
    });
    let _ = lab.kubectl_with("create -f -", &endpoints.to_string());
    let slices = || lab.kubectl("get endpointslices -l kubernetes.io/service-name=by-hand");
    wait_for("the slice of the Endpoints", || slices().contains("192.0.2.1").then_some(()));
    let written = netpol(&lab, "why hello-client-blocked svc/by-hand:80 --cluster").ok();
    assert!(
        written
            .contains("default/hello-client-blocked[Deployment] => 192.0.2.1:5432/TCP is allowed"),
        "{written}"
    );
    let _ = lab.kubectl("delete service by-hand");
    // What if: a file beside the cluster, which replaces what the cluster has of that name.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let policy = fs::read_to_string(repository().join("manifests/network-policy.yaml")).unwrap();
    fs::write(&file, policy.replace("app: hello\n", "app: nobody\n")).unwrap();
    let file = file.display();
    let twice =
        netpol(&lab, &format!("why hello-client-allowed hello-server:8080 --cluster {file}"));
    assert_eq!(twice.status.code(), Some(2));
    assert!(twice.stderr.contains("first at the cluster"), "{}", twice.stderr);

    // Drift: none, until somebody changes the cluster.
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let app = fs::read_dir(repository().join("manifests/hello-app")).unwrap();
    for file in app.map(|entry| entry.unwrap().path()) {
        fs::copy(&file, manifests.join(file.file_name().unwrap())).unwrap();
    }
    fs::write(manifests.join("policy.yaml"), policy).unwrap();
    let drift = &format!("diff {} --cluster", manifests.display());
    let same = netpol(&lab, "diff manifests/hello-app --cluster");
    assert!(
        same.stdout.contains("- "),
        "the policy is not among these: {}{}",
        same.stdout,
        same.stderr
    );
    let none = netpol(&lab, drift);
    assert!(none.status.success() && none.stdout.is_empty(), "{}{}", none.stdout, none.stderr);
    let described = netpol(&lab, "describe hello-server-allow-from-hello-client --cluster").ok();
    assert!(
        described.contains("At the moment that is default/hello-server[Deployment]."),
        "{described}"
    );
    let _ = lab.kubectl("delete networkpolicy --all");
    let open = netpol(&lab, drift);
    assert_eq!(open.status.code(), Some(1), "{}", open.stderr);
    assert!(
        open.stdout.contains(
            "+ default/hello-client-blocked[Deployment] => default/hello-server[Deployment]"
        ),
        "{}",
        open.stdout
    );

    // As a plugin of kubectl, and in the namespace of its context.
    symlink(program("netpol"), folder.path().join("kubectl-netpol")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let plugin = |line: &str| {
        run(lab.command("kubectl").env("PATH", &path).args(["netpol"]).args(line.split(' ')), "")
    };
    let _ = plugin("why hello-client-blocked hello-server:8080 --expect allowed").ok();
    let _ = plugin("list manifests/hello-app").ok();
    let drift = plugin("diff manifests/hello-app");
    assert!(drift.status.success() && drift.stdout.is_empty(), "{}{}", drift.stdout, drift.stderr);
    let _ = lab.kubectl("create namespace shop");
    let _ = lab.kubectl("config set-context --current --namespace=shop");
    let missing = plugin("why hello-client-blocked hello-server:8080");
    assert_eq!(missing.status.code(), Some(2), "{}", missing.stderr);
    let _ =
        plugin("why default/hello-client-blocked default/hello-server:8080 --expect allowed").ok();
    let _ = plugin("why hello-client-blocked hello-server:8080 -n default --expect allowed").ok();
}

/// A kubectl that may not list networkpolicies in namespace b, nor anything of all namespaces.
const SHY: &str = r#"#!/bin/sh
case "$*" in
  *api-resources*) printf '%s\n' 'namespaces ns v1 false Namespace' 'pods po v1 true Pod' \
    'networkpolicies netpol networking.k8s.io/v1 true NetworkPolicy' ;;
  *config*) ;;
  "get namespaces --all"*) echo '{"kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}]}' ;;
  "get pods --all"*) echo '{"kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "a", "uid": "1"}, "newer": 1},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "y", "namespace": "a", "uid": "2"}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "z", "namespace": "b", "uid": "3"}}]}' ;;
  "get networkpolicies"*"--namespace=a"*) echo '{"kind": "List", "items": []}' ;;
  *) echo 'Error from server (Forbidden): it is forbidden' >&2; exit 1 ;;
esac
"#;

fn with_kubectl(script: &str, line: &str) -> Output {
    netpol_with_kubectl(script, &line.split(' ').collect::<Vec<_>>())
}

#[test]
fn where_policies_may_not_be_seen_the_answer_is_unknown_and_elsewhere_it_is_known() {
    let _ = with_kubectl(SHY, "why a/x a/y:80 --cluster --expect allowed").ok();
    let unknown = with_kubectl(SHY, "why a/x b/z:80 --cluster");
    assert_eq!(unknown.status.code(), Some(3), "{}{}", unknown.stdout, unknown.stderr);
    assert!(
        unknown.stdout.contains("every NetworkPolicy of namespace b: kubectl may not list them"),
        "{}",
        unknown.stdout
    );
    let list = with_kubectl(SHY, "list --cluster").ok();
    assert!(list.contains("a/x[Pod] => a/y[Pod] : All Connections"), "{list}");
    assert!(list.contains("a/x[Pod] =? b/z[Pod] : All Connections"), "{list}");
}

#[test]
fn a_cluster_that_cannot_be_asked_is_told_in_kubectls_words_and_nothing_is_answered() {
    let down = "#!/bin/sh\necho 'The connection to the server was refused' >&2; exit 1\n";
    for line in ["list --cluster", "why a b:80 --cluster", "check --cluster", "diff . --cluster"] {
        let output = with_kubectl(down, line);
        let is_other_fault = line.starts_with("diff");
        assert_eq!(output.status.code(), Some(if is_other_fault { 2 } else { 1 }), "{line}");
        assert!(output.stdout.is_empty(), "{line}: {}", output.stdout);
        assert!(
            is_other_fault || output.stderr.contains("was refused"),
            "{line}: {}",
            output.stderr
        );
    }
    let missing = run(
        Command::new(program("netpol"))
            .env("PATH", Path::new("/nowhere"))
            .args(["list", "--cluster"]),
        "",
    );
    assert!(missing.stderr.contains("is it installed?"), "{}", missing.stderr);
    let nothing = run(Command::new(program("netpol")).arg("list"), "");
    assert_eq!(nothing.status.code(), Some(2));
    assert!(nothing.stderr.contains("--cluster"), "{}", nothing.stderr);
}
