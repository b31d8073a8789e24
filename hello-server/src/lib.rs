//! hello-server: answers every path and every method with a greeting, its version and its
//! hostname, like the hello-app that Kubernetes Engine's tutorials use.
//!
//! # Layout
//!
//! - [`args`]: the command line and its environment variables.
//! - [`app`]: the routes: the greeting, `/healthz`, `/readyz`, `/metrics`.
//! - [`answer`]: a request and its answer, counted and logged.
//! - [`access_log`]: one line a request.
//! - [`connection`]: one connection, and how long it may stay silent.
//! - [`health_check`]: `--health-check`, which asks a running server whether it is ready.
//! - [`host`]: the Host header that a request must have.
//! - [`listen`]: the listening socket, dual stack where the kernel allows it.
//! - [`metrics`]: what Prometheus scrapes.
//! - [`open_files`]: for how many connections there is room.
//! - [`serve`]: accepts connections, and drains them when told to stop.

pub mod access_log;
pub mod answer;
pub mod app;
pub mod args;
pub mod connection;
pub mod health_check;
pub mod host;
pub mod listen;
pub mod metrics;
pub mod open_files;
pub mod serve;
