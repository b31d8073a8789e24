//! Where manifests are read from, as every command that reads some is told.

use std::ffi::OsString;

use clap::Args;
use netpol::read::{Finding, Input, Manifests, manifests_and_findings};

use super::{Failure, say_warning};

#[derive(Debug, Args)]
pub(super) struct Sources {
    #[command(flatten)]
    paths: Paths,

    #[command(flatten)]
    pub how: How,
}

#[derive(Debug, Args)]
pub(super) struct Paths {
    /// Files, folders, or - for standard input; NAMESPACE=PATH for what names no namespace
    #[arg(required = true, value_name = "[NAMESPACE=]PATH")]
    paths: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct Namespace {
    /// Where an object is that names no namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
}

#[derive(Debug, Args)]
pub(super) struct How {
    #[command(flatten)]
    pub default: Namespace,

    /// Go on with what can be read, with a warning for the rest
    #[arg(long)]
    keep_going: bool,
}

impl Sources {
    pub(super) fn read(self) -> Result<Manifests, Failure> {
        self.how.read(self.paths)
    }
}

impl Paths {
    /// Every object, and what is wrong with those that are not read.
    pub(super) fn read(self, default: &Namespace) -> (Manifests, Vec<Finding>) {
        let inputs = self.paths.into_iter().map(|path| Input::parse(path, &default.namespace));
        let inputs: Vec<_> = inputs.collect();
        manifests_and_findings(&inputs, std::io::stdin().lock())
    }
}

impl From<OsString> for Paths {
    fn from(path: OsString) -> Self {
        Self { paths: vec![path] }
    }
}

impl How {
    /// Reads `paths`, and warns of what may make the answer another than a cluster's.
    pub(super) fn read(&self, paths: Paths) -> Result<Manifests, Failure> {
        let (manifests, findings) = paths.read(&self.default);
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
