//! `kubectl exec` on the lab: streams, exit codes, and whose network it is.

use std::path::Path;
use std::process::{Command, Stdio};

use end_to_end::typist::Typist;
use end_to_end::{As, Lab, command_as, descendants, program, run, status_field, users, wait_for};

const CLIENT: &str = "exec deploy/hello-client-blocked";

/// The processes `sleep SECONDS` of a lab.
fn sleeps(lab: &Lab, seconds: &str) -> usize {
    let is_sleep = |pid: &&i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line == format!("sleep\0{seconds}\0").into_bytes()
    };
    descendants(lab.keeper().as_raw()).iter().filter(is_sleep).count()
}

#[test]
fn a_command_in_a_container_has_its_streams_its_exit_code_and_its_pods_name() {
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        assert_eq!(
            lab.kubectl("exec deploy/hello-server -- hello-server --version"),
            "hello-server 1.0.0\n"
        );
        let pod = lab.kubectl("get pods -l app=not-hello -o jsonpath={.items[0].metadata.name}");
        assert_eq!(lab.kubectl(&format!("exec {pod} -c hello-client -- hostname")).trim(), pod);
        let script = ["exec", &pod, "--", "sh", "-c", "echo out; echo err >&2; exit 7"];
        let output = run(lab.command("kubectl").args(script), "");
        assert_eq!((output.stdout.as_str(), output.status.code()), ("out\n", Some(7)));
        assert!(output.stderr.starts_with("err\n"), "{}", output.stderr);
        // More than any buffer on the way holds, both ways at once.
        let text = "0123456789abcdef\n".repeat(100_000);
        let echoed = lab.kubectl_with(&format!("exec -i {pod} -- cat"), &text);
        assert!(echoed == text, "{} of {} bytes", echoed.len(), text.len());
        lab.end();
    }
}

#[test]
fn what_it_runs_is_in_the_pods_network_and_its_policies_hold() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let poll = format!(
        "{CLIENT} -- hello-client --count 1 --timeout 1 http://hello-server.default.svc:8080"
    );
    assert!(lab.kubectl(&poll).starts_with("Hello, world!"));
    let _ = lab.kubectl("apply -f manifests/network-policy.yaml");
    wait_for("the policy", || {
        lab.kubectl(&poll).starts_with("wget: download timed out").then_some(())
    });
    lab.end();
}

#[test]
fn shared_memory_is_the_pods_and_not_the_machines() {
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        let name = format!("/dev/shm/hello-lab-{}", std::process::id());
        let shell = |pod: &str, script: &str| {
            run(lab.command("kubectl").args(["exec", pod, "--", "sh", "-c", script]), "")
        };
        let _ = shell("deploy/hello-client-blocked", &format!("echo ours > {name}")).ok();
        let read = format!("cat {name}");
        assert_eq!(shell("deploy/hello-client-blocked", &read).ok(), "ours\n");
        let _ = shell("deploy/hello-server", &read).failed();
        assert!(!Path::new(&name).exists(), "the machine has {name}");
        let namespace = std::fs::read_link("/proc/self/ns/ipc").unwrap();
        let theirs = shell("deploy/hello-server", "readlink /proc/self/ns/ipc").ok();
        assert_ne!(Path::new(theirs.trim()), namespace, "System V's and POSIX queues too");
        lab.end();
    }
}

/// The pod's process that is told apart by `selector`, and the shim that started it.
fn process_and_shim(lab: &Lab, selector: &str) -> (i32, i32) {
    let process = lab.process(selector);
    (process, status_field(process, "PPid").parse().unwrap())
}

#[test]
fn a_shim_has_the_privileges_that_it_needs_and_no_others() {
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        let (_, shim) = process_and_shim(&lab, "app=hello");
        assert_eq!(status_field(shim, "Name"), "hello-lab-shim");
        // CHOWN, DAC_READ_SEARCH, KILL, SETGID, SETUID (capability.h); an ordinary user's needs none.
        let is_roots = nix::unistd::geteuid().is_root() && matches!(user, As::Myself);
        let needed = if is_roots { "00000000000000e5" } else { "0000000000000000" };
        for set in ["CapPrm", "CapEff"] {
            assert_eq!(status_field(shim, set), needed, "{set}");
        }
        for set in ["CapInh", "CapBnd", "CapAmb"] {
            assert_eq!(status_field(shim, set), "0000000000000000", "{set}");
        }
        assert_eq!(status_field(shim, "NoNewPrivs"), "1");
        lab.end();
    }
}

#[test]
fn files_that_the_labs_caller_has_open_do_not_reach_its_containers() {
    for user in users() {
        let (mut command, _home) = command_as(user, "sh");
        let script = format!(
            "exec 9>>\"$HOME/open-elsewhere\"
            exec {} run -- sh -ec '
                kubectl apply -f manifests/hello-app >&2
                kubectl wait --for=condition=Available deployment --all --timeout=30s >&2
                kubectl {CLIENT} -- ls -l /proc/self/fd'",
            program("hello-lab").display(),
        );
        let said = run(command.args(["-c", &script]), "").ok();
        assert!(said.contains(" 1 -> pipe:"), "{said}");
        assert!(!said.contains("open-elsewhere"), "{said}");
    }
}

