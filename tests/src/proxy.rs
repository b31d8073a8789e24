//! `kubectl proxy`: requests that are sent as they are, without what kubectl makes of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A proxy of an API server, which ends with it.
pub struct Proxy {
    process: Child,
    port: u16,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The body.
    pub body: String,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The body's type.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a str,
}

impl Proxy {
    /// Starts one with `kubectl`, a command for kubectl on the cluster.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(kubectl: &mut Command) -> Self {
        let mut process = kubectl
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl can be started");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says its port");
        let port = line.trim().rsplit(':').next().unwrap_or_default().parse();
        Self { process, port: port.expect("the proxy's port") }
    }

    /// Sends a request.
    ///
    /// # Panics
    ///
    /// When there is no answer within `patience`.
    #[must_use]
    pub fn send(&self, request: Request<'_>, patience: Duration) -> Answer {
        let Request { method, path, content_type, body } = request;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the proxy");
        stream.set_read_timeout(Some(patience)).expect("a time");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .expect("it can be sent");
        let mut answer = String::new();
        if let Err(error) = stream.read_to_string(&mut answer) {
            panic!("no answer to {method} {path} {body}: {error}");
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
        Answer { code, body: body.to_owned() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
