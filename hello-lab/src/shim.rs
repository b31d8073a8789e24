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
//! It is process 1 of the pod's PID namespace: what the pod's processes leave behind is reaped by it, they
//! see and reach no others, and when it ends the kernel ends them all, whatever group or session they are
//! in. When the last process that the lab asked for has ended, so has the container, and all else that runs
//! there is ended.
//!
//! The lab holds the other end of its standard input, a socket. It makes shims ahead (`enter`, `root`), of a
//! [`Machine`], and says of what pod one is to be: a [`Pod`], and its volumes (`mounts`). Then each message
//! (`serve`) is one octet with open files: first a socket of the new process, then its streams and its program. By that socket go
//!
//! - to the shim, a [`Spec`], and then signals: an octet each, its number, and 128 more for the whole group;
//! - to the lab, the process's number, or 0 where it could not be started, with the terminal if it has one;
//!   and then, when it has ended, its wait status (wait(2)): 32 bits each, the highest first.
//!
//! When the lab closes that socket early, the process is ended.

mod enter;
mod image_root;
mod mounts;
mod protocol;
pub(crate) mod root;
mod serve;
mod system_calls;
mod terminal;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;

pub(crate) use self::protocol::{MOST_FILES, TO_THE_GROUP, absolute};
pub use self::protocol::{Machine, Mount, Pod, Spec, Streams, message};
use self::protocol::{MessageError, receive};

/// The name of the program.
pub const PROGRAM: &str = "hello-lab-shim";

/// What tells the program to do nothing until a signal ends it, as the `pause` container of a node does.
pub const PAUSE: &str = "pause";

/// The exit code of a process whose program could not be started.
pub const START_FAILED: u8 = 125;

/// The program: a shim, or one of its processes that is about to have a terminal.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    match args.split_first() {
        Some((mode, [])) if mode == PAUSE => loop {
            nix::unistd::pause();
        },
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
    // The lab executes an open file, so that the kernel would name this process by a number.
    let _ = nix::sys::prctl::set_name(c"hello-lab-shim");
    let closed = close_inherited().context("cannot close what the lab's caller has open");
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let received = receive::<Machine>(&control).and_then(|machine| {
        let prepared = closed.and_then(|()| enter::prepare(&machine));
        Ok((prepared, receive::<Pod>(&control)?))
    });
    match received {
        // Where that failed, each process that is asked for says why, on its standard error.
        Ok((prepared, pod)) => {
            let volumes = volumes(&control, pod.volumes).context("cannot read")?;
            serve::serve(&control, &prepared.and_then(|()| enter::pod(&pod, volumes)))
        }
        // The lab has ended before this sandbox was taken for a pod.
        Err(MessageError::Socket(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The pod's volumes, which the lab sends next.
fn volumes(control: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let volume = || {
        let files = serve::files(control)?.unwrap_or_default();
        files.into_iter().next().ok_or(io::ErrorKind::UnexpectedEof.into())
    };
    (0..count).map(|_| volume()).collect()
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
