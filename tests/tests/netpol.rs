//! The program netpol on files, as a platform engineer runs it in CI.

use end_to_end::{program, run};
use std::process::Command;

#[test]
fn the_demos_manifests_have_no_findings() {
    let output = run(Command::new(program("netpol")).args(["check", "manifests/"]), "").ok();
    assert_eq!(
        output,
        "no findings in 3 policies, 3 pods and workloads\nnot looked at: 1 Service\n"
    );
}

#[test]
fn findings_are_one_line_each_with_their_place_and_exit_code_2() {
    let manifest = "kind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelecter: {}\n  policyTypes: [Ingres]\n";
    let output = run(Command::new(program("netpol")).args(["check", "-"]), manifest);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        output.stderr,
        "-:4: spec.podSelecter: unknown field, did you mean \"podSelector\"?\n"
    );
    assert_eq!(output.stdout, "");
}

#[test]
fn the_list_of_the_demo_shows_what_its_policy_changes() {
    let list = |policy: &str| {
        let mut netpol = Command::new(program("netpol"));
        netpol.args(["list", "manifests/hello-app"]).arg(format!("manifests/{policy}"));
        netpol
            .arg("hello-apps=manifests/hello-app/hello-client.yaml")
            .arg("compose/namespaces.yaml");
        let text = run(&mut netpol, "").ok();
        let to_server = |line: &&str| line.contains("=> default/hello-server[Deployment] : ");
        let sources = text.lines().filter(to_server).map(|line| {
            line.split_once(" => ").map(|(source, _)| source.to_owned()).expect("a pair")
        });
        sources.collect::<Vec<_>>()
    };
    let client =
        |namespace: &str, which: &str| format!("{namespace}/hello-client-{which}[Deployment]");
    assert_eq!(list("network-policy.yaml"), [client("default", "allowed")]);
    assert_eq!(
        list("network-policy-namespaced.yaml"),
        [client("hello-apps", "allowed"), client("hello-apps", "blocked")]
    );
    assert_eq!(list("network-policy-combined.yaml"), [client("hello-apps", "allowed")]);
}
