//! The command line.
//!
//! - [`check`]: manifests as an API server with strict validation sees them, and lints.
//! - [`completions`]: for shells; [`colour`]: for terminals.
//! - [`describe`]: what a policy says, in sentences.
//! - [`diff`]: what another version of the manifests would change; [`changes`]: the forms of its answer.
//! - [`enforce`]: keeps the policies of one pod in force.
//! - [`list`]: who may reach whom; [`formats`]: the forms of its answer; [`table`]: as a matrix; [`graph`]: as a graph or an image.
//! - [`apply`], [`delete`], [`get`]: speak to a running enforcer by [`enforcer`].
//! - [`sources`]: where all of these read manifests from; [`from_cluster`]: from a cluster;
//!   [`git`]: from a revision of a repository.
//! - [`why`]: whether a connection may be made, and which rule decided; [`wrap`]: sentences on narrow terminals.

mod apply;
mod changes;
mod check;
mod colour;
mod completions;
mod delete;
mod describe;
mod diff;
mod enforce;
mod enforcer;
mod formats;
mod from_cluster;
mod get;
mod git;
mod graph;
mod list;
mod sources;
mod table;
mod why;
mod wrap;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netpol::read::Finding;

/// What Kubernetes NetworkPolicies mean, checked and enforced with no cluster.
///
/// Exit codes: 0 as asked; 1 the answer is not the one expected, or it could not be done; 2 bad input;
/// 3 the answer cannot be known from what there is.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Why(why::Why),
    Describe(describe::Describe),
    Diff(diff::Diff),
    Check(check::Check),
    Enforce(enforce::Enforce),
    Apply(apply::Apply),
    Delete(delete::Delete),
    Get(get::Get),
    Completions(completions::Completions),
}

/// Why a command did not do what was asked.
enum Failure {
    /// Exit code 2: each finding is one line.
    BadInput(Vec<Finding>),
    /// Exit code 2 too.
    BadArgument(anyhow::Error),
    /// Exit code 1.
    Failed(anyhow::Error),
    /// Exit code 3.
    Unknown(anyhow::Error),
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.command {
            Command::List(list) => list.run(),
            Command::Why(why) => why.run(),
            Command::Describe(describe) => describe.run(),
            Command::Diff(diff) => diff.run(),
            Command::Check(check) => check.run(),
            Command::Enforce(enforce) => enforce.run(),
            Command::Apply(apply) => apply.run(),
            Command::Delete(delete) => delete.run(),
            Command::Get(get) => get.run(),
            Command::Completions(completions) => completions.run(),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::BadInput(findings)) => {
                findings.iter().for_each(say_error);
                ExitCode::from(2)
            }
            Err(Failure::BadArgument(error)) => {
                say_error(&format_args!("{error:#}"));
                ExitCode::from(2)
            }
            Err(Failure::Failed(error)) => {
                say_error(&format_args!("{error:#}"));
                ExitCode::FAILURE
            }
            Err(Failure::Unknown(error)) => {
                say_error(&format_args!("{error:#}"));
                ExitCode::from(3)
            }
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Prints what clap says instead of a command's answer: a help that was asked for, or what is wrong.
pub(crate) fn help(said: &clap::Error) -> ExitCode {
    if said.use_stderr() {
        // That it cannot be printed there can be said nowhere.
        let _ = said.print();
        return ExitCode::from(2);
    }
    let text = wrap::with_whole_examples(&said.render().to_string());
    match written(write!(io::stdout(), "{}", colour::with_headings(&text, &io::stdout()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line.
fn say(line: impl Display) -> anyhow::Result<()> {
    written(writeln!(io::stdout(), "{line}"))
}

/// Writes sentences, in lines as long as the terminal is wide.
fn say_sentences(text: &str) -> anyhow::Result<()> {
    say(wrap::wrapped(text, &io::stdout()))
}

/// What became of an answer: a reader that has gone away has seen enough; an answer that cannot be
/// written for another reason, as to a full disk, is none.
fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write the answer"))
        }
        _ => Ok(()),
    }
}

/// Writes a line about what does not keep the command from going on.
fn say_warning(line: &impl Display) {
    let warning = colour::Colour::Yellow.paint("warning", &io::stderr());
    say_error(&format_args!("{warning}: {line}"));
}

fn say_error(line: &impl Display) {
    let _ = writeln!(io::stderr(), "{}", wrap::wrapped(&line.to_string(), &io::stderr()));
}
