//! One connection: HTTP/1.1 on it, and how long it may stay silent.
//!
//! Hyper's own header time-out resets a timer with every request, and cannot tell a client that has
//! sent half a request from one that has none to send. Here a request notes when it came and when it
//! was answered, and one timer a connection looks at that, mostly to find that all is well.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use crate::metrics::Closed;

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
}

impl Activity {
    /// A connection made now.
    #[must_use]
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { start: now, seen: AtomicU64::new(0) })
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

/// Drives `connection` to its end, or until its client was silent for too long.
pub async fn drive(
    connection: impl Future<Output = hyper::Result<()>>,
    activity: &Activity,
    patience: Patience,
) -> Closed {
    let mut connection = pin!(connection);
    // The shorter of the two, so that what begins meanwhile is never looked at too late.
    let period = patience.headers.min(patience.idle);
    let mut timer = pin!(sleep_until(Instant::now() + period));
    loop {
        tokio::select! {
            result = &mut connection => return ended(result),
            () = &mut timer => {
                let now = Instant::now();
                let (deadline, closed) = activity.deadline(patience);
                if deadline <= now {
                    return closed;
                }
                timer.as_mut().reset(deadline.min(now + period));
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
pub struct Watched<T> {
    bytes: T,
    activity: Arc<Activity>,
}

impl<T> Watched<T> {
    /// Notes in `activity` when `bytes` has some.
    pub fn new(bytes: T, activity: Arc<Activity>) -> Self {
        Self { bytes, activity }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.bytes).poll_write(context, buffer)
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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Patience =
        Patience { headers: Duration::from_secs(10), idle: Duration::from_secs(60) };

    /// A connection whose client sends what the test writes, and what it will have been closed for.
    fn connection() -> (tokio::io::DuplexStream, Arc<Activity>, tokio::task::JoinHandle<Closed>) {
        let (client, server) = duplex(1024);
        let activity = Activity::new(Instant::now());
        let mut server = Watched::new(server, Arc::clone(&activity));
        let theirs = Arc::clone(&activity);
        let reading = async move {
            let mut request = [0; 64];
            while server.read(&mut request).await.is_ok_and(|length| length > 0) {}
            Ok(())
        };
        let driven = tokio::spawn(async move { drive(reading, &theirs, PATIENCE).await });
        (client, activity, driven)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_closed_when_idle_for_too_long() {
        let (_client, _activity, driven) = connection();
        let start = Instant::now();
        assert_eq!(driven.await.unwrap(), Closed::Idle);
        assert!(
            start.elapsed() >= PATIENCE.idle && start.elapsed() < PATIENCE.idle + PATIENCE.headers
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_headers_is_closed_however_many_bytes_it_sends() {
        let (mut client, _activity, driven) = connection();
        let start = Instant::now();
        let dripping = async {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            closed = driven => assert_eq!(closed.unwrap(), Closed::SlowHeaders),
            () = dripping => {}
        }
        assert!(start.elapsed() <= 2 * PATIENCE.headers, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_again_and_again_is_not_closed() {
        let (mut client, activity, driven) = connection();
        for _ in 0..20 {
            client.write_all(b"x").await.unwrap();
            tokio::task::yield_now().await;
            activity.request(Instant::now());
            tokio::time::sleep(PATIENCE.idle / 2).await;
        }
        drop(client);
        assert_eq!(driven.await.unwrap(), Closed::Done);
    }
}
