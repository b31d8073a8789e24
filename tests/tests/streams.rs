//! `kubectl attach`, `run -i` and `port-forward`, and `exec` as older clients speak it: over a WebSocket, and
//! over SPDY.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use end_to_end::typist::Typist;
use end_to_end::{As, Lab, Output, run, users, wait_for};

/// What kubectl is told to speak: a WebSocket, or SPDY as before 1.31.
const TRANSPORTS: [&str; 2] = ["true", "false"];

fn kubectl(lab: &Lab, transport: &str) -> Command {
    let mut command = lab.command("kubectl");
    command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", transport);
    command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", transport);
    command
}

/// A lab in which `busybox` is the machine's shell.
fn lab_with_a_shell(user: As) -> Lab {
    Lab::start_with(user, &["--image", "busybox=/bin/sh"])
}

/// `kubectl run NAME --rm -i`, with the shell's `script`.
fn run_once(lab: &Lab, transport: &str, name: &str, script: &str, input: &str) -> Output {
    let mut command = kubectl(lab, transport);
    command.args(["run", name, "--rm", "-i", "--quiet", "--image=busybox", "--restart=Never"]);
    run(command.args(["--", "-c", script]), input)
}

#[test]
fn exec_is_the_same_over_spdy() {
    for user in users() {
        let lab = lab_with_a_shell(user);
        lab.install_hello_app();
        let server = ["exec", "-i", "deploy/hello-server", "--"];
        for transport in TRANSPORTS {
            let mut command = kubectl(&lab, transport);
            let script = "echo out; echo err >&2; cat; exit 7";
            let said = run(command.args(server).args(["sh", "-c", script]), "in\n");
            assert_eq!((said.stdout.as_str(), said.status.code()), ("out\nin\n", Some(7)));
            assert!(said.stderr.starts_with("err\n"), "{transport}: {}", said.stderr);
            // More than any buffer on the way holds, both ways at once.
            let text = "0123456789abcdef\n".repeat(300_000);
            let echoed = run(kubectl(&lab, transport).args(server).arg("cat"), &text).ok();
            assert!(echoed == text, "{transport}: {} of {} bytes", echoed.len(), text.len());
            let missing = run(kubectl(&lab, transport).args(server).arg("no-such-program"), "");
            assert!(missing.failed().contains("executable file not found"), "{transport}");
        }
        lab.end();
    }
}

#[test]
fn run_shows_every_byte_from_the_containers_first_and_passes_its_exit_code_on() {
    for user in users() {
        let lab = lab_with_a_shell(user);
        for transport in TRANSPORTS {
            for round in 0..10 {
                let name = format!("r{round}");
                let said = run_once(&lab, transport, &name, "echo one; echo two >&2; exit 3", "");
                assert_eq!(said.status.code(), Some(3), "{transport}: {said:?}");
                // Where the container has ended already, kubectl shows its log, which knows no streams.
                let all = format!("{}{}", said.stdout, said.stderr);
                assert!(all.contains("one\n") && all.contains("two\n"), "{transport}: {said:?}");
                assert!(!said.stderr.contains("couldn't attach"), "{transport}: {}", said.stderr);
            }
            // As long as its input lasts, and no longer.
            let said = run_once(&lab, transport, "cat", "cat; echo end", "a\nb\n");
            assert_eq!(said.ok(), "a\nb\nend\n", "{transport}");
            let numbers = run_once(&lab, transport, "seq", "seq 200000", "").ok();
            assert_eq!(numbers.lines().count(), 200_000, "{transport}");
        }
        assert_eq!(lab.kubectl("get pods -o name"), "", "--rm");
        lab.end();
    }
}

#[test]
fn a_person_talks_to_what_run_began_and_comes_back_to_it() {
    let lab = lab_with_a_shell(As::Myself);
    let start = "run shell -it --leave-stdin-open --image=busybox --restart=Never";
    let mut shell = Typist::start(&lab, start, (91, 17));
    shell.enter("tty; echo $TERM; echo $HOSTNAME");
    // kubectl sends the size beside the first keys, not before them.
    wait_for("17 91", || {
        shell.enter("stty size");
        shell.has("17 91").then_some(())
    });
    for text in ["/dev/pts/", "xterm", "shell"] {
        shell.until(text);
    }
    shell.resize(132, 43);
    wait_for("the new size", || {
        shell.enter("stty size");
        shell.has("43 132").then_some(())
    });
    // Who closes the window leaves the shell as it is.
    shell.enter("here=still; echo and-$here");
    shell.until("and-still");
    shell.hang_up();
    let mut again = Typist::start(&lab, "attach -it shell", (80, 24));
    wait_for("the shell", || {
        again.enter("echo $here-there");
        again.has("still-there").then_some(())
    });
    again.enter("exit 4");
    // Attaching tells nothing of the exit code; the pod does.
    let _ = again.end();
    let code = "get pod shell -o jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    wait_for("the exit code", || (lab.kubectl(code) == "4").then_some(()));
    lab.end();
}

