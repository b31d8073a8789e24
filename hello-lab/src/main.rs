//! The program. Its stages enter namespaces and so must have one thread; only the lab and its
//! keeper start a runtime.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use hello_common::runtime::{self, RuntimeError};
use hello_lab::args::{Cli, Command};
use hello_lab::{cli, lab, stages};
use tokio::runtime::Runtime;
use tracing_subscriber::filter::{self, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// More than processors: who makes a namespace or starts a process waits for the kernel, and so for
/// every other pod that is being made.
const LAB_THREADS: usize = 6;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let said = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = log_filter(&said).unwrap_or_else(|error| {
        eprintln!("hello-lab: RUST_LOG={said} is not understood ({error}); try RUST_LOG=debug");
        quiet()
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry().with(lines.without_time()).with(filter).init();
    run(command).unwrap_or_else(|error| {
        eprintln!("hello-lab: {error:#}");
        ExitCode::FAILURE
    })
}

/// Warnings, of whoever has some.
fn quiet() -> Targets {
    Targets::new().with_default(LevelFilter::WARN)
}

/// What is logged: a level is that of our own libraries, or each target has one, as in
/// `hello_lab=debug,hickory_server=info`. Of all others only warnings are.
fn log_filter(said: &str) -> Result<Targets, filter::ParseError> {
    if said.is_empty() {
        return Ok(quiet());
    }
    if let Ok(level) = said.parse::<LevelFilter>() {
        return Ok(quiet().with_target("hello_lab", level).with_target("netpol", level));
    }
    let targets: Targets = said.parse()?;
    let has_default = targets.default_level().is_some();
    Ok(if has_default { targets } else { targets.with_default(LevelFilter::WARN) })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up { lab, detach: true } => cli::up_detached(&lab),
        Command::Up { lab, detach: false } => keeper_runtime()?.block_on(cli::up(&lab)),
        Command::Keep { lab } => {
            nix::unistd::setsid().context("cannot start a session")?;
            keeper_runtime()?.block_on(cli::keep(&lab))
        }
        Command::Run { name, settings, command } => {
            keeper_runtime()?.block_on(cli::run(name.as_deref(), &settings, &command))
        }
        Command::Shell { lab } => keeper_runtime()?.block_on(cli::shell(&lab)),
        Command::Status => Ok(cli::status()),
        Command::Down { name } => cli::down(&name),
        Command::Launch { stage } => stages::launch(stage),
        Command::Init { stage } => stages::init(&stage),
        Command::Lab { stage } => {
            let runtime = runtime::multi_thread(Some(LAB_THREADS))?;
            let ended = runtime.block_on(lab::run(&stage, std::io::stdout()));
            // Not waited for: what runs on a thread of its own may never end.
            runtime.shutdown_background();
            match ended? {}
        }
    }
}

/// One thread: the launcher ends with the thread that started it, which must be the last.
fn keeper_runtime() -> Result<Runtime, RuntimeError> {
    runtime::current_thread()
}
