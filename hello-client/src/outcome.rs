//! How a poll ended, in the words of BusyBox wget: scripts written for the original read them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::phase::Phase;

/// One poll: how it ended, how far it came and how long it took.
#[derive(Clone, Debug)]
pub struct Poll {
    /// How it ended.
    pub outcome: Outcome,
    /// The step it ended in.
    pub phase: Phase,
    /// From the first packet to the end.
    pub duration: Duration,
}

/// How a poll ended. Its `Display` is what the client prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page came; its text, made safe for a terminal.
    Answered(String),
    /// Nothing came in time: what a policy that drops looks like.
    TimedOut,
    /// No connection: refused or unreachable, what a policy that rejects looks like.
    CannotConnect {
        /// The address tried last, where one is known.
        address: Option<IpAddr>,
        /// The system's words, such as `Connection refused`.
        reason: String,
    },
    /// The name has no address.
    BadAddress(String),
    /// The server answered, but not with the page, for example `HTTP/1.1 404 Not Found`.
    BadStatus(String),
    /// The connection ended before the page was complete, with the system's words for it.
    Broken(String),
}

/// The class of an outcome, as counted in the summary and named in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// See [`Outcome::Answered`].
    Answered,
    /// See [`Outcome::TimedOut`].
    TimedOut,
    /// See [`Outcome::CannotConnect`].
    CannotConnect,
    /// See [`Outcome::BadAddress`].
    BadAddress,
    /// See [`Outcome::BadStatus`].
    BadStatus,
    /// See [`Outcome::Broken`].
    Broken,
}

impl Class {
    /// Every class, in the order of the summary.
    pub const ALL: [Self; 6] = [
        Self::Answered,
        Self::TimedOut,
        Self::CannotConnect,
        Self::BadAddress,
        Self::BadStatus,
        Self::Broken,
    ];

    /// Whether a network policy may be the cause: the network failed, not the name nor the page.
    #[must_use]
    pub fn is_cut_off(self) -> bool {
        matches!(self, Self::TimedOut | Self::CannotConnect | Self::Broken)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Answered => "answered",
            Self::TimedOut => "timed_out",
            Self::CannotConnect => "cannot_connect",
            Self::BadAddress => "bad_address",
            Self::BadStatus => "bad_status",
            Self::Broken => "broken",
        })
    }
}

impl Outcome {
    /// The class of this outcome.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Answered(_) => Class::Answered,
            Self::TimedOut => Class::TimedOut,
            Self::CannotConnect { .. } => Class::CannotConnect,
            Self::BadAddress(_) => Class::BadAddress,
            Self::BadStatus(_) => Class::BadStatus,
            Self::Broken(_) => Class::Broken,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(body) => out.write_str(body),
            Self::TimedOut => out.write_str("wget: download timed out"),
            Self::CannotConnect { address: Some(address), reason } => {
                write!(out, "wget: can't connect to remote host ({address}): {reason}")
            }
            Self::CannotConnect { address: None, reason } => {
                write!(out, "wget: can't connect to remote host: {reason}")
            }
            Self::BadAddress(host) => write!(out, "wget: bad address '{host}'"),
            Self::BadStatus(status) => write!(out, "wget: server returned error: {status}"),
            Self::Broken(reason) => write!(out, "wget: error getting response: {reason}"),
        }
    }
}

/// Makes text from the network safe to print: control characters but line feed and tab are
/// escaped, so that a server cannot move the reader's cursor or retitle the terminal.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for char in String::from_utf8_lossy(bytes).chars() {
        match char {
            '\n' | '\t' => text.push(char),
            char if char.is_control() => text.extend(char.escape_default()),
            char => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_in_busybox_words() {
        let refused = Outcome::CannotConnect {
            address: Some([10, 0, 0, 1].into()),
            reason: "Connection refused".into(),
        };
        let words = [
            (Outcome::TimedOut, "wget: download timed out"),
            (refused, "wget: can't connect to remote host (10.0.0.1): Connection refused"),
            (Outcome::BadAddress("host:8080".into()), "wget: bad address 'host:8080'"),
            (
                Outcome::BadStatus("HTTP/1.1 404 Not Found".into()),
                "wget: server returned error: HTTP/1.1 404 Not Found",
            ),
            (
                Outcome::Broken("Connection reset by peer".into()),
                "wget: error getting response: Connection reset by peer",
            ),
        ];
        for (outcome, expected) in words {
            assert_eq!(outcome.to_string(), expected);
        }
    }

    #[test]
    fn control_characters_from_the_network_are_escaped() {
        assert_eq!(printable(b"a\x1b[2J\r\nb\tc\x9b"), "a\\u{1b}[2J\\r\nb\tc\u{fffd}");
    }

    #[test]
    fn a_wrong_name_or_page_is_not_taken_for_a_policy() {
        let cut_off: Vec<_> = Class::ALL.into_iter().filter(|class| class.is_cut_off()).collect();
        assert_eq!(cut_off, [Class::TimedOut, Class::CannotConnect, Class::Broken]);
    }
}
