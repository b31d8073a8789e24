//! Starts the processes that the lab asks for, signals them, and tells it of their ends. As process 1 of
//! the pod's PID namespace it reaps whatever else ends there, too.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, Uid, fchown, getpid};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{WaitOptions, wait};

use super::mounts::Roots;
use super::protocol::{MOST_FILES, Spec, Streams, TO_THE_GROUP, receive};
use super::{START_FAILED, command_of, report, terminal};

/// A process that the lab knows.
struct Process {
    pid: Pid,
    has_ended: bool,
    /// The lab's end of it is held as long as anybody there cares for the process.
    lab: UnixStream,
}

/// Serves the lab until it closes `control`. No process is started where the shim has not `entered` the
/// pod.
pub(super) fn serve(control: &UnixStream, entered: &anyhow::Result<Roots>) -> anyhow::Result<()> {
    let ends = SigSet::from(Signal::SIGCHLD);
    ends.thread_block().context("cannot block SIGCHLD")?;
    let ends = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for signals")?;
    let mut processes: Vec<Process> = Vec::new();
    loop {
        // Whatever woke this up: a signal that comes while a process is started wakes nobody.
        while let Ok(Some(_)) = ends.read_signal() {}
        let before = processes.iter().filter(|process| !process.has_ended).count();
        reap(&mut processes);
        let (asked, told) = wait_for_more(control, &ends, &processes).context("cannot wait")?;
        let mut told = told.into_iter();
        processes.retain_mut(|process| !told.next().unwrap_or_default() || process.obey());
        let running = processes.iter().filter(|process| !process.has_ended).count();
        if running == 0 && before > 0 && is_process_1() {
            // What is left belongs to nobody: it has left its container's group, or outlived it.
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        }
        if asked {
            let Some(files) = files(control).context("cannot read")? else { return Ok(()) };
            processes.extend(start(files, entered));
        }
    }
}

/// Whether all that a signal to everybody reaches is the pod's.
pub(super) fn is_process_1() -> bool {
    getpid() == Pid::from_raw(1)
}

/// Reaps what has ended, and tells the lab of what it knows.
fn reap(processes: &mut [Process]) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let pid = Pid::from_raw(pid.as_raw_nonzero().get());
        if let Some(process) =
            processes.iter_mut().find(|process| process.pid == pid && !process.has_ended)
        {
            process.has_ended = true;
            // That nobody reads it any more is seen in the next round.
            let _ = process.lab.write_all(&status.as_raw().to_be_bytes());
        }
    }
}

/// Waits until something happens: whether the lab asks for a process, and of which it has said something.
fn wait_for_more(
    control: &UnixStream,
    ends: &SignalFd,
    processes: &[Process],
) -> nix::Result<(bool, Vec<bool>)> {
    let readable = |file| PollFd::new(file, PollFlags::POLLIN);
    let mut polled = vec![readable(control.as_fd()), readable(ends.as_fd())];
    polled.extend(processes.iter().map(|process| readable(process.lab.as_fd())));
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    let mut happened = polled.iter().map(|file| file.any().unwrap_or(false));
    let asked = happened.next().unwrap_or(false);
    Ok((asked, happened.skip(1).collect()))
}

/// The open files of the lab's next message; none when it has closed its end.
pub(super) fn files(control: &UnixStream) -> io::Result<Option<Vec<OwnedFd>>> {
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
fn start(files: Vec<OwnedFd>, entered: &anyhow::Result<Roots>) -> Option<Process> {
    let mut files = files.into_iter();
    let mut lab = UnixStream::from(files.next()?);
    // One that is given up before it was wanted.
    let spec: Spec = receive(&lab).ok()?;
    let mut files: Vec<OwnedFd> = files.collect();
    let program = if spec.is_images { files.pop().map(File::from) } else { None };
    let terminal = (spec.streams == Streams::Terminal).then(terminal::open).transpose();
    let (own, terminal) = terminal.ok().flatten().unzip();
    files.extend(terminal);
    let stderr = files.get(1).or(files.first()).and_then(|stderr| stderr.try_clone().ok());
    let started = match entered {
        Ok(roots) => roots.within(&spec.container, || spawn(&spec, program, files)),
        Err(error) => Err(anyhow!("{error:#}")),
    };
    if let (Err(error), Some(stderr)) = (&started, stderr) {
        report(&mut File::from(stderr), error);
    }
    let pid = started.ok();
    let _ = tell_start(&lab, pid, own.as_ref());
    if pid.is_none() {
        let _ = lab.write_all(&[0, 0, START_FAILED, 0]);
    }
    pid.map(|pid| Process { pid, has_ended: false, lab })
}

/// Tells the lab whether a process has been started, and gives it its end of the terminal.
fn tell_start(lab: &UnixStream, pid: Option<Pid>, terminal: Option<&OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files: Vec<_> = terminal.iter().map(|terminal| terminal.as_fd()).collect();
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let number = pid.map_or(0, Pid::as_raw).to_be_bytes();
    sendmsg(lab, &[IoSlice::new(&number)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn spawn(spec: &Spec, program: Option<File>, streams: Vec<OwnedFd>) -> anyhow::Result<Pid> {
    let name = spec.program.file_name().unwrap_or_default();
    let mut streams = streams.into_iter();
    let mut command = if spec.streams == Streams::Terminal {
        let end = streams.next().context("cannot make a terminal")?;
        if let Some((user, _)) = spec.user {
            fchown(&end, Some(Uid::from_raw(user)), None).context("cannot give the terminal")?;
        }
        let mut command = terminal::command(program, &spec.program, name);
        command.stdout(end.try_clone()?).stderr(end);
        command
    } else {
        let mut command = match &program {
            Some(program) => command_of(program, name),
            None => Command::new(&spec.program),
        };
        let mut stream = || streams.next().context("a stream is missing");
        command.arg0(name).process_group(0).stdout(stream()?).stderr(stream()?);
        command.stdin(match spec.streams {
            Streams::All => Stdio::from(stream()?),
            _ => Stdio::null(),
        });
        command
    };
    command.args(&spec.args).env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
    let folder = spec.working_dir.as_deref().unwrap_or(Path::new("/"));
    // A container engine makes it; here it could only be made in memory, in which nobody would find anything.
    ensure!(folder.is_dir(), "the working directory {} is not there", folder.display());
    command.current_dir(folder);
    if let Some((user, group)) = spec.user {
        command.uid(user).gid(group);
    }
    // What is blocked here would be blocked there.
    let blocked = SigSet::thread_get_mask().context("cannot read the signal mask")?;
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    let spawned = command.spawn();
    blocked.thread_set_mask().context("cannot block signals")?;
    let child = spawned.with_context(|| format!("cannot execute {}", spec.program.display()))?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

impl Process {
    /// Does what the lab says. Whether it still cares for the process.
    fn obey(&mut self) -> bool {
        let mut said = [0; 16];
        match self.lab.read(&mut said) {
            Ok(length @ 1..) => {
                said[..length].iter().for_each(|octet| self.signal(*octet));
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            _ => {
                // With it all that it started in its group.
                self.signal(TO_THE_GROUP | Signal::SIGKILL as u8);
                self.signal(Signal::SIGKILL as u8);
                false
            }
        }
    }

    fn signal(&self, octet: u8) {
        let signal = Signal::try_from(i32::from(octet & !TO_THE_GROUP));
        // One that has been reaped has a number that may be another's.
        if let (Ok(signal), false) = (signal, self.has_ended) {
            let _ = if octet & TO_THE_GROUP == 0 {
                kill(self.pid, signal)
            } else {
                killpg(self.pid, signal)
            };
        }
    }
}
