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
    let manifest = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelecter: {}\n  policyTypes: [Ingres]\n";
    let output = run(Command::new(program("netpol")).args(["check", "-"]), manifest);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        output.stderr,
        "-:5: spec.podSelecter: unknown field, did you mean \"podSelector\"?\n"
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

#[test]
fn a_list_can_be_json_csv_dot_or_mermaid() {
    let list = |format: &str| {
        let mut netpol = Command::new(program("netpol"));
        let paths = ["manifests/hello-app", "manifests/network-policy.yaml"];
        run(netpol.args(["list", "-o", format]).args(paths), "").ok()
    };
    let (client, server) =
        ("default/hello-client-allowed[Deployment]", "default/hello-server[Deployment]");
    let pairs = list("text").lines().count();
    let json: serde_json::Value = serde_json::from_str(&list("json")).unwrap();
    let is_pair = |pair: &&serde_json::Value| {
        pair["source"] == client && pair["destination"] == server && pair["all"] == true
    };
    assert_eq!(json.as_array().unwrap().len(), pairs);
    assert_eq!(json.as_array().unwrap().iter().filter(is_pair).count(), 1);
    let csv = list("csv");
    assert_eq!(csv.lines().count(), pairs + 1);
    assert!(csv.contains(&format!("{client},{server},\"All Connections\"\n")), "{csv}");
    let dot = list("dot");
    assert!(
        dot.contains(&format!("\"{client}\" -> \"{server}\" [label=\"All Connections\"]")),
        "{dot}"
    );
    let mermaid = list("mermaid");
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert_eq!(mermaid.matches("-->").count(), pairs);
}

#[test]
fn diff_shows_what_is_gained_and_lost_and_fails_for_what_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, policy: &str| {
        let to = folder.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for file in ["hello-app/hello-client.yaml", "hello-app/hello-server.yaml", policy] {
            let from = end_to_end::repository().join("manifests").join(file);
            let name = from.file_name().unwrap().to_owned();
            std::fs::copy(from, to.join(name)).unwrap();
        }
        to
    };
    let open = copy("open", "hello-app/hello-client.yaml");
    let closed = copy("closed", "network-policy.yaml");
    let diff = |old: &std::path::Path, new: &std::path::Path, fail_on: &str| {
        let mut netpol = Command::new(program("netpol"));
        run(netpol.arg("diff").arg(old).arg(new).args(["--fail-on", fail_on]), "")
    };
    let closing = diff(&open, &closed, "gained").ok();
    assert_eq!(
        closing,
        "- 0.0.0.0-255.255.255.255[External] => default/hello-server[Deployment] : All Connections\n\
         - default/hello-client-blocked[Deployment] => default/hello-server[Deployment] : All Connections\n"
    );
    let opening = diff(&closed, &open, "gained");
    assert_eq!(opening.status.code(), Some(1));
    assert_eq!(opening.stdout, closing.replace("- ", "+ "));
    assert!(opening.stderr.contains("2 gained, 0 lost"), "{}", opening.stderr);
    for (fail_on, code) in [("lost", 1), ("any", 1), ("never", 0)] {
        assert_eq!(diff(&open, &closed, fail_on).status.code(), Some(code), "{fail_on}");
    }
    assert_eq!(diff(&closed, &closed, "any").ok(), "");
}
