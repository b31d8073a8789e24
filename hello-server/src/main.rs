//! The program: reads its arguments, listens, serves until SIGTERM or SIGINT.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use hello_common::log::{Format, TextStyle};
use hello_common::runtime;
use hello_common::signals::Signals;
use hello_server::answer::{AccessLog, Answers};
use hello_server::app::Greeting;
use hello_server::args::Args;
use hello_server::connection::Patience;
use hello_server::health_check::is_ready;
use hello_server::listen::listen;
use hello_server::metrics::Metrics;
use hello_server::open_files;
use hello_server::serve::{Ended, Limits, serve};
use tokio::sync::oneshot;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.health_check {
        return check_health(&args);
    }
    let _log = match hello_common::log::init(args.log_format, TextStyle::Stamped) {
        Ok(log) => log,
        Err(error) => return fail(format_args!("cannot start the log: {error}")),
    };
    let result = runtime::multi_thread(None).map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(run(args));
        // Connections past the deadline are cut off, not waited for.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check_health(args: &Args) -> ExitCode {
    match is_ready(args.host, args.port) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => fail("not ready"),
        Err(error) => fail(format_args!("no server answers on port {}: {error}", args.port)),
    }
}

/// Says why on standard error, where nothing is logged.
fn fail(problem: impl Display) -> ExitCode {
    // Not eprintln!, which panics when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{problem}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot handle signals")?;
    let (stop, stopped) = oneshot::channel();
    let hurry = async {
        signals.next().await;
        let _ = stop.send(());
        signals.next().await;
    };
    let stop = async {
        let _ = stopped.await;
    };

    let hostname = hostname::get().context("cannot read the hostname")?;
    let greeting = Greeting::new(env!("CARGO_PKG_VERSION"), &hostname.to_string_lossy());
    let listener = listen(args.host, args.port)?;
    tracing::info!("Server listening on {}", listener.local_addr()?);

    let access_log = args.access_log.then_some(match args.log_format {
        Format::Text => AccessLog::Path,
        Format::Json => AccessLog::Everything { project: args.google_cloud_project },
    });
    let answers = Answers::new(greeting, Metrics::new(env!("CARGO_PKG_VERSION")), access_log);
    let max_connections = open_files::allow(args.max_connections);
    if max_connections < args.max_connections {
        tracing::warn!(
            "at most {max_connections} connections, not {}: the limit of open files (ulimit -n) is no higher",
            args.max_connections
        );
    }
    let limits = Limits {
        drain_delay: args.drain_delay,
        drain_timeout: args.drain_timeout,
        patience: Patience { headers: args.header_timeout, idle: args.idle_timeout },
        max_connections,
    };
    let ended = tokio::select! {
        ended = serve(listener, Arc::new(answers), limits, stop) => ended,
        () = hurry => {
            tracing::warn!("told twice to stop: not waiting for connections; cut off");
            return Ok(());
        }
    };
    match ended {
        Ended::Drained => tracing::info!("every request was answered"),
        Ended::CutOff => tracing::warn!("connections were still open at the deadline; cut off"),
    }
    Ok(())
}
