//! The two workloads as programs: what they say, and how they end.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use end_to_end::server::{Ending, Server, get, request};
use end_to_end::{program, run};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

fn client(address: SocketAddr) -> Command {
    let mut client = Command::new(program("hello-client"));
    client.arg(format!("http://{address}"));
    client
}

#[test]
fn the_server_answers_logs_and_ends_on_sigterm() {
    let mut server = Server::start(&["--drain-delay", "0.1"]);
    let answer =
        server.ask("DELETE /any/path?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let body = format!("Hello, world!\nVersion: 1.0.0\nHostname: {hostname}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&body), "{answer}");
    let head = server.ask("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(server.line().unwrap().ends_with("Serving request: /any/path"));
    server.program.signal(Signal::SIGTERM);
    assert!(server.program.wait().success());
}

#[test]
fn a_json_log_line_is_what_cloud_logging_reads() {
    let mut server = Server::start(&["--log-format", "json", "--google-cloud-project", "p"]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let _ = server.ask(&format!(
        "GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\n\
         traceparent: 00-{trace}-00f067aa0ba902b7-01\r\nConnection: close\r\n\r\n"
    ));
    let line: serde_json::Value = serde_json::from_str(&server.line().unwrap()).unwrap();
    assert_eq!(line["severity"], "INFO");
    assert_eq!(line["message"], "Serving request: /x");
    assert_eq!(line["httpRequest"]["status"], 200);
    assert_eq!(line["httpRequest"]["requestMethod"], "GET");
    assert_eq!(line["httpRequest"]["remoteIp"], "127.0.0.1");
    assert_eq!(line["httpRequest"]["userAgent"], "test");
    assert!(line["httpRequest"]["latency"].as_str().unwrap().ends_with('s'));
    assert_eq!(line["logging.googleapis.com/trace"], format!("projects/p/traces/{trace}"));
    assert_eq!(line["logging.googleapis.com/spanId"], "00f067aa0ba902b7");
    assert_eq!(line["logging.googleapis.com/trace_sampled"], true);
}

#[test]
fn a_closed_log_does_not_end_the_server() {
    let (mut server, address) = Server::start(&["--drain-delay", "0"]).without_log();
    for _ in 0..20 {
        let answer = request(address, &get("/"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
}

#[test]
fn bad_arguments_are_exit_code_2_and_a_port_in_use_is_1() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let start = |args: &[&str]| run(Command::new(program("hello-server")).args(args), "");
    assert_eq!(start(&["--port", "http"]).status.code(), Some(2));
    assert_eq!(start(&["--drain-delay", "-1"]).status.code(), Some(2));
    let in_use = start(&["--host", "127.0.0.1", "--port", &port]);
    assert_eq!(in_use.status.code(), Some(1));
    assert!(in_use.stdout.contains(&format!("port {port} on 127.0.0.1 is in use")), "{in_use:?}");
    let from_environment = run(Command::new(program("hello-server")).env("PORT", "x"), "");
    assert_eq!(from_environment.status.code(), Some(2));
    let client =
        |args: &[&str]| run(Command::new(program("hello-client")).args(args), "").status.code();
    assert_eq!(client(&["https://a"]), Some(2));
    assert_eq!(client(&["--expect", "blocked"]), Some(2), "it needs --count");
}

#[test]
fn the_clients_exit_code_says_whether_the_expectation_held() {
    let server = Server::start(&[]);
    let address = server.address;
    let poll = |address, expect| {
        run(client(address).args(["--count", "2", "--interval", "0", "--expect", expect]), "")
    };
    let answered = poll(address, "allowed");
    assert!(answered.status.success());
    assert!(
        answered.stdout.starts_with("Hello, world!\nVersion: 1.0.0\nHostname: "),
        "{answered:?}"
    );
    assert!(answered.stderr.starts_with("polls=2 answered=2 timed_out=0"), "{answered:?}");
    assert_eq!(poll(address, "blocked").status.code(), Some(1));
    drop(server);

    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let refused = poll(closed, "blocked");
    assert!(refused.status.success());
    let line = "wget: can't connect to remote host (127.0.0.1): Connection refused\n";
    assert_eq!(refused.stdout, line.repeat(2));
}

#[test]
fn in_json_a_poll_names_its_outcome_and_phase() {
    // It accepts, in the kernel's queue, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let output =
        run(client(address).args(["--count", "1", "--timeout", "0.2", "--log-format", "json"]), "");
    let line: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(line["message"], "wget: download timed out");
    assert_eq!((&line["outcome"], &line["phase"]), (&"timed_out".into(), &"request".into()));
    assert_eq!(line["severity"], "WARNING");
    assert!(line["duration_ms"].as_u64().unwrap() >= 200, "{line}");
}

#[test]
fn the_client_ends_at_once_on_sigterm_while_a_connect_hangs() {
    // A queue of one that is full: the kernel drops every further SYN.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let short = Duration::from_millis(200);
    let queued: Vec<_> = (0..3).map(|_| TcpStream::connect_timeout(&address, short)).collect();
    assert!(queued.last().unwrap().is_err(), "the queue is full");

    let polling = client(address)
        .args(["--timeout", "60", "--count", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut polling = Ending(polling.unwrap());
    // Its SYN is on its way when /proc/net/tcp shows the socket in SYN_SENT (state 02).
    let port = format!("{:04X}", address.port());
    end_to_end::wait_for("the client's SYN", || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        sockets
            .lines()
            .any(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                fields.get(2).is_some_and(|to| to.ends_with(&port)) && fields.get(3) == Some(&"02")
            })
            .then_some(())
    });
    let start = Instant::now();
    polling.signal(Signal::SIGTERM);
    assert!(polling.wait().success());
    assert!(start.elapsed() < Duration::from_secs(10), "long before its time-out of 60 s");
}
