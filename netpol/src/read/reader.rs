//! Objects of the API, taken from documents into [`Manifests`].

use std::io::Read;
use std::path::Path;

use k8s_openapi::api::{apps, batch, core, networking};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{Document, ParseError};
use super::files::{self, FileError, Files};
use super::others;
use super::strict::{DecodeError, decode, prune};
use super::{Finding, Manifests, WrittenPolicy};
use crate::cluster::{Pod, Workload, named_ports, ports};
use crate::selector::labels_of;
use crate::service::Service;
use crate::validate;

/// What is skipped that is no object of the API: a values file, a report, a list of numbers.
pub(super) const NO_OBJECT: &str = "document that is no Kubernetes object";

/// The version of the API that has the kinds which are read.
fn api_version(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Namespace" | "Pod" | "ReplicationController" | "Service" => "v1",
        "NetworkPolicy" => "networking.k8s.io/v1",
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        _ => return None,
    })
}

/// Reads one file after the other.
#[derive(Default)]
pub(super) struct Reader {
    pub manifests: Manifests,
    /// Where an object is that names no namespace.
    pub namespace: String,
    pub findings: Vec<Finding>,
    files: Files,
}

/// One object and the file that it is from.
struct Source<'a> {
    file: &'a str,
    document: &'a Document,
}

