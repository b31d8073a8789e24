//! HTTP/1 as hello-server speaks it on a connection that is used more than once (RFC 9112).
#![allow(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use std::io::{Read, Write};
use std::net::Shutdown;

use end_to_end::server::Server;

/// Sends `requests` on one connection, ends it, and returns all that was answered.
fn answers(requests: &str) -> String {
    let server = Server::start(&["--access-log=false"]);
    let mut stream = server.connect();
    stream.write_all(requests.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    answers
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

const LAST: &str = "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_connection_is_kept_until_the_client_closes_it_or_says_so() {
    let kept = answers(&"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    assert_eq!(kept.matches(OK).count(), 3, "{kept}");
    let closed = answers(&(LAST.to_owned() + LAST));
    assert_eq!(closed.matches("ok\n").count(), 1, "{closed}");
    assert!(closed.to_lowercase().contains("connection: close"), "{closed}");
}

#[test]
fn an_older_client_is_answered_once_unless_it_asks_for_more() {
    let old = answers(&"GET / HTTP/1.0\r\n\r\n".repeat(2));
    assert_eq!(old.matches("Hello, world!").count(), 1, "{old}");
    let kept = answers(&"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".repeat(2));
    assert_eq!(kept.matches("Hello, world!").count(), 2, "{kept}");
}

#[test]
fn head_has_the_length_and_no_body_and_the_connection_goes_on() {
    let both = answers(&("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + LAST));
    let (head, rest) = both.split_once("\r\n\r\n").unwrap();
    let length = head.to_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(length.parse::<usize>().unwrap() > "Hello, world!".len(), "{head}");
    assert!(rest.starts_with(OK) && rest.ends_with("ok\n"), "{both}");
}

#[test]
fn a_body_is_never_taken_for_the_next_request() {
    // What is in the body must not be answered as a request of its own.
    let smuggled = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let plain = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
        smuggled.len()
    );
    for request in [plain, chunked] {
        let answers = answers(&(request + LAST));
        assert!(answers.starts_with(OK) && answers.contains("Hello, world!"), "{answers}");
        assert!(!answers.contains("hello_server_build_info"), "{answers}");
        // The next request is answered, or the client knows that it was not.
        let is_told = answers.to_lowercase().contains("connection: close");
        assert!(answers.ends_with("ok\n") || is_told, "{answers}");
    }
}

#[test]
fn two_lengths_that_differ_are_refused() {
    let answers = answers(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert!(answers.starts_with("HTTP/1.1 400 "), "{answers}");
}

#[test]
fn every_form_of_target_is_answered() {
    for target in ["/", "/a%20b?c=d", "http://example.com/path", "*"] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let answer = answers(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(answer.starts_with(OK) && answer.contains("Hello, world!"), "{target}: {answer}");
    }
}

#[test]
fn a_request_without_one_valid_host_is_refused_and_the_connection_goes_on() {
    for headers in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a:b\r\n", "Host: a/\r\n"]
    {
        let refused = answers(&format!("GET / HTTP/1.1\r\n{headers}\r\n{LAST}"));
        assert!(refused.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{headers}: {refused}");
        assert_eq!(
            (refused.matches(OK).count(), refused.matches("Hello").count()),
            (1, 0),
            "{refused}"
        );
    }
    for headers in ["Host: a:80\r\n", "Host: [::1]:80\r\n", "Host:\r\n", "host: a_b.svc\r\n"] {
        let taken = answers(&format!("GET / HTTP/1.1\r\n{headers}\r\n{LAST}"));
        assert_eq!(taken.matches(OK).count(), 2, "{headers}: {taken}");
    }
}
