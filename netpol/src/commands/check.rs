//! `netpol check`.

use std::ffi::OsString;

use clap::Args;
use netpol::read::{Input, Manifests, valid_manifests};

use super::{Failure, say};

/// Check manifests as an API server with strict validation does
///
/// Example: netpol check manifests/
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Files, folders, or - for standard input; NAMESPACE=PATH for what names no namespace
    #[arg(required = true, value_name = "[NAMESPACE=]PATH")]
    paths: Vec<OsString>,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let inputs: Vec<_> = self.paths.into_iter().map(Input::from).collect();
        let manifests =
            valid_manifests(&inputs, std::io::stdin().lock()).map_err(Failure::BadInput)?;
        summarise(&manifests);
        Ok(())
    }
}

/// One line of what was read, and one of what was not.
fn summarise(manifests: &Manifests) {
    let cluster = &manifests.cluster;
    let (policies, pods) = (cluster.policies().len(), cluster.pods().len());
    say(format_args!("no findings in {policies} policies, {pods} pods and workloads"));
    if !manifests.skipped.is_empty() {
        let kinds = manifests.skipped.iter().map(|(kind, count)| format!("{count} {kind}"));
        say(format_args!("not looked at: {}", kinds.collect::<Vec<_>>().join(", ")));
    }
}
