//! Objects of the API, taken from documents into [`Manifests`].

use std::io::Read;
use std::path::Path;

use k8s_openapi::api::{apps, batch, core, networking};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::document::{Document, ParseError};
use super::files::{self, FileError, Files};
use super::inventory::{Content, Identity, Inventory};
use super::kinds::{self, Kind, api_version, group, kind_of, kind_without_version, kinds_of};
use super::others;
use super::strict::{DecodeError, decode, prune};
use super::{Finding, Manifests, Options, Place, WrittenPolicy};
use crate::cluster::ForeignPolicy;
use crate::names::NamespacedName;
use crate::pod::{Pod, Workload, named_ports, ports};
use crate::selector::labels_of;
use crate::service::Service;
use crate::validate;

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
                let document = source.document.part(&format!("items[{index}]"), item.clone());
                self.object(&Source { file: source.file, document: &document }, list);
            }
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
                    let identity =
                        Identity { kind: kind.to_owned(), namespace: None, name: name.clone() };
                    self.add(source, identity, Content::Namespace { name, labels });
                }
            }
            "Pod" => {
                if let Some(object) = self.decode::<core::v1::Pod>(source) {
                    if let Some(spec) = &object.spec {
                        self.duplicate_names(source, "spec", spec);
                    }
                    let identity = identity(kind, &object.metadata);
                    let pod = Pod::from_api(&object);
                    let metadata = Box::new(object.metadata);
                    self.add(source, identity, Content::Pod { pod, metadata });
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
                *self.manifests.skipped.entry(other.to_owned()).or_default() += 1;
            }
        }
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

    /// Adds a policy of a kind that is not modelled.
    fn foreign(&mut self, source: &Source<'_>, kind: String, cluster_wide: bool) {
        let metadata = &source.document.value["metadata"];
        let namespace = match metadata["namespace"].as_str() {
            Some(namespace) => Some(namespace.to_owned()),
            // A kind of which nothing is known may be of the whole cluster.
            None if cluster_wide || !kinds::is_namespaced(&kind) => None,
            None => Some(self.namespace.clone()),
        };
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        *self.manifests.skipped.entry(kind.clone()).or_default() += 1;
        let identity =
            Identity { kind: kind.clone(), namespace: namespace.clone(), name: name.clone() };
        self.add(
            source,
            identity,
            Content::Foreign(ForeignPolicy { kind, namespace, name, is_hidden: false }),
        );
    }

    /// Adds an object of somebody else's kind if it makes pods as a Deployment does, as Argo's Rollout.
    fn generic(&mut self, source: &Source<'_>, kind: &str, version: &str) {
        let value = &source.document.value;
        self.manifests.resources.extend(others::resource(value));
        let template = &value["spec"]["template"];
        if template["spec"]["containers"].is_array()
            && let Ok(spec) = serde_json::from_value(template["spec"].clone())
            && let Ok(metadata) = serde_json::from_value::<ObjectMeta>(value["metadata"].clone())
            && metadata.name.is_some()
        {
            let kind_and_group = format!("{kind}.{}", group(version));
            self.template(source, kind, &kind_and_group, metadata, template, &spec);
        } else {
            *self.manifests.skipped.entry(kind.to_owned()).or_default() += 1;
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
                let document = source.document.part("", source.document.value.clone());
                let written = WrittenPolicy { file: source.file.to_owned(), document };
                let identity = identity("NetworkPolicy", &object.metadata);
                let object = Box::new(object);
                self.add(&source, identity, Content::Policy { policy, object, written });
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
                // Where it is, it may not say itself; of the rest only places are asked for.
                let metadata = json!({"metadata": source.document.value["metadata"]});
                let document = source.document.part("", metadata);
                let written = WrittenPolicy { file: source.file.to_owned(), document };
                let identity = identity("Service", &object.metadata);
                self.add(
                    source,
                    identity,
                    Content::Service { service: Box::new(service), written },
                );
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
        let metadata: ObjectMeta = decode(&value["metadata"]).unwrap_or_default();
        let path = format!("{}.spec", template[1..].replace('/', "."));
        let template = value.pointer(template).unwrap_or(&Value::Null);
        let spec: core::v1::PodSpec = decode(&template["spec"]).unwrap_or_default();
        self.duplicate_names(source, &path, &spec);
        self.template(source, kind, kind, metadata, template, &spec);
    }

    fn template(
        &mut self,
        source: &Source<'_>,
        kind: &str,
        kind_and_group: &str,
        mut metadata: ObjectMeta,
        template: &Value,
        spec: &core::v1::PodSpec,
    ) {
        if metadata.namespace.is_none() {
            metadata.namespace = Some(self.namespace.clone());
        }
        let identity = identity(kind_and_group, &metadata);
        let has_finished = kind == "Job" && has_finished(&source.document.value);
        let pod = (!has_finished).then(|| Pod {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            workload: Workload::default(),
            owner: None,
            labels: labels_of(&template["metadata"]),
            addresses: Vec::new(),
            named_ports: named_ports(spec),
            ports: ports(spec),
            host_network: spec.host_network.unwrap_or(false),
            is_unready: false,
        });
        let (kind, metadata) = (kind.to_owned(), Box::new(metadata));
        self.add(source, identity, Content::Workload { kind, metadata, pod });
    }

    fn decode<T: DeserializeOwned>(&mut self, source: &Source<'_>) -> Option<T> {
        let line = |path: &str| source.document.line(path);
        match decode(&source.document.value) {
            Ok(object) => Some(object),
            // A newer API server has more fields: only in a policy one may change who reaches whom.
            Err(DecodeError::UnknownFields(fields))
                if source.file == CLUSTER && source.document.value["kind"] != "NetworkPolicy" =>
            {
                let mut value = source.document.value.clone();
                for field in fields {
                    prune(&mut value, &field.path);
                }
                decode(&value).ok()
            }
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

fn identity(kind: &str, metadata: &ObjectMeta) -> Identity {
    let NamespacedName { namespace, name } = NamespacedName::of(metadata);
    Identity { kind: kind.to_owned(), namespace: Some(namespace), name }
}

/// Whether a Job has ended, one way or the other, and makes no more pods.
fn has_finished(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["status"] == "True"
            && matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
    })
}
