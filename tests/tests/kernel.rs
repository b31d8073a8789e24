//! The policy is the kernel's: seen with plain sockets from the pods' own namespaces, not by
//! what the clients print.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use end_to_end::{As, Lab, skip, status_field, wait_for};
use nix::sched::{CloneFlags, setns};
use nix::unistd::geteuid;

/// Long enough for a connection within one machine, short enough to wait for one that hangs.
const MOMENT: Duration = Duration::from_millis(700);

/// Runs `f` on a thread in the network namespace of a process.
fn inside<T: Send + 'static>(pid: i32, f: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        f()
    })
    .join()
    .unwrap()
}

fn connect(pid: i32, to: SocketAddr) -> std::io::Result<TcpStream> {
    inside(pid, move || TcpStream::connect_timeout(&to, MOMENT))
}

fn hangs(pid: i32, to: SocketAddr) -> bool {
    connect(pid, to).is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

fn address(lab: &Lab, line: &str) -> SocketAddr {
    format!("{}:8080", lab.kubectl(line)).parse().unwrap()
}

/// Whether the connection still answers a request, with the whole page.
fn answers(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(MOMENT)).unwrap();
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut answer, mut part) = (String::new(), [0; 1024]);
    while !answer.contains("Hostname: ") || !answer.ends_with('\n') {
        match stream.read(&mut part) {
            Ok(1..) => answer.push_str(std::str::from_utf8(&part).unwrap().trim_end_matches('\0')),
            _ => return false,
        }
        part.fill(0);
    }
    answer.starts_with("HTTP/1.1 200 OK")
}

#[test]
fn connections_from_the_blocked_pods_namespace_hang_and_from_the_allowed_ones_do_not() {
    const NAME: &str = "connections_from_the_blocked_pods_namespace_hang";
    if !geteuid().is_root() {
        return skip(NAME, "entering a pod's network namespace from outside takes root");
    }
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let pod = address(&lab, "get pod -l app=hello-server -o jsonpath={.items[0].status.podIP}");
    let service = address(&lab, "get svc hello-server -o jsonpath={.spec.clusterIP}");
    let (allowed, blocked) = (lab.process("app=hello"), lab.process("app=not-hello"));
    for to in [pod, service] {
        assert!(connect(allowed, to).is_ok() && connect(blocked, to).is_ok(), "no policy yet");
    }
    let open_allowed = connect(allowed, service).unwrap();
    let open_blocked = connect(blocked, service).unwrap();
    assert!(answers(&open_allowed) && answers(&open_blocked));

    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    wait_for("the policy", || hangs(blocked, pod).then_some(()));
    for to in [pod, service] {
        assert!(connect(allowed, to).is_ok(), "{to} from the allowed pod");
        assert!(hangs(blocked, to), "{to} from the blocked pod");
    }
    assert!(!answers(&open_blocked), "an open connection dies when the policy lands");
    assert!(answers(&open_allowed), "and one that is allowed lives on");

    let _ = lab.kubectl("delete -f ./manifests/network-policy.yaml");
    wait_for("the policy's end", || connect(blocked, pod).ok());
}

#[test]
fn with_the_options_denied_connections_are_refused_and_open_ones_kept() {
    const NAME: &str = "with_the_options_denied_connections_are_refused";
    if !geteuid().is_root() {
        return skip(NAME, "entering a pod's network namespace from outside takes root");
    }
    let lab = Lab::start_with(As::Myself, &["--denied", "reject", "--established", "keep"]);
    lab.install_hello_app();
    let service = address(&lab, "get svc hello-server -o jsonpath={.spec.clusterIP}");
    let blocked = lab.process("app=not-hello");
    let open = connect(blocked, service).unwrap();
    assert!(answers(&open));
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    wait_for("a refusal", || {
        let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        connect(blocked, service).is_err_and(refused).then_some(())
    });
    assert!(answers(&open));
}

#[test]
fn a_pod_never_answers_before_its_policies_are_in_force() {
    const NAME: &str = "a_pod_never_answers_before_its_policies_are_in_force";
    if !geteuid().is_root() {
        return skip(NAME, "entering a pod's network namespace from outside takes root");
    }
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    let service = address(&lab, "get svc hello-server -o jsonpath={.spec.clusterIP}");
    let blocked = lab.process("app=not-hello");
    wait_for("the policy", || hangs(blocked, service).then_some(()));
    let probe = std::thread::spawn(move || {
        // Without a pause: new pods come and go meanwhile.
        inside(blocked, move || {
            let tries =
                (0..400).map(|_| TcpStream::connect_timeout(&service, Duration::from_millis(20)));
            tries.flatten().count()
        })
    });
    for _ in 0..3 {
        let _ = lab.kubectl("delete pod -l app=hello-server --grace-period=1");
        let _ = lab.kubectl("rollout status deploy/hello-server --timeout=30s");
    }
    assert_eq!(probe.join().unwrap(), 0);
}

#[test]
fn a_container_cannot_change_its_own_rules_nor_the_machines_files() {
    const NAME: &str = "a_container_cannot_change_its_own_rules";
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let pid = lab.process("app=hello");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_field(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(status_field(pid, "NoNewPrivs"), "1");
    if geteuid().is_root() {
        assert_eq!(status_field(pid, "Uid"), "9999\t9999\t9999\t9999");
    } else {
        skip(NAME, "runAsUser is honoured only by root's lab; the rest of the test ran");
    }
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().starts_with("ro"), "{root}");
}
