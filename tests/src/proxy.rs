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
    /// The status line and the headers.
    pub head: String,
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
            .args(["proxy", "--port=0", "--disable-filter=true"])
            .stderr(Stdio::null())
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
        self.send_with(request, &[], patience)
    }

    /// Sends a request with further headers. An `Authorization` goes to the API server in the place of the
    /// proxy's own (client-go's `bearerAuthRoundTripper` leaves one alone).
    ///
    /// # Panics
    ///
    /// When there is no answer within `patience`.
    #[must_use]
    pub fn send_with(
        &self,
        request: Request<'_>,
        headers: &[(&str, &str)],
        patience: Duration,
    ) -> Answer {
        self.try_send(request, headers, patience).unwrap_or_else(|error| {
            let Request { method, path, body, .. } = request;
            panic!("no answer to {method} {path} {body}: {error}")
        })
    }

    /// Sends a request, to which there may be no answer within `patience`.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn try_send(
        &self,
        request: Request<'_>,
        headers: &[(&str, &str)],
        patience: Duration,
    ) -> std::io::Result<Answer> {
        let Request { method, path, content_type, body } = request;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(patience))?;
        // HTTP/1.0, so that the answer comes in one piece.
        let mut head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n",
            body.len()
        );
        if !content_type.is_empty() {
            head.extend(["Content-Type: ", content_type, "\r\n"]);
        }
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        // Who refuses a large body may not read all of it.
        let written = write!(stream, "{head}\r\n{body}");
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        if answer.is_empty() {
            written?;
            read?;
        }
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| std::io::Error::other(format!("no HTTP: {answer:?}")))?;
        Ok(Answer { code, head: head.to_owned(), body: body.to_owned() })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
