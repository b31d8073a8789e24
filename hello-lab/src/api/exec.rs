//! `kubectl exec`: a process in a container, over a WebSocket
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#websockets>, `v5.channel.k8s.io`).
//!
//! Each message begins with the number of its stream.

use std::process::ExitStatus;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use hello_common::exit;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::call::Api;
use super::error::ApiError;
use super::path::Target;
use super::{log, long_query};
use crate::kubelet::exec::{Container, Further};
use crate::objects::{Key, Kind};
use crate::shim::Streams;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// The size of the client's window, as JSON (client-go's `remotecommand.TerminalSize`).
const RESIZE: u8 = 4;
/// The stream that the second octet names has ended.
const CLOSE: u8 = 255;

const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// What is asked for (`v1.PodExecOptions`).
struct Options {
    container: String,
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    streams: Streams,
}

impl Options {
    fn read(parts: &Parts) -> Result<Self, ApiError> {
        let query = long_query::query(&parts.uri, &parts.headers);
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let all = |name: &str| {
            pairs.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1.clone()).collect()
        };
        let flag = |name: &str| {
            pairs.iter().any(|pair| pair.0 == name && matches!(pair.1.as_str(), "true" | "1"))
        };
        let command: Vec<String> = all("command");
        if command.is_empty() {
            return Err(ApiError::BadRequest("you must specify at least 1 command".to_owned()));
        }
        let container: Vec<String> = all("container");
        Ok(Self {
            container: container.into_iter().next().unwrap_or_default(),
            command,
            stdin: flag("stdin"),
            stdout: flag("stdout"),
            stderr: flag("stderr"),
            streams: match (flag("tty"), flag("stdin")) {
                (true, _) => Streams::Terminal,
                (false, true) => Streams::All,
                (false, false) => Streams::Output,
            },
        })
    }
}

/// Answers `…/pods/NAME/exec`.
pub(super) async fn start(
    api: &Api,
    mut parts: Parts,
    target: &Target,
    name: &str,
) -> Result<Response, ApiError> {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let pod = api.store.get(&Key::new(Kind::Pod, namespace, name))?;
    let options = Options::read(&parts)?;
    let container = log::container(&pod, &options.container)?;
    let running = api.containers.get(pod.uid(), &container).ok_or_else(|| {
        ApiError::BadRequest(format!("container {container:?} in pod {name:?} does not run"))
    })?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|_| {
        ApiError::BadRequest(
            "exec is served over WebSocket alone: it needs kubectl 1.31 or later".to_owned(),
        )
    })?;
    Ok(upgrade.protocols(PROTOCOLS).on_upgrade(async move |socket| {
        let mut session = Session { socket };
        let status = match running.start(&options.command, options.streams).await {
            Ok(further) => session.run(further, &running, &options).await,
            Err(error) => {
                let error = anyhow::Error::from(error);
                Some(failure("InternalError", &format!("{error:#}"), json!({})))
            }
        };
        if let Some(status) = status {
            session.send(ERROR, status.to_string().as_bytes()).await;
        }
        // Without a code, clients take the end for an accident.
        let close = CloseFrame { code: close_code::NORMAL, reason: "".into() };
        let _ = session.socket.send(Message::Close(Some(close))).await;
    }))
}

/// A client that is connected.
struct Session {
    socket: WebSocket,
}

impl Session {
    /// Whether the client is still there to be told.
    async fn send(&mut self, stream: u8, bytes: &[u8]) -> bool {
        let message = Bytes::from([&[stream], bytes].concat());
        self.socket.send(Message::Binary(message)).await.is_ok()
    }

    /// Passes on what is said, until the process has ended; `None` when the client has gone.
    async fn run(
        &mut self,
        further: Further,
        container: &Container,
        options: &Options,
    ) -> Option<Value> {
        let Further { mut process, stdin, stdout, stderr, terminal } = further;
        let mut stdin = stdin.filter(|_| options.stdin);
        // What the process has not read yet. Until then no more is taken from the client, and what
        // the process says is passed on all the same.
        let mut unread = Bytes::new();
        let mut stdout = stdout.filter(|_| options.stdout);
        let mut stderr = stderr.filter(|_| options.stderr);
        let (mut out, mut err) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let mut ended = None;
        while ended.is_none() || stdout.is_some() || stderr.is_some() {
            tokio::select! {
                length = read(&mut stdout, &mut out) => match length {
                    0 => stdout = None,
                    length => { self.send(STDOUT, &out[..length]).await; }
                },
                length = read(&mut stderr, &mut err) => match length {
                    0 => stderr = None,
                    length => { self.send(STDERR, &err[..length]).await; }
                },
                status = process.wait(), if ended.is_none() => ended = status.ok(),
                () = container.ended() => {
                    process.kill().await;
                    return Some(failure("InternalError", "the container has ended", json!({})));
                }
                written = write(&mut stdin, &unread), if !unread.is_empty() => match written {
                    0 => (stdin, unread) = (None, Bytes::new()),
                    length => drop(unread.split_to(length)),
                },
                message = self.socket.recv(), if unread.is_empty() => match message {
                    Some(Ok(Message::Binary(bytes))) => match &bytes[..] {
                        [STDIN, _, ..] if stdin.is_some() => unread = bytes.slice(1..),
                        // A terminal's end is a character that the client has sent, if any.
                        [CLOSE, STDIN] if terminal.is_none() => stdin = None,
                        [RESIZE, size @ ..] => if let (Some(terminal), Some((columns, rows)))
                            = (&terminal, window(size))
                        {
                            // A terminal that nobody has needs no size.
                            let _ = terminal.resize(columns, rows);
                        },
                        _ => {}
                    },
                    Some(Ok(Message::Close(_)) | Err(_)) | None => {
                        process.kill().await;
                        return None;
                    }
                    Some(Ok(_)) => {}
                },
            }
        }
        ended.map(status)
    }
}

/// The next bytes of a stream; 0 at its end; never, where there is none.
async fn read(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// How many of the bytes a stream takes; 0 where it takes no more.
async fn write(stream: &mut Option<impl AsyncWrite + Unpin>, bytes: &[u8]) -> usize {
    match stream {
        Some(stream) => stream.write(bytes).await.unwrap_or(0),
        None => 0,
    }
}

/// Columns and rows of `{"Width": 80, "Height": 24}`.
fn window(json: &[u8]) -> Option<(u16, u16)> {
    let size: Value = serde_json::from_slice(json).ok()?;
    let number = |name: &str| u16::try_from(size[name].as_u64()?).ok();
    Some((number("Width")?, number("Height")?))
}

fn status(ended: ExitStatus) -> Value {
    match exit::number(ended) {
        0 => json!({"metadata": {}, "status": "Success"}),
        code => failure(
            "NonZeroExitCode",
            &format!("command terminated with non-zero exit code: exit status {code}"),
            json!({"causes": [{"reason": "ExitCode", "message": code.to_string()}]}),
        ),
    }
}

fn failure(reason: &str, message: &str, details: Value) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": reason, "message": message,
        "details": details, "code": 500,
    })
}
