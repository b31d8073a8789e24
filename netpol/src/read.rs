//! Manifests, read strictly: what the API server would refuse, or silently drop, is a finding.

mod compose;
pub mod document;
mod files;
mod inventory;
mod kinds;
mod others;
mod parse_error;
mod reader;
mod scalar;
mod stream;
pub mod strict;
#[cfg(test)]
mod tests;
mod tracked;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use k8s_openapi::api::networking;
use serde_json::Value;

use self::document::Document;
pub use self::kinds::kind_is_policy;
use self::reader::Reader;
use crate::cluster::{Cluster, ForeignPolicy, Workload};
use crate::names;
use crate::selector::Labels;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Finding {
    /// The file, as it was named; `-` for standard input.
    pub file: String,
    /// The line in it, where one is known.
    pub line: Option<u64>,
    /// What is wrong, with the field's path.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message } = self;
        write!(out, "{}: {message}", Place { file: file.clone(), line: *line })
    }
}

/// What to read: a path, and the namespace of what names none there (`[NAMESPACE=]PATH`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// A file, a folder, or `-` for standard input.
    pub path: PathBuf,
    /// Where an object is that names no namespace, as with `kubectl apply --namespace`.
    pub namespace: String,
}

impl Input {
    /// What `path` holds, in the namespace `default` where nothing else is said.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), namespace: "default".to_owned() }
    }

    /// `[NAMESPACE=]PATH`, with `namespace` where it says none. A path that begins like a namespace is
    /// written `./a=b`.
    #[must_use]
    pub fn parse(text: OsString, namespace: &str) -> Self {
        match text.to_str().and_then(|text| text.split_once('=')) {
            Some((namespace, path)) if names::dns_label(namespace).is_empty() => {
                Self { path: path.into(), namespace: namespace.to_owned() }
            }
            _ => Self { path: text.into(), namespace: namespace.to_owned() },
        }
    }
}

impl From<OsString> for Input {
    fn from(text: OsString) -> Self {
        Self::parse(text, "default")
    }
}

/// What manifests hold.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The namespaces, pods and policies. A workload is a pod of its name without address.
    pub cluster: Cluster,
    /// The policies as they are written, in the order of those of the cluster.
    pub policies: Vec<networking::v1::NetworkPolicy>,
    /// Where each of them is written.
    pub written: Vec<WrittenPolicy>,
    /// Where each policy of a kind that is not modelled is written, in the order of those of the cluster.
    pub foreign: Vec<Place>,
    /// Where each Service of the cluster is written.
    pub written_services: Vec<WrittenPolicy>,
    /// Objects of kinds that are not Kubernetes' own, of which operators may make pods.
    pub resources: Vec<Resource>,
    /// What is valid and probably not meant of pods themselves.
    pub of_pods: Vec<Finding>,
    /// Objects of kinds that say nothing about policies, by kind.
    pub skipped: BTreeMap<String, usize>,
    /// What the API server would refuse, although what it means is clear.
    pub refusals: Vec<Finding>,
    /// Whether this is what a cluster holds, and not what somebody has written: its pods have a `uid`.
    pub is_live: bool,
    /// Workloads, with their namespace, whose pods have all finished: they connect no more (rule 24).
    pub finished: BTreeSet<(String, Workload)>,
}

impl Manifests {
    /// Leaves out policies of kinds that are not modelled: those of `kinds`, each `KIND` or `KIND.GROUP`, or
    /// all if it is empty. Returns how many, by kind.
    pub fn ignore_kinds(&mut self, kinds: &[String]) -> BTreeMap<String, usize> {
        let mut ignored = BTreeMap::new();
        let is_kept = |policy: &ForeignPolicy| !kinds.is_empty() && !policy.is_of(kinds);
        let mut kept = self.cluster.foreign().iter().map(is_kept).collect::<Vec<_>>().into_iter();
        self.foreign.retain(|_| kept.next().unwrap_or(true));
        self.cluster.retain_foreign(|policy| {
            let keep = is_kept(policy);
            if !keep {
                *ignored.entry(policy.kind.clone()).or_default() += 1;
            }
            keep
        });
        ignored
    }

