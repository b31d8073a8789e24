//! Accepts connections and, when told to stop, drains them.
//!
//! The stop has three parts, because a Service's endpoints learn of it late: `/readyz` turns
//! 503 while new connections are still served; then no more are accepted and those under way
//! finish; at the deadline what is left is cut off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::app::Readiness;

/// Bounds of a server's life.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// New connections are served this long after the signal.
    pub drain_delay: Duration,
    /// Requests under way may take this long after the drain delay.
    pub drain_timeout: Duration,
    /// A client may take this long to send a request's headers.
    pub header_timeout: Duration,
    /// Connections served at once.
    pub max_connections: u32,
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every request was answered.
    Drained,
    /// Connections were open at the deadline and were cut off.
    CutOff,
}

/// Serves `app` on `listener` until `stop` resolves and the connections are drained.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    readiness: Readiness,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Ended {
    let connections = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.max_connections as usize));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);

    let accepting = async {
        loop {
            // The slot comes first: over the cap a connection waits in the kernel's queue.
            let slot = Arc::clone(&slots).acquire_owned().await.expect("never closed");
            let stream = accept(&listener).await;
            let service = TowerToHyperService::new(app.clone());
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection ended: {error}");
                }
                drop(slot);
            });
        }
    };
    let stopping = async {
        stop.await;
        readiness.drain();
        tracing::info!("draining for {:?}", limits.drain_delay);
        sleep(limits.drain_delay).await;
    };
    tokio::select! {
        () = accepting => unreachable!("accepting never ends by itself"),
        () = stopping => drop(listener),
    }
    // Hyper's graceful shutdown waits for ever on a first request that never completes.
    match timeout(limits.drain_timeout, connections.shutdown()).await {
        Ok(()) => Ended::Drained,
        Err(_) => Ended::CutOff,
    }
}

/// Accepts one connection; errors of one peer, or of a full table of files, only delay it.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!("cannot set TCP_NODELAY: {error}");
                }
                return stream;
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::warn!("cannot accept a connection for now: {error}");
                // The kernel cannot tell when a file descriptor is free again.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::app::{Greeting, router};

    const LIMITS: Limits = Limits {
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_millis(200),
        header_timeout: Duration::from_millis(200),
        max_connections: 8,
    };

    fn start(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<Ended>) {
        let listener = crate::listen::listen(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let readiness = Readiness::default();
        let app = router(Greeting::new("1", "a"), readiness.clone());
        let server = serve(listener, app, readiness, limits, async {
            let _ = stopped.await;
        });
        (address, stop, tokio::spawn(server))
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_idle_server_ends_when_told() {
        let (address, stop, server) = start(LIMITS);
        assert!(get(address, "/").await.contains("Hello, world!"));
        stop.send(()).unwrap();
        assert_eq!(server.await.unwrap(), Ended::Drained);
    }

    #[tokio::test]
    async fn while_draining_new_connections_are_served_and_told_that_it_is_not_ready() {
        let (address, stop, server) =
            start(Limits { drain_delay: Duration::from_secs(2), ..LIMITS });
        stop.send(()).unwrap();
        while !get(address, "/readyz").await.starts_with("HTTP/1.1 503") {}
        assert!(get(address, "/").await.starts_with("HTTP/1.1 200"));
        assert_eq!(server.await.unwrap(), Ended::Drained);
    }

    #[tokio::test]
    async fn a_partial_request_cannot_hold_up_the_end() {
        let (address, stop, server) =
            start(Limits { header_timeout: Duration::from_secs(60), ..LIMITS });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        assert!(get(address, "/").await.contains("Hello"));
        stop.send(()).unwrap();
        assert_eq!(server.await.unwrap(), Ended::CutOff);
    }

    #[tokio::test]
    async fn a_client_that_never_finishes_its_headers_is_dropped() {
        let (address, _stop, _server) = start(LIMITS);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }
}
