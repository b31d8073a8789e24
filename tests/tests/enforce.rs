//! `netpol enforce` and the commands that speak to it, in a network namespace of the test's own.
//! (What the policies do to connections is Compose's tests to show.)

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use end_to_end::{Output, examples, program, repository, run, skip, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// A folder for an enforcer's socket and state, and what may run it.
struct Place {
    folder: tempfile::TempDir,
    unshare: Vec<&'static str>,
}

impl Place {
    /// `None`, with the reason said, where no network namespace can be made.
    fn get(test: &str) -> Option<Self> {
        let unshare = if geteuid().is_root() {
            vec!["unshare", "--net"]
        } else {
            vec!["unshare", "--user", "--map-root-user", "--net"]
        };
        let tried = Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
        if !tried.is_ok_and(|output| output.status.success()) {
            skip(test, "`unshare --net` makes no network namespace here");
            return None;
        }
        Some(Self { folder: tempfile::tempdir().unwrap(), unshare })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("netpol.sock")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("policies.json")
    }

    fn enforce(&self, pod: &str) -> Command {
        let mut command = Command::new(self.unshare[0]);
        command.args(&self.unshare[1..]).arg(program("netpol")).args(["enforce", pod]);
        command.args(["--workloads", "manifests/hello-app", "--state"]).arg(self.state());
        command.env("NETPOL_SOCKET", self.socket()).current_dir(repository());
        command
    }

    /// Starts an enforcer, and waits until it can be asked.
    fn start(&self) -> Enforcer {
        let child = self.enforce("hello-server").stdout(Stdio::null()).spawn().unwrap();
        let enforcer = Enforcer(child);
        wait_for("the enforcer", || self.netpol(&["get"], "").status.success().then_some(()));
        enforcer
    }

    fn netpol(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(program("netpol"));
        run(command.args(args).env("NETPOL_SOCKET", self.socket()), input)
    }

    fn ok(&self, args: &[&str]) -> String {
        self.netpol(args, "").ok()
    }
}

struct Enforcer(Child);

impl Enforcer {
    fn end(mut self) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Enforcer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

const POLICY: &str = "manifests/network-policy.yaml";
const NAME: &str = "networkpolicy.networking.k8s.io/hello-server-allow-from-hello-client";

#[test]
fn the_examples_of_the_help_do_what_they_say() {
    let Some(place) = Place::get("the_examples_of_the_help_do_what_they_say") else { return };
    let started = examples("enforce");
    let arguments: Vec<_> =
        place.enforce("hello-server").get_args().map(ToOwned::to_owned).collect();
    for word in started[0].split(' ') {
        assert!(
            arguments.iter().any(|own| Path::new(own).ends_with(word)),
            "{word}: {arguments:?}"
        );
    }
    let enforcer = place.start();
    for (command, said) in
        [("apply", "created\n"), ("get", "kind: NetworkPolicy\n"), ("delete", "deleted\n")]
    {
        for example in examples(command) {
            let mut words = example.split(' ');
            assert_eq!(words.next(), Some("netpol"));
            let done = place.ok(&words.collect::<Vec<_>>());
            assert!(done.contains(said), "{example}: {done}");
        }
    }
    enforcer.end();
}

#[test]
fn policies_are_created_configured_shown_and_deleted_in_kubectls_words() {
    let Some(place) =
        Place::get("policies_are_created_configured_shown_and_deleted_in_kubectls_words")
    else {
        return;
    };
    let enforcer = place.start();
    let none = place.netpol(&["get"], "");
    assert_eq!(
        (none.stderr.as_str(), none.stdout.as_str()),
        ("No resources found in default namespace.\n", "")
    );
    assert_eq!(place.ok(&["apply", "-f", POLICY]), format!("{NAME} created\n"));
    assert_eq!(place.ok(&["apply", "-f", POLICY]), format!("{NAME} unchanged\n"));
    let other = "manifests/network-policy-combined.yaml";
    assert_eq!(place.ok(&["apply", "-f", other]), format!("{NAME} configured\n"));
    let table = place.ok(&["get"]);
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "POD-SELECTOR", "AGE"]);
    assert_eq!(lines[1][..2], ["hello-server-allow-from-hello-client", "app=hello-server"]);
    assert_eq!(place.ok(&["get", "-o", "name"]), format!("{NAME}\n"));
    assert!(place.ok(&["get", "-A"]).contains("default     hello-server-allow"));
    // What is shown can be applied again.
    for format in ["json", "yaml"] {
        let shown = place.ok(&["get", "-o", format]);
        let again = place.netpol(&["apply", "-f", "-"], &shown).ok();
        assert_eq!(again, format!("{NAME} unchanged\n"), "{shown}");
    }
    let deleted =
        "networkpolicy.networking.k8s.io \"hello-server-allow-from-hello-client\" deleted\n";
    assert_eq!(place.ok(&["delete", "-f", POLICY]), deleted);
    let gone = place.netpol(&["delete", "hello-server-allow-from-hello-client"], "");
    assert_eq!(gone.status.code(), Some(1));
    assert!(gone.stderr.contains("(NotFound)"), "{}", gone.stderr);
    enforcer.end();
}