    /// Adds a policy that may be there and cannot be seen.
    pub fn hide(&mut self, policy: ForeignPolicy) {
        self.cluster.add_foreign(policy);
        self.foreign.push(Place { file: reader::CLUSTER.to_owned(), line: None });
    }

    /// Whether nothing was read that is of Kubernetes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let skipped = self.skipped.keys().all(|kind| kind == reader::NO_OBJECT);
        skipped && self.cluster.is_empty() && self.finished.is_empty()
    }
}

/// Where something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named; `-` for standard input.
    pub file: String,
    /// The line in it, where one is known.
    pub line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = if self.file == "-" { "standard input" } else { &self.file };
        match self.line {
            Some(line) => write!(out, "{file}:{line}"),
            None => out.write_str(file),
        }
    }
}

/// The kind of what defines other kinds.
pub const DEFINITION: &str = "CustomResourceDefinition";

/// An object of a kind that is not Kubernetes' own, or what defines one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Its kind.
    pub kind: String,
    /// The group of its API; of a [`DEFINITION`] that which it defines a kind of.
    pub group: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels, and those that it has for pods.
    pub labels: Labels,
}

/// Where a policy or a Service is written.
#[derive(Clone, Debug)]
pub struct WrittenPolicy {
    file: String,
    document: Document,
}

/// How inputs are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Of several objects of one kind, namespace and name the last counts, as with
    /// `kubectl apply -f FOLDER`; else a second one is a finding.
    pub last_wins: bool,
}

impl WrittenPolicy {
    /// Where the field at `path` of it is written.
    #[must_use]
    pub fn place(&self, path: &str) -> Place {
        Place { file: self.file.clone(), line: self.document.line(path) }
    }

    /// What is written as its `spec`.
    #[must_use]
    pub fn spec(&self) -> &Value {
        &self.document.value["spec"]
    }

    /// Whether it says itself in which namespace it is.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.document.value["metadata"]["namespace"].is_string()
    }

    /// A finding about the field at `path` of it.
    #[must_use]
    pub fn finding(&self, path: &str, message: String) -> Finding {
        let line = self.document.line(path);
        Finding { file: self.file.clone(), line, message: format!("{path}: {message}") }
    }
}

/// Reads files, folders (and the folders in them) and, for `-`, `stdin`; each file once for a namespace.
///
/// Every finding is reported; with one there is no result, so that nothing is decided on a part.
/// What the API server would refuse and yet is clear is in the result.
pub fn manifests(inputs: &[Input], stdin: impl Read) -> Result<Manifests, Vec<Finding>> {
    let (manifests, findings) = manifests_and_findings(&[], inputs, stdin, Options::default());
    if findings.is_empty() { Ok(manifests) } else { Err([findings, manifests.refusals].concat()) }
}

/// The same, for who goes on with what can be read: also what was found in the rest. Before the inputs come
/// `objects` that a cluster holds.
pub fn manifests_and_findings(
    objects: &[Value],
    inputs: &[Input],
    stdin: impl Read,
    options: Options,
) -> (Manifests, Vec<Finding>) {
    let mut reader = Reader::new(options);
    for object in objects {
        reader.live(object);
    }
    let mut stdin = Some(stdin);
    for Input { path, namespace } in inputs {
        reader.namespace.clone_from(namespace);
        if path.as_os_str() == "-" {
            match stdin.take() {
                Some(stdin) => reader.stream(stdin),
                None => reader.find("-", None, "it can be read once only, and - is given twice"),
            }
        } else {
            reader.path(path);
        }
    }
    reader.finish()
}

/// The same of texts, each with what its file is called.
#[must_use]
pub fn texts_and_findings(
    texts: &[(String, String)],
    namespace: &str,
    options: Options,
) -> (Manifests, Vec<Finding>) {
    let mut reader = Reader::new(options);
    namespace.clone_into(&mut reader.namespace);
    for (file, text) in texts {
        reader.text(file, text);
    }
    reader.finish()
}

/// The same, for who hands them to an API: with a refusal too there is no result.
pub fn valid_manifests(inputs: &[Input], stdin: impl Read) -> Result<Manifests, Vec<Finding>> {
    match manifests(inputs, stdin) {
        Ok(manifests) if !manifests.refusals.is_empty() => Err(manifests.refusals),
        result => result,
    }
}
