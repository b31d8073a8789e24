//! The client's side: the same streams over a WebSocket (`v5.channel.k8s.io`,
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#websockets>), or over SPDY
//! (`v4.channel.k8s.io`, k8s.io/kubelet/pkg/cri/streaming/remotecommand), which kubectl before 1.31 and
//! client-go's `NewSPDYExecutor` speak.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::header::{UPGRADE, USER_AGENT};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use tracing::Instrument;

use super::Wanted;
use crate::api::error::ApiError;
use crate::api::spdy::{self, Connection, FAREWELL, Stream};

const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// The size of the client's window, as JSON (client-go's `remotecommand.TerminalSize`).
const RESIZE: u8 = 4;
/// The stream that the second octet names has ended.
const CLOSE: u8 = 255;

const WEB_SOCKET_PROTOCOLS: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", FIRST];
/// The first of them, in which only a failure is told, and in words.
const FIRST: &str = "channel.k8s.io";
const SPDY_PROTOCOL: &str = "v4.channel.k8s.io";

/// How long a client may take to open its streams (`DefaultStreamCreationTimeout`).
const OPENING: Duration = Duration::from_secs(30);

/// What a client that reads too early gets from its first answer on.
const HEAD_START: Duration = Duration::from_millis(20);

/// So long a size of a window is read.
const LONGEST_SIZE: usize = 1 << 10;

/// A client that is connected.
pub(in crate::api) enum Client {
    /// Each message begins with the number of its stream.
    WebSocket(Box<WebSocketClient>),
    /// A stream each.
    Spdy(Box<SpdyClient>),
}

/// A client that speaks over a WebSocket.
pub(in crate::api) struct WebSocketClient {
    socket: WebSocket,
    /// What it said before it was asked.
    first: Option<Message>,
}

/// A client that speaks SPDY.
pub(in crate::api) struct SpdyClient {
    connection: Connection,
    error: Stream,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
    /// The beginning of a size.
    size: Vec<u8>,
}

/// What a client says.
pub(super) enum Incoming {
    Stdin(Bytes),
    StdinEnd,
    /// Columns and rows.
    Resize(u16, u16),
    Gone,
}

/// Answers a request that is to become a client with these streams, which `serve` then has.
pub(in crate::api) async fn upgrade<F>(
    parts: &mut Parts,
    wanted: Wanted,
    serve: impl FnOnce(Client) -> F + Send + 'static,
) -> Result<Response, ApiError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let to = parts.headers.get(UPGRADE).and_then(|to| to.to_str().ok()).unwrap_or_default();
    if to.eq_ignore_ascii_case("websocket") {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
        let upgrade = upgrade.map_err(|error| ApiError::BadRequest(error.to_string()))?;
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let early = agent.is_some_and(reads_too_early);
        return Ok(upgrade.protocols(WEB_SOCKET_PROTOCOLS).on_upgrade(async move |socket| {
            let client = WebSocketClient::open(socket, early).await;
            serve(Client::WebSocket(Box::new(client))).await;
        }));
    }
    let (response, connection) = spdy::upgrade(parts, &[SPDY_PROTOCOL])?;
    let client = async move {
        let Some(connection) = connection.await else { return };
        match tokio::time::timeout(OPENING, SpdyClient::open(connection, wanted)).await {
            Ok(Some(client)) => serve(Client::Spdy(Box::new(client))).await,
            Ok(None) => tracing::debug!("the client has gone before it had its streams"),
            Err(_) => tracing::debug!("the client has not opened its streams within {OPENING:?}"),
        }
    };
    tokio::spawn(client.in_current_span());
    Ok(response)
}

impl Client {
    /// Sends bytes of a stream. Whether the client is still there.
    pub(super) async fn send(&mut self, stream: u8, bytes: Bytes) -> bool {
        match self {
            Self::WebSocket(client) => {
                let message = Bytes::from([&[stream], &bytes[..]].concat());
                client.socket.send(Message::Binary(message)).await.is_ok()
            }
            Self::Spdy(client) => {
                let stream = if stream == STDOUT { &client.stdout } else { &client.stderr };
                match stream {
                    Some(stream) => stream.write(bytes).await,
                    None => true,
                }
            }
        }
    }

    /// What the client says next. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Incoming {
        match self {
            Self::WebSocket(client) => loop {
                match client.recv().await {
                    Some(Ok(Message::Binary(bytes))) => match &bytes[..] {
                        [STDIN, _, ..] => return Incoming::Stdin(bytes.slice(1..)),
                        [CLOSE, STDIN] => return Incoming::StdinEnd,
                        [RESIZE, size @ ..] => {
                            if let Some((columns, rows)) = window(size) {
                                return Incoming::Resize(columns, rows);
                            }
                        }
                        _ => {}
                    },
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Incoming::Gone,
                    Some(Ok(_)) => {}
                }
            },
            Self::Spdy(client) => client.next().await,
        }
    }

    /// Tells how it ended, and ends the connection.
    pub(in crate::api) async fn end(self, status: &Value) {
        let failure = (status["status"] != "Success")
            .then(|| status["message"].as_str().unwrap_or_default().to_owned());
        let status = Bytes::from(status.to_string());
        match self {
            Self::WebSocket(client) => {
                let mut socket = client.socket;
                let said = if socket.protocol().is_some_and(|protocol| protocol == FIRST) {
                    failure.map(Bytes::from)
                } else {
                    Some(status)
                };
                if let Some(said) = said {
                    let message = Bytes::from([&[ERROR], &said[..]].concat());
                    // Who has gone needs no end.
                    let _ = socket.send(Message::Binary(message)).await;
                }
                // Without a code, clients take the end for an accident.
                let close = CloseFrame { code: close_code::NORMAL, reason: "".into() };
                let _ = socket.send(Message::Close(Some(close))).await;
                let gone = async { while let Some(Ok(_)) = socket.recv().await {} };
                // Who has not gone by then loses what it has not read.
                let _ = tokio::time::timeout(FAREWELL, gone).await;
            }
            Self::Spdy(client) => {
                for stream in [&client.stdout, &client.stderr].into_iter().flatten() {
                    stream.finish().await;
                }
                client.error.write(status).await;
                client.error.finish().await;
                client.connection.end().await;
            }
        }
    }
}

