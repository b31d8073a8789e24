//! What a lab says of itself when it is asked to.

use end_to_end::{As, command_as, program, run};

#[test]
fn a_log_at_debug_tells_the_story_of_a_policy_from_kubectl_to_the_kernel() {
    let script = "kubectl apply -f manifests/hello-app/ &&
        kubectl wait --for=condition=Available deployment --all --timeout=30s &&
        kubectl apply -f manifests/network-policy.yaml &&
        timeout 30 kubectl logs -f deploy/hello-client-blocked | grep -m 1 'timed out'";
    let (mut lab, _home) = command_as(As::Myself, program("hello-lab"));
    lab.env("RUST_LOG", "hello_lab=debug,netpol=debug").args(["run", "--", "bash", "-c", script]);
    let said = run(&mut lab, "");
    assert!(said.status.success(), "{}", said.stderr);
    let name = "hello-server-allow-from-hello-client";
    // The kernel may have it before kubectl has its answer.
    let answered = ["request{method=POST", "/networkpolicies\"}: answered status=201"];
    let is_told = |line: &str| answered.iter().all(|word| line.contains(word));
    assert!(said.stderr.lines().any(is_told), "{answered:?} is not told: {}", said.stderr);
    let story = [
        vec!["loop{name=policy-enforcer}: object changed", name, "change=Added", "version="],
        vec![
            "write{table=\"filter\" pod=default/hello-server-",
            name,
            "written",
            "generation=",
            "rules=",
        ],
    ];
    let mut lines = said.stderr.lines();
    for words in story {
        let told = lines.find(|line| words.iter().all(|word| line.contains(word)));
        assert!(told.is_some(), "{words:?} is not told: {}", said.stderr);
    }
    // Of others there are only warnings.
    for library in ["hickory", "hyper", "rustls", "nlink", "TRACE"] {
        assert!(!said.stderr.contains(library), "{library}: {}", said.stderr);
    }
}
