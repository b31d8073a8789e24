//! `hello-lab up`.

use std::io::{Read, Write};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};
use hello_common::exit;
use hello_common::signals::Signals;

use super::keeper::{Kept, Log};
use crate::args::LabArgs;
use crate::runtime_folder::RuntimeFolder;
use crate::stages;

/// `hello-lab up`: keeps a lab until a signal.
pub async fn up(args: &LabArgs) -> anyhow::Result<ExitCode> {
    keep_until_signal(args, false).await
}

/// The same, in the background.
pub async fn keep(args: &LabArgs) -> anyhow::Result<ExitCode> {
    keep_until_signal(args, true).await
}

async fn keep_until_signal(args: &LabArgs, detached: bool) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot handle signals")?;
    let log = if detached { Log::File } else { Log::Terminal };
    let mut lab = tokio::select! {
        lab = Kept::start(&args.name, &args.settings, log) => lab?,
        _ = signals.next() => {
            // The launcher ends with this process.
            return Ok(ExitCode::SUCCESS);
        }
    };
    print!("{}", instructions(args, &lab.folder, detached));
    std::io::stdout().flush()?;
    if detached {
        leave_terminal()?;
    }
    let died = tokio::select! {
        _ = signals.next() => None,
        status = lab.launcher.wait() => Some(status?),
    };
    if let Some(status) = died {
        lab.folder.remove();
        bail!("the lab ended by itself ({status})");
    }
    lab.tear_down().await?;
    Ok(ExitCode::SUCCESS)
}

/// `hello-lab up --detach`: starts a lab's keeper in the background.
pub fn up_detached(args: &LabArgs) -> anyhow::Result<ExitCode> {
    let lab = serde_json::to_string(args).context("cannot pass the lab's settings on")?;
    let mut keeper = stages::this_program()
        .args(["keep", &lab])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the lab")?;
    // It closes its standard output when it has said what there is to say.
    let mut said = String::new();
    if let Some(mut stdout) = keeper.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    print!("{said}");
    if said.is_empty() {
        let status = keeper.wait()?;
        return Ok(exit::code(status));
    }
    Ok(ExitCode::SUCCESS)
}

fn instructions(args: &LabArgs, folder: &RuntimeFolder, detached: bool) -> String {
    let name = match args.name.as_str() {
        "default" => String::new(),
        name => format!(" --name {name}"),
    };
    let (place, end) = if detached {
        ("Now", format!("`hello-lab down{name}` ends it."))
    } else {
        ("In another terminal", format!("Ctrl-C, or `hello-lab down{name}`, ends it."))
    };
    format!(
        "The lab is up. {place}:

    export KUBECONFIG={}
    kubectl apply -f ./manifests/hello-app/
    kubectl get pods
    kubectl logs --tail 10 -f $(kubectl get pods -oname -l app=not-hello)
    kubectl apply -f ./manifests/network-policy.yaml

{end}
",
        folder.kubeconfig().display()
    )
}

/// Lets go of the terminal: who waits for the end of what this process says need not wait.
fn leave_terminal() -> anyhow::Result<()> {
    let null = std::fs::File::open("/dev/null").context("cannot open /dev/null")?;
    nix::unistd::dup2_stdout(&null).context("cannot close standard output")?;
    nix::unistd::dup2_stderr(&null).context("cannot close standard error")
}
