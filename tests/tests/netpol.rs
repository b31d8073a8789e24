//! The program netpol on files, as a platform engineer runs it in CI.

use end_to_end::{program, run};
use std::process::Command;

/// `netpol check` of these, with what else it is told.
fn check(arguments: &[&str], input: &str) -> end_to_end::Output {
    run(Command::new(program("netpol")).arg("check").args(arguments), input)
}

const EVERYTHING: [&str; 4] = [
    "manifests",
    "hello-apps=manifests/hello-app/hello-client.yaml",
    "compose/namespaces.yaml",
    "--fail-on=warning",
];

#[test]
fn the_demos_manifests_have_no_findings() {
    assert_eq!(
        check(&EVERYTHING, "").ok(),
        "no findings in 3 policies, 5 pods and workloads\n"
    );
}

/// Valid, and not what is meant: the label is misspelt.
const HARDLY_MEANT: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelector:\n    matchLabels: {app: helo}\n  ingress:\n    - {}\n";

#[test]
fn warnings_have_their_place_and_fail_only_who_asks_for_it() {
    let arguments = ["manifests/hello-app", "-"];
    let warned = check(&arguments, HARDLY_MEANT);
    assert_eq!(
        warned.stderr,
        "-:5: warning: spec.podSelector: selects no pod: none in namespace default has app=helo\n"
    );
    assert!(warned.ok().starts_with("1 warning in 1 policy, 3 pods and workloads\n"));
    let failed = check(&[&arguments[..], &["--fail-on", "warning"]].concat(), HARDLY_MEANT);
    assert_eq!(failed.status.code(), Some(1));
    let elsewhere = check(&[&arguments[..], &["--namespace", "other"]].concat(), HARDLY_MEANT);
    assert!(elsewhere.stderr.contains("none in namespace other has"), "{}", elsewhere.stderr);
}

#[test]
fn findings_can_be_json_or_sarif() {
    let misspelt = HARDLY_MEANT.replace("podSelector", "podSelecter");
    for (text, severity, code) in [(HARDLY_MEANT, "warning", 0), (&misspelt, "error", 2)] {
        let arguments = |format: &'static str| ["manifests/hello-app", "-", "--format", format];
        let output = check(&arguments("json"), text);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(output.stderr, "");
        let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(json[0]["severity"], severity);
        assert_eq!((json[0]["file"].as_str(), json[0]["line"].as_u64()), (Some("-"), Some(5)));
        let sarif: serde_json::Value =
            serde_json::from_str(&check(&arguments("sarif"), text).stdout).unwrap();
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(sarif["version"], "2.1.0");
        assert_eq!(result["level"], severity);
        assert_eq!(result["message"]["text"], json[0]["message"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["region"]["startLine"], 5);
    }
}

#[test]
fn a_folder_with_one_bad_document_is_an_error_or_a_warning_and_never_silence() {
    let list = |arguments: &[&str]| {
        let mut netpol = Command::new(program("netpol"));
        run(netpol.args(["list", "manifests/hello-app", "-"]).args(arguments), "kind: [\n")
    };
    let stopped = list(&[]);
    assert_eq!((stopped.status.code(), stopped.stdout.as_str()), (Some(2), ""));
    let gone_on = list(&["--keep-going"]);
    assert!(gone_on.stderr.starts_with("warning: -:"), "{}", gone_on.stderr);
    assert!(gone_on.ok().contains("default/hello-server[Deployment]"));
}

#[test]
fn policies_of_other_kinds_are_told_to_be_left_out() {
    let cilium = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\n";
    let mut netpol = Command::new(program("netpol"));
    let output = run(netpol.args(["list", "manifests/hello-app", "-"]), cilium);
    assert_eq!(
        output.stderr,
        "warning: 1 CiliumNetworkPolicy not looked at: the answer is as if there were none\n"
    );
}

#[test]
fn shells_take_the_completions() {
    let script = run(Command::new(program("netpol")).args(["completions", "bash"]), "").ok();
    assert!(script.contains("--keep-going") && script.contains("complete -F _netpol"));
    let _ = run(Command::new("bash").args(["-n"]), &script).ok();
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
