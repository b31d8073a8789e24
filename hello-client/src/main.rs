//! The program: reads its arguments, polls until the count is reached or SIGTERM or SIGINT.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use hello_client::args::Args;
use hello_client::poll::Poller;
use hello_client::run::{Plan, as_expected, run};
use hello_common::log::TextStyle;
use hello_common::runtime;
use hello_common::signals::Signals;

fn main() -> ExitCode {
    let args = Args::parse();
    let _log = match hello_common::log::init(args.log_format, TextStyle::Bare) {
        Ok(log) => log,
        Err(error) => {
            // Not eprintln!, which panics when standard error is closed.
            let _ = writeln!(std::io::stderr(), "hello-client: cannot start the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime::current_thread().map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(poll(args));
        // A name lookup that hangs in the system's resolver must not hold up the exit.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("hello-client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Polls as asked; whether the expectation was met.
async fn poll(args: Args) -> anyhow::Result<bool> {
    let mut signals = Signals::new().context("cannot handle signals")?;
    let stop = async {
        signals.next().await;
    };
    let poller = Poller::new(args.url, args.timeout).context("cannot make an HTTP client")?;
    let plan = Plan { interval: args.interval, jitter: args.jitter, count: args.count };
    let summary = run(&poller, plan, stop).await;
    if plan.count.is_some() {
        let _ = writeln!(std::io::stderr(), "{summary}");
    }
    Ok(as_expected(&summary, plan, args.expect))
}
