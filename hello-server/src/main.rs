//! The program: reads its arguments, listens, serves until SIGTERM or SIGINT.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use hello_common::log::TextStyle;
use hello_server::args::Args;
use hello_server::health_check::is_ready;
use hello_server::serve::{Ended, Limits, serve};
use hello_server::{access_log, app, listen};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let args = Args::parse();
    if args.health_check {
        return check_health(&args);
    }
    let _log = hello_common::log::init(std::io::stdout(), args.log_format, TextStyle::Stamped);
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| {
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
    let problem = match is_ready(args.host, args.port) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => "not ready".to_owned(),
        Err(error) => format!("no server answers on port {}: {error}", args.port),
    };
    let _ = writeln!(std::io::stderr(), "{problem}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> anyhow::Result<()> {
    // The handlers come first: process 1 ignores a signal that has none.
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };

    let hostname = hostname::get().context("cannot read the hostname")?;
    let greeting = app::Greeting::new(env!("CARGO_PKG_VERSION"), &hostname.to_string_lossy());
    let listener = listen::listen(args.host, args.port)?;
    tracing::info!("Server listening on {}", listener.local_addr()?);

    let readiness = app::Readiness::default();
    let mut app = app::router(greeting, readiness.clone());
    if args.access_log {
        app = access_log::wrap(app);
    }
    let limits = Limits {
        drain_delay: args.drain_delay,
        drain_timeout: args.drain_timeout,
        header_timeout: args.header_timeout,
        max_connections: args.max_connections,
    };
    match serve(listener, app, readiness, limits, stop).await {
        Ended::Drained => tracing::info!("every request was answered"),
        Ended::CutOff => tracing::warn!("connections were still open at the deadline; cut off"),
    }
    Ok(())
}
