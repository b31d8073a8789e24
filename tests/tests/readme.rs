//! The README's tutorial as it is written: each of its commands, in its order, on a lab, with the
//! output that it shows.

use end_to_end::{As, Lab, Step, readme_steps, repository, run};

#[test]
fn every_command_of_the_tutorial_does_what_the_readme_shows() {
    let steps = readme_steps("## Tutorial");
    assert!(steps.len() >= 14, "the tutorial was found");
    let lab = Lab::start(As::Myself);
    for Step { command, output } in steps {
        // A log that is followed has no end of its own; a few seconds of it will do.
        let follows = command.contains("logs") && command.contains(" -f ");
        let line = if follows { format!("timeout 5 {command}") } else { command.clone() };
        let done = run(lab.command("bash").args(["-c", &line]), "");
        if follows {
            assert_eq!(done.status.code(), Some(124), "{command}: {}", done.stderr);
            assert!(!done.stdout.is_empty(), "{command} shows nothing");
        } else {
            assert!(done.status.success(), "{command}: {}{}", done.stdout, done.stderr);
        }
        for expected in output {
            assert!(
                done.stdout.contains(&expected),
                "{command} said {} not {expected}",
                done.stdout
            );
        }
        if command == "kubectl apply -f ./manifests/hello-app/" {
            // The reader looks at the pods until they run.
            let _ = lab.kubectl("wait --for=condition=Available deployment --all --timeout=30s");
        }
        if command.contains("-n hello-apps apply") {
            let _ = lab.kubectl(
                "-n hello-apps wait --for=condition=Available deployment --all --timeout=30s",
            );
        }
    }
    assert_eq!(lab.kubectl("get netpol -A -oname"), "");
    assert_eq!(
        lab.kubectl("get deploy -A -oname").trim(),
        "deployment.apps/coredns",
        "the lab's own"
    );
}

#[test]
fn every_make_target_that_the_readme_names_is_there_and_listed_by_help() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let help = run(std::process::Command::new("make").arg("help"), "").ok();
    let targets: Vec<_> = help.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let mut named = 0;
    for line in readme.lines() {
        let indented = line.strip_prefix("    make ").into_iter();
        let quoted = line.split("`make ").skip(1).filter_map(|rest| rest.split('`').next());
        for command in indented.chain(quoted) {
            for target in command.split('#').next().unwrap_or_default().split_whitespace() {
                assert!(targets.contains(&target), "make {target}: {line}");
                named += 1;
            }
        }
    }
    assert!(named >= 12, "{named}");
}

#[test]
fn netpol_answers_what_the_readme_shows() {
    let steps = readme_steps("## Who may reach whom, and which rule decided");
    assert!(steps.len() >= 4, "the commands were found");
    // Where a cluster is asked, it is one with the demo and its policy.
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    for Step { command, output } in steps {
        let said = run(lab.command("bash").args(["-c", &command]), "").ok();
        let mut lines = said.lines();
        for expected in output {
            assert!(lines.any(|line| line == expected), "{command} said {said} not {expected}");
        }
    }
}
