//! Objects of the API, taken from documents into [`Manifests`]: which documents there are, and what each is
//! of. [`objects`] takes them.

mod objects;

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::document::{Document, ParseError};
use super::files::{self, FileError, Files};
use super::inventory::{Content, Identity, Inventory};
use super::kinds::{self, Kind, api_version, group, kind_of, kind_without_version, kinds_of};
use super::others;
use super::{Finding, Manifests, Options, Place};

/// What is skipped that is no object of the API: a values file, a report, a list of numbers.
pub(super) const NO_OBJECT: &str = "document that is no Kubernetes object";

/// What objects of a cluster are from.
pub(super) const CLUSTER: &str = "the cluster";

/// Reads one file after the other.
#[derive(Default)]
pub(super) struct Reader {
    manifests: Manifests,
    inventory: Inventory,
    options: Options,
    /// Where an object is that names no namespace.
    pub namespace: String,
    findings: Vec<Finding>,
    files: Files,
}

/// One object and the file that it is from.
struct Source<'a> {
    file: &'a str,
    document: &'a Document,
}

/// What the items of a typed list are.
#[derive(Clone, Copy)]
struct Items<'a> {
    kind: &'a str,
    version: Option<&'a str>,
}

impl Reader {
    pub(super) fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// What was read, and what is wrong with the rest.
    pub(super) fn finish(mut self) -> (Manifests, Vec<Finding>) {
        self.inventory.finish(&mut self.manifests);
        (self.manifests, self.findings)
    }

    pub(super) fn find(&mut self, file: &str, line: Option<u64>, message: impl Into<String>) {
        self.findings.push(Finding { file: file.to_owned(), line, message: message.into() });
    }

    fn refuse(&mut self, file: &str, line: Option<u64>, message: impl Into<String>) {
        let refusal = Finding { file: file.to_owned(), line, message: message.into() };
        self.manifests.refusals.push(refusal);
    }

    /// Reads a file, or the YAML and JSON files of a folder; what was read before is passed over.
    pub(super) fn path(&mut self, path: &Path) {
        let mut files = std::mem::take(&mut self.files);
        let namespace = self.namespace.clone();
        files.read(path, &namespace, &mut |path, text| {
            self.content(&path.display().to_string(), text);
        });
        self.files = files;
    }

    /// Reads an object that a cluster holds, or a list of some.
    pub(super) fn live(&mut self, object: &Value) {
        let document = Document::of_value(object.clone());
        self.object(&Source { file: CLUSTER, document: &document }, None);
    }

    /// Reads standard input.
    pub(super) fn stream(&mut self, stream: impl Read) {
        self.content("-", files::stream(stream));
    }

    fn content(&mut self, file: &str, text: Result<String, FileError>) {
        match text {
            Ok(text) => self.text(file, &text),
            Err(error) => self.find(file, None, error.to_string()),
        }
    }

    pub(super) fn text(&mut self, file: &str, text: &str) {
        for document in Document::read_each(text, &kinds::is_unread) {
            match document {
                Err(ParseError { line, message }) => self.find(file, line, message),
                Ok(document) if document.value.is_null() => {}
                Ok(document) if document.is_unread => {
                    let kind = document.value["kind"].as_str().unwrap_or_default();
                    self.manifests.resources.extend(others::resource(&document.value));
                    *self.manifests.skipped.entry(kind.to_owned()).or_default() += 1;
                }
                Ok(document) => self.object(&Source { file, document: &document }, None),
            }
        }
    }

