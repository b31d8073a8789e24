//! A pod's shim: the process that starts a pod's processes, waits for them, and ends them, as
//! containerd's shim and the `pause` container do on a node.
//!
//! ```text
//! hello-lab lab
//!   └ hello-lab-shim       one for each pod, in its namespaces
//!      ├ a container
//!      └ what `kubectl exec` starts in it
//! ```
//!
//! The lab holds the other end of its standard input, a socket. It makes shims ahead (`enter`), and
//! says of what pod one is to be: a [`Pod`]. Then each message (`serve`) is one octet with open files:
//! first a socket of the new process, then its streams. By that socket go
//!
//! - to the shim, a [`Spec`];
//! - to the lab, the process's number, or 0 where it could not be started, and then, when it has
//!   ended, its wait status (wait(2)): 32 bits each, the highest first.
//!
//! Until the lab closes that socket the process is not reaped, so its number is nobody else's; when the
//! lab closes it early, the process is ended.

mod enter;
mod serve;
mod terminal;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The name of the program.
pub const PROGRAM: &str = "hello-lab-shim";

/// The exit code of a process whose program could not be started.
pub const START_FAILED: u8 = 125;

/// The longest message that is believed: more than the kernel takes for arguments and environment.
const LONGEST: u32 = 16 << 20;

/// The most open files that come with a message: a process's socket and its three streams.
pub(crate) const MOST_FILES: usize = 4;

/// What a pod's processes have in common.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pod {
    /// The host name.
    pub hostname: String,
    /// Files to see in place of the machine's own: where, and what.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// What /dev/shm is, where there is one: the only folder that they may write to.
    pub shared_memory: Option<PathBuf>,
    /// Whether the processes can take other users' identities: whether the lab is root's.
    pub privileged: bool,
}

/// What a process is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spec {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// User and group; none where the lab itself is an ordinary user's and can take no other.
    pub user: Option<(u32, u32)>,
    /// Where to start the program.
    pub working_dir: Option<PathBuf>,
    /// What comes with it.
    pub streams: Streams,
}

/// The open files that come with a [`Spec`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Standard output and standard error.
    #[default]
    Output,
    /// These, and standard input.
    All,
    /// A terminal, which is all three, and the session's.
    Terminal,
}

/// The program: a shim, or one of its processes that is about to have a terminal.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    match args.split_first() {
        Some((mode, process)) if mode == terminal::MODE => {
            report(&mut io::stderr(), &terminal::run(process));
            ExitCode::from(START_FAILED)
        }
        _ => match shim() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{PROGRAM}: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn shim() -> anyhow::Result<()> {
    // It is executed as an open file, which has none.
    let _ = nix::sys::prctl::set_name(c"hello-lab-shim");
    let closed = close_inherited().context("cannot close what the lab's caller has open");
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let prepared = closed.and_then(|()| enter::prepare());
    match receive(&control) {
        // What fails is for the first process to tell, where somebody looks.
        Ok(pod) => serve::serve(&control, &prepared.and_then(|()| enter::pod(&pod))),
        // The pod that never comes: the lab has ended.
        Err(_) => Ok(()),
    }
}

/// Closes every file but the standard streams, before any is opened here: files that whoever started
/// the lab had open would reach the pod's processes, which could write to them past read-only mounts.
fn close_inherited() -> io::Result<()> {
    let number = |file: std::fs::DirEntry| file.file_name().to_str()?.parse::<i32>().ok();
    let open = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|file| file.map(number).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    for file in open.into_iter().filter(|file| *file > 2) {
        // The folder itself was among them, and is closed.
        let _ = nix::unistd::close(file);
    }
    Ok(())
}

/// Executes `program` under `name`. It must be open until then, and is closed by that.
pub(crate) fn command_of(program: &File, name: &OsStr) -> Command {
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0(name);
    command
}

/// Writes why a process could not be started where it would have written.
fn report(stderr: &mut impl Write, error: &anyhow::Error) {
    let _ = writeln!(stderr, "hello-lab: cannot start the container: {error:#}");
}

/// A message: its length, and JSON.
pub fn message(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &json].concat())
}

fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut json = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    socket.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}
