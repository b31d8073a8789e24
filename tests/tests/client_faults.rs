//! What a network or a server may do to hello-client. Each poll ends in time, in the words of BusyBox, and
//! leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use end_to_end::server::{Ending, Server};
use end_to_end::{Output, PATIENCE, program, run, skip, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::SockRef;

/// A server on loopback that does to each connection, once a request came, what it is told.
fn server(with: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            with(stream);
        }
    });
    address
}

fn client(url: &str) -> Command {
    let mut client = Command::new(program("hello-client"));
    client.arg(url).args(["--interval", "0"]);
    client
}

fn poll(address: SocketAddr, args: &[&str]) -> Output {
    run(client(&format!("http://{address}")).args(["--count", "1"]).args(args), "")
}

#[test]
fn a_reset_in_the_middle_of_the_page_is_an_error_of_the_response() {
    let address = server(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nHello").unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let output = poll(address, &["--log-format", "json", "--expect", "blocked"]);
    assert!(output.status.success(), "{output:?}");
    let line: Value = serde_json::from_str(&output.stdout).unwrap();
    let message = line["message"].as_str().unwrap();
    assert!(message.starts_with("wget: error getting response: "), "{message}");
    assert_eq!(line["outcome"], "broken");
}

#[test]
fn a_page_without_end_is_cut_and_not_kept() {
    let address = server(|mut stream| {
        let page = vec![b'x'; 64 * 1024];
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        // A gigabyte, if it were taken.
        let _ = (0..16 * 1024).try_for_each(|_| stream.write_all(&page));
    });
    let output = poll(address, &["--timeout", "30"]);
    assert_eq!(output.stdout.trim_end().len(), 64 * 1024, "{}", output.stderr);
}

#[test]
fn a_page_that_drips_ends_in_a_time_out() {
    let address = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let output = poll(address, &["--timeout", "0.5"]);
    assert_eq!(output.stdout, "wget: download timed out\n");
}

#[test]
fn headers_without_end_are_an_error_and_not_kept() {
    let address = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        let header = vec![b'x'; 64 * 1024];
        let _ = (0..16 * 1024).try_for_each(|_| stream.write_all(&header));
    });
    let output = poll(address, &["--timeout", "30"]);
    assert!(output.stdout.starts_with("wget: error getting response: "), "{output:?}");
}

#[test]
fn what_is_not_http_is_an_error() {
    let address = server(|mut stream| drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\x1b[2J")));
    let output = poll(address, &[]);
    assert!(output.stdout.starts_with("wget: error getting response: "), "{output:?}");
    assert!(!output.stdout.contains('\x1b'), "{output:?}");
}

#[test]
fn a_server_on_ipv6_is_polled() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return skip("a_server_on_ipv6_is_polled", "this machine has no IPv6");
    };
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n").unwrap();
    });
    assert_eq!(address.ip(), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert_eq!(poll(address, &[]).stdout, "hi\n");
}

