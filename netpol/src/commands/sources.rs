//! Where manifests are read from, as every command that reads some is told.

use std::ffi::OsString;

use clap::Args;
use netpol::read::{Input, Manifests, manifests_and_findings};

use super::{Failure, say_warning};

#[derive(Debug, Args)]
pub(super) struct Sources {
    /// Files, folders, or - for standard input; NAMESPACE=PATH for what names no namespace
    #[arg(required = true, value_name = "[NAMESPACE=]PATH")]
    pub paths: Vec<OsString>,

    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub(super) struct How {
    /// Where an object is that names no namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,

    /// Go on with what can be read, with a warning for the rest
    #[arg(long)]
    keep_going: bool,
}

impl Sources {
    pub(super) fn read(self) -> Result<Manifests, Failure> {
        self.how.read(self.paths)
    }
}

impl How {
    /// Reads `paths`, and warns of what may make the answer another than a cluster's.
    pub(super) fn read(&self, paths: Vec<OsString>) -> Result<Manifests, Failure> {
        let inputs = paths.into_iter().map(|path| Input::parse(path, &self.namespace));
        let inputs: Vec<_> = inputs.collect();
        let (manifests, findings) = manifests_and_findings(&inputs, std::io::stdin().lock());
        if !findings.is_empty() && !self.keep_going {
            return Err(Failure::BadInput([findings, manifests.refusals].concat()));
        }
        findings.iter().chain(&manifests.refusals).for_each(say_warning);
        for (kind, count) in &manifests.skipped {
            if kind.split('.').next().is_some_and(|kind| kind.ends_with("NetworkPolicy")) {
                say_warning(&format_args!(
                    "{count} {kind} not looked at: the answer is as if there were none"
                ));
            }
        }
        Ok(manifests)
    }
}
