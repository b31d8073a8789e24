//! A process that is to have a terminal: a session of its own can only be started by itself, so the
//! shim's program is executed for it first, and then its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use nix::unistd::{dup2_stdin, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use super::command_of;

/// The argument that says so.
pub(super) const MODE: &str = "terminal";

/// Opens a terminal of the pod's own: the lab's end, and the process's.
pub(super) fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = openpt(flags)?;
    unlockpt(&own)?;
    let other = ioctl_tiocgptpeer(&own, flags)?;
    Ok((own, other))
}

/// What starts `program`, or else that which is at `path`, named `name`; its arguments, its user and the
/// terminal as standard output are to be added.
pub(super) fn command(program: Option<File>, path: &Path, name: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    // A script is read again, by its interpreter, and so has to have a path.
    let path = if program.is_some() { OsStr::new("") } else { path.as_os_str() };
    command.args([OsStr::new(MODE), path, name]);
    command.stdin(program.map_or_else(Stdio::null, Stdio::from));
    command
}

/// Becomes the program. Returns only on failure.
pub(super) fn run(args: &[OsString]) -> anyhow::Error {
    match prepare(args) {
        Ok((mut command, _program)) => {
            anyhow::Error::new(command.exec()).context("cannot execute the program")
        }
        Err(error) => error,
    }
}

fn prepare(args: &[OsString]) -> anyhow::Result<(Command, File)> {
    let [path, name, args @ ..] = args else { bail!("no program is named") };
    let program = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    setsid().context("cannot start a session")?;
    take_terminal().context("cannot take the terminal")?;
    let mut command = if path.is_empty() {
        command_of(&program, name)
    } else {
        let mut command = Command::new(path);
        command.arg0(name);
        command
    };
    command.args(args);
    Ok((command, program))
}

/// Makes the terminal that is standard output the session's, and standard input too: the first that a
/// session without one opens becomes that (`tty_open_proc_set_tty` in the kernel's
/// `drivers/tty/tty_io.c`).
fn take_terminal() -> io::Result<()> {
    let terminal = File::options().read(true).write(true).open("/proc/self/fd/1")?;
    Ok(dup2_stdin(&terminal)?)
}
