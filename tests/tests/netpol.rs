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

#[test]
fn why_exits_with_what_was_expected_and_names_what_it_cannot_find() {
    let why = |args: &[&str]| {
        let mut netpol = Command::new(program("netpol"));
        netpol.arg("why").args(args).args(["manifests/hello-app", "manifests/network-policy.yaml"]);
        run(&mut netpol, "")
    };
    let blocked = ["default/hello-client-blocked[Deployment]", "hello-server:http/tcp"];
    assert!(why(&blocked).ok().contains("=> default/hello-server[Deployment]:8080/TCP is denied"));
    for (expect, code) in [("denied", 0), ("allowed", 1)] {
        let expectation = [&blocked[..], &["--expect", expect]].concat();
        assert_eq!(why(&expectation).status.code(), Some(code), "{expect}");
    }
    for (source, destination, said) in [
        ("nobody", "hello-server:80", "there are: default/hello-client-allowed[Deployment]"),
        ("hello-server", "hello-server", "expected DST:PORT"),
        ("hello-server", "hello-server:0", "ports are 1 to 65535"),
        ("hello-server", "hello-server:80/icmp", "a protocol is TCP, UDP or SCTP"),
        ("hello-client-blocked", "hello-server:metrics", "it names: http"),
        ("hello-server", "10.0.0.1:http", "an address has no named ports"),
    ] {
        let refused = why(&[source, destination]);
        assert_eq!(refused.status.code(), Some(2), "{source} {destination}");
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}
