//! `netpol diff`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufWriter, Write};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use netpol::cluster::Cluster;
use netpol::connectivity::ListedEnd;
use netpol::difference::{Difference, align, each_source};
use netpol::read::Manifests;

use super::changes::{Changes, Counts, Format, lines};
use super::git::Revisions;
use super::sources::How;
use super::{Failure, say_error, written};

/// Show the connections that another version of the manifests permits, or no longer permits
///
/// A line begins with + for what is gained, - for what is lost, ~ for a pair whose ports change, and
/// ? for what is not known any more. Exits 1 if something is gained, so that a change that opens more
/// than before stops a pipeline, and 3 if something may be gained and it is not known.
///
/// With --cluster (or one of the two from `kubectl get namespaces,networkpolicies,pods -A -o yaml`) the
/// answer is how a cluster has drifted from its manifests, in the namespaces that these speak of.
///
/// Example: netpol diff old/ new/
///
/// Example: netpol diff manifests/hello-app --cluster
///
/// Example: netpol diff --git origin/main...HEAD -o md manifests/hello-app
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// File or folder of the version before
    old: OsString,

    /// File or folder of the version after; not given with --cluster and --git
    new: Option<OsString>,

    /// Compare what two revisions of the repository have at the path: OLD..NEW, or OLD...NEW from where they
    /// parted, or OLD with the files as they are now
    #[arg(long, value_name = "OLD..NEW")]
    git: Option<String>,

    #[command(flatten)]
    how: How,

    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    /// What to exit 1 for
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A connection that is permitted now and was not
    #[default]
    Gained,
    /// A connection that was permitted and is not now
    Lost,
    /// Either
    Any,
    /// Nothing
    Never,
}

impl Diff {
    /// Both versions.
    fn read(&self) -> Result<(Manifests, Manifests), Failure> {
        let Self { old, new, how, git, .. } = self;
        let bad = |message: &str| Failure::BadArgument(anyhow!("{message}"));
        if let Some(revisions) = git {
            if new.is_some() || how.is_of_cluster(false) {
                return Err(bad(
                    "with --git there is one path, which both revisions are read from",
                ));
            }
            let path = old.to_str().ok_or_else(|| bad("with --git the path is in UTF-8"))?;
            let revisions = Revisions::parse(revisions).map_err(Failure::BadArgument)?;
            let before = how.read_revision(&revisions.old, path)?;
            let after = match &revisions.new {
                Some(new) => how.read_revision(new, path)?,
                None => Some(how.read_files(old.clone())?),
            };
            if before.is_none() && after.is_none() {
                let message = format!("{path}: in neither of the revisions {revisions}");
                return Err(bad(&message));
            }
            return Ok((before.unwrap_or_default(), after.unwrap_or_default()));
        }
        let before = how.read_files(old.clone())?;
        let after = match new {
            Some(_) if how.is_of_cluster(false) => {
                return Err(bad(
                    "with --cluster there is one path: the manifests that the cluster is compared with",
                ));
            }
            Some(new) => how.read_files(new.clone())?,
            None if how.is_of_cluster(true) => how.read_cluster()?,
            None => {
                return Err(bad(
                    "diff compares two versions: give the one after too, or --cluster, or --git OLD..NEW",
                ));
            }
        };
        Ok((before, after))
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut old, mut new) = self.read()?;
        let left_out = align(&mut old, &mut new);
        let workloads = workloads(&old.cluster, &new.cluster);
        let mut out = BufWriter::new(std::io::stdout().lock());
        let (old, new) = (&old.cluster, &new.cluster);
        let (counts, result) = if let Some(form) = self.output.form() {
            let difference = Difference::between(old, new);
            let changes = Changes::of(&difference, &workloads, &left_out);
            (changes.counts(), form.write(&changes, &mut out))
        } else {
            let (mut counts, mut result) = (Counts::default(), Ok(()));
            each_source(old, new, |part| {
                counts.add(&part);
                if result.is_ok() {
                    result = lines(&part, &mut out);
                }
            });
            (counts, result)
        };
        written(result.and_then(|()| out.flush()))?;
        drop(out);
        if !left_out.is_empty() {
            say_error(&format_args!(
                "not compared, for the manifests say nothing of them: {}",
                left_out.join(", ")
            ));
        }
        for (sign, workload) in &workloads {
            say_error(&format_args!("{sign} workload {workload}"));
        }
        let fails = match self.fail_on {
            FailOn::Gained => counts.gained > 0,
            FailOn::Lost => counts.lost > 0,
            FailOn::Any => counts.gained > 0 || counts.lost > 0,
            FailOn::Never => false,
        };
        if fails {
            return Err(anyhow!("{counts}").into());
        }
        if counts.unknown > 0 && self.fail_on != FailOn::Never {
            return Err(Failure::Unknown(anyhow!("{counts}")));
        }
        say_error(&counts);
        Ok(())
    }
}

/// The workloads that only one of the two has.
fn workloads(old: &Cluster, new: &Cluster) -> Vec<(char, String)> {
    let ends = |cluster: &Cluster| -> BTreeSet<String> {
        cluster.pods().iter().map(|pod| ListedEnd::of(pod).to_string()).collect()
    };
    let (old, new) = (ends(old), ends(new));
    let added = new.difference(&old).map(|end| ('+', end.clone()));
    let removed = old.difference(&new).map(|end| ('-', end.clone()));
    added.chain(removed).collect()
}
