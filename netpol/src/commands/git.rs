//! Manifests as a revision of a repository has them.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

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
    let (mut names, mut blobs) = (Vec::new(), Vec::new());
    for entry in entries.split('\0').filter(|entry| !entry.is_empty()) {
        // MODE TYPE OBJECT<tab>PATH; links and modules of other repositories are not followed.
        let Some((about, name)) = entry.split_once('\t') else { continue };
        let [mode, "blob", blob] = about.split(' ').collect::<Vec<_>>()[..] else { continue };
        let is_manifest = [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
        if is_manifest && mode != "120000" {
            let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
            names.push(format!("{revision}:{folder}{name}"));
            blobs.push(blob);
        }
    }
    let printed = git_bytes(&["cat-file", "--batch"], &format!("{}\n", blobs.join("\n")))?;
    let mut rest = printed.as_slice();
    let files = names.into_iter().map(|name| {
        let text = next_blob(&mut rest).with_context(|| format!("git cat-file: no {name}"))?;
        let text = String::from_utf8(text.to_vec()).with_context(|| name.clone())?;
        Ok((name, text))
    });
    files.collect::<anyhow::Result<_>>().map(Some)
}

/// The next of what `git cat-file --batch` prints: `OBJECT blob SIZE`, so many bytes, each ended by a line's end.
fn next_blob<'p>(printed: &mut &'p [u8]) -> Option<&'p [u8]> {
    let end = printed.iter().position(|byte| *byte == b'\n')?;
    let (head, rest) = printed.split_at_checked(end)?;
    let [_, "blob", size] = str::from_utf8(head).ok()?.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let (text, rest) = rest.get(1..)?.split_at_checked(size.parse().ok()?)?;
    *printed = rest.get(1..)?;
    Some(text)
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
    let printed = git_bytes(arguments, "")?;
    String::from_utf8(printed).with_context(|| format!("git {}", arguments.join(" ")))
}

/// What git prints that reads `input`.
fn git_bytes(arguments: &[&str], input: &str) -> anyhow::Result<Vec<u8>> {
    let run = || -> io::Result<Output> {
        let mut command = Command::new("git");
        command.args(arguments).stdin(Stdio::piped());
        let mut git = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pipe = git.stdin.take();
        thread::scope(|scope| {
            // It answers while it reads. One that ends before it has read all says why itself.
            scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(input.as_bytes())));
            git.wait_with_output()
        })
    };
    let output = run().context("cannot run git, which --git asks: is it installed?")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", arguments.join(" "), said.lines().last().unwrap_or("failed"));
    }
    Ok(output.stdout)
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
    fn files_are_told_apart_by_their_size_whatever_is_in_them() {
        let mut printed = &b"1a blob 7\na\nb c 3\n2b blob 0\n\n3c missing\n"[..];
        assert_eq!(next_blob(&mut printed), Some(&b"a\nb c 3"[..]));
        assert_eq!(next_blob(&mut printed), Some(&b""[..]));
        assert_eq!(next_blob(&mut printed), None);
        assert_eq!(next_blob(&mut &b"1a blob 70\na\n"[..]), None);
    }

    #[test]
    fn a_path_does_not_leave_the_repository() {
        assert_eq!(normal("a/../b/./c/").as_deref(), Some("b/c"));
        assert_eq!(normal("").as_deref(), Some(""));
        assert_eq!(normal("a/../../b"), None);
    }
}
