//! Manifests, read strictly: what the API server would refuse, or silently drop, is a finding.

pub mod document;
mod scalar;
pub mod strict;
mod tracked;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use k8s_openapi::api::{apps, batch, core, networking};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::document::Document;
use self::strict::{DecodeError, decode, prune};
use crate::cluster::{Cluster, Pod, Workload, named_ports};
use crate::names;
use crate::selector::labels_of;
use crate::validate;

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
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.file, self.message),
            None => write!(out, "{}: {}", self.file, self.message),
        }
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
}

impl From<OsString> for Input {
    /// A path that begins like a namespace is written `./a=b`.
    fn from(text: OsString) -> Self {
        match text.to_str().and_then(|text| text.split_once('=')) {
            Some((namespace, path)) if names::dns_label(namespace).is_empty() => {
                Self { path: path.into(), namespace: namespace.to_owned() }
            }
            _ => Self::new(text),
        }
    }
}

/// What is skipped that is no object of the API: a values file, a report, a list of numbers.
const NO_OBJECT: &str = "document that is no Kubernetes object";

/// What manifests hold.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The namespaces, pods and policies. A workload is a pod of its name without address.
    pub cluster: Cluster,
    /// The policies as they are written.
    pub policies: Vec<networking::v1::NetworkPolicy>,
    /// Objects of kinds that say nothing about policies, by kind.
    pub skipped: BTreeMap<String, usize>,
    /// What the API server would refuse, although what it means is clear.
    pub refusals: Vec<Finding>,
}

/// Reads files, folders (and the folders in them) and, for `-`, `stdin`.
///
/// Every finding is reported; with one there is no result, so that nothing is decided on a part.
/// What the API server would refuse and yet is clear is in the result.
pub fn manifests(inputs: &[Input], stdin: impl Read) -> Result<Manifests, Vec<Finding>> {
    let mut reader = Reader::default();
    let mut stdin = Some(stdin);
    for Input { path, namespace } in inputs {
        reader.namespace.clone_from(namespace);
        if path.as_os_str() == "-" {
            let mut text = String::new();
            match stdin.take().map(|mut stdin| stdin.read_to_string(&mut text)) {
                Some(Ok(_)) => reader.text("-", &text),
                Some(Err(error)) => reader.find("-", None, error.to_string()),
                None => reader.find("-", None, "standard input can be read once only"),
            }
        } else {
            reader.path(path);
        }
    }
    if reader.findings.is_empty() {
        Ok(reader.manifests)
    } else {
        Err([reader.findings, reader.manifests.refusals].concat())
    }
}

/// The same, for who hands them to an API: with a refusal too there is no result.
pub fn valid_manifests(inputs: &[Input], stdin: impl Read) -> Result<Manifests, Vec<Finding>> {
    match manifests(inputs, stdin) {
        Ok(manifests) if !manifests.refusals.is_empty() => Err(manifests.refusals),
        result => result,
    }
}

/// The version of the API that has the kinds which are read.
fn api_version(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Namespace" | "Pod" | "ReplicationController" => "v1",
        "NetworkPolicy" => "networking.k8s.io/v1",
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        _ => return None,
    })
}

#[derive(Default)]
struct Reader {
    manifests: Manifests,
    namespace: String,
    findings: Vec<Finding>,
}

/// One object and the file that it is from.
struct Source<'a> {
    file: &'a str,
    document: &'a Document,
}

impl Reader {
    fn find(&mut self, file: &str, line: Option<u64>, message: impl Into<String>) {
        self.findings.push(Finding { file: file.to_owned(), line, message: message.into() });
    }

    fn refuse(&mut self, file: &str, line: Option<u64>, message: impl Into<String>) {
        let refusal = Finding { file: file.to_owned(), line, message: message.into() };
        self.manifests.refusals.push(refusal);
    }

    /// Reads a file, or the YAML and JSON files of a folder, in the order of their names.
    fn path(&mut self, path: &Path) {
        let name = path.display().to_string();
        if path.is_dir() {
            match std::fs::read_dir(path) {
                Err(error) => self.find(&name, None, error.to_string()),
                Ok(entries) => {
                    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
                    paths.sort();
                    for path in paths {
                        let manifest = path.extension().is_some_and(|end| {
                            ["yaml", "yml", "json"].iter().any(|one| end == *one)
                        });
                        if manifest || path.is_dir() {
                            self.path(&path);
                        }
                    }
                }
            }
            return;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => self.text(&name, &text),
            Err(error) => self.find(&name, None, error.to_string()),
        }
    }

