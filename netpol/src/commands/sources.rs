//! Where manifests are read from, as every command that reads some is told.

use std::ffi::OsString;
use std::fmt;

use anyhow::anyhow;
use clap::Args;
use netpol::read::{
    Finding, Input, Manifests, Options, manifests_and_findings, texts_and_findings,
};

use super::from_cluster::{FromCluster, Held};
use super::{Failure, git, say_warning};

/// What a cluster is called where a path would stand.
const CLUSTER: &str = "the cluster";

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
    #[arg(value_name = "[NAMESPACE=]PATH")]
    paths: Vec<OsString>,
}

/// What counts of what is read.
#[derive(Debug, Args)]
pub(super) struct Choice {
    /// Where an object is that names no namespace [default: default, with --cluster that of kubectl's context]
    #[arg(short, long)]
    namespace: Option<String>,

    #[command(flatten)]
    cluster: FromCluster,

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
    pub(super) fn read_workloads(self) -> Result<(Manifests, String), Failure> {
        self.how.read_workloads(self.paths)
    }
}

impl Choice {
    fn ignore_kinds(&self, manifests: &mut Manifests) {
        let Some(ignored) = &self.ignore_kinds else { return };
        for (kind, count) in manifests.ignore_kinds(ignored) {
            say_warning(&format_args!(
                "{count} {kind} not looked at: the answer is as if there were none"
            ));
        }
    }

    /// The namespace of what names none, beside what a cluster holds.
    fn namespace(&self, held: Option<&Held>) -> String {
        let of_context = || held.map(|held| held.namespace.clone());
        self.namespace.clone().or_else(of_context).unwrap_or_else(|| "default".to_owned())
    }

    fn options(&self) -> Options {
        Options { last_wins: self.last_wins }
    }
}

impl Paths {
    /// Every object, and what is wrong with those that are not read.
    pub(super) fn read(self, choice: &Choice) -> Result<Read, Failure> {
        let held = choice.cluster.ask(self.paths.is_empty())?;
        if self.paths.is_empty() && held.is_none() {
            return Err(Failure::BadArgument(anyhow!(
                "nothing to read: give files or folders, - for standard input, or --cluster for what kubectl shows"
            )));
        }
        Ok(self.read_beside(choice, held))
    }

    /// The same, with what a cluster holds.
    fn read_beside(self, choice: &Choice, held: Option<Held>) -> Read {
        let namespace = choice.namespace(held.as_ref());
        let inputs = self.paths.into_iter().map(|path| Input::parse(path, &namespace));
        let inputs: Vec<_> = inputs.collect();
        let objects = held.as_ref().map_or(&[][..], |held| &held.live.objects);
        let (mut manifests, findings) =
            manifests_and_findings(objects, &inputs, std::io::stdin().lock(), choice.options());
        if let Some(held) = &held {
            held.live.hide_in(&mut manifests);
        }
        choice.ignore_kinds(&mut manifests);
        Read { manifests, findings, namespace }
    }
}

/// What was read.
pub(super) struct Read {
    pub manifests: Manifests,
    pub findings: Vec<Finding>,
    /// Where what names no namespace is.
    pub namespace: String,
}

impl How {
    /// Reads `paths`, and warns of what may make the answer another than a cluster's. Also returns the
    /// namespace of what names none.
    pub(super) fn read(&self, paths: Paths) -> Result<(Manifests, String), Failure> {
        self.warned(paths.read(&self.choice)?)
    }

    fn warned(
        &self,
        Read { manifests, findings, namespace }: Read,
    ) -> Result<(Manifests, String), Failure> {
        if !findings.is_empty() && !self.keep_going {
            return Err(Failure::BadInput([findings, manifests.refusals].concat()));
        }
        findings.iter().chain(&manifests.refusals).for_each(say_warning);
        Ok((manifests, namespace))
    }

    /// The same; without any workload there is no answer.
    pub(super) fn read_workloads(&self, paths: Paths) -> Result<(Manifests, String), Failure> {
        let what = paths.to_string();
        self.answerable(paths.read(&self.choice)?, &what)
    }

    /// The same of what the cluster holds, and nothing else.
    pub(super) fn read_cluster(&self) -> Result<Manifests, Failure> {
        let held = self.choice.cluster.ask(true)?;
        let read = Paths { paths: Vec::new() }.read_beside(&self.choice, held);
        Ok(self.answerable(read, CLUSTER)?.0)
    }

    /// The same of files alone.
    pub(super) fn read_files(&self, path: OsString) -> Result<Manifests, Failure> {
        let paths = Paths { paths: vec![path] };
        let what = paths.to_string();
        Ok(self.answerable(paths.read_beside(&self.choice, None), &what)?.0)
    }

    /// The same of what a revision of a repository has at `path`; `None` if it has nothing there.
    pub(super) fn read_revision(
        &self,
        revision: &str,
        path: &str,
    ) -> Result<Option<Manifests>, Failure> {
        let files = git::files(revision, path).map_err(Failure::BadArgument)?;
        let Some(files) = files else { return Ok(None) };
        let namespace = self.choice.namespace(None);
        let (mut manifests, findings) =
            texts_and_findings(&files, &namespace, self.choice.options());
        self.choice.ignore_kinds(&mut manifests);
        let read = Read { manifests, findings, namespace };
        Ok(Some(self.answerable(read, &format!("{revision}:{path}"))?.0))
    }

    /// Whether what the cluster holds is asked for, where there may be nothing else to read.
    pub(super) fn is_of_cluster(&self, has_nothing_else: bool) -> bool {
        self.choice.cluster.is_asked_for(has_nothing_else)
    }

    fn answerable(&self, read: Read, what: &str) -> Result<(Manifests, String), Failure> {
        let (manifests, namespace) = self.warned(read)?;
        if !manifests.cluster.pods().is_empty() {
            return Ok((manifests, namespace));
        }
        let there = match manifests.cluster.policies().len() {
            0 if !manifests.finished.is_empty() => "only pods that have finished".to_owned(),
            0 if manifests.skipped.is_empty() && manifests.cluster.is_empty() => {
                "no object of Kubernetes at all".to_owned()
            }
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
        let paths: Vec<_> = paths.collect();
        out.write_str(if paths.is_empty() { CLUSTER } else { "" })?;
        out.write_str(&paths.join(", "))
    }
}
