//! What the programs share.
//!
//! # Layout
//!
//! - [`age`]: spans of time as kubectl prints them.
//! - [`error`]: errors printed with their causes.
//! - [`exit`]: exit codes of what has ended.
//! - [`log`]: log lines as text or as JSON, `--log-format`.
//! - [`runtime`]: the tokio runtime that a program runs on.
//! - [`seconds`]: spans of time on a command line.
//! - [`signals`]: what ends a program from outside.

pub mod age;
pub mod error;
pub mod exit;
pub mod log;
pub mod runtime;
pub mod seconds;
pub mod signals;
