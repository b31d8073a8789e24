//! The forms of netpol's answers: who reaches whom as a matrix, the pods that rules name and nobody has, and
//! differences for pull requests, between folders and between revisions.

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::{Output, program, repository, run, skip};
use serde_json::{Value, json};

fn netpol(line: &str) -> Output {
    netpol_in(repository(), line)
}

fn netpol_in(folder: &Path, line: &str) -> Output {
    let mut netpol = Command::new("env");
    run(netpol.arg("-C").arg(folder).arg(program("netpol")).args(line.split(' ')), "")
}

const DEMO: &str = "manifests/hello-app manifests/network-policy.yaml";

#[test]
fn a_matrix_shows_who_reaches_whom_and_who_does_not() {
    let table = netpol(&format!("list -o table {DEMO}")).ok();
    assert_eq!(
        table,
        "                                            1    2    3    4\n\
         1 0.0.0.0-255.255.255.255[External]              all  all  -\n\
         2 default/hello-client-allowed[Deployment]  all       all  all\n\
         3 default/hello-client-blocked[Deployment]  all  all       -\n\
         4 default/hello-server[Deployment]          all  all  all\n"
    );
    let to = netpol(&format!("list --to hello-server -o table {DEMO}")).ok();
    assert!(to.contains("default/hello-client-blocked[Deployment]  -\n"), "{to}");
    assert!(to.contains("default/hello-client-allowed[Deployment]  all\n"), "{to}");
}

#[test]
fn a_list_can_be_of_one_end() {
    let to = netpol(&format!("list --to deploy/hello-server {DEMO}")).ok();
    assert_eq!(
        to,
        "default/hello-client-allowed[Deployment] => default/hello-server[Deployment] : All Connections\n"
    );
    let from = netpol(&format!("list --from 192.0.2.1 {DEMO}")).ok();
    assert_eq!(from.lines().count(), 2, "{from}");
    let nobody = netpol(&format!("list --to nobody {DEMO}"));
    assert_eq!(nobody.status.code(), Some(2));
    assert!(nobody.stderr.contains("no such workload"), "{}", nobody.stderr);
}

#[test]
fn of_two_workloads_of_one_name_the_one_that_is_named_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let workload = |kind: &str| {
        format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web}}\nspec: {{selector: {{}}, template: {{}}}}\n---\n"
        )
    };
    fs::write(folder.path().join("a.yaml"), workload("Deployment") + &workload("DaemonSet"))
        .unwrap();
    let list = netpol_in(folder.path(), "list --to deploy/web a.yaml").ok();
    assert!(list.contains("default/web[DaemonSet] => default/web[Deployment]"), "{list}");
    assert!(!list.contains("=> default/web[DaemonSet]"), "{list}");
}

#[test]
fn why_all_explains_every_pair_of_one_end() {
    let output = netpol(&format!("why all hello-server:8080 {DEMO}")).ok();
    for line in [
        "default/hello-client-allowed[Deployment] => default/hello-server[Deployment]:8080/TCP is allowed\n",
        "default/hello-client-blocked[Deployment] => default/hello-server[Deployment]:8080/TCP is denied\n",
    ] {
        assert!(output.contains(line), "{output}");
    }
    let expected = netpol(&format!("why all hello-server:8080 {DEMO} --expect allowed"));
    assert_eq!(expected.status.code(), Some(1), "not all of them are");
}

#[test]
fn an_image_needs_no_graphviz() {
    let image = netpol(&format!("list -o svg {DEMO}")).ok();
    assert!(image.starts_with("<?xml") && image.trim_end().ends_with("</svg>"), "{image}");
    assert!(image.contains("default/hello-server[Deployment]"), "{image}");
}

/// Two folders, in one of which the server's port is another and a policy opens more.
fn versions(folder: &Path) {
    for (version, port, extra) in [
        ("old", 7070, ""),
        ("new", 8000, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: new}\n"),
    ] {
        let to = folder.join(version);
        fs::create_dir_all(&to).unwrap();
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, labels: {{app: a}}}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: b, labels: {{app: b}}}}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\n\
             spec:\n  podSelector: {{matchLabels: {{app: b}}}}\n\
             \x20 ingress: [{{from: [{{podSelector: {{matchLabels: {{app: a}}}}}}], ports: [{{port: {port}}}]}}]\n{extra}"
        );
        fs::write(to.join("all.yaml"), text).unwrap();
    }
}