impl Reader {
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
        match Document::read_all(text) {
            Err(ParseError { line, message }) => self.find(file, line, message),
            Ok(documents) => {
                for document in documents.iter().filter(|document| !document.value.is_null()) {
                    self.object(&Source { file, document }, None);
                }
            }
        }
    }

    /// Reads one object; the items of a typed list carry no kind and get the list's.
    fn object(&mut self, source: &Source<'_>, kind_of_list: Option<&str>) {
        let value = &source.document.value;
        let kind = value["kind"].as_str().or(kind_of_list);
        if kind.is_none() && ["apiVersion", "metadata"].iter().all(|field| value[field].is_null()) {
            return *self.manifests.skipped.entry(NO_OBJECT.to_owned()).or_default() += 1;
        }
        let Some(kind) = kind else {
            let line = source.document.line("");
            return self.find(source.file, line, "kind: a manifest must say what it is of");
        };
        if let (Some(element), Some(items)) = (kind.strip_suffix("List"), value["items"].as_array())
        {
            let kind = (!element.is_empty()).then_some(element);
            for (index, item) in items.iter().enumerate() {
                let document = source.document.part(&format!("items[{index}]"), item.clone());
                self.object(&Source { file: source.file, document: &document }, kind);
            }
            return;
        }
        if !self.is_of_the_api(source, kind, kind_of_list) {
            return;
        }
        let mut document;
        let mut source = Source { ..*source };
        if self.lacks_namespace(kind, value) {
            document = source.document.clone();
            document.value["metadata"]["namespace"] = self.namespace.clone().into();
            source.document = &document;
        }
        let source = &source;
        match kind {
            "Namespace" => {
                if let Some(namespace) = self.decode::<core::v1::Namespace>(source) {
                    let name = namespace.metadata.name.unwrap_or_default();
                    let labels = namespace.metadata.labels.unwrap_or_default();
                    self.manifests.cluster.add_namespace(&name, labels);
                }
            }
            "Pod" => {
                if let Some(object) = self.decode::<core::v1::Pod>(source) {
                    if let Some(spec) = &object.spec {
                        self.duplicate_names(source, "spec", spec);
                    }
                    if let Some(pod) = Pod::from_api(&object) {
                        self.manifests.cluster.add_pod(pod);
                    }
                }
            }
            "NetworkPolicy" => self.policy(source),
            "Service" => self.service(source),
            "Deployment" => self.workload::<apps::v1::Deployment>(source, kind, "/spec/template"),
            "ReplicaSet" => self.workload::<apps::v1::ReplicaSet>(source, kind, "/spec/template"),
            "StatefulSet" => self.workload::<apps::v1::StatefulSet>(source, kind, "/spec/template"),
            "DaemonSet" => self.workload::<apps::v1::DaemonSet>(source, kind, "/spec/template"),
            "Job" => self.workload::<batch::v1::Job>(source, kind, "/spec/template"),
            "CronJob" => {
                self.workload::<batch::v1::CronJob>(
                    source,
                    kind,
                    "/spec/jobTemplate/spec/template",
                );
            }
            "ReplicationController" => {
                self.workload::<core::v1::ReplicationController>(source, kind, "/spec/template");
            }
            other => {
                self.manifests.resources.extend(others::resource(value));
                *self.manifests.skipped.entry(other.to_owned()).or_default() += 1;
            }
        }
    }

    /// Whether the object is of the version of its kind that is read. One of another group is of another
    /// kind, as Calico's own NetworkPolicy; an old version is a finding.
    fn is_of_the_api(
        &mut self,
        source: &Source<'_>,
        kind: &str,
        kind_of_list: Option<&str>,
    ) -> bool {
        let Some(expected) = api_version(kind) else { return true };
        let value = &source.document.value;
        let group =
            |version: &str| version.split_once('/').map_or("", |(group, _)| group).to_owned();
        match value["apiVersion"].as_str() {
            Some(version) if version == expected => true,
            Some(version)
                if group(version) == group(expected) || group(version) == "extensions" =>
            {
                let line = source.document.line("apiVersion");
                let message =
                    format!("apiVersion: {version} is not served; {kind} is of {expected}");
                self.find(source.file, line, message);
                false
            }
            Some(version) => {
                let kind = format!("{kind}.{}", group(version));
                *self.manifests.skipped.entry(kind).or_default() += 1;
                false
            }
            None => {
                if kind_of_list != Some(kind) {
                    let message = format!("apiVersion: Required value: {expected} for {kind}");
                    self.refuse(source.file, source.document.line(""), message);
                }
                true
            }
        }
    }

    /// Whether the object is in the namespace of its input. (`default` needs no saying.)
    fn lacks_namespace(&self, kind: &str, value: &Value) -> bool {
        let metadata = value["metadata"].as_object();
        kind != "Namespace"
            && self.namespace != "default"
            && metadata.is_some_and(|metadata| !metadata.contains_key("namespace"))
    }

    fn policy(&mut self, source: &Source<'_>) {
        let mut document;
        let mut source = Source { ..*source };
        if !source.document.value["status"].is_null() {
            // Clusters of 1.24 to 1.27 had it, and put it into what they were asked for.
            let line = source.document.line("status");
            self.refuse(source.file, line, "status: unknown field; no longer part of the API");
            document = source.document.clone();
            prune(&mut document.value, "status");
            source.document = &document;
        }
        let Some(object) = self.decode::<networking::v1::NetworkPolicy>(&source) else { return };
        match validate::meaning(&object) {
            Ok(policy) => {
                for error in validate::metadata_errors(&object) {
                    let line = source.document.line(&error.path);
                    if policy.name.is_empty() {
                        self.find(source.file, line, error.to_string());
                    } else {
                        self.refuse(source.file, line, error.to_string());
                    }
                }
                self.manifests.cluster.add_policy(policy);
                self.manifests.policies.push(object);
                let document = source.document.part("", source.document.value.clone());
                self.manifests
                    .written
                    .push(WrittenPolicy { file: source.file.to_owned(), document });
            }
            Err(errors) => {
                for error in validate::metadata_errors(&object).into_iter().chain(errors) {
                    self.find(source.file, source.document.line(&error.path), error.to_string());
                }
            }
        }
    }

    fn duplicate_names(&mut self, source: &Source<'_>, path: &str, spec: &core::v1::PodSpec) {
        for (path, message) in others::duplicate_port_names(path, spec) {
            let line = source.document.line(&path);
            let message = format!("{path}: {message}");
            self.manifests.of_pods.push(Finding { file: source.file.to_owned(), line, message });
        }
    }

    fn service(&mut self, source: &Source<'_>) {
        let Some(object) = self.decode::<core::v1::Service>(source) else { return };
        match Service::from_api(&object) {
            Ok(service) => {
                self.manifests.cluster.add_service(service);
                let document = source.document.part("", Value::Null);
                let written = WrittenPolicy { file: source.file.to_owned(), document };
                self.manifests.written_services.push(written);
            }
            Err(errors) => {
                for error in errors {
                    self.find(source.file, source.document.line(&error.path), error.to_string());
                }
            }
        }
    }

    /// Adds a workload as a pod of its name, with the labels and ports of its template.
    fn workload<T: DeserializeOwned>(&mut self, source: &Source<'_>, kind: &str, template: &str) {
        if self.decode::<T>(source).is_none() {
            return;
        }
        let value = &source.document.value;
        let text = |field: &str| value["metadata"][field].as_str().map(str::to_owned);
        let metadata: ObjectMeta = decode(&value["metadata"]).unwrap_or_default();
        let path = format!("{}.spec", template[1..].replace('/', "."));
        let template = value.pointer(template).unwrap_or(&Value::Null);
        let spec: core::v1::PodSpec = decode(&template["spec"]).unwrap_or_default();
        self.duplicate_names(source, &path, &spec);
        self.manifests.cluster.add_pod(Pod {
            namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
            name: text("name").unwrap_or_default(),
            workload: Workload::of(kind, &metadata),
            labels: labels_of(&template["metadata"]),
            addresses: Vec::new(),
            named_ports: named_ports(&spec),
            ports: ports(&spec),
            host_network: spec.host_network.unwrap_or(false),
        });
    }

    fn decode<T: DeserializeOwned>(&mut self, source: &Source<'_>) -> Option<T> {
        let line = |path: &str| source.document.line(path);
        match decode(&source.document.value) {
            Ok(object) => Some(object),
            Err(DecodeError::UnknownFields(fields)) => {
                for field in fields {
                    let hint = field.suggestion().map(|known| format!(", did you mean {known:?}?"));
                    let hint = hint.unwrap_or_default();
                    let message = format!("{}: unknown field{hint}", field.path);
                    self.find(source.file, line(&field.path), message);
                }
                None
            }
            Err(DecodeError::WrongType { path, message }) => {
                self.find(source.file, line(&path), format!("{path}: {message}"));
                None
            }
        }
    }
}
