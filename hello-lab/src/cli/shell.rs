//! `hello-lab shell`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use hello_common::exit;
use hello_common::signals::Signals;
use tokio::process::Command;

use super::keeper::{Kept, Log, labs};
use super::run::until_it_ends;
use crate::args::LabArgs;
use crate::runtime_folder::{Keeper, RuntimeFolder};

/// What a bash reads first: the person's own settings, and then a prompt that says where it is.
const BASHRC: &str = "[ ! -f ~/.bashrc ] || . ~/.bashrc\nPS1=\"(hello-lab) ${PS1-}\"\n";

/// `hello-lab shell`: the person's shell with the lab's KUBECONFIG: of the lab that runs, which stays, or of
/// one that lasts as long as the shell.
pub async fn shell(args: &LabArgs) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot handle signals")?;
    let running = RuntimeFolder::all(&labs()).into_iter().find(|folder| {
        folder.name() == args.name && folder.keeper().as_ref().is_some_and(Keeper::is_alive)
    });
    if let Some(folder) = running {
        eprintln!("hello-lab: in the lab {:?}, which stays when this shell ends", args.name);
        let mut child = command(&folder)?.spawn().context("cannot start a shell")?;
        loop {
            tokio::select! {
                status = child.wait() => return Ok(exit::code(status?)),
                // The terminal tells the shell.
                _ = signals.next() => {}
            }
        }
    }
    let lab = tokio::select! {
        lab = Kept::start(&args.name, &args.settings, Log::Terminal) => lab?,
        number = signals.next() => return Ok(exit::of_signal(number)),
    };
    eprintln!("hello-lab: in a lab that ends with this shell");
    match command(&lab.folder) {
        Ok(shell) => until_it_ends(lab, shell, &mut signals).await,
        Err(error) => {
            lab.tear_down().await?;
            Err(error)
        }
    }
}

/// The person's shell, with `KUBECONFIG`, and the programs beside this one last on its PATH.
fn command(folder: &RuntimeFolder) -> anyhow::Result<Command> {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    let shell = PathBuf::from(shell.unwrap_or_else(|| OsString::from("/bin/sh")));
    let mut command = Command::new(&shell);
    command.env("KUBECONFIG", folder.kubeconfig());
    if shell.file_name().is_some_and(|name| name == "bash") {
        folder.write("bashrc", BASHRC)?;
        command.arg("--rcfile").arg(folder.path().join("bashrc"));
    } else {
        command.env("PS1", "(hello-lab) $ ");
    }
    let program = std::env::current_exe().context("cannot find this program")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(program.parent().map(Path::to_owned));
    // A folder whose name has a colon cannot be on a PATH.
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    Ok(command)
}
