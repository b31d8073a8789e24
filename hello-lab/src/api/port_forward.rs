//! `kubectl port-forward`: connections into a pod, over SPDY (`portforward.k8s.io`), which kubectl since 1.31
//! puts into a WebSocket (k8s.io/apiserver/pkg/util/proxy, `TunnelingHandler`).
//!
//! Each has two streams: its data, and what went wrong with it. As a kubelet's they come from the pod's own
//! loopback address, which no policy is about.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument;

use super::call::Api;
use super::error::ApiError;
use super::spdy::{self, Connection, FAREWELL, Stream};
use crate::kubelet::exec::Container;
use crate::objects::Object;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// How long a pod may go on with its answer once its client has ended its half, or a client once its pod has:
/// as socat and containerd (`PortForward` of `internal/cri/server/sandbox_portforward_linux.go`) have it. A client
/// that went away in the middle of a download says no more than that, and reads nothing.
const OTHER_HALF: Duration = Duration::from_millis(500);

/// So much is read at once.
const PIECE: usize = 16 << 10;

/// Answers `…/pods/NAME/portforward`.
pub(super) async fn start(api: &Api, mut parts: Parts, pod: &Object) -> Result<Response, ApiError> {
    let container = api.containers.any(pod.uid()).ok_or_else(|| {
        ApiError::BadRequest(format!("no container of pod {:?} runs", pod.name()))
    })?;
    let to = parts.headers.get(UPGRADE).and_then(|to| to.to_str().ok()).unwrap_or_default();
    if to.eq_ignore_ascii_case("websocket") {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
        let upgrade = upgrade.map_err(|error| ApiError::BadRequest(error.to_string()))?;
        return Ok(upgrade.protocols([TUNNEL]).on_upgrade(async move |socket| {
            let (near, far) = duplex(64 << 10);
            tokio::join!(tunnel(socket, near), serve(spdy::serve(far), container));
        }));
    }
    let (response, connection) = spdy::upgrade(&parts, &[PROTOCOL])?;
    let serving = async move {
        if let Some(connection) = connection.await {
            serve(connection, container).await;
        }
    };
    tokio::spawn(serving.in_current_span());
    Ok(response)
}

/// Carries what is in a WebSocket's messages to `near`, and back, until either has ended. Neither way waits
/// for the other.
async fn tunnel(socket: WebSocket, near: DuplexStream) {
    let (mut to_client, mut from_client) = socket.split();
    let (mut from_spdy, mut to_spdy) = tokio::io::split(near);
    let inwards = async {
        while let Some(Ok(message)) = from_client.next().await {
            match message {
                Message::Binary(bytes) if to_spdy.write_all(&bytes).await.is_err() => return,
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let outwards = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = from_spdy.read(&mut buffer).await {
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            if to_client.send(Message::Binary(bytes)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = inwards => {}
        () = outwards => {}
    }
    // Who has gone needs no end.
    let _ = to_client.send(Message::Close(None)).await;
    let gone = async { while let Some(Ok(_)) = from_client.next().await {} };
    // Who has not gone by then loses what it has not read.
    let _ = timeout(FAREWELL, gone).await;
}

/// Serves a client until it has gone; its connections end with it.
async fn serve(mut connection: Connection, container: Container) {
    let mut connections = JoinSet::new();
    let mut alone: HashMap<String, Stream> = HashMap::new();
    loop {
        let stream = tokio::select! {
            stream = connection.accept() => stream,
            () = container.ended() => break,
        };
        let Some(stream) = stream else { break };
        while connections.try_join_next().is_some() {}
        let header = |name: &str| stream.headers.get(name).cloned().unwrap_or_default();
        let (request, kind) = (header("requestid"), header("streamtype"));
        match alone.remove(&request) {
            None => _ = alone.insert(request, stream),
            Some(other) => {
                let (error, data) = if kind == "error" { (stream, other) } else { (other, stream) };
                let container = container.clone();
                connections.spawn(async move { forward(&container, error, data).await });
            }
        }
    }
    connection.end().await;
}

/// One connection.
async fn forward(container: &Container, error: Stream, data: Stream) {
    let port = data.headers.get("port").map(String::as_str).unwrap_or_default();
    let connected = match port.parse::<u16>() {
        Ok(port) if port > 0 => container.connect(port).await,
        _ => {
            error.write(format!("{port:?} is no port").into()).await;
            error.finish().await;
            data.finish().await;
            return;
        }
    };
    match connected {
        Ok(socket) => copy(socket, error, data).await,
        Err(cause) => {
            let message = format!("failed to connect to localhost:{port} inside the pod: {cause}");
            error.write(message.into()).await;
            error.finish().await;
            data.finish().await;
        }
    }
}

/// Copies both ways, until each has ended. Neither waits for the other: kubectl before 1.30 keeps its half open
/// until both streams from here have ended.
async fn copy(socket: TcpStream, error: Stream, data: Stream) {
    let (mut from_pod, mut to_pod) = socket.into_split();
    let (mut from_client, to_client) = data.split();
    let inwards = async {
        while let Some(bytes) = from_client.recv().await {
            if to_pod.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // Who reads no more needs no end.
        let _ = to_pod.shutdown().await;
    };
    let outwards = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = from_pod.read(&mut buffer).await {
            if !to_client.write(Bytes::copy_from_slice(&buffer[..length])).await {
                return;
            }
        }
    };
    tokio::pin!(inwards, outwards);
    let client_first = tokio::select! {
        () = &mut inwards => true,
        () = &mut outwards => false,
    };
    if client_first {
        // Cut off as above.
        let _ = timeout(OTHER_HALF, outwards).await;
    }
    to_client.finish().await;
    error.finish().await;
    if !client_first {
        let _ = timeout(OTHER_HALF, inwards).await;
    }
}