#[test]
fn ports_that_change_are_one_line_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    versions(folder.path());
    let diff = |form: &str| {
        let output = netpol_in(folder.path(), &format!("diff old new -o {form} --fail-on never"));
        assert!(output.status.success(), "{form}: {}", output.stderr);
        output.stdout
    };
    let text = diff("text");
    assert!(text.contains("~ default/a[Pod] => default/b[Pod] : TCP 7070 -> 8000\n"), "{text}");
    let object: Value = serde_json::from_str(&diff("json")).unwrap();
    let changed =
        object["changes"].as_array().unwrap().iter().find(|one| one["change"] == "changed");
    let changed = changed.unwrap();
    assert_eq!(
        changed["lost"]["ports"],
        json!([{"protocol": "TCP", "port": 7070, "endPort": 7070}])
    );
    assert_eq!(changed["gained"]["ports"][0]["port"], 8000);
    assert_eq!(object["workloadsAdded"], json!(["default/new[Pod]"]));
    let table = diff("md");
    assert!(
        table.contains("| changed | `default/a[Pod]` | `default/b[Pod]` | TCP 7070 -> 8000 |\n"),
        "{table}"
    );
    assert!(table.contains("Workloads added: `default/new[Pod]`"), "{table}");
    assert!(table.starts_with("**Network policies: "), "{table}");
    assert!(diff("dot").contains("color=orange"));
    assert!(diff("svg").contains("TCP 7070"));
    let same = netpol_in(folder.path(), "diff old old -o md").ok();
    assert_eq!(same, "**Network policies: no difference**\n");
}

fn git(folder: &Path, line: &str) {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).env("HOME", folder).args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.com",
    ]);
    let _ = run(git.args(line.split(' ')), "").ok();
}

#[test]
fn two_revisions_of_a_repository_are_compared() {
    if Command::new("git").arg("--version").output().is_err() {
        return skip("two_revisions_of_a_repository_are_compared", "git is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path();
    versions(repository);
    let deploy = repository.join("deploy");
    git(repository, "init --quiet --initial-branch=main");
    fs::rename(repository.join("old"), &deploy).unwrap();
    git(repository, "add deploy");
    git(repository, "commit --quiet -m old");
    git(repository, "checkout --quiet -b change");
    fs::copy(repository.join("new/all.yaml"), deploy.join("all.yaml")).unwrap();
    // Files as they are now, before and after the commit.
    let now = netpol_in(repository, "diff --git main deploy");
    assert!(now.stdout.contains("TCP 7070 -> 8000"), "{}{}", now.stdout, now.stderr);
    git(repository, "commit --quiet --all -m new");
    for (revisions, path) in
        [("main..change", "deploy"), ("main...HEAD", "deploy/"), ("main..", "./deploy/all.yaml")]
    {
        let output = netpol_in(repository, &format!("diff --git {revisions} {path}"));
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(output.stdout.contains("TCP 7070 -> 8000"), "{revisions}: {}", output.stdout);
    }
    let inside = netpol_in(&deploy, "diff --git main..change .");
    assert!(inside.stdout.contains("TCP 7070 -> 8000"), "{}{}", inside.stdout, inside.stderr);
    let _ = netpol_in(repository, "diff --git change..change deploy").ok();
    let whole = |path: &str| format!("diff --git main..change {}{path}", repository.display());
    let absolute = netpol_in(&deploy, &whole("/deploy"));
    assert!(absolute.stdout.contains("TCP 7070 -> 8000"), "{}{}", absolute.stdout, absolute.stderr);
    let beside = netpol_in(repository, &whole("deploy"));
    assert!(beside.stderr.contains("not in the repository"), "{}", beside.stderr);
    for (line, said) in [
        ("diff --git main..nope deploy", "no revision \"nope\""),
        ("diff --git main..change nowhere", "in neither"),
        ("diff --git=--output=x..main deploy", "no revision"),
        ("diff --git main..change ../deploy", "not in the repository"),
        ("diff --git main..change deploy deploy", "one path"),
    ] {
        let output = netpol_in(repository, line);
        assert_eq!(output.status.code(), Some(2), "{line}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{line}: {}", output.stderr);
    }
}

#[test]
fn whom_rules_name_and_no_manifest_has_is_listed_as_exposure() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n\
        apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelector: {}\n\
        \x20 ingress:\n  - from:\n    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}\n\
        \x20     podSelector: {matchLabels: {app: prometheus}}\n    ports: [{port: 9090}]\n";
    fs::write(folder.path().join("a.yaml"), text).unwrap();
    let line = "monitoring/[any pod with app=prometheus] => default/a[Pod] : TCP 9090\n";
    let exposed = netpol_in(folder.path(), "list --exposure a.yaml").ok();
    assert!(exposed.contains(line), "{exposed}");
    assert!(!netpol_in(folder.path(), "list a.yaml").ok().contains(line));
}

#[test]
fn list_says_where_a_block_holds_a_pods_address() {
    let text = |cidr: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nstatus: {{podIPs: [{{ip: 10.0.0.9}}]}}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\n\
             spec: {{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}\n"
        )
    };
    let list = |cidr: &str| run(Command::new(program("netpol")).args(["list", "-"]), &text(cidr));
    let held = list("10.0.0.0/24");
    assert!(
        held.stderr.contains(
            "10.0.0.0/24, an ipBlock of policy default/p, holds the address of pod default/a"
        ),
        "{}",
        held.stderr
    );
    assert_eq!(list("10.0.1.0/24").stderr, "");
}
