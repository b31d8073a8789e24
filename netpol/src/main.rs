//! The program: reads its arguments, hands over to the command, says how it ended.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(said) => commands::help(&said),
    }
}
