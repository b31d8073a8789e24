//! The process that keeps a lab: it starts the stages, and ends them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::args::{Settings, Stage};
use crate::runtime_folder::{RuntimeFolder, base};
use crate::stages::{self, terminate};

/// The time in which a lab must be gone when it is told to.
pub(super) const TEAR_DOWN: Duration = Duration::from_secs(10);

/// The name of the file in which a lab in the background says what it has to say.
const LOG: &str = "log";

/// Where a lab's own messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
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
pub(super) struct Kept {
    pub(super) launcher: Child,
    pub(super) folder: RuntimeFolder,
}

impl Kept {
    /// Starts a lab and waits until it is ready.
    /// The lab's own messages go to its log, or to the keeper's standard error.
    pub(super) async fn start(name: &str, settings: &Settings, log: Log) -> anyhow::Result<Self> {
        let folder = RuntimeFolder::take(&labs(), name)?;
        let stage = Stage {
            folder: folder.path().to_owned(),
            parent: i32::try_from(std::process::id())?,
            privileged: false,
            settings: settings.clone(),
        };
        let launcher = log.open(&folder).and_then(|stderr| {
            Command::from(stages::of(&stage, "launch")?)
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

    pub(super) async fn tear_down(mut self) -> anyhow::Result<()> {
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

/// The folder of the labs' folders.
pub(super) fn labs() -> PathBuf {
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    base(xdg.as_deref(), &std::env::temp_dir())
}