/// A client whose only name server is an address from which nothing ever comes back.
fn client_without_dns() -> Option<Command> {
    let script = "ip link set lo up && ip route add 192.0.2.1 dev lo && \
        mount -t tmpfs tmpfs /run && echo nameserver 192.0.2.1 > /run/resolv.conf && \
        mount --bind /run/resolv.conf /etc/resolv.conf && exec \"$@\"";
    let isolated = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", script, "sh"]);
        unshare.args(command);
        unshare
    };
    let works =
        isolated(&["true"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let client = program("hello-client");
    works.then(|| isolated(&[client.to_str().unwrap(), "http://hello-server:8080"]))
}

#[test]
fn a_name_server_that_never_answers_is_a_time_out_of_dns_and_holds_up_no_end() {
    let name = "a_name_server_that_never_answers_is_a_time_out_of_dns_and_holds_up_no_end";
    let Some(mut client) = client_without_dns() else {
        return skip(name, "no namespaces of network and mounts can be had here");
    };
    let args = ["--timeout", "0.5", "--interval", "0", "--log-format", "json"];
    let mut polling = Ending(client.args(args).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(polling.0.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["message"], "wget: download timed out");
        assert_eq!((&line["outcome"], &line["phase"]), (&"timed_out".into(), &"dns".into()));
    }
    let start = Instant::now();
    polling.signal(Signal::SIGTERM);
    assert!(polling.wait().success());
    assert!(start.elapsed() < Duration::from_secs(4), "the resolver itself would take 10 s");
}

#[test]
fn thousands_of_polls_leave_nothing_open_and_take_no_more_memory() {
    let server = Server::start(&["--access-log=false"]);
    let mut polling = client(&format!("http://{}", server.address))
        .args(["--log-format", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .map(Ending)
        .unwrap();
    let mut lines = BufReader::new(polling.0.stdout.take().unwrap()).lines();
    let files = format!("/proc/{}/fd", polling.0.id());
    let mut seen = Vec::new();
    for _ in 0..3 {
        for _ in 0..1000 {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert_eq!(line["outcome"], "answered");
        }
        seen.push((std::fs::read_dir(&files).unwrap().count(), polling.memory("VmRSS")));
    }
    polling.signal(Signal::SIGTERM);
    // What it still says is read, so that it is not the pipe that ends it.
    assert!(lines.all(|line| line.is_ok()));
    assert!(polling.wait().success());
    let (first, last) = (seen[0], seen[2]);
    // A poll under way has a socket.
    assert!(last.0 <= first.0 + 1, "{seen:?} open files, bytes");
    assert!(last.1 < first.1 + 512 * 1024, "{seen:?} open files, bytes");
}

/// The library of Debian's package faketime, by which a program sees another clock.
fn faketime() -> Option<&'static str> {
    [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists())
}

#[test]
fn a_clock_that_jumps_changes_no_time_out_and_no_duration() {
    let name = "a_clock_that_jumps_changes_no_time_out_and_no_duration";
    let Some(library) = faketime() else {
        return skip(name, "libfaketime is not installed (Debian: faketime)");
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let set = |offset: &str| {
        // Renamed, so that nobody reads half of it.
        let new = folder.path().join("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    set("+0");
    // It accepts, in the kernel's queue, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut polling = client(&format!("http://{}", silent.local_addr().unwrap()))
        .args(["--timeout", "1", "--log-format", "json"])
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .stdout(Stdio::piped())
        .spawn()
        .map(Ending)
        .unwrap();
    let mut lines = BufReader::new(polling.0.stdout.take().unwrap()).lines();
    let mut years = Vec::new();
    for offset in ["+0", "+3650d", "-3650d"] {
        set(offset);
        // One poll may be under way while the clock jumps, the next sees all of it.
        for _ in 0..2 {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert_eq!(line["outcome"], "timed_out");
            let duration = line["duration_ms"].as_u64().unwrap();
            assert!((1000..10_000).contains(&duration), "{line}");
            years.push(line["time"].as_str().unwrap()[..4].parse::<i32>().unwrap());
        }
    }
    assert!(years[3] >= years[1] + 9 && years[5] <= years[1] - 9, "the clock did jump: {years:?}");
    polling.signal(Signal::SIGTERM);
    assert!(polling.wait().success());
}

#[test]
fn jitter_lengthens_pauses_by_no_more_than_it_says() {
    let server = Server::start(&["--access-log=false"]);
    let url = format!("http://{}", server.address);
    let bad = run(client(&url).args(["--jitter", "-1"]), "");
    assert_eq!(bad.status.code(), Some(2));
    let start = Instant::now();
    let output = run(client(&url).args(["--count", "20", "--jitter", "0.05"]), "");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.contains("answered=20"), "{output:?}");
    // Twenty pauses that are all 0 are as likely as that many coins on their edges.
    assert!(start.elapsed() > Duration::from_millis(10) && start.elapsed() < PATIENCE);
    wait_for("its connections to be closed", || {
        (server.metric("hello_server_connections_open") == 1).then_some(())
    });
}
