//! The two workloads as programs: what they say, and how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use end_to_end::{program, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

/// A program that ends with its test, whatever becomes of that.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a free port of this machine, and where it is.
fn server(args: &[&str]) -> (Ending, SocketAddr, impl Iterator<Item = String>) {
    let mut server = Command::new(program("hello-server"))
        .args(["--host", "127.0.0.1", "--port", "0"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = server.stdout.take().unwrap();
    let server = Ending(server);
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let address = first.rsplit_once("listening on ").unwrap().1;
    let is_other = |char: char| !char.is_ascii_digit() && char != '.' && char != ':';
    let address = address.split(is_other).next().unwrap().parse().unwrap();
    (server, address, lines)
}

fn request(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn signal(child: &Ending, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.0.id()).unwrap()), signal).unwrap();
}

fn client(address: SocketAddr) -> Command {
    let mut client = Command::new(program("hello-client"));
    client.arg(format!("http://{address}"));
    client
}

#[test]
fn the_server_answers_logs_and_ends_on_sigterm() {
    let (mut server, address, mut lines) = server(&["--drain-delay", "0.1"]);
    let answer =
        request(address, "DELETE /any/path?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let body = format!("Hello, world!\nVersion: 1.0.0\nHostname: {hostname}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&body), "{answer}");
    let head = request(address, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(lines.next().unwrap().ends_with("Serving request: /any/path"));
    signal(&server, Signal::SIGTERM);
    assert!(server.0.wait().unwrap().success());
}

#[test]
fn a_json_log_line_is_what_cloud_logging_reads() {
    let (server, address, mut lines) = server(&["--log-format", "json"]);
    request(address, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(line["severity"], "INFO");
    assert_eq!(line["message"], "Serving request: /x");
    assert_eq!(line["httpRequest"]["status"], 200);
    assert_eq!(line["httpRequest"]["requestMethod"], "GET");
    signal(&server, Signal::SIGTERM);
}

#[test]
fn a_closed_log_does_not_end_the_server() {
    let (mut server, address, lines) = server(&["--drain-delay", "0"]);
    drop(lines);
    for _ in 0..20 {
        let answer = request(address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    signal(&server, Signal::SIGTERM);
    assert!(server.0.wait().unwrap().success());
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
    let (server, address, _lines) = server(&[]);
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
    signal(&server, Signal::SIGTERM);

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
    signal(&polling, Signal::SIGTERM);
    assert!(polling.0.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(10), "long before its time-out of 60 s");
}
