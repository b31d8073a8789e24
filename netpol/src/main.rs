//! The program: checks manifests. More of what the library knows will follow here.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netpol::read::{Manifests, manifests};

/// Checks Kubernetes NetworkPolicies and what they select, with no cluster.
///
/// Exit codes: 0 nothing found, 2 bad input.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check manifests as an API server with strict validation does
    ///
    /// Example: netpol check manifests/
    Check {
        /// Files, folders, or - for standard input
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Command::Check { paths } = Cli::parse().command;
    match manifests(&paths, std::io::stdin().lock()) {
        Ok(manifests) => {
            // A reader that has gone away has seen enough.
            let _ = std::io::stdout().write_all(summary(&manifests).as_bytes());
            ExitCode::SUCCESS
        }
        Err(findings) => {
            let text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::from(2)
        }
    }
}

/// One line of what was read, and one of what was not.
fn summary(manifests: &Manifests) -> String {
    let cluster = &manifests.cluster;
    let mut text = format!(
        "no findings in {} policies, {} pods and workloads\n",
        cluster.policies().len(),
        cluster.pods().len()
    );
    if !manifests.skipped.is_empty() {
        let kinds = manifests.skipped.iter().map(|(kind, count)| format!("{count} {kind}"));
        let kinds: Vec<_> = kinds.collect();
        text += &format!("not looked at: {}\n", kinds.join(", "));
    }
    text
}
