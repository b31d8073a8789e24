//! The demo under Docker Compose, on the engine of this machine.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use end_to_end::{
    Output, PATIENCE, docker_engine, is_alive, readme_steps, run, skip, status_field, wait_for,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How many polls in a row call a client connected or cut off.
const POLLS: usize = 2;

/// A Compose project of a test's own, gone when it ends.
struct Project(String);

impl Project {
    /// The services, running; `None`, with the reason said, where no engine runs.
    fn up(test: &str) -> Option<Self> {
        if let Err(why) = docker_engine() {
            skip(test, &why);
            return None;
        }
        let project = Self(format!("{}-{}", test.replace('_', "-"), std::process::id()));
        let _ = project.compose("up --build --detach --quiet-pull").ok();
        Some(project)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("docker");
        command.args(["compose", "-p", &self.0]).args(line.split_whitespace());
        command
    }

    fn compose(&self, line: &str) -> Output {
        run(&mut self.command(line), "")
    }

    fn netpol(&self, line: &str) -> String {
        self.compose(&format!("exec -T policy netpol {line}")).ok()
    }

    /// The container of a service.
    fn container(&self, service: &str) -> String {
        self.compose(&format!("ps -q {service}")).ok().trim().to_owned()
    }

    fn inspect(&self, service: &str, format: &str) -> String {
        let container = self.container(service);
        let mut command = Command::new("docker");
        run(command.args(["inspect", "-f", format, &container]), "").ok().trim().to_owned()
    }

