//! The command line; every flag has an environment variable.

use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;
use hello_common::seconds;

/// Answers every HTTP request with a greeting, its version and its hostname.
///
/// Exit codes: 0 after SIGTERM or SIGINT, 1 when it cannot serve or is not ready, 2 for a bad
/// argument.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Args {
    /// TCP port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,

    /// Address to listen on; `::` serves IPv4 too, and 0.0.0.0 stands in where there is no IPv6
    #[arg(long, env = "HOST", default_value = "::")]
    pub host: IpAddr,

    /// Log a line for each request
    #[arg(long, env = "ACCESS_LOG", default_value_t = true, action = clap::ArgAction::Set)]
    pub access_log: bool,

    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: hello_common::log::Format,

    /// Project whose traces JSON log lines refer to
    #[arg(long, env = "GOOGLE_CLOUD_PROJECT", value_name = "PROJECT")]
    pub google_cloud_project: Option<String>,

    /// After SIGTERM, how long new connections are still served while /readyz answers 503
    #[arg(long, env = "DRAIN_DELAY", value_name = "SECONDS", value_parser = seconds::parse, default_value = "0.5")]
    pub drain_delay: Duration,

    /// After the drain delay, how long requests under way may take before they are cut off
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "SECONDS", value_parser = seconds::parse, default_value = "10")]
    pub drain_timeout: Duration,

    /// How long a client may take to send a request's headers
    #[arg(long, env = "HEADER_TIMEOUT", value_name = "SECONDS", value_parser = seconds::parse_above_zero, default_value = "10")]
    pub header_timeout: Duration,

    /// How long a client may take to begin a request, or to take its answer
    #[arg(long, env = "IDLE_TIMEOUT", value_name = "SECONDS", value_parser = seconds::parse_above_zero, default_value = "75")]
    pub idle_timeout: Duration,

    /// Connections served at once; further ones wait in the kernel's queue
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Serve nothing; ask the server on this machine whether it is ready, and exit 0 if so
    ///
    /// For the health check of a container that has no other program.
    #[arg(long)]
    pub health_check: bool,
}
