//! One connection: HTTP/1.1 on it, and how long it may stay silent.
//!
//! Hyper's own header time-out resets a timer with every request, and cannot tell a client that has
//! sent half a request from one that has none to send. Here a request notes when it came and when it
//! was answered, and one timer a connection looks at that, mostly to find that all is well.
//!
//! Hyper also keeps some 16 KiB for a connection. It is given one only while there are requests: of
//! a client that says nothing, its socket and a timer are kept.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::metrics::Closed;

/// A client that says nothing for this long has its buffers taken, which are most of what it costs.
const PARK_AFTER: Duration = Duration::from_millis(100);

/// When the server closes, a client that was active this short a time ago may be about to ask, or to
/// learn from its answer that it should not.
const GRACE: Duration = Duration::from_millis(30);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To send the rest of a request's headers once it has begun.
    pub headers: Duration,
    /// To begin a request, or to take its answer.
    pub idle: Duration,
}

/// What a client is doing, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Nothing, or it takes its answer.
    Nothing,
    /// It sends headers.
    Headers,
}

/// What the client of one connection was last seen doing.
#[derive(Debug)]
pub struct Activity {
    start: Instant,
    /// Microseconds from `start`, twice, and one more while headers are being sent.
    seen: AtomicU64,
    /// Whether a write waits for the client to read.
    is_stuck: AtomicBool,
}

impl Activity {
    /// A connection made now.
    #[must_use]
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { start: now, seen: AtomicU64::new(0), is_stuck: AtomicBool::new(false) })
    }

    fn note(&self, doing: Doing, now: Instant) {
        let micros =
            u64::try_from(now.duration_since(self.start).as_micros()).unwrap_or(u64::MAX >> 1);
        let headers = u64::from(doing == Doing::Headers);
        // One task alone reads and writes a connection's.
        self.seen.store(micros << 1 | headers, Ordering::Relaxed);
    }

    /// A request's headers were complete, or its answer is; until more comes the client is idle.
    pub fn request(&self, now: Instant) {
        self.note(Doing::Nothing, now);
    }

    fn received(&self) {
        if self.doing().0 == Doing::Nothing {
            self.note(Doing::Headers, Instant::now());
        }
    }

    fn doing(&self) -> (Doing, Instant) {
        let seen = self.seen.load(Ordering::Relaxed);
        let doing = if seen & 1 == 1 { Doing::Headers } else { Doing::Nothing };
        (doing, self.start + Duration::from_micros(seen >> 1))
    }

    /// When patience ends if nothing more happens, and what it is then closed for.
    fn deadline(&self, patience: Patience) -> (Instant, Closed) {
        match self.doing() {
            (Doing::Nothing, since) => (since + patience.idle, Closed::Idle),
            (Doing::Headers, since) => (since + patience.headers, Closed::SlowHeaders),
        }
    }
}

/// Whether the server closes; the first change says so.
pub type Closing = watch::Receiver<bool>;

/// Serves requests on `bytes` with `answer` until either end has enough.
pub async fn serve<T, A, F>(bytes: T, answer: A, patience: Patience, mut closing: Closing) -> Closed
where
    T: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>, Arc<Activity>) -> F,
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let activity = Activity::new(Instant::now());
    let mut bytes = Watched::new(bytes, Arc::clone(&activity));
    loop {
        if let Err(closed) = next_request(&mut bytes, patience, &mut closing).await {
            return closed;
        }
        // In a box, so that a connection without request is small.
        match Box::pin(exchange(bytes, &answer, patience, &mut closing)).await {
            Ok(parked) => bytes = parked,
            Err(closed) => return closed,
        }
    }
}

/// Waits for a request to begin; nothing of HTTP's is kept meanwhile.
async fn next_request<T: AsyncRead + Unpin>(
    bytes: &mut Watched<T>,
    patience: Patience,
    closing: &mut Closing,
) -> Result<(), Closed> {
    if !bytes.unread.is_empty() {
        return Ok(());
    }
    let (_, since) = bytes.activity.doing();
    let mut timer = pin!(sleep_until(since + patience.idle));
    let mut byte = [0];
    loop {
        let is_closing = *closing.borrow_and_update();
        if is_closing {
            timer.as_mut().reset(since + GRACE);
        }
        tokio::select! {
            biased;
            read = bytes.read(&mut byte) => {
                return match read {
                    Ok(0) => Err(Closed::Done),
                    Ok(_) => {
                        bytes.unread = Bytes::copy_from_slice(&byte);
                        Ok(())
                    }
                    Err(_) => Err(Closed::Broken),
                };
            }
            () = &mut timer => return Err(if is_closing { Closed::Done } else { Closed::Idle }),
            Ok(()) = closing.changed(), if !is_closing => {}
        }
    }
}

