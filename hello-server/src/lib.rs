//! hello-server: answers every path and every method with a greeting, its version and its
//! hostname, like the hello-app that Kubernetes Engine's tutorials use.
//!
//! # Layout
//!
//! - [`args`]: the command line and its environment variables.
//! - [`app`]: the routes: the greeting, `/healthz`, `/readyz`.
//! - [`access_log`]: one line a request.
//! - [`health_check`]: `--health-check`, which asks a running server whether it is ready.
//! - [`listen`]: the listening socket, dual stack where the kernel allows it.
//! - [`serve`]: accepts connections, and drains them when told to stop.

pub mod access_log;
pub mod app;
pub mod args;
pub mod health_check;
pub mod listen;
pub mod serve;
