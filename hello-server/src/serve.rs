//! Accepts connections and, when told to stop, drains them.
//!
//! The stop has three parts, because a Service's endpoints learn of it late: `/readyz` turns
//! 503 while new connections are still served; then no more are accepted and those under way
//! finish; at the deadline what is left is cut off.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::answer::Answers;
use crate::connection::{Activity, Patience, Watched, drive};
use crate::metrics::Metrics;

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
    let connections = Connections {
        under_way: GracefulShutdown::new(),
        slots: Arc::new(Semaphore::new(limits.max_connections as usize)),
        patience: limits.patience,
        answers: &answers,
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
        sleep(limits.drain_delay).await;
    };
    tokio::select! {
        () = accepting => unreachable!("accepting never ends by itself"),
        () = stopping => {}
    }
    // Whoever is in the kernel's queue by now connected in time; to close it would reset them.
    while let Ok(slot) = Arc::clone(&connections.slots).try_acquire_owned() {
        let Ok(Ok((stream, client))) = timeout(Duration::ZERO, listener.accept()).await else {
            break;
        };
        connections.serve(stream, client, slot);
    }
    drop(listener);
    // Hyper's graceful shutdown waits for ever on a first request that never completes.
    match timeout(limits.drain_timeout, connections.under_way.shutdown()).await {
        Ok(()) => Ended::Drained,
        Err(_) => Ended::CutOff,
    }
}

/// What connections share.
struct Connections<'a> {
    under_way: GracefulShutdown,
    slots: Arc<Semaphore>,
    patience: Patience,
    answers: &'a Arc<Answers>,
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
        let activity = Activity::new(Instant::now());
        let stream = Watched::new(stream, Arc::clone(&activity));
        let (asked, theirs) = (Arc::clone(&activity), Arc::clone(&answers));
        let service = service_fn(move |request| {
            let (answers, activity) = (Arc::clone(&theirs), Arc::clone(&asked));
            async move { answers.answer(request, client, &activity).await }
        });
        let connection = http1::Builder::new()
            // Answers to requests that came together go together.
            .pipeline_flush(true)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.under_way.watch(connection);
        tokio::spawn(async move {
            let metrics = answers.metrics();
            metrics.accepted.inc();
            metrics.open.inc();
            metrics.closed(drive(connection, &activity, patience).await);
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
