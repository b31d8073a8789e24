//! One poll, from name to body, on a connection of its own.
//!
//! A pooled connection would survive a new policy under engines that keep established
//! flows, and so show the reader a lie. A proxy would hide who connects.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, Url, Version};
use tower::util::MapResponseLayer;

use crate::outcome::{Outcome, Poll, printable};
use crate::phase::{Phase, Progress};

/// Of a body, this much is read and printed.
const BODY_LIMIT: usize = 64 * 1024;

/// Polls one URL.
#[derive(Clone, Debug)]
pub struct Poller {
    client: Client,
    url: Url,
    timeout: Duration,
    progress: Progress,
    lookup: Lookup,
}

impl Poller {
    /// A poller of `url` whose polls take at most `timeout`.
    pub fn new(url: Url, timeout: Duration) -> reqwest::Result<Self> {
        let progress = Progress::default();
        let lookup = Lookup { progress: progress.clone(), found: Arc::default() };
        let connected = progress.clone();
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .http1_only()
            .dns_resolver(Arc::new(lookup.clone()))
            .connector_layer(MapResponseLayer::new(move |connection| {
                connected.enter(Phase::Request);
                connection
            }))
            .user_agent(concat!("hello-client/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, url, timeout, progress, lookup })
    }

    /// Polls once.
    pub async fn poll(&self) -> Poll {
        let start = Instant::now();
        // A literal address is never looked up, so the resolver does not see it.
        self.progress.enter(Phase::Connect);
        self.lookup.clear();
        let outcome = match tokio::time::timeout(self.timeout, self.fetch()).await {
            Err(_) => Outcome::TimedOut,
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => self.describe(&error),
        };
        Poll { outcome, phase: self.progress.phase(), duration: start.elapsed() }
    }

    async fn fetch(&self) -> reqwest::Result<Outcome> {
        let mut response = self.client.get(self.url.clone()).send().await?;
        self.progress.enter(Phase::Response);
        if !response.status().is_success() {
            return Ok(Outcome::BadStatus(status_line(&response)));
        }
        let mut body = Vec::new();
        while body.len() < BODY_LIMIT
            && let Some(chunk) = response.chunk().await?
        {
            body.extend_from_slice(&chunk[..chunk.len().min(BODY_LIMIT - body.len())]);
        }
        Ok(Outcome::Answered(printable(&body)))
    }

    fn describe(&self, error: &reqwest::Error) -> Outcome {
        let reason = reason(error);
        match self.progress.phase() {
            Phase::Dns => {
                let host = self.url.host_str().unwrap_or_default();
                Outcome::BadAddress(match self.url.port() {
                    Some(port) => format!("{host}:{port}"),
                    None => host.to_owned(),
                })
            }
            Phase::Connect if is_timeout(error) => Outcome::TimedOut,
            Phase::Connect => Outcome::CannotConnect { address: self.address(), reason },
            Phase::Request | Phase::Response => Outcome::Broken(reason),
        }
    }

    /// The address that a connection was tried to.
    fn address(&self) -> Option<IpAddr> {
        let literal = self.url.host_str()?.trim_matches(['[', ']']).parse().ok();
        literal.or_else(|| self.lookup.first())
    }
}

/// The system's resolver, which notes when it begins and what it found.
#[derive(Clone, Debug)]
struct Lookup {
    progress: Progress,
    found: Arc<Mutex<Vec<IpAddr>>>,
}

impl Lookup {
    fn clear(&self) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn first(&self) -> Option<IpAddr> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.clone();
        Box::pin(async move {
            lookup.progress.enter(Phase::Dns);
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            *lookup.found.lock().unwrap_or_else(PoisonError::into_inner) =
                addresses.iter().map(SocketAddr::ip).collect();
            lookup.progress.enter(Phase::Connect);
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn status_line(response: &Response) -> String {
    let version = if response.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    format!("{version} {}", response.status())
}

/// The innermost cause, in the system's words where it is an operating-system error.
fn reason(error: &reqwest::Error) -> String {
    if let Some(io) = io_cause(error) {
        let text = io.to_string();
        text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
    } else {
        let mut cause: &dyn Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        printable(cause.to_string().as_bytes())
    }
}

fn is_timeout(error: &reqwest::Error) -> bool {
    error.is_timeout() || io_cause(error).is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
}

fn io_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = Some(io);
        }
        cause = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::outcome::Class;

    const SHORT: Duration = Duration::from_millis(300);

    fn poller(address: &str) -> Poller {
        Poller::new(format!("http://{address}").parse().unwrap(), SHORT).unwrap()
    }

    /// Answers one connection with `answer`, then closes it, or holds it open if `hold`.
    async fn server(answer: &'static [u8], hold: bool) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if hold {
                std::future::pending::<()>().await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_page_is_answered_with_its_body() {
        let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n", false).await;
        let poll = poller(&address).poll().await;
        assert_eq!(poll.outcome, Outcome::Answered("hi\n".into()));
        assert_eq!(poll.phase, Phase::Response);
    }

    #[tokio::test]
    async fn a_silent_server_is_a_time_out_of_the_request() {
        let poll = poller(&server(b"", true).await).poll().await;
        assert_eq!((poll.outcome, poll.phase), (Outcome::TimedOut, Phase::Request));
    }

    #[tokio::test]
    async fn a_stalled_body_is_a_time_out_of_the_response() {
        let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", true).await;
        let poll = poller(&address).poll().await;
        assert_eq!((poll.outcome, poll.phase), (Outcome::TimedOut, Phase::Response));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_in_the_systems_words() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let poll = poller(&address).poll().await;
        assert_eq!(poll.phase, Phase::Connect);
        assert_eq!(
            poll.outcome.to_string(),
            "wget: can't connect to remote host (127.0.0.1): Connection refused"
        );
    }

    #[tokio::test]
    async fn an_unknown_name_is_a_bad_address() {
        let poller = Poller::new(
            "http://no-such-name.invalid:8080".parse().unwrap(),
            Duration::from_secs(20),
        );
        let poll = poller.unwrap().poll().await;
        assert_eq!(poll.phase, Phase::Dns);
        assert_eq!(poll.outcome.to_string(), "wget: bad address 'no-such-name.invalid:8080'");
    }

    #[tokio::test]
    async fn an_error_status_is_shown_with_its_line() {
        let address = server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false).await;
        assert_eq!(
            poller(&address).poll().await.outcome.to_string(),
            "wget: server returned error: HTTP/1.1 404 Not Found"
        );
    }

    #[tokio::test]
    async fn a_body_cut_short_is_broken() {
        let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", false).await;
        assert_eq!(poller(&address).poll().await.outcome.class(), Class::Broken);
    }
}