#[test]
fn nothing_is_left_of_commands_that_have_ended() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let (process, shim) = process_and_shim(&lab, "app=hello");
    for _ in 0..5 {
        let _ = lab.kubectl("exec deploy/hello-server -- true");
    }
    let files = || std::fs::read_dir(format!("/proc/{shim}/fd")).map_or(0, Iterator::count);
    let before = files();
    for _ in 0..5 {
        let _ = lab.kubectl("exec deploy/hello-server -- true");
    }
    wait_for("only the container", || (descendants(shim) == [process]).then_some(()));
    wait_for("no further open files", || (files() <= before).then_some(()));
    lab.end();
}

#[test]
fn a_pod_whose_shim_has_ended_says_so_and_can_be_deleted() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let (_, shim) = process_and_shim(&lab, "app=hello");
    let pod = lab.kubectl("get pods -l app=hello -o jsonpath={.items[0].metadata.name}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL)
        .expect("it runs");
    wait_for("the event", || {
        let events = lab.kubectl("get events");
        events.contains("the pod's shim").then_some(())
    });
    let _ = lab.kubectl(&format!("delete pod {pod} --timeout=30s"));
    let _ = lab.kubectl("wait --for=condition=Available deploy/hello-server --timeout=30s");
    assert!(lab.kubectl("exec deploy/hello-server -- hello-server --version").contains("1.0.0"));
    lab.end();
}

#[test]
fn an_environment_may_be_larger_than_a_sockets_buffer() {
    let lab = Lab::start(As::Myself);
    let value = "x".repeat(100_000);
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "large"},
        "spec": {"containers": [{
            "name": "large", "image": "hello-server:1.0.0",
            "env": (0..8).map(|n| serde_json::json!({"name": format!("V{n}"), "value": value}))
                .collect::<Vec<_>>(),
        }]},
    });
    // `apply` would keep a copy in an annotation, which may not be so long.
    let _ = lab.kubectl_with("create -f -", &pod.to_string());
    let _ = lab.kubectl("wait --for=condition=Ready pod/large --timeout=30s");
    let script = ["exec", "large", "--", "sh", "-c", "echo ${#V0}$V7 | wc -c"];
    assert_eq!(run(lab.command("kubectl").args(script), "").ok().trim(), "100007");
    lab.end();
}

#[test]
fn an_argument_may_be_as_long_as_the_kernel_takes_it() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let long = "a%".repeat(60_000);
    let args = ["exec", "deploy/hello-server", "--", "sh", "-c", "echo ${#0}", &long];
    assert_eq!(run(lab.command("kubectl").args(args), "").ok(), "120000\n");
    lab.end();
}

#[test]
fn what_cannot_be_run_is_told() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    for (line, told) in [
        (format!("{CLIENT} -- nothing-of-the-kind"), "executable file not found"),
        (format!("{CLIENT} -c other -- true"), "container other"),
        ("exec hello-nobody -- true".to_owned(), "not found"),
    ] {
        let said = lab.refused(&line, "");
        assert!(said.contains(told), "{line}: {said}");
    }
    lab.end();
}

#[test]
fn a_command_ends_with_its_container_and_with_its_client() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let sleeps = |seconds: &str| sleeps(&lab, seconds);
    let start = |seconds: &str| {
        let mut kubectl = lab.command("kubectl");
        kubectl.args(CLIENT.split(' ')).args(["--", "sleep", seconds]);
        let child = kubectl.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("kubectl");
        wait_for("the command", || (sleeps(seconds) == 1).then_some(()));
        child
    };
    let mut client = start("7001");
    client.kill().expect("it runs");
    let _ = client.wait();
    wait_for("its end", || (sleeps("7001") == 0).then_some(()));

    let mut client = start("7002");
    let _ = lab.kubectl("delete pod -l app=not-hello --grace-period=1 --wait=false");
    wait_for("its end", || (sleeps("7002") == 0).then_some(()));
    assert!(!client.wait().expect("it ends").success());
    lab.end();
}

#[test]
fn what_asks_for_no_streams_is_told_so() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let pod = lab.kubectl("get pods -l app=hello -o jsonpath={.items[0].metadata.name}");
    for part in ["exec?command=true&stdout=true", "attach?stdout=true", "portforward"] {
        let path = format!("--raw=/api/v1/namespaces/default/pods/{pod}/{part}");
        let mut kubectl: Command = lab.command("kubectl");
        let said = run(kubectl.args(["get", &path]), "").failed();
        assert!(said.contains("Upgrade request required"), "{part}: {said}");
    }
    lab.end();
}

#[test]
fn a_terminal_is_a_terminal_with_its_size_its_signals_and_its_end() {
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        let mut shell = Typist::start(&lab, &format!("{CLIENT} -it -- sh"), (91, 17));
        shell.enter("tty && stty size && echo $TERM");
        shell.until("/dev/pts/");
        shell.until("17 91");
        shell.until("xterm");
        // Ctrl-C ends what the shell runs, and not the shell.
        shell.enter("sleep 7003");
        wait_for("the command", || (sleeps(&lab, "7003") == 1).then_some(()));
        shell.type_in("\x03");
        wait_for("its end", || (sleeps(&lab, "7003") == 0).then_some(()));
        shell.resize(132, 43);
        wait_for("the new size", || {
            shell.enter("stty size");
            shell.has("43 132").then_some(())
        });
        shell.enter("exit 9");
        assert_eq!(shell.end(), Some(9));
        lab.end();
    }
}
