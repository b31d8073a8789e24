//! What a person at a terminal can do: `up`, `run`, `status`, `down`.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{LabArgs, Settings, Stage};
use crate::runtime_folder::{RuntimeFolder, base};
use crate::sandbox::{self, terminate};

/// The time in which a lab must be gone when it is told to.
const TEAR_DOWN: Duration = Duration::from_secs(10);

/// The name of the file in which a lab in the background says what it has to say.
const LOG: &str = "log";

/// Where a lab's own messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    /// The keeper's standard error.
    Terminal,
    /// A file in the lab's folder.
    File,
}

impl Log {
    fn open(self, folder: &RuntimeFolder) -> anyhow::Result<Stdio> {
        if self == Self::Terminal {
            return Ok(Stdio::inherit());
        }
        folder.write(LOG, "")?;
        let file = std::fs::OpenOptions::new().append(true).open(folder.path().join(LOG));
        Ok(file.context("cannot open the lab's log")?.into())
    }
}

/// A lab that this process keeps.
struct Kept {
    launcher: Child,
    folder: RuntimeFolder,
}

impl Kept {
    /// Starts a lab and waits until it is ready.
    /// The lab's own messages go to its log, or to the keeper's standard error.
    async fn start(name: &str, settings: &Settings, log: Log) -> anyhow::Result<Self> {
        let folder = RuntimeFolder::take(&labs(), name)?;
        let stage = Stage {
            folder: folder.path().to_owned(),
            parent: i32::try_from(std::process::id())?,
            privileged: false,
            settings: settings.clone(),
        };
        let launcher = log.open(&folder).and_then(|stderr| {
            Command::from(sandbox::this_program())
                .args(stage.command_line("launch"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(stderr)
                .spawn()
                .context("cannot start the lab")
        });
        let mut lab = match launcher {
            Ok(launcher) => Self { launcher, folder },
            Err(error) => {
                folder.remove();
                return Err(error);
            }
        };
        let mut line = String::new();
        if let Some(stdout) = lab.launcher.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        if line.trim() == "ready" {
            return Ok(lab);
        }
        // It has said why.
        let said = std::fs::read_to_string(lab.folder.path().join(LOG)).unwrap_or_default();
        lab.tear_down().await?;
        bail!("the lab did not start\n{said}")
    }

    async fn tear_down(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.launcher.id() {
            // One that has ended needs no signal.
            let _ = terminate(i32::try_from(pid)?);
        }
        let ended = tokio::time::timeout(TEAR_DOWN, self.launcher.wait()).await;
        self.folder.remove();
        ended.context("the lab did not end")?.context("cannot wait for the lab's end")?;
        Ok(())
    }
}

/// The signals by which a person or a system ends a program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves with the number of the next of them.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.hang_up.recv() => SignalKind::hangup().as_raw_value(),
        }
    }
}

/// `hello-lab up`: keeps a lab until a signal.
pub async fn up(args: &LabArgs, detached: bool) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
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
    let stage = Stage {
        folder: PathBuf::new(),
        parent: 0,
        privileged: false,
        settings: args.settings.clone(),
    };
    // Folder and parent are the keeper's own affair.
    let settings = stage.command_line("up").split_off(5);
    let mut keeper = sandbox::this_program()
        .args(["up", "--detached", "--name", &args.name])
        .args(settings)
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
        return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).into());
    }
    Ok(ExitCode::SUCCESS)
}

/// `hello-lab run`: a lab for as long as a command takes.
pub async fn run(settings: &Settings, command: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let name = format!("run-{}", std::process::id());
    let mut lab = tokio::select! {
        lab = Kept::start(&name, settings, Log::Terminal) => lab?,
        number = signals.next() => return Ok(signalled(number)),
    };
    let [program, args @ ..] = command else { bail!("no command") };
    let child = Command::new(program).args(args).env("KUBECONFIG", lab.folder.kubeconfig()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            lab.tear_down().await?;
            let program = program.to_string_lossy();
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
    Ok(exit_code(status))
}

/// `hello-lab status`: 0 if a lab runs, else 1.
#[must_use]
pub fn status() -> ExitCode {
    let mut running = false;
    for folder in RuntimeFolder::all(&labs()) {
        let Some(keeper) = folder.keeper() else { continue };
        let (name, pid) = (folder.name(), keeper.pid);
        if keeper.is_alive() {
            running = true;
            println!(
                "{name}: runs (process {pid})\n  export KUBECONFIG={}",
                folder.kubeconfig().display()
            );
        } else {
            println!("{name}: was killed; `hello-lab down --name {name}` cleans up");
        }
    }
    if running {
        return ExitCode::SUCCESS;
    }
    println!("no lab runs; start one with `hello-lab up`");
    ExitCode::FAILURE
}

/// `hello-lab down`: ends a lab, and waits until it is gone.
pub fn down(name: &str) -> anyhow::Result<ExitCode> {
    let folders = RuntimeFolder::all(&labs());
    let Some(folder) = folders.into_iter().find(|folder| folder.name() == name) else {
        println!("no lab named {name:?} runs");
        return Ok(ExitCode::SUCCESS);
    };
    let keeper = folder.keeper().filter(crate::runtime_folder::Keeper::is_alive);
    let Some(keeper) = keeper else {
        folder.remove();
        println!("cleaned up after the lab {name:?}, which was killed");
        return Ok(ExitCode::SUCCESS);
    };
    terminate(keeper.pid).with_context(|| format!("cannot end process {}", keeper.pid))?;
    let start = Instant::now();
    while keeper.is_alive() {
        if start.elapsed() > TEAR_DOWN {
            bail!("the lab {name:?} (process {}) did not end", keeper.pid);
        }
        // Not a child, so there is nothing to wait for.
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("the lab {name:?} is gone");
    Ok(ExitCode::SUCCESS)
}

fn labs() -> PathBuf {
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    base(xdg.as_deref(), &std::env::temp_dir())
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

fn exit_code(status: ExitStatus) -> ExitCode {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from),
        (None, Some(signal)) => signalled(signal),
        (None, None) => ExitCode::FAILURE,
    }
}

/// 128 and the signal's number, as shells count.
fn signalled(number: i32) -> ExitCode {
    u8::try_from(128 + number).map_or(ExitCode::FAILURE, ExitCode::from)
}
