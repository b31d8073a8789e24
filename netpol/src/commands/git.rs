//! Manifests as a revision of a repository has them.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};

/// Two revisions that are compared.
pub(super) struct Revisions {
    pub old: String,
    /// `None` for the files as they are now.
    pub new: Option<String>,
}

/// As they were written.
impl fmt::Display for Revisions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.new {
            Some(new) => write!(out, "{}..{new}", self.old),
            None => out.write_str(&self.old),
        }
    }
}

/// A file of a revision: what it is called, and what it says.
pub(super) type File = (String, String);

impl Revisions {
    /// `OLD..NEW`, `OLD...NEW` (from where the two parted), `OLD..` (to `HEAD`), or `OLD` (to the files as they
    /// are now), as `git diff` takes them.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let or_head =
            |name: &str| if name.is_empty() { "HEAD".to_owned() } else { name.to_owned() };
        if text.is_empty() {
            bail!("--git: expected OLD..NEW, as main..HEAD");
        }
        if let Some((old, new)) = text.split_once("...") {
            let (old, new) = (or_head(old), or_head(new));
            let parted = git(&["merge-base", "--end-of-options", &old, &new])?;
            return Ok(Self { old: parted.trim().to_owned(), new: Some(new) });
        }
        Ok(match text.split_once("..") {
            Some((old, new)) => Self { old: or_head(old), new: Some(or_head(new)) },
            None => Self { old: text.to_owned(), new: None },
        })
    }
}

/// The file at `path`, or the YAML and JSON files of the folder there, as `revision` has them; `None` if it
/// has nothing there.
pub(super) fn files(revision: &str, path: &str) -> anyhow::Result<Option<Vec<File>>> {
    let commit = format!("{revision}^{{commit}}");
    git(&["rev-parse", "--quiet", "--verify", "--end-of-options", &commit])
        .map_err(|_| anyhow!("--git: this repository has no revision {revision:?}"))?;
    let path = path.trim_end_matches('/');
    // A revision has paths from the top of the repository; these begin where the command was run.
    let places = git(&["rev-parse", "--show-toplevel", "--show-prefix"])?;
    let (top, here) = places.split_once('\n').unwrap_or((&places, ""));
    let in_repository = if path.starts_with('/') {
        Path::new(path).strip_prefix(top).ok().and_then(Path::to_str).and_then(normal)
    } else {
        normal(&format!("{}{path}", here.trim_end_matches('\n')))
    };
    let path = in_repository
        .with_context(|| format!("{path}: not in the repository at {}", top.trim_end()))?;
    let object = format!("{revision}:{path}");
    let Ok(found) = git(&["rev-parse", "--quiet", "--verify", "--end-of-options", &object]) else {
        return Ok(None);
    };
    let found = found.trim();
    if git(&["cat-file", "-t", found])?.trim() == "blob" {
        return Ok(Some(vec![(object, git(&["cat-file", "blob", found])?)]));
    }
    let entries = git(&["ls-tree", "-r", "-z", "--full-tree", found])?;
    let mut files = Vec::new();
    for entry in entries.split('\0').filter(|entry| !entry.is_empty()) {
        // MODE TYPE OBJECT<tab>PATH; links and modules of other repositories are not followed.
        let Some((about, name)) = entry.split_once('\t') else { continue };
        let [mode, "blob", blob] = about.split(' ').collect::<Vec<_>>()[..] else { continue };
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
        if is_manifest && mode != "120000" {
            let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
            files.push((format!("{revision}:{folder}{name}"), git(&["cat-file", "blob", blob])?));
        }
    }
    Ok(Some(files))
}

/// A path without `.` and `..`; `None` if it leaves the top.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run git, which --git asks: is it installed?")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", arguments.join(" "), said.lines().last().unwrap_or("failed"));
    }
    String::from_utf8(output.stdout).with_context(|| format!("git {}", arguments.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_written_as_git_diff_takes_them() {
        let parse = |text| Revisions::parse(text).map(|Revisions { old, new }| (old, new));
        let some = |old: &str, new: &str| (old.to_owned(), Some(new.to_owned()));
        assert_eq!(parse("a..b").unwrap(), some("a", "b"));
        assert_eq!(parse("v1.0..").unwrap(), some("v1.0", "HEAD"));
        assert_eq!(parse("..b").unwrap(), some("HEAD", "b"));
        assert_eq!(parse("a").unwrap(), ("a".to_owned(), None));
        assert!(parse("").is_err());
    }

    #[test]
    fn a_path_does_not_leave_the_repository() {
        assert_eq!(normal("a/../b/./c/").as_deref(), Some("b/c"));
        assert_eq!(normal("").as_deref(), Some(""));
        assert_eq!(normal("a/../../b"), None);
    }
}
