//! What a pod has before it has containers, as the kubelet calls it: its network, and the shim that
//! starts its processes there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use crate::node::network::services::ServiceTable;
use crate::node::network::{Network, PodNetwork};
use crate::node::policy_enforcer::{Enforcer, FilterTable};
use crate::shim::{self, Pod, Spec};

/// The tables of a pod's network, for those who keep them as the store says.
pub struct Tables {
    /// Its filter.
    pub filter: FilterTable,
    /// Its Services.
    pub services: ServiceTable,
}

/// What a pod has before it has containers. Its processes end when it is dropped.
pub struct PodSandbox {
    /// Its network.
    pub network: PodNetwork,
    /// What starts its processes.
    pub shim: Shim,
}

/// A shim, seen from the lab.
pub struct Shim(UnixStream);

/// A process of a pod. Ends, with all that it started, when it is dropped.
#[derive(Debug)]
pub struct Process {
    shim: UnixStream,
    /// What the shim has said of it: its number, and then its wait status.
    said: Vec<u8>,
}

impl PodSandbox {
    /// Makes a network in `network`, with a filter of `enforcer`, and starts a shim there, of
    /// the open file `program`.
    pub async fn new(
        network: &Network,
        enforcer: &Enforcer,
        program: &File,
    ) -> anyhow::Result<(Self, Tables)> {
        let network = network.add_pod().await?;
        let filter = enforcer.prepare(network.namespace()).await?;
        let tables = Tables { filter, services: ServiceTable::open(network.namespace())? };
        let (own, other) = StdUnixStream::pair()?;
        let mut command = Command::from(shim::command_of(program, OsStr::new(shim::PROGRAM)));
        command.env_clear().current_dir("/");
        command.stdin(OwnedFd::from(other)).stdout(Stdio::null());
        let runtime = tokio::runtime::Handle::current();
        // It ends when its socket is closed, and then is reaped without being waited for.
        let started = network.run(|| {
            let _entered = runtime.enter();
            command.spawn().map(drop)
        });
        started.and_then(|started| started).context("cannot start a shim")?;
        Ok((Self { network, shim: Shim(tokio_stream(own)?) }, tables))
    }
}

impl Shim {
    /// Becomes that of `pod`: once, and before any process. If that fails, these fail.
    pub async fn enter(&mut self, pod: &Pod) -> io::Result<()> {
        self.0.write_all(&shim::message(pod)?).await
    }

    /// Has a process started that has `streams`, as `spec` says which. If that fails, it has ended with
    /// [`shim::START_FAILED`].
    pub async fn start(&self, spec: &Spec, streams: &[OwnedFd]) -> io::Result<Process> {
        let message = shim::message(spec)?;
        let (own, other) = StdUnixStream::pair()?;
        let files: Vec<_> =
            [other.as_fd()].into_iter().chain(streams.iter().map(OwnedFd::as_fd)).collect();
        self.0.async_io(Interest::WRITABLE, || pass(&self.0, &files)).await?;
        drop(other);
        let mut process = Process { shim: tokio_stream(own)?, said: Vec::new() };
        process.shim.write_all(&message).await?;
        Ok(process)
    }
}

impl Process {
    /// Sends it a signal.
    pub async fn signal(&mut self, signal: Signal) {
        if let Some(pid) = self.pid().await {
            // One that has ended needs no signal, and its number is still its own.
            let _ = kill(pid, signal);
        }
    }

    /// Ends it, and all that it started: it leads a group of its own.
    pub async fn kill(&mut self) {
        if let Some(pid) = self.pid().await {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.hear(8).await?;
        Ok(ExitStatus::from_raw(self.number(4)))
    }

    /// None if it could not be started.
    async fn pid(&mut self) -> Option<Pid> {
        self.hear(4).await.ok()?;
        Some(self.number(0)).filter(|pid| *pid > 0).map(Pid::from_raw)
    }

    /// Waits until the shim has said so many octets.
    async fn hear(&mut self, octets: usize) -> io::Result<()> {
        while self.said.len() < octets {
            if self.shim.read_buf(&mut self.said).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// What it has said there; 0 if it has not.
    fn number(&self, place: usize) -> i32 {
        self.said
            .get(place..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |octets| i32::from_be_bytes(*octets))
    }
}

/// A pipe: what is read here, and what a process writes to.
pub(super) fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((Receiver::from_owned_fd(reader.into())?, writer.into()))
}

fn tokio_stream(socket: StdUnixStream) -> io::Result<UnixStream> {
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

/// Passes open files on, with one octet.
fn pass(socket: &UnixStream, files: &[BorrowedFd]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(shim::MOST_FILES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}
