//! What kubectl's current context shows, as manifests.

use std::io::{self, ErrorKind};
use std::process::{Command, Stdio};

use anyhow::anyhow;
use clap::Args;
use netpol::live::{self, Live, Printed};

use super::{Failure, say_warning};

/// The name of the program as a plugin of kubectl: `kubectl netpol` runs it.
const PLUGIN: &str = "kubectl-netpol";

#[derive(Debug, Args)]
pub(super) struct FromCluster {
    /// Read what kubectl shows of a cluster, beside the paths or alone
    #[arg(long)]
    cluster: bool,

    /// The context of kubectl that says which cluster; with it --cluster need not be said
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// What a cluster holds, and the namespace of kubectl's context.
pub(super) struct Held {
    pub live: Live,
    pub namespace: String,
}

impl FromCluster {
    /// Whether it is asked for: also by `kubectl netpol` with nothing else to read.
    pub(super) fn is_asked_for(&self, has_nothing_else: bool) -> bool {
        self.cluster || self.context.is_some() || has_nothing_else && is_plugin()
    }

    /// What the cluster holds, if it is asked for; warns of what kubectl may not see.
    pub(super) fn ask(&self, has_nothing_else: bool) -> Result<Option<Held>, Failure> {
        if !self.is_asked_for(has_nothing_else) {
            return Ok(None);
        }
        let kubectl = |arguments: &[&str]| self.kubectl(arguments);
        let failed = |error: live::LiveError| Failure::Failed(anyhow!(error));
        let namespace = live::namespace(&kubectl).map_err(failed)?;
        let live = live::ask(&kubectl, &namespace).map_err(failed)?;
        live.unseen.iter().for_each(say_warning);
        Ok(Some(Held { live, namespace }))
    }

    fn kubectl(&self, arguments: &[&str]) -> io::Result<Printed> {
        let mut command = Command::new("kubectl");
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        // A login that asks for a code asks at the terminal.
        let output = command.args(arguments).stdin(Stdio::inherit()).output()?;
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
        };
        Ok(Printed {
            is_success: output.status.success(),
            output: text(output.stdout)?,
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Whether kubectl runs this program as its plugin.
fn is_plugin() -> bool {
    let program = std::env::args_os().next();
    program
        .is_some_and(|program| std::path::Path::new(&program).file_name() == Some(PLUGIN.as_ref()))
}
