//! What strangers may do to hello-server. After each: it serves, its memory is bounded, every request
//! that it took was answered or cleanly refused.
#![allow(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use end_to_end::server::{Server, connect, get, is_closed_within};
use end_to_end::{PATIENCE, program, run, skip, wait_for};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use socket2::SockRef;

/// More than the programs need at rest, and less than any of the floods would fill.
const MOST_MEMORY: u64 = 60 * 1024 * 1024;

const QUIET: &str = "--access-log=false";

/// That nothing was lost: it answers, it is small, it ends when it is told.
fn is_well(mut server: Server) {
    let answer = server.ask(&get("/"));
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Hello, world!"),
        "{answer}"
    );
    let memory = server.program.memory("VmHWM");
    assert!(memory < MOST_MEMORY, "{memory} bytes");
    server.program.signal(Signal::SIGTERM);
    assert!(server.program.wait().success());
}

fn closed(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("hello_server_connections_closed_total{{reason=\"{reason}\"}}"))
}

#[test]
fn clients_that_drip_headers_are_closed() {
    let server = Server::start(&[QUIET, "--header-timeout", "0.5"]);
    let mut dripping: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    for stream in &mut dripping {
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    }
    wait_for("the slow ones to be closed", || {
        for stream in &mut dripping {
            // Once closed it takes no more.
            let _ = stream.write_all(b"x");
        }
        (closed(&server, "slow_headers") == 200).then_some(())
    });
    is_well(server);
}

#[test]
fn clients_that_never_say_anything_are_closed() {
    let server = Server::start(&[QUIET, "--idle-timeout", "0.5"]);
    let mut silent: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    assert!(silent.iter_mut().all(|stream| is_closed_within(stream, PATIENCE)));
    wait_for("them to be counted", || (closed(&server, "idle") == 200).then_some(()));
    is_well(server);
}

#[test]
fn a_client_that_does_not_take_its_answers_is_closed() {
    let server = Server::start(&[QUIET, "--idle-timeout", "0.5", "--header-timeout", "0.5"]);
    let mut greedy = server.connect();
    greedy.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Requests until both ends' buffers are full of answers.
    let requests = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    while greedy.write_all(requests.as_bytes()).is_ok() {}
    wait_for("it to be closed", || {
        (server.metric("hello_server_connections_open") == 1).then_some(())
    });
    is_well(server);
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    const CONNECTIONS: u64 = 10_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = CONNECTIONS + 200;
    if hard < wanted {
        let why = format!("no more than {hard} files may be open here, and it needs {wanted}");
        return skip("ten_thousand_idle_connections_cost_little", &why);
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).unwrap();
    let server = Server::start(&[QUIET]);
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = server.connect();
        if number % 2 == 0 {
            // Half of them were of use once.
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = [0; 1024];
            assert!(stream.read(&mut answer).unwrap() > 0);
        }
        idle.push(stream);
    }
    wait_for("all of them", || {
        (server.metric("hello_server_connections_open") == CONNECTIONS + 1).then_some(())
    });
    drop(idle);
    is_well(server);
}