    fn address(&self, service: &str) -> String {
        self.inspect(service, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// Follows the log of a client, new lines only, until its last polls were all so.
    fn expect(&self, service: &str, want: Poll) {
        let log =
            Log::follow(self.command(&format!("logs --no-log-prefix --tail 0 --follow {service}")));
        let mut streak = 0;
        while streak < POLLS {
            let line = log.next(&format!("{service} to be {want:?}"));
            match poll(&line) {
                Some(seen) if seen == want => streak += 1,
                Some(_) => streak = 0,
                None => {}
            }
        }
    }

    fn expect_both(&self, allowed: Poll, blocked: Poll) {
        self.expect("hello-client-allowed", allowed);
        self.expect("hello-client-blocked", blocked);
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let down = "--profile hello-apps down --volumes --remove-orphans --timeout 2";
        let _ = self.compose(down);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    Connected,
    Blocked,
}

/// What a line of a client's log says of a poll.
fn poll(line: &str) -> Option<Poll> {
    // Compose 2.26 clears the line even where there is no terminal.
    match line.trim_start_matches("\u{1b}[2K") {
        "wget: download timed out" => Some(Poll::Blocked),
        line if line.starts_with("Hostname: hello-server") => Some(Poll::Connected),
        _ => None,
    }
}

/// A log that is followed in a thread of its own, so that waiting for a line has an end.
struct Log {
    follower: Child,
    lines: Receiver<String>,
    start: Instant,
}

impl Log {
    fn follow(mut command: Command) -> Self {
        let mut follower = command
            .current_dir(end_to_end::repository())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(follower.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { follower, lines, start: Instant::now() }
    }

    fn next(&self, wanted: &str) -> String {
        let left = PATIENCE.saturating_sub(self.start.elapsed());
        self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("waited in vain for {wanted}"))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.follower.kill();
        let _ = self.follower.wait();
    }
}

use Poll::{Blocked, Connected};

#[test]
fn the_tutorial_holds_under_compose_as_the_readme_says() {
    let Some(project) = Project::up("the_tutorial_holds_under_compose_as_the_readme_says") else {
        return;
    };
    let steps = readme_steps("## Docker Compose");
    assert!(steps.len() >= 6, "the steps were found");
    project.expect_both(Connected, Connected);
    for step in steps {
        let line = step.command.strip_prefix("docker compose ").expect(&step.command);
        if line.starts_with("up ") || line.starts_with("logs ") || line.contains(" down ") {
            // `up` is how this test began, logs are what it follows, `down` is its end.
            continue;
        }
        let line = line.replacen("exec ", "exec -T ", 1);
        let said = project.compose(&line).ok();
        for output in &step.output {
            assert!(said.contains(output), "{line} said {said}, not {output}");
        }
        let others = [("hello-apps-client-allowed", 0), ("hello-apps-client-blocked", 1)];
        let verdicts = match line.rsplit_once(' ').unwrap() {
            (before, "/manifests/network-policy.yaml") if before.contains("apply") => {
                [Connected, Blocked]
            }
            (_, "/manifests/network-policy.yaml") => [Connected, Connected],
            (_, "/manifests/network-policy-namespaced.yaml") => [Blocked, Blocked],
            (_, "/manifests/network-policy-combined.yaml") => {
                for (service, index) in others {
                    project.expect(service, [Connected, Blocked][index]);
                }
                [Blocked, Blocked]
            }
            _ if line.contains("--profile hello-apps") => {
                for (service, _) in others {
                    project.expect(service, Connected);
                }
                [Blocked, Blocked]
            }
            _ => panic!("what should be seen after {line}?"),
        };
        project.expect_both(verdicts[0], verdicts[1]);
    }
    let log = project.compose("logs --no-log-prefix policy").ok();
    let denied = |from: &str, to: &str| {
        log.lines().any(|line| {
            line.contains(from) && line.contains(to) && line.ends_with(
                "=> default/hello-server:8080 denied by default/hello-server-allow-from-hello-client",
            )
        })
    };
    assert!(denied(" default/hello-client-blocked (", ") "), "{log}");
    assert!(denied(" hello-apps/hello-client-blocked (", ") "), "{log}");
    assert!(!denied(" hello-apps/hello-client-allowed (", ") "), "{log}");
}

#[test]
fn a_client_made_anew_keeps_its_verdict_and_who_gets_its_old_address_does_not() {
    let Some(project) =
        Project::up("a_client_made_anew_keeps_its_verdict_and_who_gets_its_old_address_does_not")
    else {
        return;
    };
    let _ = project.netpol("apply -f /manifests/network-policy.yaml");
    project.expect_both(Connected, Blocked);
    let before = project.address("hello-client-allowed");
    let _ = project.compose("rm --stop --force hello-client-allowed").ok();
    wait_for("the enforcer to see that it is gone", || {
        let log = project.compose("logs --no-log-prefix policy").ok();
        log.contains("default/hello-client-allowed has no address").then_some(())
    });
    // A stranger gets the address that is free now, or at least holds it back.
    let stranger = project.compose(
        "run --detach --no-deps hello-client-blocked http://hello-server.default.svc:8080 \
         --count 30 --timeout 0.5 --interval 0.1 --expect blocked",
    );
    let stranger = stranger.ok().trim().to_owned();
    let _ = project.compose("up --detach --no-deps hello-client-allowed").ok();
    assert_ne!(project.address("hello-client-allowed"), before);
    project.expect_both(Connected, Blocked);
    let mut wait = Command::new("docker");
    assert_eq!(run(wait.args(["wait", &stranger]), "").ok().trim(), "0");
}

/// A client that runs beside the others, and must see what it expects.
struct Stranger(Child);

impl Stranger {
    fn start(mut command: Command) -> Self {
        command.current_dir(end_to_end::repository()).stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    /// What it logged.
    fn must_succeed(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}: {stdout}{stderr}", output.status);
        stdout
    }
}

#[test]
fn a_restarted_server_is_never_open_for_a_moment() {
    let Some(project) = Project::up("a_restarted_server_is_never_open_for_a_moment") else {
        return;
    };
    let poll = |count: u32, expect: &str| {
        Stranger::start(project.command(&format!(
            "run --no-deps --rm -T hello-client-blocked http://hello-server.default.svc:8080 \
             --interval 0 --timeout 0.1 --count {count} --expect {expect}"
        )))
    };
    // The same polls get through while nothing forbids it.
    let _ = poll(20, "allowed").must_succeed();
    let _ = project.netpol("apply -f /manifests/network-policy-namespaced.yaml");
    let stranger = poll(100, "blocked");
    for _ in 0..3 {
        let _ = project.compose("restart --timeout 1 hello-server").ok();
    }
    let log = stranger.must_succeed();
    // Not even a refusal: that would be a packet that came through to a server that is not there.
    assert_eq!(
        log.lines().filter(|line| *line == "wget: download timed out").count(),
        100,
        "{log}"
    );
}

#[test]
fn a_restarted_policy_service_keeps_its_policies() {
    let Some(project) = Project::up("a_restarted_policy_service_keeps_its_policies") else {
        return;
    };
    let _ = project.netpol("apply -f /manifests/network-policy.yaml");
    project.expect_both(Connected, Blocked);
    let _ = project.compose("restart policy").ok();
    wait_for("the enforcer", || {
        let get = project.compose("exec -T policy netpol get");
        get.stdout.contains("hello-server-allow-from-hello-client").then_some(())
    });
    project.expect_both(Connected, Blocked);
    if nix::unistd::geteuid().is_root() {
        // A crash takes the network away. The server must not live on in it.
        let server = project.inspect("hello-server", "{{.State.Pid}}").parse().unwrap();
        let policy = project.inspect("policy", "{{.State.Pid}}").parse().unwrap();
        kill(Pid::from_raw(policy), Signal::SIGKILL).unwrap();
        wait_for("the server's end", || (!is_alive(server)).then_some(()));
        let _ = project.compose("up --detach").ok();
        project.expect_both(Connected, Blocked);
    }
    let log = project.compose("logs --no-log-prefix policy").ok();
    assert!(
        log.contains("default/hello-server-allow-from-hello-client is in force again"),
        "{log}"
    );
}

#[test]
fn containers_are_read_only_have_no_capability_too_much_and_end_at_once() {
    let Some(project) =
        Project::up("containers_are_read_only_have_no_capability_too_much_and_end_at_once")
    else {
        return;
    };
    for service in ["policy", "hello-server", "hello-client-allowed", "hello-client-blocked"] {
        let pid: i32 = project.inspect(service, "{{.State.Pid}}").parse().unwrap();
        let net_admin = 1_u64 << 12;
        let may = if service == "policy" { net_admin } else { 0 };
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            let held = u64::from_str_radix(&status_field(pid, set), 16).unwrap();
            assert_eq!(held & !may, 0, "{service} has {set} {held:x}");
        }
        assert_eq!(status_field(pid, "NoNewPrivs"), "1", "{service}");
        let users = status_field(pid, "Uid");
        let user = users.split_whitespace().next();
        assert_eq!(user, Some(if service == "policy" { "0" } else { "9999" }));
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
        assert!(root.split(' ').nth(3).unwrap().starts_with("ro,"), "{service}: {root}");
    }
    // Clients have nothing to finish, the server and its enforcer only a moment's drain.
    for service in ["hello-client-allowed", "hello-client-blocked", "hello-server", "policy"] {
        let container = project.container(service);
        let start = Instant::now();
        let _ = project.compose(&format!("stop --timeout 20 {service}")).ok();
        let mut inspect = Command::new("docker");
        inspect.args(["inspect", "-f", "{{.State.ExitCode}}", &container]);
        // 137 would be the kill after the grace period.
        assert_eq!(run(&mut inspect, "").ok().trim(), "0", "{service}");
        assert!(start.elapsed() < Duration::from_secs(20), "{service}");
    }
}
