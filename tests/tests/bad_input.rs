//! Bad input: one clear message, and nothing half-applied.

use end_to_end::{As, Lab, program, run, wait_for};
use std::process::Command;

#[test]
fn a_field_with_a_typo_is_refused_in_the_api_servers_words_and_nothing_is_stored() {
    let lab = Lab::start(As::Myself);
    let policy = std::fs::read_to_string("../manifests/network-policy.yaml").unwrap();
    let typo = policy.replacen("podSelector", "podSelecter", 1);
    let said = lab.refused("apply -f -", &typo);
    assert_eq!(
        said,
        "Error from server (BadRequest): error when creating \"STDIN\": NetworkPolicy in version \
         \"v1\" cannot be handled as a NetworkPolicy: strict decoding error: unknown field \
         \"spec.podSelecter\"\n"
    );
    assert_eq!(lab.kubectl("get netpol"), "");

    // The same in a change: what was there stays.
    let _ = lab.kubectl_with("apply -f -", &policy);
    let before = lab.json("netpol hello-server-allow-from-hello-client");
    let said = lab.refused("apply -f -", &typo);
    assert!(
        said.contains("unknown field \"spec.podSelecter\"") && said.lines().count() <= 2,
        "{said}"
    );
    assert_eq!(lab.json("netpol hello-server-allow-from-hello-client"), before);

    // Without validation it is dropped, as an API server drops it, and kubectl says so.
    let warned = lab.try_kubectl("apply --validate=warn --dry-run=server -f -", &typo).stderr;
    assert!(warned.contains("unknown field \"spec.podSelecter\""), "{warned}");
}

#[test]
fn an_invalid_policy_names_the_field_and_the_rule() {
    let lab = Lab::start(As::Myself);
    let policy = |spec: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
        )
    };
    for (spec, words) in [
        (
            "{ingress: [{from: [{}]}]}",
            "The NetworkPolicy \"p\" is invalid: spec.ingress[0].from[0]: Required value: must specify a peer",
        ),
        (
            "{ingress: [{ports: [{port: \"80\"}]}]}",
            "spec.ingress[0].ports[0].port: Invalid value: \"80\": must contain at least one letter",
        ),
        ("{policyTypes: [ingress]}", "spec.policyTypes[0]: Unsupported value: \"ingress\""),
    ] {
        let said = lab.refused("apply -f -", &policy(spec));
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(lab.kubectl("get netpol"), "");
}

#[test]
fn a_wrong_kind_and_broken_yaml_are_refused() {
    let lab = Lab::start(As::Myself);
    let kind = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolice\nmetadata: {name: p}\n";
    let said = lab.refused("apply -f -", kind);
    assert!(said.contains("no matches for kind \"NetworkPolice\""), "{said}");
    let said = lab.refused("apply -f -", "a: [");
    assert!(said.contains("error parsing STDIN"), "{said}");
    let said = lab.refused(
        "apply -f -",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: many}\n",
    );
    assert!(said.contains("spec.replicas"), "{said}");
    let said = lab.refused("-n nowhere apply -f manifests/network-policy.yaml", "");
    assert!(said.contains("namespaces \"nowhere\" not found"), "{said}");
    assert_eq!(lab.kubectl("get netpol -A"), "");
    assert_eq!(lab.kubectl("get deploy"), "");
}

#[test]
fn an_unknown_image_keeps_the_pod_waiting_and_an_event_names_the_known_ones() {
    let lab = Lab::start(As::Myself);
    let manifest = std::fs::read_to_string("../manifests/hello-app/hello-server.yaml").unwrap();
    let _ = lab.kubectl_with(
        "apply -f -",
        &manifest.replace("image: hello-server:1.0.0", "image: redis:7"),
    );
    wait_for("the reason", || lab.kubectl("get pods").contains("ImagePullBackOff").then_some(()));
    assert_eq!(lab.kubectl("get pods -o jsonpath={.items[0].status.phase}"), "Pending");
    let events = lab.kubectl("get events");
    assert!(
        events.contains("no image \"redis:7\". Start it with --image redis:7=PATH")
            && events.contains("it knows hello-client:1.0.0, hello-server:1.0.0"),
        "{events}"
    );
    let said = lab.refused("logs deploy/hello-server", "");
    assert!(said.contains("is waiting to start: ImagePullBackOff"), "{said}");
}

