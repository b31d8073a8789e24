//! Further processes in a container that runs: what `kubectl exec` starts.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::unix::pipe::Sender;
use tokio::sync::watch;

use super::images::Image;
use super::program;
use super::sandbox::{PodSandbox, Process, StartError, pipe};
use super::terminal::Terminal;
use crate::shim::{Spec, Streams};

/// The containers that run now, by their pod's UID and their own name.
#[derive(Clone, Default)]
pub struct Containers(Arc<Mutex<HashMap<(String, String), Container>>>);

/// A container that runs.
#[derive(Clone)]
pub struct Container {
    sandbox: Arc<PodSandbox>,
    spec: Spec,
    image: Image,
    /// Where volumes are mounted.
    mounted: Vec<PathBuf>,
    /// Closed when the container ends: its further processes end with it.
    ended: watch::Receiver<()>,
}

/// A further process of a container, and its streams as far as it has them.
pub struct Further {
    /// The process.
    pub process: Process,
    /// What it reads.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// What it writes, or all that its terminal shows.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// What it writes to standard error.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Its terminal, to change its size.
    pub terminal: Option<Terminal>,
}

/// Keeps a container among those that run.
pub(super) struct Entered {
    containers: Containers,
    key: (String, String),
    container: Container,
    _running: watch::Sender<()>,
}

/// Why a process cannot be started in a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Neither the image's program nor one of the machine's.
    #[error("exec: {0:?}: executable file not found in $PATH")]
    NoSuchProgram(String),
    /// It cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Containers {
    /// The container named `name` of the pod with this UID, if it runs.
    #[must_use]
    pub fn get(&self, pod: &str, name: &str) -> Option<Container> {
        self.lock().get(&(pod.to_owned(), name.to_owned())).cloned()
    }

    /// Any container of the pod with this UID that runs: its network is that of all.
    #[must_use]
    pub fn any(&self, pod: &str) -> Option<Container> {
        let containers = self.lock();
        containers.iter().find(|((uid, _), _)| uid == pod).map(|(_, container)| container.clone())
    }

    /// Adds one until what is returned is dropped.
    pub(super) fn enter(
        &self,
        pod: &str,
        name: &str,
        sandbox: Arc<PodSandbox>,
        spec: Spec,
        image: Image,
        mounted: Vec<PathBuf>,
    ) -> Entered {
        let key = (pod.to_owned(), name.to_owned());
        let (running, ended) = watch::channel(());
        let container = Container { sandbox, spec, image, mounted, ended };
        self.lock().insert(key.clone(), container.clone());
        Entered { containers: self.clone(), key, container, _running: running }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Container>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entered {
    /// The container.
    pub(super) fn container(&self) -> &Container {
        &self.container
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.containers.lock().remove(&self.key);
    }
}

/// Starts a process of a pod, with the streams that it is to have.
pub(super) async fn start(sandbox: &PodSandbox, spec: &Spec) -> Result<Further, StartError> {
    match spec.streams {
        Streams::Output | Streams::All => {
            let (stdout, out) = pipe().map_err(StartError::Streams)?;
            let (stderr, err) = pipe().map_err(StartError::Streams)?;
            let mut ends = vec![out, err];
            let mut stdin = None;
            if spec.streams == Streams::All {
                let (input, pipe) = std::io::pipe().map_err(StartError::Streams)?;
                ends.push(input.into());
                let writer = Sender::from_owned_fd(pipe.into()).map_err(StartError::Streams)?;
                stdin = Some(Box::new(writer) as _);
            }
            let process = sandbox.shim.start(spec, &ends).await?;
            let (stdout, stderr) = (Some(Box::new(stdout) as _), Some(Box::new(stderr) as _));
            Ok(Further { process, stdin, stdout, stderr, terminal: None })
        }
        Streams::Terminal => {
            let mut process = sandbox.shim.start(spec, &[]).await?;
            let terminal = Terminal::new(process.terminal().await?).map_err(StartError::Streams)?;
            let stdin = Box::new(terminal.writer().map_err(StartError::Streams)?) as _;
            let stdout = Box::new(terminal.reader().map_err(StartError::Streams)?) as _;
            let (stdin, stdout) = (Some(stdin), Some(stdout));
            Ok(Further { process, stdin, stdout, stderr: None, terminal: Some(terminal) })
        }
    }
}

/// What containerd says of every terminal.
pub(super) const TERM: (&str, &str) = ("TERM", "xterm");

/// Of what a command says, this much is kept (`maxReadLength` of pkg/probe/exec).
const KEPT_OUTPUT: usize = 10 << 10;
/// How long a command's output may take to arrive after its end.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Reads a stream to its end, and keeps what fits.
async fn keep(stream: Option<impl AsyncRead + Unpin>, kept: &Mutex<&mut Vec<u8>>) {
    let Some(mut stream) = stream else { return };
    let mut piece = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut piece).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_OUTPUT {
            kept.extend_from_slice(&piece);
        }
        piece.clear();
    }
}

impl Container {
    /// Starts `command` with the container's network, files, user and environment.
    pub async fn start(&self, command: &[String], streams: Streams) -> Result<Further, ExecError> {
        let (program, args) = command.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let (program, is_images) =
            self.find(program).ok_or_else(|| ExecError::NoSuchProgram(program.to_owned()))?;
        let mut spec =
            Spec { program, is_images, args: args.to_vec(), streams, ..self.spec.clone() };
        if streams == Streams::Terminal {
            spec.env.retain(|(name, _)| name != TERM.0);
            spec.env.push((TERM.0.to_owned(), TERM.1.to_owned()));
        }
        Ok(start(&self.sandbox, &spec).await?)
    }

    /// Runs `command` to its end: how it ended, and the beginning of what it wrote. When this is dropped, it
    /// ends at once.
    pub(super) async fn output(
        &self,
        command: &[String],
    ) -> Result<(ExitStatus, String), ExecError> {
        let Further { mut process, stdout, stderr, .. } =
            self.start(command, Streams::Output).await?;
        let mut said = Vec::new();
        let status = {
            let written = Mutex::new(&mut said);
            let mut reading = pin!(async {
                tokio::join!(keep(stdout, &written), keep(stderr, &written));
            });
            let status = tokio::select! {
                status = process.wait() => {
                    // What it has started, and left, may have the other ends for ever.
                    let _ = tokio::time::timeout(LAST_WORDS, &mut reading).await;
                    status
                }
                () = &mut reading => process.wait().await,
            };
            status.map_err(StartError::Shim)?
        };
        said.truncate(KEPT_OUTPUT);
        Ok((status, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Opens a TCP connection to a port, from the pod's own loopback address, of IPv4 or else of IPv6.
    pub async fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        let network = &self.sandbox.network;
        match network.connect((Ipv4Addr::LOCALHOST, port).into()).await {
            Ok(stream) => Ok(stream),
            Err(error) => {
                // Without IPv6 the first error is what there is to say.
                network.connect((Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_| error)
            }
        }
    }

    fn find(&self, name: &str) -> Option<(PathBuf, bool)> {
        let Spec { env, working_dir, .. } = &self.spec;
        let path = env.iter().find(|(variable, _)| variable == "PATH");
        let path = path.map_or("", |(_, path)| path.as_str());
        let hidden = &self.sandbox.hidden;
        program::find(name, &self.image, &self.mounted, hidden, path, working_dir.as_deref())
    }

    /// Resolves when the container has ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}
