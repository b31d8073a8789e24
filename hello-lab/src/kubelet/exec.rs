//! Further processes in a container that runs: what `kubectl exec` starts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe::Sender;
use tokio::sync::watch;

use super::sandbox::{PodSandbox, Process, StartError, pipe};
use super::terminal::Terminal;
use crate::shim::{Spec, Streams, root};

/// The containers that run now, by their pod's UID and their own name.
#[derive(Clone, Default)]
pub struct Containers(Arc<Mutex<HashMap<(String, String), Container>>>);

/// A container that runs.
#[derive(Clone)]
pub struct Container {
    sandbox: Arc<PodSandbox>,
    spec: Spec,
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
    /// The system refuses.
    #[error("cannot make the process's streams")]
    Streams(#[from] std::io::Error),
}

impl Containers {
    /// The container named `name` of the pod with this UID, if it runs.
    #[must_use]
    pub fn get(&self, pod: &str, name: &str) -> Option<Container> {
        self.lock().get(&(pod.to_owned(), name.to_owned())).cloned()
    }

    /// Adds one until what is returned is dropped.
    pub(super) fn enter(
        &self,
        pod: &str,
        name: &str,
        sandbox: Arc<PodSandbox>,
        spec: Spec,
    ) -> Entered {
        let key = (pod.to_owned(), name.to_owned());
        let (running, ended) = watch::channel(());
        self.lock().insert(key.clone(), Container { sandbox, spec, ended });
        Entered { containers: self.clone(), key, _running: running }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Container>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.containers.lock().remove(&self.key);
    }
}

impl Container {
    /// Starts `command` with the container's network, files, user and environment.
    pub async fn start(&self, command: &[String], streams: Streams) -> Result<Further, ExecError> {
        let (program, args) = command.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let (program, is_images) =
            self.find(program).ok_or(ExecError::NoSuchProgram(program.to_owned()))?;
        let mut spec =
            Spec { program, is_images, args: args.to_vec(), streams, ..self.spec.clone() };
        match streams {
            Streams::Output | Streams::All => {
                let (stdout, out) = pipe()?;
                let (stderr, err) = pipe()?;
                let mut ends = vec![out, err];
                let mut writer = None;
                if streams == Streams::All {
                    let (input, pipe) = std::io::pipe()?;
                    ends.push(input.into());
                    writer = Some(Sender::from_owned_fd(pipe.into())?);
                }
                Ok(Further {
                    process: self.sandbox.shim.start(&spec, &ends).await?,
                    stdin: writer.map(|pipe| Box::new(pipe) as _),
                    stdout: Some(Box::new(stdout)),
                    stderr: Some(Box::new(stderr)),
                    terminal: None,
                })
            }
            Streams::Terminal => {
                spec.env.retain(|(name, _)| name != "TERM");
                // What containerd says of every terminal.
                spec.env.push(("TERM".to_owned(), "xterm".to_owned()));
                let mut process = self.sandbox.shim.start(&spec, &[]).await?;
                let terminal = Terminal::new(process.terminal().await?)?;
                Ok(Further {
                    process,
                    stdin: Some(Box::new(terminal.writer()?)),
                    stdout: Some(Box::new(terminal.reader()?)),
                    stderr: None,
                    terminal: Some(terminal),
                })
            }
        }
    }

    /// Resolves when the container has ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// A container is a process that sees the machine's programs, so a name is the image's program
    /// wherever the image may have it (then true), or else one of the machine's that pods see.
    fn find(&self, name: &str) -> Option<(PathBuf, bool)> {
        let own = &self.spec.program;
        if Path::new(name).file_name().is_some_and(|file| Some(file) == own.file_name()) {
            return Some((own.clone(), true));
        }
        let is_there = |path: &PathBuf| root::shows(path) && path.is_file();
        if name.contains('/') {
            let folder = self.spec.working_dir.as_deref().unwrap_or(Path::new("/"));
            return Some(folder.join(name)).filter(is_there).map(|path| (path, false));
        }
        let path = self.spec.env.iter().find(|(variable, _)| variable == "PATH")?;
        let mut all = path.1.split(':').map(|folder| Path::new(folder).join(name));
        all.find(is_there).map(|path| (path, false))
    }
}
