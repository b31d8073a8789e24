//! The process that keeps a lab: it starts the stages, and ends them.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::args::{Settings, Stage};
use crate::private_places;
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
    /// Where the lab writes, and the same to be read: when a lab does not start, its folder is gone before
    /// anybody has looked.
    fn open(self, folder: &RuntimeFolder) -> anyhow::Result<(Stdio, Option<File>)> {
        if self == Self::Terminal {
            return Ok((Stdio::inherit(), None));
        }
        folder.write(LOG, "")?;
        let file = File::options().read(true).append(true).open(folder.path().join(LOG));
        let file = file.context("cannot open the lab's log")?;
        let written = file.try_clone().context("cannot pass the lab's log on")?;
        Ok((written.into(), Some(file)))
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
            hidden: private_places::all(folder.path()),
            privileged: false,
            settings: settings.clone(),
        };
        let launcher = log.open(&folder).and_then(|(stderr, said)| {
            let launcher = Command::from(stages::of(&stage, "launch")?)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(stderr)
                .spawn();
            Ok((launcher.context("cannot start the lab")?, said))
        });
        let (mut lab, said) = match launcher {
            Ok((launcher, said)) => (Self { launcher, folder }, said),
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
        lab.tear_down().await?;
        // It has said why, on the terminal or here.
        let mut why = String::new();
        if let Some(mut said) = said {
            said.rewind()
                .and_then(|()| said.read_to_string(&mut why))
                .context("cannot read why")?;
        }
        bail!("the lab did not start\n{}", why.trim_end())
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
