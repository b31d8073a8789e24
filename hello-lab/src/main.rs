//! The program. Its stages enter namespaces and so must have one thread; only the lab and its
//! keeper start a runtime.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use hello_lab::args::{Cli, Command};
use hello_lab::{cli, lab, stages};
use tracing_subscriber::filter::LevelFilter;

/// More than processors: who makes a namespace or starts a process waits for the kernel, and so for
/// every other pod that is being made.
const LAB_THREADS: usize = 6;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level.unwrap_or(LevelFilter::WARN))
        .without_time()
        .with_target(false)
        .init();
    run(command).unwrap_or_else(|error| {
        eprintln!("hello-lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up { lab, detach: true, .. } => cli::up_detached(&lab),
        Command::Up { lab, detached, .. } => {
            if detached {
                nix::unistd::setsid().context("cannot start a session")?;
            }
            keeper_runtime()?.block_on(cli::up(&lab, detached))
        }
        Command::Run { settings, command } => {
            keeper_runtime()?.block_on(cli::run(&settings, &command))
        }
        Command::Status => Ok(cli::status()),
        Command::Down { name } => cli::down(&name),
        Command::Launch(stage) => stages::launch(stage),
        Command::Init(stage) => stages::init(&stage),
        Command::Lab(stage) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(LAB_THREADS)
                .enable_all()
                .build()
                .context("cannot start a runtime")?;
            runtime.block_on(lab::run(&stage, std::io::stdout()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// One thread: the launcher ends with the thread that started it, which must be the last.
fn keeper_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}
