//! One object of each kind that says something about connections, decoded and taken into the inventory.

use k8s_openapi::api::{apps, batch, core, discovery, networking};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{CLUSTER, Reader, Source};
use crate::cluster::ForeignPolicy;
use crate::endpoints::EndpointList;
use crate::field_error::FieldError;
use crate::names::{NamespacedName, name_of};
use crate::pod::{Pod, Workload, named_ports, ports};
use crate::read::inventory::{Content, Identity};
use crate::read::kinds::{self, group};
use crate::read::strict::{DecodeError, decode, prune};
use crate::read::{Finding, WrittenPolicy, others};
use crate::selector::labels_of;
use crate::service::Service;
use crate::validate;

impl Reader {
    /// Takes an object of a kind that is read.
    pub(super) fn known(&mut self, source: &Source<'_>, kind: &str) {
        match kind {
            "Namespace" => {
                if let Some(namespace) = self.decode::<core::v1::Namespace>(source) {
                    let name = name_of(&namespace.metadata).to_owned();
                    let own = namespace.metadata.name.unwrap_or_default();
                    let labels = namespace.metadata.labels.unwrap_or_default();
                    let identity = Identity { kind: kind.to_owned(), namespace: None, name: own };
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
            "EndpointSlice" => self.slice(source),
            "Endpoints" => self.endpoints(source),
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

    /// Adds a policy of a kind that is not modelled.
    pub(super) fn foreign(&mut self, source: &Source<'_>, kind: String, cluster_wide: bool) {
        let metadata = &source.document.value["metadata"];
        let namespace = match metadata["namespace"].as_str().filter(|name| !name.is_empty()) {
            // An API server clears it (`EnsureObjectNamespaceMatchesRequestNamespace`).
            _ if cluster_wide => None,
            Some(namespace) => Some(namespace.to_owned()),
            // A kind of which nothing is known may be of the whole cluster.
            None if !kinds::is_namespaced(&kind) => None,
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
    pub(super) fn generic(&mut self, source: &Source<'_>, kind: &str, version: &str) {
        let value = &source.document.value;
        self.manifests.resources.extend(others::resource(value));
        let template = &value["spec"]["template"];
        if template["spec"]["containers"].is_array()
            && let Ok(spec) = serde_json::from_value(template["spec"].clone())
            && let Ok(metadata) = serde_json::from_value::<ObjectMeta>(value["metadata"].clone())
            && !name_of(&metadata).is_empty()
        {
            let kind_and_group = format!("{kind}.{}", group(version));
            self.template(source, kind, &kind_and_group, metadata, template, &spec);
        } else {
            *self.manifests.skipped.entry(kind.to_owned()).or_default() += 1;
        }
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
                let of_metadata = validate::metadata_errors(&object);
                self.find_all(&source, of_metadata.into_iter().chain(errors));
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
            Err(errors) => self.find_all(source, errors),
        }
    }

    fn slice(&mut self, source: &Source<'_>) {
        let Some(object) = self.decode::<discovery::v1::EndpointSlice>(source) else { return };
        let read = EndpointList::from_slice(&object).map(|list| vec![list]);
        self.lists(source, identity("EndpointSlice", &object.metadata), read);
    }

    fn endpoints(&mut self, source: &Source<'_>) {
        let Some(object) = self.decode::<core::v1::Endpoints>(source) else { return };
        let read = EndpointList::from_endpoints(&object);
        self.lists(source, identity("Endpoints", &object.metadata), read);
    }

    fn lists(
        &mut self,
        source: &Source<'_>,
        identity: Identity,
        read: Result<Vec<EndpointList>, Vec<FieldError>>,
    ) {
        match read {
            Ok(lists) => self.add(source, identity, Content::Endpoints(lists)),
            Err(errors) => self.find_all(source, errors),
        }
    }

    fn find_all(&mut self, source: &Source<'_>, errors: impl IntoIterator<Item = FieldError>) {
        for error in errors {
            self.find(source.file, source.document.line(&error.path), error.to_string());
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
        if metadata.namespace.as_ref().is_none_or(String::is_empty) {
            metadata.namespace = Some(self.namespace.clone());
        }
        let identity = identity(kind_and_group, &metadata);
        let has_finished = kind == "Job" && has_finished(&source.document.value);
        let pod = (!has_finished).then(|| Pod {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: name_of(&metadata).to_owned(),
            workload: Workload::default(),
            owner: None,
            maker: None,
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
            // Of a policy it is found with all else that is wrong with it.
            Ok(_) if source.document.value["kind"] != "NetworkPolicy" && is_nameless(source) => {
                let message = "metadata.name: Required value: name or generateName is required";
                self.find(source.file, line("metadata"), message);
                None
            }
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
    let NamespacedName { namespace, .. } = NamespacedName::of(metadata);
    // Not one that the API server has yet to make.
    let name = metadata.name.clone().unwrap_or_default();
    Identity { kind: kind.to_owned(), namespace: Some(namespace), name }
}

fn is_nameless(source: &Source<'_>) -> bool {
    let metadata = &source.document.value["metadata"];
    let lacks = |field: &str| metadata[field].is_null() || metadata[field] == "";
    (metadata.is_object() || metadata.is_null()) && lacks("name") && lacks("generateName")
}

/// Whether a Job has ended, one way or the other, and makes no more pods.
fn has_finished(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        condition["status"] == "True"
            && matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
    })
}