#[test]
fn who_attaches_to_a_running_container_sees_what_it_writes_from_then_on() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    for transport in TRANSPORTS {
        let mut command = kubectl(&lab, transport);
        command.args(["attach", "deploy/hello-client-allowed"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut attached = Ends(command.spawn().unwrap());
        let lines = BufReader::new(attached.0.stdout.take().unwrap()).lines();
        assert_eq!(
            lines.map_while(Result::ok).find(|line| line == "Hello, world!").as_deref(),
            Some("Hello, world!")
        );
    }
    let unknown = lab.refused("attach deploy/hello-server -c nobody", "");
    assert!(unknown.contains("nobody"), "{unknown}");
    lab.end();
}

/// A process that ends with its test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `kubectl port-forward` to these ports, and the local ports that it took.
fn forward(lab: &Lab, transport: &str, to: &str, ports: &[u16]) -> (Ends, Vec<u16>) {
    let mut command = kubectl(lab, transport);
    command.args(["port-forward", "--address=127.0.0.1", to]);
    command.args(ports.iter().map(|port| format!(":{port}")));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let local = ports.iter().map(|_| {
        let line = lines.next().expect("it says where it listens");
        let (_, rest) = line.split_once("Forwarding from 127.0.0.1:").expect(&line);
        rest.split(' ').next().unwrap().parse().unwrap()
    });
    let local = local.collect();
    // Read to its end, or kubectl waits for somebody to read it.
    std::thread::spawn(move || lines.for_each(drop));
    (Ends(child), local)
}

/// One request, and all that comes back. A kubectl that has nothing to tell may close before it has read the
/// request, which the kernel tells as a reset.
fn get(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut answer = String::new();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let ended = stream.write_all(request).and_then(|()| stream.read_to_string(&mut answer));
    if let Err(error) = ended {
        assert!(
            matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{error}"
        );
    }
    answer
}

#[test]
fn a_port_of_a_pod_is_a_port_of_ones_own_whatever_the_policies_say() {
    const DENY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\n\
                        spec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n";
    for user in users() {
        let lab = Lab::start(user);
        lab.install_hello_app();
        let _ = lab.kubectl_with("apply -f -", DENY);
        for transport in TRANSPORTS {
            for to in ["svc/hello-server", "deploy/hello-server"] {
                let (_forward, local) = forward(&lab, transport, to, &[8080]);
                let get_one = || get(local[0]);
                std::thread::scope(|scope| {
                    let all: Vec<_> = (0..20).map(|_| scope.spawn(get_one)).collect();
                    for one in all {
                        let answer = one.join().unwrap();
                        assert!(answer.contains("\r\n\r\nHello, world!"), "{transport}: {answer}");
                    }
                });
            }
        }
        lab.end();
    }
}

#[test]
fn a_port_that_nobody_serves_is_told_and_forwarding_ends_with_its_pod() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    for transport in TRANSPORTS {
        let (mut forward, local) = forward(&lab, transport, "deploy/hello-server", &[9999]);
        assert_eq!(get(local[0]), "");
        let mut said = String::new();
        let stderr = forward.0.stderr.take().unwrap();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            said += &line;
            if said.contains("failed to connect to localhost:9999") {
                break;
            }
        }
        assert!(said.contains("Connection refused"), "{said}");
    }
    let (mut forward, _) = forward(&lab, "true", "deploy/hello-server", &[8080]);
    let _ = lab.kubectl("delete deployment hello-server");
    wait_for("the end of forwarding", || forward.0.try_wait().unwrap());
    lab.end();
}

#[test]
fn a_page_of_a_pod_or_a_service_is_had_through_the_api() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let all = "/api/v1/namespaces/default";
    for page in ["services/hello-server:8080/proxy/", "services/http:hello-server:/proxy/x?y=z"] {
        let answer = lab.kubectl(&format!("get --raw {all}/{page}"));
        assert!(answer.contains("Hello, world!"), "{page}: {answer}");
    }
    let pod = lab.kubectl("get pods -l app=hello-server -o jsonpath={.items[0].metadata.name}");
    let answer = lab.kubectl(&format!("get --raw {all}/pods/{pod}:8080/proxy"));
    assert!(answer.contains("Hello, world!"), "the folder is asked for: {answer}");
    for (page, words) in [
        (format!("pods/{pod}:9999/proxy/"), "error trying to reach service: dial tcp"),
        (format!("pods/https:{pod}:8080/proxy/"), "hello-lab has no proxy to pods by HTTPS"),
        ("services/nobody/proxy/".to_owned(), "services \"nobody\" not found"),
    ] {
        let said = lab.refused(&format!("get --raw {all}/{page}"), "");
        assert!(said.contains(words), "{said}");
    }
    lab.end();
}
