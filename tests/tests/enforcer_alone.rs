//! One enforcer in a network namespace: a second is refused before it touches anything, what others change
//! is put right, and what is in force outlives the process until somebody takes it away.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use end_to_end::{Output, program, repository, run, skip, wait_for};
use nix::sched::{CloneFlags, setns};
use nix::unistd::geteuid;
use nlink::netlink::nftables::{Family, Rule};
use nlink::netlink::{Connection, Nftables};

const TABLE: &str = "netpol";
const POLICY: &str = "manifests/network-policy.yaml";
const NAME: &str = "networkpolicy.networking.k8s.io/hello-server-allow-from-hello-client";

/// A network namespace, kept by a process of its own, and a folder for sockets.
struct Namespace {
    folder: tempfile::TempDir,
    keeper: Child,
}

impl Namespace {
    /// `None`, with the reason said, where no network namespace can be made.
    fn get(test: &str) -> Option<Self> {
        let mut command = Command::new("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        // It says so when it is there, and ends with its standard input.
        command.args(["--net", "sh", "-c", "echo there && cat >/dev/null"]);
        let made = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let keeper = made.expect("unshare can be run");
        let mut namespace = Self { folder: tempfile::tempdir().unwrap(), keeper };
        let mut line = String::new();
        let stdout = namespace.keeper.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        if line.is_empty() {
            skip(test, "`unshare --net` makes no network namespace here");
            return None;
        }
        Some(namespace)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `netpol enforce` in the namespace, listening at the socket `name`.
    fn netpol(&self, name: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.keeper.id().to_string()).arg("--net");
        if !geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(program("netpol")).arg("enforce").current_dir(repository());
        command.env("NETPOL_SOCKET", self.socket(name)).stdin(Stdio::null());
        command
    }

    fn enforce(&self, name: &str) -> Command {
        let mut command = self.netpol(name);
        command.args(["hello-server", "--workloads", "manifests/hello-app"]);
        command
    }

    fn start(&self, name: &str) -> Enforcer {
        let log = std::fs::File::create(self.log(name)).unwrap();
        Enforcer(self.enforce(name).stdout(log).spawn().unwrap())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Waits until the enforcer's log has a line with `words`.
    fn logged(&self, name: &str, words: &str) {
        wait_for(words, || {
            let log = std::fs::read_to_string(self.log(name)).unwrap_or_default();
            log.contains(words).then_some(())
        });
    }

    fn ask(&self, name: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program("netpol"));
        command.args(args).env("NETPOL_SOCKET", self.socket(name)).current_dir(repository());
        run(&mut command, "")
    }

    /// Runs `f` on nftables of the namespace, as whoever may change them there could.
    fn nftables<T: Send + 'static, F: Future<Output = T>>(
        &self,
        f: impl FnOnce(Connection<Nftables>) -> F + Send + 'static,
    ) -> T {
        let pid = self.keeper.id();
        let open = |name: &str| std::fs::File::open(format!("/proc/{pid}/ns/{name}")).unwrap();
        let net = open("net");
        std::thread::spawn(move || {
            setns(net, CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async { f(Connection::<Nftables>::new().unwrap()).await })
        })
        .join()
        .unwrap()
    }

