//! The program: reads its arguments, hands over to the command, says how it ended.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::Cli::parse().run()
}
