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
            let mut stderr = std::io::stderr().lock();
            for finding in findings {
                let _ = writeln!(stderr, "{finding}");
            }
            ExitCode::from(2)
        }
    }
}

/// One line of what was read, and one of what was not.
fn summary(manifests: &Manifests) -> String {
    let cluster = &manifests.cluster;
    let (policies, pods) = (cluster.policies().len(), cluster.pods().len());
    let seen = format!("no findings in {policies} policies, {pods} pods and workloads\n");
    if manifests.skipped.is_empty() {
        return seen;
    }
    let kinds = manifests.skipped.iter().map(|(kind, count)| format!("{count} {kind}"));
    let kinds: Vec<_> = kinds.collect();
    format!("{seen}not looked at: {}\n", kinds.join(", "))
}