impl WebSocketClient {
    /// Waits until the client can be spoken to.
    async fn open(mut socket: WebSocket, reads_too_early: bool) -> Self {
        let first = if reads_too_early { Self::first_words(&mut socket).await } else { None };
        Self { socket, first }
    }

    /// What a client says before its head start is over. That it reads can be asked; that it has its streams
    /// cannot, unless it says something.
    async fn first_words(socket: &mut WebSocket) -> Option<Message> {
        // Who has gone is found gone by who reads.
        let _ = socket.send(Message::Ping(Bytes::new())).await;
        match socket.recv().await?.ok()? {
            Message::Pong(_) => {
                let next = tokio::time::timeout(HEAD_START, socket.recv());
                next.await.ok().flatten().and_then(Result::ok)
            }
            said => Some(said),
        }
    }

    /// Its next message; none when it has gone. May be dropped and called again.
    async fn recv(&mut self) -> Option<Result<Message, axum::Error>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.socket.recv().await,
        }
    }
}

impl SpdyClient {
    /// Waits until the client has opened as many streams as it wants; none when it goes before that. Which
    /// they are is its own business, as to a kubelet (`waitStreams`): there are clients that ask for a
    /// terminal and open a stream for standard error in the place of one for its size.
    async fn open(mut connection: Connection, wanted: Wanted) -> Option<Self> {
        let Wanted { stdin, stdout, stderr, tty } = wanted;
        let kinds = ["error", "stdin", "stdout", "stderr", "resize"];
        let count = [true, stdin, stdout, stderr, tty].into_iter().filter(|one| *one).count();
        let mut streams: [Option<Stream>; 5] = [const { None }; 5];
        while streams.iter().flatten().count() < count {
            let stream = connection.accept().await?;
            let kind = stream.headers.get("streamtype").map(String::as_str).unwrap_or_default();
            if let Some(place) = kinds.iter().position(|name| *name == kind) {
                streams[place] = Some(stream);
            }
        }
        let [error, stdin, stdout, stderr, resize] = streams;
        Some(Self { connection, error: error?, stdin, stdout, stderr, resize, size: Vec::new() })
    }

    /// The size that is told last, one in each line, as Go's JSON encoder writes them.
    fn resized(&mut self, bytes: &[u8]) -> Option<(u16, u16)> {
        self.size.extend(bytes);
        let end = self.size.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.size.drain(..end).collect();
        self.size.truncate(LONGEST_SIZE);
        whole.rsplit(|octet| *octet == b'\n').find_map(window)
    }

    async fn next(&mut self) -> Incoming {
        loop {
            tokio::select! {
                bytes = read(&mut self.stdin) => {
                    let Some(bytes) = bytes else {
                        self.stdin = None;
                        return Incoming::StdinEnd;
                    };
                    return Incoming::Stdin(bytes);
                }
                bytes = read(&mut self.resize) => match bytes {
                    Some(bytes) => if let Some((columns, rows)) = self.resized(&bytes) {
                        return Incoming::Resize(columns, rows);
                    },
                    None => self.resize = None,
                },
                stream = self.connection.accept() => if stream.is_none() {
                    return Incoming::Gone;
                },
            }
        }
    }
}

/// The next bytes of a stream; never, where there is none.
async fn read(stream: &mut Option<Stream>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.read().await,
        None => std::future::pending().await,
    }
}

/// Whether this is kubectl 1.30 to 1.33: they read while they still make their streams, and throw away what comes
/// for one that they have not made, which is the first bytes of a program that is quick
/// (<https://github.com/kubernetes/kubernetes/pull/131203>).
fn reads_too_early(user_agent: &str) -> bool {
    let minor = user_agent.strip_prefix("kubectl/v1.").and_then(|rest| rest.split('.').next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| (30..34).contains(&minor))
}

/// Columns and rows of `{"Width": 80, "Height": 24}`.
fn window(json: &[u8]) -> Option<(u16, u16)> {
    let size: Value = serde_json::from_slice(json).ok()?;
    let number = |name: &str| u16::try_from(size[name].as_u64()?).ok();
    Some((number("Width")?, number("Height")?))
}

#[cfg(test)]
mod tests {
    use super::reads_too_early;

    #[test]
    fn kubectl_1_30_to_1_33_get_a_head_start() {
        for early in
            ["kubectl/v1.30.0 (linux/amd64) kubernetes/7c48c2b", "kubectl/v1.33.12-eks (x)"]
        {
            assert!(reads_too_early(early), "{early}");
        }
        for late in ["kubectl/v1.29.15 (x)", "kubectl/v1.34.0 (x)", "kubectl/v1", "curl/8", ""] {
            assert!(!reads_too_early(late), "{late}");
        }
    }
}