    /// What the filter consists of: each rule's chain; none where there is no filter.
    fn rules(&self) -> Option<Vec<String>> {
        self.nftables(async |nft| {
            let tables = nft.list_tables_in(Family::Inet).await.unwrap();
            if !tables.iter().any(|table| table.name == TABLE) {
                return None;
            }
            let rules = nft.list_rules(TABLE, Family::Inet).await.unwrap();
            Some(rules.into_iter().map(|rule| rule.chain).collect())
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// An enforcer, which does not outlive its test.
struct Enforcer(Child);

impl Drop for Enforcer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Those who look into another's namespace from a test's thread.
fn namespace_of_roots(test: &str) -> Option<Namespace> {
    if !geteuid().is_root() {
        skip(test, "a thread can enter another network namespace as root alone");
        return None;
    }
    Namespace::get(test)
}

#[test]
fn a_second_enforcer_is_refused_before_it_touches_the_first_ones_filter() {
    const TEST: &str = "a_second_enforcer_is_refused_before_it_touches_the_first_ones_filter";
    let Some(namespace) = namespace_of_roots(TEST) else { return };
    let first = namespace.start("first");
    namespace.logged("first", "enforcing");
    let _ = namespace.ask("first", &["apply", "-f", POLICY]).ok();
    let before = namespace.rules().unwrap();
    assert!(before.len() >= 10, "{before:?}");
    for name in ["first", "second"] {
        let said = run(&mut namespace.enforce(name), "").failed();
        assert!(said.contains("another enforcer runs in this network namespace"), "{said}");
        assert_eq!(namespace.rules().as_ref(), Some(&before));
    }
    let said = run(namespace.netpol("second").arg("--remove"), "").failed();
    assert!(said.contains("another enforcer runs"), "{said}");
    assert_eq!(namespace.rules().as_ref(), Some(&before));
    assert_eq!(namespace.ask("first", &["get", "-o", "name"]).ok(), format!("{NAME}\n"));
    // Killed, it holds the namespace no longer, and is waited for nowhere.
    drop(first);
    let _second = namespace.start("second");
    namespace.logged("second", "enforcing");
}

#[test]
fn what_another_program_changes_is_written_again_within_seconds_and_said() {
    const TEST: &str = "what_another_program_changes_is_written_again_within_seconds_and_said";
    let Some(namespace) = namespace_of_roots(TEST) else { return };
    let _enforcer = namespace.start("e");
    namespace.logged("e", "enforcing");
    let _ = namespace.ask("e", &["apply", "-f", POLICY]).ok();
    let before = namespace.rules().unwrap();
    let restored = |what: &str| {
        wait_for(what, || (namespace.rules().as_ref() == Some(&before)).then_some(()));
    };

    namespace.nftables(async |nft| nft.del_table(TABLE, Family::Inet).await.unwrap());
    restored("the deleted table");
    namespace.logged("e", "another program changed nftables");
    namespace.nftables(async |nft| nft.flush_table(TABLE, Family::Inet).await.unwrap());
    restored("the flushed rules");
    namespace.nftables(async |nft| {
        let open = Rule::new(TABLE, "ingress").family(Family::Inet).accept();
        nft.add_rule(open).await.unwrap();
    });
    restored("the filter without somebody's rule");
    // The claim is nobody else's to take away.
    let taken = namespace.nftables(async |nft| nft.flush_ruleset().await.is_ok());
    assert!(!taken, "a table that belongs to the enforcer's socket was removed");

    // A table of somebody's own is theirs, and does not end anything.
    namespace.nftables(async |nft| nft.add_table("other", Family::Inet).await.unwrap());
    let _ = namespace.ask("e", &["delete", "-f", POLICY]).ok();
    let _ = namespace.ask("e", &["apply", "-f", POLICY]).ok();
    restored("the policy");
    let tables = namespace.nftables(async |nft| nft.list_tables().await.unwrap().len());
    assert!(tables >= 3, "the other's table is still there");
}

#[test]
fn a_restart_without_a_file_keeps_the_filter_and_says_what_it_does_not_know() {
    const TEST: &str = "a_restart_without_a_file_keeps_the_filter_and_says_what_it_does_not_know";
    let Some(namespace) = namespace_of_roots(TEST) else { return };
    let enforcer = namespace.start("e");
    namespace.logged("e", "enforcing");
    let _ = namespace.ask("e", &["apply", "-f", POLICY]).ok();
    let before = namespace.rules().unwrap();
    drop(enforcer);
    assert_eq!(namespace.rules().as_ref(), Some(&before), "killed");

    let enforcer = namespace.start("e");
    namespace.logged("e", "the filter of an earlier enforcer is in force");
    namespace.logged("e", "enforcing");
    assert_eq!(namespace.rules().as_ref(), Some(&before), "restarted");
    let said = namespace.ask("e", &["get"]).failed();
    assert!(said.contains("its policies are not known"), "{said}");
    let said = namespace.ask("e", &["delete", "-f", POLICY]).failed();
    assert!(said.contains("NotFound"), "{said}");
    assert_eq!(namespace.rules().as_ref(), Some(&before), "an unknown policy deleted");
    let applied = namespace.ask("e", &["apply", "-f", POLICY]).ok();
    assert!(applied.contains("created"), "{applied}");
    assert_eq!(namespace.rules().as_ref(), Some(&before));
    let _ = namespace.ask("e", &["delete", "-f", POLICY]).ok();
    assert_ne!(namespace.rules().as_ref(), Some(&before));
    drop(enforcer);

    let removed = run(namespace.netpol("e").arg("--remove"), "").ok();
    assert!(removed.contains("everything is allowed"), "{removed}");
    assert_eq!(namespace.rules(), None);
    let removed = run(namespace.netpol("e").arg("--remove"), "").ok();
    assert!(removed.contains("no filter"), "{removed}");
}

#[test]
fn a_restart_with_a_file_leaves_no_moment_without_the_filter() {
    const TEST: &str = "a_restart_with_a_file_leaves_no_moment_without_the_filter";
    let Some(namespace) = namespace_of_roots(TEST) else { return };
    let state = namespace.folder.path().join("state.json");
    let start = || {
        let _ = std::fs::remove_file(namespace.log("e"));
        let log = std::fs::File::create(namespace.log("e")).unwrap();
        let mut command = namespace.enforce("e");
        let enforcer = Enforcer(command.arg("--state").arg(&state).stdout(log).spawn().unwrap());
        namespace.logged("e", "enforcing");
        enforcer
    };
    let enforcer = start();
    drop(enforcer);
    let enforcer = start();
    assert_eq!(namespace.ask("e", &["get", "-o", "name"]).ok(), "", "none, and that is known");
    let _ = namespace.ask("e", &["apply", "-f", POLICY]).ok();
    let before = namespace.rules().unwrap();
    drop(enforcer);
    let enforcer = start();
    namespace.logged("e", "is in force again");
    assert_eq!(namespace.rules(), Some(before));
    assert_eq!(namespace.ask("e", &["get", "-o", "name"]).ok(), format!("{NAME}\n"));
    drop(enforcer);
}

#[test]
fn the_machines_own_network_namespace_is_not_filtered_unless_it_is_meant() {
    const TEST: &str = "the_machines_own_network_namespace_is_not_filtered_unless_it_is_meant";
    if !std::path::Path::new("/proc/sys/net/core/netdev_budget").exists() {
        return skip(TEST, "the tests run in another network namespace than the machine's");
    }
    let mut netpol = Command::new(program("netpol"));
    netpol.args(["enforce", "hello-server", "--workloads", "manifests/hello-app"]);
    let refused = run(netpol.current_dir(repository()), "");
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("machine's own network namespace")
            && refused.stderr.contains("--host-network"),
        "{}",
        refused.stderr
    );
}