#[test]
fn more_clients_than_may_be_served_at_once_wait_their_turn() {
    let server = Server::start(&[QUIET, "--max-connections", "8"]);
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..10 {
                    if server.ask(&get("/")).contains("Hello, world!") {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(answered.into_inner(), 640);
    assert!(server.metric("hello_server_connections_deferred_total") > 0);
    is_well(server);
}

#[test]
fn what_is_not_http_is_refused() {
    let server = Server::start(&[QUIET]);
    let tls = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    let noise: Vec<u8> =
        (0..8192_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let garbage: [&[u8]; 7] = [
        &tls,
        &noise,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        // Unread bytes of the noise make the kernel reset what is closed.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    wait_for("all to be counted", || {
        // Of the one that ends in a method's name nobody knows what it would have been.
        let refused = closed(&server, "bad_request") + closed(&server, "broken");
        (refused == garbage.len() as u64).then_some(())
    });
    is_well(server);
}

#[test]
fn headers_without_end_are_refused_and_not_kept() {
    let server = Server::start(&[QUIET]);
    let refused = |request: &dyn Fn(&mut TcpStream) -> std::io::Result<()>| {
        let mut stream = server.connect();
        let _ = request(&mut stream);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(
            answer.is_empty()
                || answer.starts_with("HTTP/1.1 431 ")
                || answer.starts_with("HTTP/1.1 414 "),
            "{answer}"
        );
    };
    let long = "x".repeat(64 * 1024);
    for _ in 0..20 {
        refused(&|stream| {
            stream.write_all(b"GET / HTTP/1.1\r\nX: ")?;
            // 64 MiB, if it were taken.
            (0..1024).try_for_each(|_| stream.write_all(long.as_bytes()))
        });
        refused(&|stream| {
            stream.write_all(b"GET /")?;
            (0..1024).try_for_each(|_| stream.write_all(long.as_bytes()))
        });
        refused(&|stream| {
            stream.write_all(b"GET / HTTP/1.1\r\n")?;
            (0..10_000).try_for_each(|number| write!(stream, "X-{number}: y\r\n"))?;
            stream.write_all(b"\r\n")
        });
    }
    is_well(server);
}

#[test]
fn a_body_without_end_is_not_kept() {
    let server = Server::start(&[QUIET]);
    let mut stream = server.connect();
    let _ = stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n");
    let body = vec![b'x'; 1024 * 1024];
    for _ in 0..256 {
        if stream.write_all(&body).is_err() {
            break;
        }
    }
    is_well(server);
}

#[test]
fn clients_that_reset_in_the_middle_harm_nobody() {
    let server = Server::start(&[QUIET]);
    for part in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"] {
        for _ in 0..50 {
            let mut stream = server.connect();
            stream.write_all(part.as_bytes()).unwrap();
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    wait_for("their ends", || (server.metric("hello_server_connections_open") == 1).then_some(()));
    is_well(server);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let requests = (0..99).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let mut requests = requests.collect::<Vec<_>>().concat();
    requests += "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 100);
    assert_eq!(answers.matches("Hello, world!\n").count(), 99);
    assert!(answers.ends_with("\r\n\r\nok\n"), "{answers}");
    let mut server = server;
    for number in 0..99 {
        let line = server.line().unwrap();
        assert!(line.ends_with(&format!("Serving request: /{number}")), "{line}");
    }
    is_well(server);
}

#[test]
fn sigterm_under_load_loses_no_request_that_was_taken() {
    let mut server = Server::start(&[QUIET, "--drain-delay", "0.5"]);
    let address = server.address;
    let (answered, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for keep in [true, true, true, false, false, false] {
            let (answered, lost) = (&answered, &lost);
            scope.spawn(move || {
                let mut kept: Option<TcpStream> = None;
                loop {
                    let Ok(mut stream) =
                        kept.take().map_or_else(|| TcpStream::connect(address), Ok)
                    else {
                        // Refused: whoever asks now knows at once.
                        return;
                    };
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    match ask(&mut stream) {
                        Ok(answer) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            let is_last = answer.to_lowercase().contains("connection: close");
                            kept = (keep && !is_last).then_some(stream);
                        }
                        Err(error) => {
                            eprintln!("lost: {error}");
                            lost.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                    }
                }
            });
        }
        wait_for("load", || (answered.load(Ordering::Relaxed) > 1000).then_some(()));
        server.program.signal(Signal::SIGTERM);
        assert!(server.program.wait().success());
    });
    assert_eq!(lost.into_inner(), 0, "of {} answered", answered.into_inner());
}

/// One request, and the whole of its answer.
fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&buffer[..length]),
        }
        let text = String::from_utf8_lossy(&answer);
        // The greeting's last line is the hostname's.
        if text.contains("\r\n\r\n") && text.contains("Hostname: ") && text.ends_with('\n') {
            return Ok(text.into_owned());
        }
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut server = Server::start(&["--drain-delay", "0"]);
    let path = format!("/{}", "x".repeat(4000));
    let mut stream = server.connect();
    // 40 MB of lines, into a pipe of 64 KiB.
    let requests = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(100);
    let mut answers = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut count = 0;
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = answers.read(&mut buffer) {
            count += length;
        }
        count
    });
    for _ in 0..100 {
        stream.write_all(requests.as_bytes()).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(reading.join().unwrap() > 10_000 * "HTTP/1.1 200 OK\r\n".len());
    assert!(server.ask(&get("/")).contains("Hello, world!"));
    let memory = server.program.memory("VmHWM");
    assert!(memory < MOST_MEMORY, "{memory} bytes");
    server.program.signal(Signal::SIGTERM);
    assert!(server.program.wait().success());
    let dropped =
        std::iter::from_fn(|| server.line()).any(|line| line.ends_with("their reader is too slow"));
    assert!(dropped || server.program.0.try_wait().unwrap().is_some());
}

#[test]
fn a_flood_of_connections_that_come_and_go_leaves_nothing_open() {
    let server = Server::start(&[QUIET]);
    let files =
        || std::fs::read_dir(format!("/proc/{}/fd", server.program.0.id())).unwrap().count();
    assert!(server.ask(&get("/")).contains("Hello"));
    let before = files();
    for _ in 0..3000 {
        drop(connect(server.address));
    }
    wait_for("their ends", || (files() <= before).then_some(()));
    is_well(server);
}

#[test]
fn a_second_signal_ends_it_at_once_however_long_the_drain() {
    let mut server = Server::start(&[QUIET, "--drain-delay", "3600", "--drain-timeout", "3600"]);
    let _open = server.connect();
    server.program.signal(Signal::SIGTERM);
    wait_for("the drain", || server.ask(&get("/readyz")).starts_with("HTTP/1.1 503").then_some(()));
    server.program.signal(Signal::SIGTERM);
    assert!(server.program.wait().success());
    let said = std::iter::from_fn(|| server.line()).any(|line| line.contains("told twice to stop"));
    assert!(said);
}

#[test]
fn with_too_few_open_files_each_program_says_so_in_a_line() {
    let lines = [
        format!("exec {} --port 0 --host 127.0.0.1", program("hello-server").display()),
        format!("exec {} http://127.0.0.1:1 --count 1", program("hello-client").display()),
        format!("exec {} up --name few-files", program("hello-lab").display()),
    ];
    for line in lines {
        // Those that the shell itself needs, and some that a runtime would want.
        for most in 5..=9 {
            let limited = format!("ulimit -n {most} && {line}");
            let mut command = Command::new("timeout");
            let output = run(command.args(["10", "sh", "-c", &limited]), "");
            let said = output.stdout + &output.stderr;
            assert!(!output.status.success(), "{limited}: {said}");
            assert!(!said.contains("panicked"), "{limited}: {said}");
            let clear = said.contains("Too many open files") || said.contains("ulimit -n");
            assert!(clear, "{limited}: {said}");
        }
    }
}