#[test]
fn a_port_in_use_and_a_name_in_use_are_one_clear_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let home = tempfile::tempdir().unwrap();
    let mut up = Command::new(program("hello-lab"));
    up.args(["up", "--port", &port]).env("XDG_RUNTIME_DIR", home.path());
    let said = run(&mut up, "").failed();
    assert!(said.contains(&format!("port {port} on 127.0.0.1 is in use")), "{said}");
    let mut up = Command::new(program("hello-lab"));
    up.args(["up", "--detach", "--port", &port]).env("XDG_RUNTIME_DIR", home.path());
    let said = run(&mut up, "").failed();
    assert!(said.contains(&format!("port {port} on 127.0.0.1 is in use")), "{said}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is left");

    let lab = Lab::start(As::Myself);
    let said = run(lab.command(program("hello-lab")).arg("up"), "").failed();
    assert!(said.contains("a lab named \"default\" runs already"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_lab_can_be_seen_and_ended_from_elsewhere_and_run_passes_exit_codes_on() {
    let lab = Lab::start(As::Myself);
    let status = run(lab.command(program("hello-lab")).arg("status"), "").ok();
    assert!(status.contains("default: runs"), "{status}");
    let down = run(lab.command(program("hello-lab")).arg("down"), "").ok();
    assert_eq!(down, "the lab \"default\" is gone\n");
    let status = run(lab.command(program("hello-lab")).arg("status"), "").failed();
    assert!(status.contains("no lab runs"), "{status}");

    let detached =
        run(lab.command(program("hello-lab")).args(["up", "--detach", "--name", "x"]), "").ok();
    assert!(detached.contains("`hello-lab down --name x` ends it."), "{detached}");
    let _ = run(lab.command(program("hello-lab")).args(["down", "--name", "x"]), "").ok();

    let code = |command: &[&str]| {
        let mut lab_run = lab.command(program("hello-lab"));
        run(lab_run.args(["run", "--"]).args(command), "").status.code()
    };
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    let mut named = lab.command(program("hello-lab"));
    let said = run(named.args(["run", "--name", "mine", "--", "sh", "-c", "echo $KUBECONFIG"]), "");
    assert!(said.ok().contains("/mine/kubeconfig"), "the lab has the name that was asked for");
    assert_eq!(code(&["no-such-program"]), Some(127));
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(137));
}

#[test]
fn a_shell_is_in_the_lab_that_runs_or_in_one_that_ends_with_it() {
    const TYPED: &str = "kubectl get namespaces -o name\nhello-lab status\nexit 5\n";
    let lab = Lab::start(As::Myself);
    let shell = || {
        let mut shell = lab.command(program("hello-lab"));
        shell.arg("shell").env("SHELL", "/bin/sh");
        run(&mut shell, TYPED)
    };
    let said = shell();
    assert_eq!(said.status.code(), Some(5), "{said:?}");
    assert!(said.stdout.contains("namespace/default") && said.stdout.contains("default: runs"));
    assert!(said.stderr.contains("which stays when this shell ends"), "{said:?}");
    let status = run(lab.command(program("hello-lab")).arg("status"), "").ok();
    assert!(status.contains("default: runs"), "{status}");
    let _ = run(lab.command(program("hello-lab")).arg("down"), "").ok();
    let said = shell();
    assert_eq!(said.status.code(), Some(5), "{said:?}");
    assert!(said.stderr.contains("a lab that ends with this shell"), "{said:?}");
    let status = run(lab.command(program("hello-lab")).arg("status"), "").failed();
    assert!(status.contains("no lab runs"), "{status}");
}
