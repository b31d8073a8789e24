//! `netpol diff`.

use std::ffi::OsString;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use netpol::connectivity::{Connectivity, connectivity};
use netpol::difference::gained;

use super::colour::Colour;
use super::sources::How;
use super::{Failure, say};

/// Show the connections that another version of the manifests permits, or no longer permits
///
/// A line begins with + for what is gained and with - for what is lost. Exits 1 if something is
/// gained, so that a change that opens more than before stops a pipeline.
///
/// Example: netpol diff old/ new/
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// File or folder of the version before
    old: OsString,

    /// File or folder of the version after
    new: OsString,

    #[command(flatten)]
    how: How,

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
    pub(super) fn run(self) -> Result<(), Failure> {
        let old = connectivity(&self.how.read(self.old.into())?.cluster);
        let new = connectivity(&self.how.read(self.new.into())?.cluster);
        let (gained, lost) = (gained(&old, &new), gained(&new, &old));
        let mut lines: Vec<_> = lines("+", &gained).chain(lines("-", &lost)).collect();
        // By pair, so that what changes for one stands together.
        lines.sort_by(|(_, one), (_, other)| one.cmp(other));
        for (sign, line) in &lines {
            let colour = if *sign == "+" { Colour::Green } else { Colour::Red };
            say(colour.paint(format_args!("{sign} {line}"), &std::io::stdout()));
        }
        let fails = match self.fail_on {
            FailOn::Gained => !gained.is_empty(),
            FailOn::Lost => !lost.is_empty(),
            FailOn::Any => !lines.is_empty(),
            FailOn::Never => false,
        };
        if fails {
            let (gained, lost) = (gained.len(), lost.len());
            return Err(anyhow!("{gained} gained, {lost} lost").into());
        }
        Ok(())
    }
}

fn lines<'a>(
    sign: &'static str,
    pairs: &'a Connectivity,
) -> impl Iterator<Item = (&'static str, String)> + use<'a> {
    pairs.iter().map(move |((source, destination), connections)| {
        (sign, format!("{source} => {destination} : {connections}"))
    })
}