    fn text(&mut self, file: &str, text: &str) {
        match Document::read_all(text) {
            Err((line, message)) => self.find(file, line, message),
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
                if let Some(pod) = self.decode::<core::v1::Pod>(source)
                    && let Some(pod) = Pod::from_api(&pod)
                {
                    self.manifests.cluster.add_pod(pod);
                }
            }
            "NetworkPolicy" => self.policy(source),
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
            other => *self.manifests.skipped.entry(other.to_owned()).or_default() += 1,
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
            }
            Err(errors) => {
                for error in validate::metadata_errors(&object).into_iter().chain(errors) {
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
        let template = value.pointer(template).unwrap_or(&Value::Null);
        let spec: core::v1::PodSpec = decode(&template["spec"]).unwrap_or_default();
        self.manifests.cluster.add_pod(Pod {
            namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
            name: text("name").unwrap_or_default(),
            workload: Workload::of(kind, &metadata),
            labels: labels_of(&template["metadata"]),
            addresses: Vec::new(),
            named_ports: named_ports(&spec),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifests, Vec<String>> {
        manifests(&[Input::new("-")], text.as_bytes())
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_demos_own_manifests_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
        let paths = [folder.join("hello-app"), folder.join("network-policy.yaml")];
        let manifests = manifests(&paths.map(Input::new), std::io::empty()).unwrap();
        let names: Vec<_> = manifests.cluster.pods().iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "default/hello-client-allowed",
                "default/hello-client-blocked",
                "default/hello-server"
            ]
        );
        assert_eq!(manifests.cluster.policies().len(), 1);
        assert_eq!(manifests.skipped, BTreeMap::from([("Service".to_owned(), 1)]));
    }

    #[test]
    fn a_typo_is_found_with_file_line_and_path() {
        let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n\
                    spec:\n  podSelecter: {}\n  ingress:\n    - form: []\n";
        assert_eq!(
            read(text).unwrap_err(),
            [
                r#"-:8: spec.ingress[0].form: unknown field, did you mean "from"?"#,
                r#"-:6: spec.podSelecter: unknown field, did you mean "podSelector"?"#
            ]
        );
    }

    #[test]
    fn an_invalid_value_is_found_with_its_line() {
        let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  ingress:\n    - ports:\n        - port: 0\n";
        let findings = read(text).unwrap_err();
        assert_eq!(
            findings,
            [
                "-:7: spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"
            ]
        );
    }

    #[test]
    fn lists_are_read_typed_and_not() {
        let text = "kind: PodList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n---\n\
                    kind: List\nitems:\n- {kind: Pod, metadata: {name: c}}\n- {kind: Secret}\n";
        let manifests = read(text).unwrap();
        assert_eq!(manifests.cluster.pods().len(), 3);
        assert_eq!(manifests.skipped["Secret"], 1);
        let findings = read("kind: PodList\nitems:\n- metadata:\n    nmae: a\n").unwrap_err();
        assert_eq!(findings, [r#"-:4: metadata.nmae: unknown field, did you mean "name"?"#]);
    }

    #[test]
    fn every_workload_is_a_pod_of_its_template() {
        let template = "{metadata: {labels: {app: x}}, spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}}";
        for kind in
            ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"]
        {
            let text =
                format!("kind: {kind}\nmetadata: {{name: w}}\nspec: {{template: {template}}}\n");
            let manifests = read(&text).unwrap();
            let pod = &manifests.cluster.pods()[0];
            assert_eq!((pod.labels["app"].as_str(), pod.named_ports.len()), ("x", 1), "{kind}");
        }
        let text = format!(
            "kind: CronJob\nmetadata: {{name: w}}\nspec: {{jobTemplate: {{spec: {{template: {template}}}}}}}\n"
        );
        assert_eq!(read(&text).unwrap().cluster.pods()[0].labels["app"], "x");
    }

    #[test]
    fn what_names_no_namespace_is_in_that_of_its_input() {
        assert_eq!(Input::from(OsString::from("a")), Input::new("a"));
        assert_eq!(Input::from(OsString::from("./a=b")), Input::new("./a=b"));
        let input = Input::from(OsString::from("hello-apps=-"));
        let text = "kind: Pod\nmetadata: {name: a}\n---\n\
            kind: Pod\nmetadata: {name: b, namespace: other}\n---\n\
            kind: Namespace\nmetadata: {name: c}\n";
        let manifests = manifests(&[input], text.as_bytes()).unwrap();
        let pods: Vec<_> = manifests.cluster.pods().iter().map(ToString::to_string).collect();
        assert_eq!(pods, ["hello-apps/a", "other/b"]);
        assert!(manifests.cluster.namespace_labels("c").is_some());
    }

    #[test]
    fn what_is_clear_although_the_api_server_refuses_it_is_told_and_used() {
        let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: under_score}\nspec: {podSelector: {}}\nstatus: {}\n";
        let manifests = read(text).unwrap();
        assert_eq!(manifests.cluster.policies().len(), 1);
        let told: Vec<_> = manifests.refusals.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("-:5: status: unknown field"), "{told:?}");
        assert!(told[1].starts_with("-:3: metadata.name: Invalid value"), "{told:?}");
        assert!(valid_manifests(&[Input::new("-")], text.as_bytes()).is_err());
        assert!(read(&text.replace("under_score", "''")).is_err());
    }

    #[test]
    fn a_kind_of_another_group_is_another_kind() {
        let text = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {order: 1}\n";
        let manifests = read(text).unwrap();
        let calicos = ("NetworkPolicy.projectcalico.org".to_owned(), 1);
        assert_eq!(manifests.skipped, BTreeMap::from([calicos]));
        assert!(manifests.cluster.policies().is_empty());
    }

    #[test]
    fn what_is_no_object_at_all_is_skipped_and_counted() {
        let manifests = read("[1, 2]\n---\nreplicas: 3\n").unwrap();
        assert_eq!(manifests.skipped[NO_OBJECT], 2);
        assert!(read("apiVersion: v1\nknid: Pod\n").is_err());
    }

    #[test]
    fn one_bad_document_leaves_no_result() {
        assert!(read("kind: Pod\nmetadata: {name: a}\n---\nkind: Pod\nmetdata: {}\n").is_err());
        assert!(read("metadata: {name: a}\n").is_err());
        assert!(manifests(&[Input::new("/no/such/file")], std::io::empty()).is_err());
    }
}
