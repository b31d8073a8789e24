//! What `exec` and `attach` have in common: a client's streams on one side, a process's on the other.

mod client;

use std::process::ExitStatus;

use axum::http::Uri;
use axum::http::header::HeaderMap;
use bytes::Bytes;
use hello_common::exit;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

pub(super) use self::client::{Client, upgrade};
use self::client::{Incoming, STDERR, STDOUT};
use super::long_query;
use crate::kubelet::attach::{Attached, Follower, Output};
use crate::kubelet::exec::{Container, Further};
use crate::kubelet::sandbox::Process;
use crate::kubelet::terminal::Terminal;

/// The query of such a request, in which a name may come several times.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(uri: &Uri, headers: &HeaderMap) -> Self {
        let query = long_query::query(uri, headers);
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.clone()).collect()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|pair| pair.0 == name && matches!(pair.1.as_str(), "true" | "1"))
    }

    /// The container that is meant; empty where none is named.
    pub(super) fn container(&self) -> String {
        self.all("container").into_iter().next().unwrap_or_default()
    }
}

/// Which streams a client has (`v1.PodExecOptions`, `v1.PodAttachOptions`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the API's")]
pub(super) struct Wanted {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Wanted {
    pub(super) fn read(query: &Query) -> Self {
        let tty = query.flag("tty");
        Self {
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            // A terminal is both.
            stderr: query.flag("stderr") && !tty,
            tty,
        }
    }
}

/// What a client talks to.
pub(super) struct Session {
    output: Source,
    input: Sink,
    terminal: Option<std::sync::Arc<Terminal>>,
}

/// Where output comes from.
enum Source {
    /// A process of the session's own, which ends with it.
    Process(Box<Own>),
    /// A container's main process.
    Container(Follower),
}

/// A process of the session's own.
struct Own {
    container: Container,
    process: Process,
    stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    ended: Option<ExitStatus>,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Where input goes to.
enum Sink {
    Nowhere,
    Process(Box<dyn AsyncWrite + Send + Unpin>),
    Container(mpsc::Sender<Bytes>),
}

/// What comes from a process.
enum Said {
    Output(u8, Bytes),
    /// It has ended, and this is what the client is told.
    End(Value),
}

impl Session {
    /// That of a further process in `container`.
    pub(super) fn of_process(further: Further, container: Container, wanted: Wanted) -> Self {
        let Further { process, stdin, stdout, stderr, terminal } = further;
        let own = Own {
            container,
            process,
            stdout: stdout.filter(|_| wanted.stdout),
            stderr: stderr.filter(|_| wanted.stderr),
            ended: None,
            out: vec![0; 16 * 1024],
            err: vec![0; 16 * 1024],
        };
        Self {
            output: Source::Process(Box::new(own)),
            input: stdin.filter(|_| wanted.stdin).map_or(Sink::Nowhere, Sink::Process),
            terminal: terminal.map(Into::into),
        }
    }

    /// That of a container's main process.
    pub(super) fn of_container(attached: Attached) -> Self {
        let Attached { output, input, terminal } = attached;
        Self {
            output: Source::Container(output),
            input: input.map_or(Sink::Nowhere, Sink::Container),
            terminal,
        }
    }

    /// Passes on what is said, until there is no more, or the client has gone.
    pub(super) async fn run(mut self, mut client: Client, wanted: Wanted) {
        // What the process has not read yet. Until then no more is taken from the client, and what
        // the process says is passed on all the same.
        let mut unread = Bytes::new();
        let status = loop {
            tokio::select! {
                said = self.output.next() => match said {
                    Said::Output(STDOUT, _) if !wanted.stdout => {}
                    Said::Output(STDERR, _) if !wanted.stderr => {}
                    Said::Output(stream, bytes) => _ = client.send(stream, bytes).await,
                    Said::End(status) => break Some(status),
                },
                written = self.input.write(&unread), if !unread.is_empty() => match written {
                    0 => (self.input, unread) = (Sink::Nowhere, Bytes::new()),
                    length => drop(unread.split_to(length)),
                },
                incoming = client.next(), if unread.is_empty() => match incoming {
                    Incoming::Stdin(bytes) => if !matches!(self.input, Sink::Nowhere) {
                        unread = bytes;
                    },
                    // A terminal's end is a character that the client has sent, if any.
                    Incoming::StdinEnd => if self.terminal.is_none() {
                        self.input = Sink::Nowhere;
                    },
                    Incoming::Resize(columns, rows) => if let Some(terminal) = &self.terminal {
                        // A terminal that nobody has needs no size.
                        let _ = terminal.resize(columns, rows);
                    },
                    Incoming::Gone => break None,
                },
            }
        };
        match status {
            Some(status) => client.end(&status).await,
            None => self.output.give_up().await,
        }
    }
}

impl Source {
    /// What is said next. May be dropped and called again.
    async fn next(&mut self) -> Said {
        match self {
            Self::Process(own) => own.next().await,
            Self::Container(follower) => match follower.next().await {
                Some((Output::Stdout, bytes)) => Said::Output(STDOUT, bytes),
                Some((Output::Stderr, bytes)) => Said::Output(STDERR, bytes),
                // How it ended is in the pod's status.
                None => Said::End(success()),
            },
        }
    }

    /// The client has gone: its process goes too, and a container's does not.
    async fn give_up(&mut self) {
        if let Self::Process(own) = self {
            own.process.kill().await;
        }
    }
}

impl Own {
    async fn next(&mut self) -> Said {
        let Self { container, process, stdout, stderr, ended, out, err } = self;
        loop {
            if let (Some(ended), None, None) = (&ended, &stdout, &stderr) {
                return Said::End(status(*ended));
            }
            tokio::select! {
                length = read(stdout, out) => match length {
                    0 => *stdout = None,
                    length => return Said::Output(STDOUT, Bytes::copy_from_slice(&out[..length])),
                },
                length = read(stderr, err) => match length {
                    0 => *stderr = None,
                    length => return Said::Output(STDERR, Bytes::copy_from_slice(&err[..length])),
                },
                status = process.wait(), if ended.is_none() => match status {
                    Ok(status) => *ended = Some(status),
                    Err(error) => {
                        let message = format!("nobody knows how the process ended: {error}");
                        return Said::End(failure("InternalError", &message, json!({})));
                    }
                },
                () = container.ended() => {
                    process.kill().await;
                    return Said::End(failure("InternalError", "the container has ended", json!({})));
                }
            }
        }
    }
}

impl Sink {
    /// How many of the bytes it takes; 0 where it takes no more.
    async fn write(&mut self, bytes: &Bytes) -> usize {
        match self {
            Self::Nowhere => 0,
            Self::Process(stdin) => stdin.write(bytes).await.unwrap_or(0),
            Self::Container(sender) => match sender.reserve().await {
                Ok(place) => {
                    place.send(bytes.clone());
                    bytes.len()
                }
                Err(_) => 0,
            },
        }
    }
}

/// The next bytes of a stream; 0 at its end; never, where there is none.
async fn read(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

fn status(ended: ExitStatus) -> Value {
    match exit::number(ended) {
        0 => success(),
        code => failure(
            "NonZeroExitCode",
            &format!("command terminated with non-zero exit code: exit status {code}"),
            json!({"causes": [{"reason": "ExitCode", "message": code.to_string()}]}),
        ),
    }
}

/// What a client is told whose process did not run, or not to its end.
pub(super) fn failure(reason: &str, message: &str, details: Value) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": reason, "message": message,
        "details": details, "code": 500,
    })
}
