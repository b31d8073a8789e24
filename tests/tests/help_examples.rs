//! The examples in netpol's help, each run as it is written, with the answer that a cluster gives.

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::{As, Lab, examples, program, repository, run, skip, wait_for};

/// What is lost where the policy is there and was not before.
const LOST: &str = "default/hello-client-blocked[Deployment] => default/hello-server[Deployment] : All Connections";

/// Each example, with a line of what it prints. (Those of the commands that speak to an enforcer are in
/// enforce.rs.)
const ANSWERS: [(&str, &str, &str); 9] = [
    (
        "list",
        "netpol list manifests/hello-app manifests/network-policy.yaml",
        "default/hello-client-allowed[Deployment] => default/hello-server[Deployment] : All Connections",
    ),
    (
        "list",
        "netpol list --to hello-server -o table manifests/hello-app manifests/network-policy.yaml",
        "2 default/hello-client-blocked[Deployment]  -",
    ),
    (
        "why",
        "netpol why hello-client-blocked hello-server:8080 manifests/hello-app manifests/network-policy.yaml",
        "default/hello-client-blocked[Deployment] => default/hello-server[Deployment]:8080/TCP is denied",
    ),
    (
        "describe",
        "netpol describe manifests/hello-app manifests/network-policy.yaml",
        "    At the moment that is default/hello-server[Deployment].",
    ),
    ("diff", "netpol diff old/ new/", LOST),
    ("diff", "netpol diff manifests/hello-app --cluster", LOST),
    (
        "diff",
        "netpol diff --git origin/main...HEAD -o md manifests/hello-app",
        "| lost | `default/hello-client-blocked[Deployment]` | `default/hello-server[Deployment]` | All Connections |",
    ),
    (
        "check",
        "netpol check manifests/hello-app manifests/network-policy.yaml",
        "no findings in 1 policy, 3 pods and workloads",
    ),
    (
        "completions",
        "netpol completions bash > ~/.local/share/bash-completion/completions/netpol",
        "",
    ),
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A repository in which the policy was added to the demo since origin/main.
fn two_revisions(folder: &Path) {
    let git = |line: &str| {
        let mut git = Command::new("git");
        git.arg("-C").arg(folder).env("HOME", folder);
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]);
        let _ = run(git.args(line.split(' ')), "").ok();
    };
    let app = folder.join("manifests/hello-app");
    copy(&repository().join("manifests/hello-app"), &app);
    git("init --quiet");
    git("add .");
    git("commit --quiet -m before");
    git("update-ref refs/remotes/origin/main HEAD");
    fs::copy(repository().join("manifests/network-policy.yaml"), app.join("policy.yaml")).unwrap();
    git("add .");
    git("commit --quiet -m after");
}

#[test]
fn every_example_of_the_help_gives_the_answer_that_a_cluster_gives() {
    if Command::new("git").arg("--version").output().is_err() {
        return skip(
            "every_example_of_the_help_gives_the_answer_that_a_cluster_gives",
            "git is not installed",
        );
    }
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    let (place, revisions) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (place, app) = (place.path(), repository().join("manifests/hello-app"));
    let policy = repository().join("manifests/network-policy.yaml");
    for folder in ["manifests/hello-app", "old", "new"] {
        copy(&app, &place.join(folder));
    }
    for file in ["manifests/network-policy.yaml", "new/policy.yaml"] {
        fs::copy(&policy, place.join(file)).unwrap();
    }
    fs::create_dir_all(place.join(".local/share/bash-completion/completions")).unwrap();
    two_revisions(revisions.path());
    let programs = program("netpol");
    let path =
        format!("{}:{}", programs.parent().unwrap().display(), std::env::var("PATH").unwrap());
    for (command, all) in
        ["list", "why", "describe", "diff", "check", "completions"].map(|it| (it, examples(it)))
    {
        let known = ANSWERS.iter().filter(|(of, _, _)| *of == command);
        assert_eq!(known.map(|(_, example, _)| *example).collect::<Vec<_>>(), all, "{command}");
    }
    for (_, example, expected) in ANSWERS {
        let folder = if example.contains("--git") { revisions.path() } else { place };
        let mut bash = lab.command("bash");
        let line = format!("cd {} && {example}", folder.display());
        bash.args(["-c", &line]).env("PATH", &path).env("HOME", place);
        let said = run(&mut bash, "").ok();
        let is_there = |line: &str| line == expected || line.strip_prefix("- ") == Some(expected);
        assert!(expected.is_empty() || said.lines().any(is_there), "{example}: {said}");
    }
    assert!(
        fs::read_to_string(place.join(".local/share/bash-completion/completions/netpol"))
            .unwrap()
            .contains("complete -F")
    );
    // So it is in the cluster.
    for (client, words) in [("blocked", "wget: download timed out"), ("allowed", "Hello, world!")] {
        let log = || lab.kubectl(&format!("logs --tail 3 deploy/hello-client-{client}"));
        wait_for("what the client says", || log().contains(words).then_some(()));
    }
    lab.end();
}