#[test]
fn bad_input_changes_nothing_and_says_where_it_is() {
    let Some(place) = Place::get("bad_input_changes_nothing_and_says_where_it_is") else {
        return;
    };
    let enforcer = place.start();
    let good = std::fs::read_to_string(repository().join(POLICY)).unwrap();
    let typo = good.replace("podSelector:", "podSelecter:").replace("name: hello", "name: other");
    for (input, code, said) in [
        (format!("{good}---\n{typo}"), 2, "unknown field, did you mean \"podSelector\"?"),
        (good.replace("Ingress", "Both"), 2, "spec.policyTypes[0]: Unsupported value: \"Both\""),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n".to_owned(),
            2,
            "takes only NetworkPolicies",
        ),
        (
            format!(
                "{good}---\napiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{}}\n"
            ),
            2,
            "here are 1 Service",
        ),
        (format!("{good}---\n{CILIUM}"), 2, "here are 1 CiliumNetworkPolicy.cilium.io"),
        (String::new(), 2, "no NetworkPolicy is there"),
    ] {
        let refused = place.netpol(&["apply", "-f", "-"], &input);
        assert_eq!(refused.status.code(), Some(code), "{}", refused.stderr);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    let other = good.replace("metadata:\n", "metadata:\n  namespace: a\n");
    let refused = place.netpol(&["apply", "-n", "b", "-f", "-"], &other).failed();
    assert!(refused.contains("\"a\" does not match --namespace \"b\""), "{refused}");
    assert_eq!(place.ok(&["get", "-A", "-o", "name"]), "");
    enforcer.end();
}

#[test]
fn policies_are_kept_over_a_restart_for_their_owner_alone() {
    let Some(place) = Place::get("policies_are_kept_over_a_restart_for_their_owner_alone") else {
        return;
    };
    let enforcer = place.start();
    let _ = place.ok(&["apply", "-f", POLICY]);
    assert_eq!((mode(&place.socket()), mode(&place.state())), (0o600, 0o600));
    let second = run(&mut place.enforce("hello-server"), "").failed();
    assert!(second.contains("listens at") && second.contains("--socket"), "{second}");
    // However it ended.
    drop(enforcer);
    let gone = place.netpol(&["get"], "").failed();
    assert!(gone.contains("no enforcer listens at"), "{gone}");
    let enforcer = place.start();
    assert_eq!(place.ok(&["get", "-o", "name"]), format!("{NAME}\n"));
    enforcer.end();
}

const CILIUM: &str =
    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\nspec: {}\n";

#[test]
fn who_cannot_enforce_is_told_why() {
    let Some(place) = Place::get("who_cannot_enforce_is_told_why") else { return };
    let foreign = run(place.enforce("hello-server").args(["--workloads", "-"]), CILIUM);
    assert_eq!(foreign.status.code(), Some(2), "{}", foreign.stderr);
    assert!(
        foreign.stderr.contains(
            "standard input:1: CiliumNetworkPolicy default/a: policies of this kind cannot be enforced"
        ),
        "{}",
        foreign.stderr
    );
    let unknown = run(&mut place.enforce("no-such-pod"), "");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        unknown.stderr.contains(
            "no workload or pod default/no-such-pod in the manifests; they have: \
             default/hello-client-allowed, default/hello-client-blocked, default/hello-server"
        ),
        "{}",
        unknown.stderr
    );
    if geteuid().is_root() {
        let (mut netpol, _home) = end_to_end::command_as(end_to_end::As::Nobody, program("netpol"));
        let args =
            ["enforce", "hello-server", "--workloads", "manifests/hello-app", "--host-network"];
        let said = run(netpol.args(args), "").failed();
        assert!(said.contains("CAP_NET_ADMIN"), "{said}");
    }
}
