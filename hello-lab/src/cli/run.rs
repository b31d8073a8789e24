//! `hello-lab run`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hello_common::exit;
use hello_common::signals::Signals;
use tokio::process::Command;
use tokio::signal::unix::SignalKind;

use super::keeper::{Kept, Log};
use crate::args::Settings;
use crate::stages::terminate;

/// `hello-lab run`: a lab for as long as a command takes.
pub async fn run(
    name: Option<&str>,
    settings: &Settings,
    command: &[OsString],
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot handle signals")?;
    let own = format!("run-{}", std::process::id());
    let lab = tokio::select! {
        lab = Kept::start(name.unwrap_or(&own), settings, Log::Terminal) => lab?,
        number = signals.next() => return Ok(exit::of_signal(number)),
    };
    let [program, args @ ..] = command else { bail!("no command") };
    let mut command = Command::new(program);
    command.args(args).env("KUBECONFIG", lab.folder.kubeconfig());
    until_it_ends(lab, command, &mut signals).await
}

/// Runs `command`, and then tears the lab down; the command's exit code.
pub(super) async fn until_it_ends(
    mut lab: Kept,
    mut command: Command,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            lab.tear_down().await?;
            let program = command.as_std().get_program().to_string_lossy().into_owned();
            eprintln!("hello-lab: cannot run {program}: {error}");
            let not_found = error.kind() == std::io::ErrorKind::NotFound;
            return Ok(ExitCode::from(if not_found { 127 } else { 126 }));
        }
    };
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            status = lab.launcher.wait() => {
                let _ = child.start_kill();
                lab.folder.remove();
                bail!("the lab ended by itself ({})", status?);
            }
            // Ctrl-C reaches the command by the terminal; others are passed on to it.
            number = signals.next() => {
                let terminal = number == SignalKind::interrupt().as_raw_value();
                if let (false, Some(pid)) = (terminal, child.id()) {
                    let _ = terminate(i32::try_from(pid)?);
                }
            }
        }
    };
    lab.tear_down().await?;
    Ok(exit::code(status))
}
