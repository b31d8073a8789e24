//! The command line; every flag has an environment variable.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use hello_common::seconds;
use reqwest::Url;

/// Polls a URL and says how each poll ended, in BusyBox wget's words.
///
/// Exit codes: 0 as expected, 1 the expectation failed or the program could not run, 2 for a
/// bad argument.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What to poll; only http
    #[arg(env = "URL", default_value = "http://hello-server.default.svc:8080", value_parser = http_url)]
    pub url: Url,

    /// Pause between the end of a poll and the start of the next
    #[arg(long, env = "INTERVAL", value_name = "SECONDS", value_parser = seconds::parse, default_value = "2")]
    pub interval: Duration,

    /// Lengthen each pause by a random time of up to this, so that many clients do not poll in step
    #[arg(long, env = "JITTER", value_name = "SECONDS", value_parser = seconds::parse, default_value = "0")]
    pub jitter: Duration,

    /// How long a poll may take, from name to body
    #[arg(long, env = "TIMEOUT", value_name = "SECONDS", value_parser = seconds::parse_above_zero, default_value = "2")]
    pub timeout: Duration,

    /// Stop after this many polls, with a summary; without it, poll for ever
    #[arg(long, env = "COUNT")]
    pub count: Option<NonZeroU64>,

    /// Exit 0 only if each of --count polls was answered, or was cut off
    #[arg(long, env = "EXPECT", value_enum, requires = "count")]
    pub expect: Option<Expect>,

    /// How output lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: hello_common::log::Format,
}

/// What every poll must have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Expect {
    /// Each poll was answered with the page.
    Allowed,
    /// Each poll timed out, was refused or was reset: a policy drops or rejects.
    Blocked,
}

/// A text is nothing that can be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://HOST[:PORT][/PATH]")]
struct NotAnHttpUrl;

fn http_url(text: &str) -> Result<Url, NotAnHttpUrl> {
    let url = text.parse::<Url>().map_err(|_| NotAnHttpUrl)?;
    if url.scheme() == "http" && url.has_host() { Ok(url) } else { Err(NotAnHttpUrl) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_with_a_host_are_taken() {
        assert!(http_url("http://hello-server.default.svc:8080").is_ok());
        assert!(http_url("http://[::1]:8080/path").is_ok());
        for bad in ["", "hello-server", "https://a", "file:///etc/passwd", "http://"] {
            assert!(http_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_expectation_needs_a_count() {
        assert!(Args::try_parse_from(["hello-client", "--expect", "blocked"]).is_err());
        assert!(Args::try_parse_from(["hello-client", "--count", "0"]).is_err());
        let args = ["hello-client", "--expect", "blocked", "--count", "3"];
        assert_eq!(Args::try_parse_from(args).unwrap().expect, Some(Expect::Blocked));
    }
}
