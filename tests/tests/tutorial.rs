//! The README's tutorial, as a user runs it.

use end_to_end::{As, Lab, program, repository, run, users};
use std::process::Command;

/// Runs what `make demo` runs, once built.
fn demo(user: As) -> String {
    let (mut demo, _home) = end_to_end::command_as(user, program("hello-lab"));
    run(demo.args(["run", "--", "scripts/validate.sh"]), "").ok()
}

#[test]
fn the_whole_tutorial_holds_for_every_user_that_can_run_it() {
    let runs: Vec<_> = users()
        .into_iter()
        // Side by side: two labs do not disturb each other.
        .map(|user| std::thread::spawn(move || demo(user)))
        .collect();
    for run in runs {
        let text = run.join().expect("the demo succeeds");
        for line in [
            "$ kubectl apply -f ./manifests/hello-app/\ndeployment.apps/hello-client-allowed created\n\
             deployment.apps/hello-client-blocked created\nservice/hello-server created\n\
             deployment.apps/hello-server created\n",
            "$ kubectl apply -f ./manifests/network-policy.yaml\n\
             networkpolicy.networking.k8s.io/hello-server-allow-from-hello-client created\n",
            "$ kubectl delete -f ./manifests/network-policy.yaml\n\
             networkpolicy.networking.k8s.io \"hello-server-allow-from-hello-client\" deleted",
            "$ kubectl create -f ./manifests/network-policy-namespaced.yaml\n\
             networkpolicy.networking.k8s.io/hello-server-allow-from-hello-client created\n",
            "$ kubectl create ns hello-apps\nnamespace/hello-apps created\n",
            "$ kubectl label ns hello-apps team=hello\nnamespace/hello-apps labeled\n",
            "wget: download timed out\nwget: download timed out\n",
            "Hello, world!\nVersion: 1.0.0\nHostname: hello-server-",
            "validate: OK:",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }
}

#[test]
fn validate_fails_where_no_policy_bites_and_cleans_up_all_the_same() {
    let lab = Lab::start(As::Myself);
    // A stand-in for kubectl that loses every policy stands for a cluster without an engine.
    let folder = tempfile::tempdir().unwrap();
    let real = String::from_utf8(
        Command::new("bash").args(["-c", "command -v kubectl"]).output().unwrap().stdout,
    )
    .unwrap();
    let script = format!(
        "#!/bin/bash\ncase \"$*\" in *'apply -f ./manifests/network-policy'*) exit 0 ;; esac\nexec {} \"$@\"\n",
        real.trim()
    );
    let stand_in = folder.path().join("kubectl");
    std::fs::write(&stand_in, script).unwrap();
    std::fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let said =
        run(lab.command("scripts/validate.sh").env("PATH", path).env("WAIT", "6"), "").failed();
    assert!(
        said.contains("still connects after 6s, although a NetworkPolicy forbids it"),
        "{said}"
    );
    assert_eq!(
        lab.kubectl("get deploy -A -oname").trim(),
        "deployment.apps/coredns",
        "the lab's own"
    );
}

#[test]
fn validate_does_not_touch_what_was_there_before() {
    let lab = Lab::start(As::Myself);
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    let said = run(&mut lab.command("scripts/validate.sh"), "").failed();
    assert!(said.contains("networkpolicy.networking.k8s.io/hello-server-allow"), "{said}");
    assert!(lab.kubectl("get netpol -oname").contains("hello-server-allow"));
}

#[test]
fn a_missing_tool_is_one_line_that_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    for tool in ["bash", "sed", "dirname", "make", "env", "cc"] {
        let found =
            Command::new("bash").args(["-c", &format!("command -v {tool}")]).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        std::os::unix::fs::symlink(found.trim(), folder.path().join(tool)).unwrap();
    }
    let mut make = Command::new("make");
    make.arg("demo").env("PATH", folder.path()).current_dir(repository());
    let said = run(&mut make, "").failed();
    assert!(said.contains("cargo is missing; get Rust "), "{said}");
    assert!(said.contains("kubectl is missing; get kubectl 1.29 or newer: https://"), "{said}");
    assert!(!said.contains("cc is missing"), "{said}");
}
