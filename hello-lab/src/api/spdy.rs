//! SPDY/3.1, as far as Kubernetes' streams need it: what `kubectl exec`, `attach` and `port-forward` speak
//! over an upgraded connection, and every Go client that makes a `remotecommand.NewSPDYExecutor`.
//!
//! The protocol: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>. Like the library that
//! clients use (moby/spdystream), it knows no flow control and no priorities; the client alone opens streams.

mod frame;
mod headers;

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use self::frame::{Frame, Reader, Writer};
use super::error::ApiError;

const UPGRADE: &str = "SPDY/3.1";

/// What is spoken in the streams.
const PROTOCOL: &str = "x-stream-protocol-version";

/// So many streams may be open at once; each connection through `port-forward` has two.
const MOST_STREAMS: usize = 512;

/// So many pieces of a stream wait for their reader; then no more is read of the connection.
const WAITING: usize = 16;

/// How long a client that has been told the end may take to go. What it still sends is thrown away: were the
/// connection closed before that, it could lose what was sent to it last (RFC 9112, 9.6).
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// A connection, seen by who serves it. When it is dropped, the connection ends.
pub(super) struct Connection {
    streams: mpsc::Receiver<Stream>,
    out: mpsc::Sender<Out>,
}

/// One stream that the client has opened.
pub(super) struct Stream {
    /// What it was opened with; names are in lower case.
    pub(super) headers: HashMap<String, String>,
    incoming: mpsc::Receiver<Bytes>,
    writer: StreamWriter,
}

/// The way back to the client of one stream.
pub(super) struct StreamWriter {
    id: u32,
    out: mpsc::Sender<Out>,
}

/// What is to be sent.
enum Out {
    Reply(u32),
    Refusal(u32),
    Data { id: u32, bytes: Bytes, last: bool },
    Pong(u32),
    End,
}

/// Answers a request to go on with SPDY, in the first of `protocols` that the client knows: the answer, and
/// the connection, unless the client goes before it begins.
pub(super) fn upgrade(
    parts: &Parts,
    protocols: &[&'static str],
) -> Result<(Response, impl Future<Output = Option<Connection>> + Send + use<>), ApiError> {
    let header = |name: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',').map(str::trim)).collect::<Vec<_>>()
    };
    let asked = header("upgrade").iter().any(|to| to.eq_ignore_ascii_case(UPGRADE));
    let on_upgrade = parts.extensions.get::<OnUpgrade>().cloned();
    let (true, Some(on_upgrade)) = (asked, on_upgrade) else {
        return Err(ApiError::BadRequest("Upgrade request required".to_owned()));
    };
    let known = header(PROTOCOL);
    let Some(protocol) = protocols.iter().find(|protocol| known.contains(protocol)) else {
        return Err(ApiError::Forbidden(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {known:?}, server accepts \
             {protocols:?}"
        )));
    };
    let headers = [("connection", "Upgrade"), ("upgrade", UPGRADE), (PROTOCOL, protocol)];
    let response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    let connection = async move {
        match on_upgrade.await {
            Ok(upgraded) => Some(serve(TokioIo::new(upgraded))),
            Err(error) => {
                tracing::debug!("the client has gone before it spoke SPDY: {error}");
                None
            }
        }
    };
    Ok((response, connection))
}

/// Serves a connection that has been upgraded.
pub(super) fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: S) -> Connection {
    let (read, write) = tokio::io::split(io);
    let (out, to_send) = mpsc::channel(WAITING);
    let (opened, streams) = mpsc::channel(WAITING);
    tokio::spawn(send(Writer::default(), write, to_send));
    tokio::spawn(receive(Reader::new(read), opened, out.clone()));
    Connection { streams, out }
}

impl Connection {
    /// The next stream that the client opens; none when it has gone.
    pub(super) async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Ends the connection, after all that has been written to its streams.
    pub(super) async fn end(self) {
        // Who has gone needs no end.
        let _ = self.out.send(Out::End).await;
    }
}

impl Stream {
    /// The next piece of what the client sends; none when there will be no more.
    pub(super) async fn read(&mut self) -> Option<Bytes> {
        self.incoming.recv().await
    }