/// Requests and answers, until the client says nothing for a while: then the bytes are returned.
async fn exchange<T, A, F>(
    bytes: Watched<T>,
    answer: &A,
    patience: Patience,
    closing: &mut Closing,
) -> Result<Watched<T>, Closed>
where
    T: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>, Arc<Activity>) -> F,
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let activity = Arc::clone(&bytes.activity);
    let asked = Arc::clone(&activity);
    let service = service_fn(move |request| answer(request, Arc::clone(&asked)));
    let mut http = http1::Builder::new()
        // A client that has said all it has to say still wants its answers.
        .half_close(true)
        .serve_connection(TokioIo::new(bytes), service);
    let mut timer = pin!(sleep_until(Instant::now() + PARK_AFTER));
    let mut is_closing = *closing.borrow_and_update();
    if is_closing {
        timer.as_mut().reset(Instant::now() + GRACE);
    }
    loop {
        tokio::select! {
            biased;
            result = &mut http => return Err(ended(result)),
            () = &mut timer => {
                let now = Instant::now();
                let (deadline, closed) = activity.deadline(patience);
                if deadline <= now {
                    return Err(closed);
                }
                let (doing, since) = activity.doing();
                let park = since + if is_closing { GRACE } else { PARK_AFTER };
                let next = match doing {
                    Doing::Headers => deadline,
                    Doing::Nothing if now < park => park,
                    Doing::Nothing if activity.is_stuck.load(Ordering::Relaxed) => deadline,
                    Doing::Nothing => {
                        let parts = http.into_parts();
                        let mut bytes = parts.io.into_inner();
                        // Not as it is: an empty one still holds all of its buffer.
                        bytes.unread = Bytes::copy_from_slice(&parts.read_buf);
                        return Ok(bytes);
                    }
                };
                // What begins meanwhile must not be looked at too late.
                timer.as_mut().reset(next.min(now + patience.headers.max(PARK_AFTER)));
            }
            Ok(()) = closing.changed(), if !is_closing => {
                is_closing = true;
                timer.as_mut().reset(Instant::now());
            }
        }
    }
}

fn ended(result: hyper::Result<()>) -> Closed {
    match result {
        Ok(()) => Closed::Done,
        Err(error) => {
            tracing::debug!("connection ended: {error}");
            if error.is_parse() { Closed::BadRequest } else { Closed::Broken }
        }
    }
}

/// A connection's bytes, which note when some come.
#[derive(Debug)]
struct Watched<T> {
    bytes: T,
    /// Read from it already, and to be read again.
    unread: Bytes,
    activity: Arc<Activity>,
}

impl<T> Watched<T> {
    /// Notes in `activity` when `bytes` has some.
    fn new(bytes: T, activity: Arc<Activity>) -> Self {
        Self { bytes, unread: Bytes::new(), activity }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.bytes).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.bytes).poll_write(context, buffer);
        self.activity.is_stuck.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    const PATIENCE: Patience =
        Patience { headers: Duration::from_secs(10), idle: Duration::from_secs(60) };

    /// A connection that answers each request with nothing; what it will have been closed for; and
    /// what closes the server.
    fn connection() -> (DuplexStream, JoinHandle<Closed>, watch::Sender<bool>) {
        let (client, server) = duplex(1024);
        let (close, closing) = watch::channel(false);
        let answer = async |_: Request<Incoming>, activity: Arc<Activity>| {
            activity.request(Instant::now());
            Ok(Response::new(Body::empty()))
        };
        let served = tokio::spawn(async move { serve(server, answer, PATIENCE, closing).await });
        (client, served, close)
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    async fn ask(client: &mut DuplexStream) -> usize {
        client.write_all(REQUEST).await.unwrap();
        client.read(&mut [0; 512]).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_closed_when_idle_for_too_long() {
        let (_client, served, _close) = connection();
        let start = Instant::now();
        assert_eq!(served.await.unwrap(), Closed::Idle);
        assert!(start.elapsed() >= PATIENCE.idle && start.elapsed() < PATIENCE.idle * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_more_is_closed_too() {
        let (mut client, served, _close) = connection();
        assert!(ask(&mut client).await > 0);
        let start = Instant::now();
        assert_eq!(served.await.unwrap(), Closed::Idle);
        assert!(start.elapsed() >= PATIENCE.idle && start.elapsed() < PATIENCE.idle * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_headers_is_closed_however_many_bytes_it_sends() {
        let (mut client, served, _close) = connection();
        let start = Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        let dripping = async {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            closed = served => assert_eq!(closed.unwrap(), Closed::SlowHeaders),
            () = dripping => panic!("closed and not said"),
        }
        assert!(start.elapsed() <= 2 * PATIENCE.headers, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_now_and_then_is_served_each_time() {
        let (mut client, served, _close) = connection();
        for pause in [PARK_AFTER / 2, PARK_AFTER * 2, PATIENCE.idle / 2, Duration::ZERO] {
            assert!(ask(&mut client).await > 0);
            tokio::time::sleep(pause).await;
        }
        drop(client);
        assert_eq!(served.await.unwrap(), Closed::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_in_two_parts_long_apart_is_answered() {
        let (mut client, _served, _close) = connection();
        // The first part of the second one comes with the first, and waits while nothing happens.
        client.write_all(&[REQUEST, &REQUEST[..9]].concat()).await.unwrap();
        assert!(client.read(&mut [0; 512]).await.unwrap() > 0);
        tokio::time::sleep(PARK_AFTER * 3).await;
        client.write_all(&REQUEST[9..]).await.unwrap();
        assert!(client.read(&mut [0; 512]).await.unwrap() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_server_closes_idle_clients_are_closed_and_a_late_request_is_answered() {
        let (_idle, idle, close) = connection();
        tokio::time::sleep(PATIENCE.idle / 2).await;
        let start = Instant::now();
        close.send(true).unwrap();
        assert_eq!(idle.await.unwrap(), Closed::Done);
        assert!(start.elapsed() < GRACE);

        let (mut client, served, close) = connection();
        close.send(true).unwrap();
        assert!(ask(&mut client).await > 0);
        assert_eq!(served.await.unwrap(), Closed::Done);
        assert!(start.elapsed() <= GRACE * 4, "{:?}", start.elapsed());
    }
}
