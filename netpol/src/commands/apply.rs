//! `netpol apply`.

use clap::Args;
use netpol::enforce::control::Request;

use super::Failure;
use super::enforcer::{Files, Socket};

/// Create or replace policies of a running enforcer
///
/// Example: netpol apply -f manifests/network-policy.yaml
#[derive(Debug, Args)]
pub(super) struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    socket: Socket,
}

impl Apply {
    pub(super) fn run(self) -> Result<(), Failure> {
        let policies = self.files.read()?;
        Ok(self.socket.change(&Request::Apply(policies))?)
    }
}