    /// Sends some bytes. Whether the client is still there.
    pub(super) async fn write(&self, bytes: Bytes) -> bool {
        self.writer.write(bytes).await
    }

    /// Says that no more will be sent.
    pub(super) async fn finish(&self) {
        self.writer.finish().await;
    }

    /// What the client sends, and the way back.
    pub(super) fn split(self) -> (mpsc::Receiver<Bytes>, StreamWriter) {
        (self.incoming, self.writer)
    }
}

impl StreamWriter {
    /// Sends some bytes. Whether the client is still there.
    pub(super) async fn write(&self, bytes: Bytes) -> bool {
        self.out.send(Out::Data { id: self.id, bytes, last: false }).await.is_ok()
    }

    /// Says that no more will be sent.
    pub(super) async fn finish(&self) {
        let last = Out::Data { id: self.id, bytes: Bytes::new(), last: true };
        // Who has gone needs no end.
        let _ = self.out.send(last).await;
    }
}

/// Writes frames until the connection is to end, or cannot be written to.
async fn send<S: AsyncWrite>(
    mut frames: Writer,
    mut write: WriteHalf<S>,
    mut to_send: mpsc::Receiver<Out>,
) {
    while let Some(out) = to_send.recv().await {
        let is_end = matches!(out, Out::End);
        let bytes = match out {
            Out::Reply(id) => frames.reply(id),
            Out::Refusal(id) => Writer::refusal(id),
            Out::Pong(id) => Writer::pong(id),
            Out::End => Writer::end(),
            Out::Data { id, bytes, last } => Writer::data(id, &bytes, last),
        };
        let written = match bytes {
            Ok(bytes) => write.write_all(&bytes).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written.and(write.flush().await) {
            tracing::debug!("a client's streams cannot be written: {error}");
            return;
        }
        if is_end {
            break;
        }
    }
    // One that has gone already needs no end.
    let _ = write.shutdown().await;
}

/// Reads frames until the client has gone, or has been told the end and has had its time.
async fn receive<S: AsyncRead>(
    mut frames: Reader<ReadHalf<S>>,
    opened: mpsc::Sender<Stream>,
    out: mpsc::Sender<Out>,
) {
    let reading = async {
        let mut open: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
        loop {
            match frames.next().await? {
                None => return Ok(()),
                Some(Frame::Open { id, last, headers }) => {
                    open.retain(|_, stream| !stream.is_closed());
                    let answer =
                        if open.len() < MOST_STREAMS { Out::Reply(id) } else { Out::Refusal(id) };
                    let accepted = matches!(answer, Out::Reply(_));
                    let _ = out.send(answer).await;
                    if !accepted {
                        continue;
                    }
                    let (sender, incoming) = mpsc::channel(WAITING);
                    if !last {
                        open.insert(id, sender);
                    }
                    let writer = StreamWriter { id, out: out.clone() };
                    let stream = Stream { headers, incoming, writer };
                    // Who accepts none any more lets it end.
                    let _ = opened.send(stream).await;
                }
                Some(Frame::Data { id, bytes, last }) => {
                    if let Some(stream) = open.get(&id)
                        && !bytes.is_empty()
                    {
                        // One that nobody reads any more is thrown away.
                        let _ = stream.send(bytes).await;
                    }
                    if last {
                        open.remove(&id);
                    }
                }
                Some(Frame::Reset { id }) => _ = open.remove(&id),
                Some(Frame::Ping(id)) => _ = out.send(Out::Pong(id)).await,
                Some(Frame::Other) => {}
            }
        }
    };
    let told = async {
        // `End` is the last that is sent; then nobody takes anything any more.
        out.closed().await;
        tokio::time::sleep(FAREWELL).await;
        std::io::Result::Ok(())
    };
    let ended = tokio::select! {
        ended = reading => ended,
        ended = told => ended,
    };
    if let Err(error) = ended {
        tracing::debug!("a client's streams cannot be read: {error}");
    }
}

#[cfg(test)]
mod tests;
