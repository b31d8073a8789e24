//! What the two workloads share.
//!
//! # Layout
//!
//! - [`log`]: log lines as text or as JSON, `--log-format`.
//! - [`seconds`]: spans of time on a command line.

pub mod log;
pub mod seconds;
