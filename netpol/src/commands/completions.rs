//! `netpol completions`.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, Failure, say};

/// Print what a shell needs to complete netpol's command lines
///
/// Example: netpol completions bash > ~/.local/share/bash-completion/completions/netpol
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "netpol", &mut script);
        Ok(say(String::from_utf8_lossy(&script).trim_end())?)
    }
}
