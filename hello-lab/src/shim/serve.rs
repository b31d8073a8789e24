//! Starts the processes that the lab asks for, and tells it of their ends.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Uid, fchown};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{MOST_FILES, START_FAILED, Spec, Streams, command_of, receive, report, terminal};

/// A process that the lab knows.
struct Process {
    child: Child,
    /// Readable when it has ended; none when the lab has been told.
    end: Option<OwnedFd>,
    /// The lab's end of it is held as long as anybody there cares for the process.
    lab: UnixStream,
}

/// Serves the lab until it closes `control`. No process is started where the shim has not `entered` the
/// pod.
pub(super) fn serve(control: &UnixStream, entered: &anyhow::Result<()>) -> anyhow::Result<()> {
    let mut processes: Vec<Process> = Vec::new();
    loop {
        let (asked, changes) = wait(control, &processes).context("cannot wait")?;
        let mut changes = changes.into_iter();
        processes.retain_mut(|process| {
            let (has_ended, is_given_up) = changes.next().unwrap_or_default();
            if has_ended {
                process.tell_end();
            }
            !is_given_up
        });
        if asked {
            let Some(files) = files(control).context("cannot read")? else { return Ok(()) };
            processes.extend(start(files, entered));
        }
    }
}

/// Waits until something happens: whether the lab asks for something, and of each process whether it
/// has ended and whether the lab has given it up.
fn wait(control: &UnixStream, processes: &[Process]) -> nix::Result<(bool, Vec<(bool, bool)>)> {
    let readable = |file| PollFd::new(file, PollFlags::POLLIN);
    let mut polled = vec![readable(control.as_fd())];
    for Process { end, lab, .. } in processes {
        polled.push(readable(lab.as_fd()));
        polled.extend(end.as_ref().map(|end| readable(end.as_fd())));
    }
    poll(&mut polled, PollTimeout::NONE)?;
    let mut happened = polled.iter().map(|file| file.any().unwrap_or(false));
    let mut next = || happened.next().unwrap_or(false);
    let asked = next();
    let changes = processes.iter().map(|process| {
        let is_given_up = next();
        (process.end.is_some() && next(), is_given_up)
    });
    let changes = changes.collect();
    Ok((asked, changes))
}

/// The open files of the lab's next message; none when it has closed its end.
fn files(control: &UnixStream) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut octet = [0];
    let octets = &mut [IoSliceMut::new(&mut octet)];
    if recvmsg(control, octets, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
        return Ok(None);
    }
    let messages = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    Ok(Some(messages.flatten().collect()))
}

/// Starts a process as the lab says. Where that fails, the process's standard error says why.
fn start(files: Vec<OwnedFd>, entered: &anyhow::Result<()>) -> Option<Process> {
    let mut files = files.into_iter();
    let mut lab = UnixStream::from(files.next()?);
    // One that is given up before it was wanted.
    let spec: Spec = receive(&lab).ok()?;
    let streams: Vec<OwnedFd> = files.collect();
    let mut stderr = File::from(streams.get(1).or(streams.first())?.try_clone().ok()?);
    let spawned = match entered {
        Ok(()) => spawn(&spec, streams),
        Err(error) => Err(anyhow!("{error:#}")),
    };
    match spawned {
        Ok((child, end)) => {
            let _ = lab.write_all(&child.id().to_be_bytes());
            Some(Process { child, end: Some(end), lab })
        }
        Err(error) => {
            report(&mut stderr, &error);
            let _ = lab.write_all(&[0, 0, 0, 0, 0, 0, START_FAILED, 0]);
            None
        }
    }
}

fn spawn(spec: &Spec, streams: Vec<OwnedFd>) -> anyhow::Result<(Child, OwnedFd)> {
    // Opened by the shim: it may be in a folder that is not the user's.
    let program = File::open(&spec.program)
        .with_context(|| format!("cannot open {}", spec.program.display()))?;
    let name = spec.program.file_name().unwrap_or_default();
    let mut streams = streams.into_iter();
    let mut stream = || streams.next().context("a stream is missing");
    let mut command = if spec.streams == Streams::Terminal {
        let end = stream()?;
        if let Some((user, _)) = spec.user {
            fchown(&end, Some(Uid::from_raw(user)), None).context("cannot give the terminal")?;
        }
        let mut command = terminal::command(program.try_clone()?, name);
        command.stdout(end.try_clone()?).stderr(end);
        command
    } else {
        let mut command = command_of(&program, name);
        command.process_group(0).stdout(stream()?).stderr(stream()?);
        command.stdin(match spec.streams {
            Streams::All => Stdio::from(stream()?),
            _ => Stdio::null(),
        });
        command
    };
    command.args(&spec.args).env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(spec.working_dir.as_deref().unwrap_or(Path::new("/")));
    if let Some((user, group)) = spec.user {
        command.uid(user).gid(group);
    }
    let child = command.spawn().context("cannot execute the program")?;
    let pid = Pid::from_child(&child);
    let end = pidfd_open(pid, PidfdFlags::empty()).context("cannot open the process")?;
    Ok((child, end))
}

impl Process {
    /// Tells the lab how it has ended, as wait(2) says it, and leaves it to be reaped.
    fn tell_end(&mut self) {
        let Some(end) = &self.end else { return };
        let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        let status = match waitid(Id::PIDFd(end.as_fd()), how) {
            Ok(WaitStatus::Exited(_, code)) => (code & 0xff) << 8,
            Ok(WaitStatus::Signaled(_, signal, dumped)) => signal as i32 | i32::from(dumped) << 7,
            _ => return,
        };
        self.end = None;
        // Nobody there is told in vain: then the lab's end is closed, which is seen next.
        let _ = self.lab.write_all(&status.to_be_bytes());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.end.is_some() {
            // With it all that it started: it leads a group of its own.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