    /// Reads one object; the items of a typed list carry no kind and no version and get the list's.
    fn object(&mut self, source: &Source<'_>, list: Option<Items<'_>>) {
        let value = &source.document.value;
        let kind = value["kind"].as_str().or(list.map(|list| list.kind));
        let version = value["apiVersion"].as_str().or(list.and_then(|list| list.version));
        if kind.is_none() && ["apiVersion", "metadata"].iter().all(|field| value[field].is_null()) {
            return *self.manifests.skipped.entry(NO_OBJECT.to_owned()).or_default() += 1;
        }
        let Some(kind) = kind else {
            let line = source.document.line("");
            return self.find(source.file, line, "kind: a manifest must say what it is of");
        };
        if let Some(element) = kind.strip_suffix("List")
            && (value["items"].is_array() || value.get("items").is_some_and(Value::is_null))
        {
            let list = (!element.is_empty()).then_some(Items { kind: element, version });
            for (index, item) in value["items"].as_array().into_iter().flatten().enumerate() {
                let path = format!("items[{index}]");
                if !item.is_object() {
                    let message = format!("{path}: an object is wanted, not {item}");
                    self.find(source.file, source.document.line(&path), message);
                    continue;
                }
                let document = source.document.part(&path, item.clone());
                self.object(&Source { file: source.file, document: &document }, list);
            }
            return;
        }
        if kind == "List" {
            let message = match value.get("items") {
                Some(items) => format!("items: a list is wanted, not {items}"),
                None => "items: Required value".to_owned(),
            };
            self.find(source.file, source.document.line("items"), message);
            return;
        }
        let found = version.map_or_else(
            // Go's clients leave both out of the items of a typed list, and of the list.
            || if list.is_some() { Kind::Known } else { kind_without_version(kind) },
            |version| kind_of(version, kind),
        );
        match found {
            Kind::NoMatch(message) => {
                let field = message.split(':').next().unwrap_or_default();
                self.find(source.file, source.document.line(field), message);
                return;
            }
            Kind::Policy { name, cluster_wide } => {
                return self.foreign(source, name, cluster_wide);
            }
            Kind::Other if version.is_none_or(|version| kinds_of(group(version)).is_some()) => {
                self.manifests.resources.extend(others::resource(value));
                *self.manifests.skipped.entry(kind.to_owned()).or_default() += 1;
                return;
            }
            Kind::Other => return self.generic(source, kind, version.unwrap_or_default()),
            Kind::Known => {}
        }
        if version.is_none()
            && list.is_none()
            && let Some(expected) = api_version(kind)
        {
            let message = format!("apiVersion: Required value: {expected} for {kind}");
            self.refuse(source.file, source.document.line(""), message);
        }
        let mut document;
        let mut source = Source { ..*source };
        let has_null =
            ["apiVersion", "kind"].iter().any(|field| value.get(field).is_some_and(Value::is_null));
        if has_null || self.lacks_namespace(kind, value) {
            document = source.document.clone();
            if self.lacks_namespace(kind, value) {
                document.value["metadata"]["namespace"] = self.namespace.clone().into();
            }
            // What is null is not there.
            if let Some(fields) = document.value.as_object_mut() {
                fields.retain(|name, value| {
                    !value.is_null() || !["apiVersion", "kind"].contains(&name.as_str())
                });
            }
            source.document = &document;
        }
        let source = &source;
        self.known(source, kind);
    }

    /// Adds an object, once: a second one of its kind, namespace and name is a finding.
    fn add(&mut self, source: &Source<'_>, identity: Identity, content: Content) {
        let place = Place { file: source.file.to_owned(), line: source.document.line("") };
        let said = identity.to_string();
        if let Some(earlier) = self.inventory.add(identity, place.clone(), content)
            && !self.options.last_wins
        {
            let message = format!(
                "{said} is written twice, first at {earlier}: a cluster holds one (--last-wins takes the \
                 last, as kubectl apply does)"
            );
            self.find(&place.file, place.line, message);
        }
    }

    /// Whether the object is in the namespace of its input. (`default` needs no saying.)
    fn lacks_namespace(&self, kind: &str, value: &Value) -> bool {
        let Some(metadata) = value["metadata"].as_object().filter(|_| kind != "Namespace") else {
            return false;
        };
        match metadata.get("namespace") {
            None | Some(Value::Null) => self.namespace != "default",
            Some(namespace) => namespace == "",
        }
    }
}
