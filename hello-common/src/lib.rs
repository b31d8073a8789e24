//! What the programs share.
//!
//! # Layout
//!
//! - [`age`]: spans of time as kubectl prints them.
//! - [`log`]: log lines as text or as JSON, `--log-format`.
//! - [`seconds`]: spans of time on a command line.

pub mod age;
pub mod log;
pub mod seconds;
