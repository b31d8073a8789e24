//! What a pod has before it has containers, as the kubelet calls it: its network, and the shim that
//! starts its processes there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use crate::node::network::services::ServiceTable;
use crate::node::network::{Network, PodNetwork};
use crate::node::policy_enforcer::{Enforcer, FilterTable};
use crate::shim::{self, Machine, Pod, Spec};

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
    /// What of the machine's programs they do not see.
    pub hidden: Arc<[PathBuf]>,
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

/// Why a process cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The image's program is not there any more.
    #[error("cannot open {}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The pod's shim has ended, or cannot be asked.
    #[error("cannot reach the pod's shim")]
    Shim(#[from] io::Error),
    /// The system refuses them.
    #[error("cannot make the process's streams")]
    Streams(#[source] io::Error),
}

impl PodSandbox {
    /// Makes a network in `network`, with a filter of `enforcer`, and starts a shim there, of
    /// the open file `program`, whose processes do not see what is `hidden`.
    pub async fn new(
        network: &Network,
        enforcer: &Enforcer,
        program: &File,
        hidden: &Arc<[PathBuf]>,
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
            // What this thread, which does nothing else, starts next is process 1 of a new namespace.
            unshare(CloneFlags::CLONE_NEWPID)?;
            command.spawn().map(drop)
        });
        started.and_then(|started| started).context("cannot start a shim")?;
        let mut shim = tokio_stream(own)?;
        let message = shim::message(&Machine { hidden: hidden.to_vec() })?;
        shim.write_all(&message).await.context("cannot tell a shim what it hides")?;
        Ok((Self { network, shim: Shim(shim), hidden: hidden.clone() }, tables))
    }
}

impl Shim {
    /// Becomes that of `pod`, with the file systems of its volumes: once, and before any process. If that
    /// fails, these fail.
    pub async fn enter(
        &mut self,
        pod: &Pod,
        volumes: impl Iterator<Item = &OwnedFd>,
    ) -> io::Result<()> {
        self.0.write_all(&shim::message(pod)?).await?;
        for volume in volumes {
            self.0.async_io(Interest::WRITABLE, || pass(&self.0, &[volume.as_fd()])).await?;
        }
        Ok(())
    }

    /// Has a process started that has `streams`, as `spec` says which. If that fails, it has ended with
    /// [`shim::START_FAILED`].
    pub async fn start(&self, spec: &Spec, streams: &[OwnedFd]) -> Result<Process, StartError> {
        let cannot_open = |cause| StartError::Program { program: spec.program.clone(), cause };
        let program =
            spec.is_images.then(|| File::open(&spec.program).map_err(cannot_open)).transpose()?;
        Ok(self.ask(spec, streams, program.as_ref()).await?)
    }

    async fn ask(
        &self,
        spec: &Spec,
        streams: &[OwnedFd],
        program: Option<&File>,
    ) -> io::Result<Process> {
        let message = shim::message(spec)?;
        let (own, other) = StdUnixStream::pair()?;
        let files = [other.as_fd()].into_iter().chain(streams.iter().map(OwnedFd::as_fd));
        let files: Vec<_> = files.chain(program.map(File::as_fd)).collect();
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
        // One that has ended needs none.
        let _ = self.shim.write_all(&[signal as u8]).await;
    }

    /// Ends it, and all that it started in its group.
    pub async fn kill(&mut self) {
        let _ = self.shim.write_all(&[shim::TO_THE_GROUP | Signal::SIGKILL as u8]).await;
    }

    /// The lab's end of its terminal, which it must have: what its shim gives before it says anything else.
    pub async fn terminal(&mut self) -> io::Result<OwnedFd> {
        let Self { shim, said } = self;
        shim.async_io(Interest::READABLE, || take(shim, said)).await
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.hear(8).await?;
        Ok(ExitStatus::from_raw(self.number(4)))
    }

    /// Whether the shim has said that it could not start it: its standard error says why.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.said.len() >= 4 && self.number(0) == 0
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

/// Takes what the shim says first, and the open file that comes with it.
fn take(socket: &UnixStream, said: &mut Vec<u8>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut octets = [0; 4];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let length = recvmsg(socket, &mut [IoSliceMut::new(&mut octets)], &mut ancillary, flags)?.bytes;
    said.extend(&octets[..length]);
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    file.ok_or_else(|| io::Error::other("the pod's shim has made no terminal"))
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
