//! hello-client: polls a URL for ever and says how each poll ended, in the words of the
//! BusyBox wget loop that it stands in for.
//!
//! # Layout
//!
//! - [`args`]: the command line and its environment variables.
//! - [`phase`]: how far a poll has come: DNS, connect, request, response.
//! - [`poll`]: one poll, from name to body.
//! - [`outcome`]: how a poll ended, and the words for it.
//! - [`summary`]: counts and percentiles, in bounded memory.
//! - [`run`]: the loop, and what it proves (`--expect`).

pub mod args;
pub mod outcome;
pub mod phase;
pub mod poll;
pub mod run;
pub mod summary;
