//! `netpol delete`.

use std::path::PathBuf;

use clap::Args;
use netpol::enforce::control::Request;
use netpol::names::NamespacedName;

use super::Failure;
use super::enforcer::{Files, Namespace, Socket};

/// Delete policies of a running enforcer
///
/// Example: netpol delete -f manifests/network-policy.yaml
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["filename", "names"]))]
pub(super) struct Delete {
    /// Files or folders of the policies, or - for standard input
    #[arg(short, long, value_name = "PATH")]
    filename: Vec<PathBuf>,

    /// Names of the policies
    #[arg(value_name = "NAME", conflicts_with = "filename")]
    names: Vec<String>,

    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    socket: Socket,
}

impl Delete {
    pub(super) fn run(self) -> Result<(), Failure> {
        let named =
            |name: String| NamespacedName { namespace: self.namespace.name().to_owned(), name };
        let names = if self.filename.is_empty() {
            self.names.into_iter().map(named).collect()
        } else {
            let files = Files { filename: self.filename, namespace: self.namespace.clone() };
            files.read()?.iter().map(|policy| NamespacedName::of(&policy.metadata)).collect()
        };
        Ok(self.socket.change(&Request::Delete(names))?)
    }
}
