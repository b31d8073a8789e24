//! How far a poll has come. A total time-out alone cannot tell a DNS black hole from a
//! dropped SYN from a silent server, so each step is noted as it begins.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The step of a poll that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Looking up the name.
    Dns,
    /// Opening the TCP connection.
    Connect,
    /// Sent the request; waiting for the status line and headers.
    Request,
    /// Reading the body.
    Response,
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Request => "request",
            Self::Response => "response",
        })
    }
}

/// The current phase, shared with the parts of the HTTP client that advance it.
#[derive(Clone, Debug)]
pub struct Progress(Arc<AtomicU8>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(AtomicU8::new(Phase::Connect as u8)))
    }
}

impl Progress {
    /// Notes that `phase` begins.
    pub fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// The phase under way.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Dns,
            1 => Phase::Connect,
            2 => Phase::Request,
            _ => Phase::Response,
        }
    }
}
