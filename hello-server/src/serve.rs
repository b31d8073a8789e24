//! Accepts connections and, when told to stop, drains them.
//!
//! The stop has three parts, because a Service's endpoints learn of it late: `/readyz` turns
//! 503 while new connections are still served; then no more are accepted and those under way
//! finish; at the deadline what is left is cut off.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::answer::Answers;
use crate::connection::{self, Closing, Patience};
use crate::listen::refuse_new;
use crate::metrics::Metrics;

/// The last of the drain delay: no more connections are made, and those that are being made are
/// served.
const LAST_CALL: Duration = Duration::from_millis(20);

/// Bounds of a server's life.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// New connections are served this long after the signal.
    pub drain_delay: Duration,
    /// Requests under way may take this long after the drain delay.
    pub drain_timeout: Duration,
    /// How long a client may take.
    pub patience: Patience,
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

/// Serves `answers` on `listener` until `stop` resolves and the connections are drained.
pub async fn serve(
    listener: TcpListener,
    answers: Arc<Answers>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Ended {
    let (close, closing) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(limits.max_connections as usize));
    let connections = Connections {
        slots: Arc::clone(&slots),
        patience: limits.patience,
        answers: &answers,
        closing,
    };
    let accepting = async {
        loop {
            // The slot comes first: over the cap a connection waits in the kernel's queue.
            let slot = connections.slot().await;
            let (stream, client) = accept(&listener, answers.metrics()).await;
            connections.serve(stream, client, slot);
        }
    };
    let stopping = async {
        stop.await;
        answers.readiness().drain();
        tracing::info!("draining for {:?}", limits.drain_delay);
        sleep(limits.drain_delay.saturating_sub(LAST_CALL)).await;
        // To close a listener resets whoever is in its queue, so no more may enter it.
        if let Err(error) = refuse_new(&listener) {
            tracing::debug!("cannot refuse new connections: {error}");
        }
        sleep(limits.drain_delay.min(LAST_CALL)).await;
    };
    tokio::select! {
        () = accepting => unreachable!("accepting never ends by itself"),
        () = stopping => {}
    }
    while let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
        let Ok(Ok((stream, client))) = timeout(Duration::ZERO, listener.accept()).await else {
            break;
        };
        connections.serve(stream, client, slot);
    }
    drop(listener);
    close.send_replace(true);
    match timeout(limits.drain_timeout, slots.acquire_many(limits.max_connections)).await {
        Ok(_) => Ended::Drained,
        Err(_) => Ended::CutOff,
    }
}

/// What connections share.
struct Connections<'a> {
    slots: Arc<Semaphore>,
    patience: Patience,
    answers: &'a Arc<Answers>,
    closing: Closing,
}

impl Connections<'_> {
    /// Room for one more, when there is some.
    async fn slot(&self) -> OwnedSemaphorePermit {
        if self.slots.available_permits() == 0 {
            self.answers.metrics().deferred.inc();
        }
        Arc::clone(&self.slots).acquire_owned().await.expect("never closed")
    }

    /// Serves one connection in a task of its own.
    fn serve(&self, stream: TcpStream, client: SocketAddr, slot: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let (answers, patience) = (Arc::clone(self.answers), self.patience);
        let closing = self.closing.clone();
        tokio::spawn(async move {
            let metrics = answers.metrics();
            metrics.accepted.inc();
            metrics.open.inc();
            let answer = |request, activity| answers.answer(request, client, activity);
            metrics.closed(connection::serve(stream, answer, patience, closing).await);
            metrics.open.dec();
            drop(slot);
        });
    }
}

/// Accepts one connection; errors of one peer, or of a full table of files, only delay it.
async fn accept(listener: &TcpListener, metrics: &Metrics) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                metrics.accept_errors.inc();
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
    use crate::app::Greeting;

    const LIMITS: Limits = Limits {
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_millis(200),
        patience: Patience { headers: Duration::from_millis(200), idle: Duration::from_secs(60) },
        max_connections: 8,
    };

    fn start(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<Ended>) {
        let listener = crate::listen::listen(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let answers = Answers::new(Greeting::new("1", "a"), Metrics::new("1"), None);
        let server = serve(listener, Arc::new(answers), limits, async {
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
        let (address, stop, server) = start(Limits {
            patience: Patience { headers: LIMITS.patience.idle, ..LIMITS.patience },
            ..LIMITS
        });
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
