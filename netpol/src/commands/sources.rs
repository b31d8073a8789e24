//! Where manifests are read from, as every command that reads some is told.

use std::ffi::OsString;
use std::fmt;

use anyhow::anyhow;
use clap::Args;
use netpol::read::{Finding, Input, Manifests, Options, manifests_and_findings};

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

/// What counts of what is read.
#[derive(Debug, Args)]
pub(super) struct Choice {
    #[command(flatten)]
    pub default: Namespace,

    /// Of several objects of one kind, namespace and name take the last, as kubectl apply does
    #[arg(long)]
    last_wins: bool,

    /// Answer as if there were no policies of kinds that are not modelled: all, or these alone
    #[arg(long, value_name = "KIND,...", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    ignore_kinds: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub(super) struct How {
    #[command(flatten)]
    pub choice: Choice,

    /// Go on with what can be read, with a warning for the rest
    #[arg(long)]
    keep_going: bool,
}

impl Sources {
    /// Every object; without any workload there is no answer.
    pub(super) fn read_workloads(self) -> Result<Manifests, Failure> {
        self.how.read_workloads(self.paths)
    }
}

impl Paths {
    /// Every object, and what is wrong with those that are not read.
    pub(super) fn read(self, choice: &Choice) -> (Manifests, Vec<Finding>) {
        let namespace = &choice.default.namespace;
        let inputs = self.paths.into_iter().map(|path| Input::parse(path, namespace));
        let inputs: Vec<_> = inputs.collect();
        let options = Options { last_wins: choice.last_wins };
        let (mut manifests, findings) =
            manifests_and_findings(&inputs, std::io::stdin().lock(), options);
        if let Some(ignored) = &choice.ignore_kinds {
            for (kind, count) in manifests.ignore_kinds(ignored) {
                say_warning(&format_args!(
                    "{count} {kind} not looked at: the answer is as if there were none"
                ));
            }
        }
        (manifests, findings)
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
        let (manifests, findings) = paths.read(&self.choice);
        if !findings.is_empty() && !self.keep_going {
            return Err(Failure::BadInput([findings, manifests.refusals].concat()));
        }
        findings.iter().chain(&manifests.refusals).for_each(say_warning);
        Ok(manifests)
    }

    /// The same; without any workload there is no answer.
    pub(super) fn read_workloads(&self, paths: Paths) -> Result<Manifests, Failure> {
        let what = paths.to_string();
        let manifests = self.read(paths)?;
        if !manifests.cluster.pods().is_empty() {
            return Ok(manifests);
        }
        let there = match manifests.cluster.policies().len() {
            0 if manifests.skipped.is_empty() => "no object of Kubernetes at all".to_owned(),
            0 => "nothing that has pods".to_owned(),
            1 => "1 policy and nothing that it could be about".to_owned(),
            more => format!("{more} policies and nothing that they could be about"),
        };
        Err(Failure::BadArgument(anyhow!(
            "{what}: there is no workload or pod: {there}; give the manifests of the workloads too"
        )))
    }
}

impl FromIterator<OsString> for Paths {
    fn from_iter<I: IntoIterator<Item = OsString>>(paths: I) -> Self {
        Self { paths: paths.into_iter().collect() }
    }
}

/// As they were given.
impl fmt::Display for Paths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.paths.iter().map(|path| match path.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => path.display().to_string(),
        });
        out.write_str(&paths.collect::<Vec<_>>().join(", "))
    }
}
