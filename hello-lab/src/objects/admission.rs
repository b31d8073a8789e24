//! What an API server's admission does to an object before it is validated: it is let into its
//! namespace, gets its defaults, and the values that are allocated to it; what only the system sets stays.

mod job;
mod node_ports;
mod service;

use std::net::Ipv4Addr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use netpol::field_error::FieldError;
use serde_json::Value;

use self::service::AddressError;
use super::allocation::Held;
use super::defaults;
use super::kind::{Key, Kind};
use super::object::remove;
use super::scheduling;
use super::store::{Store, StoreError};

/// Why an object is not admitted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdmissionError {
    /// There is no such namespace.
    #[error(transparent)]
    Namespace(#[from] StoreError),
    /// Its namespace is being deleted (admission plugin `NamespaceLifecycle`).
    #[error(
        "{resource} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated"
    )]
    NamespaceTerminates {
        /// The plural of its kind, with its group.
        resource: String,
        /// Its name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// It asks for what it cannot have.
    #[error("{} {:?} asks for what it cannot have: {}", .0.kind.resource().kind, .0.name, .1.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(Key, Vec<FieldError>),
    /// Every address of the Services' network is in use.
    #[error("failed to allocate a serviceIP: range is full")]
    NoAddress,
    /// Every port of the node that Services may have is in use.
    #[error("failed to allocate a nodePort: range is full")]
    NoPort,
}

/// Whether a new object may be in its namespace.
pub fn check_namespace(store: &Store, object: &Value, kind: Kind) -> Result<(), AdmissionError> {
    if !kind.resource().namespaced {
        return Ok(());
    }
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    let namespace = store.get(&Key::new(Kind::Namespace, "", &field("namespace")))?;
    if namespace.is_terminating() {
        return Err(AdmissionError::NamespaceTerminates {
            resource: kind.resource().qualified(),
            name: field("name"),
            namespace: field("namespace"),
        });
    }
    Ok(())
}

/// What was promised to an object that is to be stored: keep it until it is.
#[derive(Debug, Default)]
#[must_use = "its address and ports are anybody's again when this is dropped"]
pub struct Admitted {
    _address: Option<Held<Ipv4Addr>>,
    _ports: Vec<Held<u16>>,
}

impl AddressError {
    fn of(self, kind: Kind, object: &Value) -> AdmissionError {
        match self {
            Self::Invalid(errors) => AdmissionError::Invalid(key_of(kind, object), errors),
            Self::NoneLeft => AdmissionError::NoAddress,
            Self::NoPortLeft => AdmissionError::NoPort,
        }
    }
}

/// Admits a new object: takes out what the system alone sets, fills in the defaults, and gives a Service
/// its address and ports.
pub fn admit(store: &Store, kind: Kind, object: &mut Value) -> Result<Admitted, AdmissionError> {
    strip_type(object);
    for field in DELETION {
        remove(&mut object["metadata"], field);
    }
    if HAVE_STATUS.contains(&kind) {
        remove(object, "status");
    }
    remove(&mut object["metadata"], "uid");
    merge_strings(kind, object);
    if kind == Kind::Job {
        job::select(object);
    }
    defaults::apply(kind, object);
    if kind == Kind::Pod {
        scheduling::place(store, object);
    }
    if kind != Kind::Service {
        return Ok(Admitted::default());
    }
    let address = service::allocate(store, object).map_err(|error| error.of(kind, object))?;
    let ports = node_ports::allocate(store, object).map_err(|error| error.of(kind, object))?;
    Ok(Admitted { _address: address, _ports: ports })
}

/// What of an object a request changes, beside its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but what has a request of its own.
    Object,
    /// `status`, by the subresource of that name.
    Status,
    /// `spec.finalizers` of a Namespace, by the subresource `finalize`.
    Finalizers,
}

impl Part {
    /// What a request for a subresource changes, or for none.
    #[must_use]
    pub fn of_subresource(name: Option<&str>) -> Self {
        match name {
            Some("status") => Self::Status,
            Some("finalize") => Self::Finalizers,
            _ => Self::Object,
        }
    }
}

/// Admits a change of a part of an object: gives it back what a client may leave out and nobody may take away,
/// and fills in the defaults.
pub fn admit_change(
    store: &Store,
    kind: Kind,
    part: Part,
    before: &Value,
    after: &mut Value,
) -> Result<Admitted, AdmissionError> {
    strip_type(after);
    for field in DELETION {
        carry_over(&before["metadata"], &mut after["metadata"], field);
    }
    match part {
        Part::Object => keep_what_has_its_own_request(kind, before, after),
        Part::Status => keep_all_but("status", before, after),
        Part::Finalizers => keep_all_but("spec", before, after),
    }
    if part == Part::Status && kind == Kind::Deployment {
        // `deploymentStatusStrategy.PrepareForUpdate`.
        carry_over(&before["metadata"], &mut after["metadata"], "labels");
    }
    merge_strings(kind, after);
    defaults::apply(kind, after);
    if kind != Kind::Service || part != Part::Object {
        return Ok(Admitted::default());
    }
    let ports = node_ports::allocate(store, after).map_err(|error| error.of(kind, after))?;
    Ok(Admitted { _address: None, _ports: ports })
}

/// Makes all of an object what it was, but its metadata and one field.
fn keep_all_but(field: &str, before: &Value, after: &mut Value) {
    let fields = |object: &Value| object.as_object().map(|all| all.keys().cloned().collect());
    let (mut names, more): (Vec<String>, Vec<String>) =
        (fields(before).unwrap_or_default(), fields(after).unwrap_or_default());
    names.extend(more);
    for name in names.iter().filter(|name| *name != "metadata" && *name != field) {
        carry_over(before, after, name);
    }
}

/// Makes that of an object what it was which other requests change: what was seen of it ([`HAVE_STATUS`]), a
/// namespace's finalizers, what a Service or a pod was given.
fn keep_what_has_its_own_request(kind: Kind, before: &Value, after: &mut Value) {
    match kind {
        Kind::Service => {
            service::keep(before, after);
            node_ports::keep(before, after);
        }
        // Its finalizer is for a request of its own to remove (`namespaceStrategy.PrepareForUpdate`).
        Kind::Namespace => carry_over(before, after, "spec"),
        Kind::Pod => {
            // The scheduler's and admission's, not the client's.
            for field in ["nodeName", "serviceAccountName"] {
                if after["spec"][field].as_str().unwrap_or_default().is_empty() {
                    carry_over(&before["spec"], &mut after["spec"], field);
                }
            }
        }
        _ => {}
    }
    if HAVE_STATUS.contains(&kind) {
        carry_over(before, after, "status");
    }
}

/// Only the system deletes (`rest.BeforeCreate`, `rest.BeforeUpdate` of k8s.io/apiserver).
const DELETION: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];

/// Kinds whose `status` is a resource of its own, which clients do not write with the rest (the
/// `PrepareForCreate` and `PrepareForUpdate` of each).
const HAVE_STATUS: [Kind; 10] = [
    Kind::CronJob,
    Kind::DaemonSet,
    Kind::StatefulSet,
    Kind::Deployment,
    Kind::Job,
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
    Kind::ReplicaSet,
    Kind::Service,
];

fn strip_type(object: &mut Value) {
    remove(object, "apiVersion");
    remove(object, "kind");
}

/// The text of a Secret's `stringData` goes into `data`, in base64, and wins there; it is never read back
/// (`Convert_v1_Secret_To_core_Secret`).
fn merge_strings(kind: Kind, object: &mut Value) {
    if kind != Kind::Secret {
        return;
    }
    if let Some(strings) = object["stringData"].as_object().cloned() {
        for (key, text) in strings {
            let text = text.as_str().unwrap_or_default();
            object["data"][key] = BASE64_STANDARD.encode(text).into();
        }
    }
    remove(object, "stringData");
}

/// Makes a field what it was before: also absent.
fn carry_over(before: &Value, after: &mut Value, field: &str) {
    match before.get(field) {
        Some(value) => after[field] = value.clone(),
        None => remove(after, field),
    }
}

fn key_of(kind: Kind, object: &Value) -> Key {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    Key::new(kind, field("namespace"), field("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admitted(kind: Kind, mut object: Value) -> Value {
        let _admitted = admit(&Store::default(), kind, &mut object).unwrap();
        object
    }

    fn change(kind: Kind, before: &Value, after: &mut Value) {
        let _admitted = admit_change(&Store::default(), kind, Part::Object, before, after).unwrap();
    }

    #[test]
    fn clients_neither_delete_nor_say_what_was_seen() {
        let metadata = json!({
            "name": "p", "namespace": "n",
            "deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0,
        });
        let pod = admitted(
            Kind::Pod,
            json!({"metadata": metadata, "status": {"phase": "Running", "podIP": "10.244.0.2"}}),
        );
        assert_eq!(pod["metadata"], json!({"name": "p", "namespace": "n"}));
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        let seen = json!({"phase": "Running", "podIP": "10.244.0.3", "qosClass": "BestEffort"});
        let before = json!({"metadata": metadata, "spec": {"nodeName": "a"}, "status": seen});
        let mut after = json!({"metadata": {"name": "p"}, "status": {"phase": "Failed"}});
        change(Kind::Pod, &before, &mut after);
        assert_eq!(after["metadata"]["deletionTimestamp"], metadata["deletionTimestamp"]);
        assert_eq!(after["metadata"]["deletionGracePeriodSeconds"], 0);
        assert_eq!(after["status"], seen);
        assert_eq!(after["spec"]["nodeName"], "a");
    }

    #[test]
    fn what_is_put_again_is_what_it_was() {
        let written = |kind| match kind {
            Kind::Service => json!({"ports": [{"port": 80}]}),
            Kind::Deployment | Kind::ReplicaSet => {
                json!({"template": {"spec": {"containers": [{"name": "c", "ports": [{}]}]}}})
            }
            _ => json!({}),
        };
        for kind in Kind::ALL {
            let object = json!({"metadata": {"name": "a"}, "spec": written(kind)});
            let mut before = admitted(kind, object.clone());
            // Chosen here for a Job, and else by the store, which keeps it.
            remove(&mut before["metadata"], "uid");
            let mut after = object;
            change(kind, &before, &mut after);
            assert_eq!(after, before, "{kind:?}");
        }
    }

    #[test]
    fn the_strings_of_a_secret_are_its_data() {
        let secret = json!({
            "metadata": {"name": "s"},
            "data": {"a": "b2xk", "b": "b2xk"},
            "stringData": {"a": "new", "c": ""},
        });
        let before = admitted(Kind::Secret, secret);
        let data = json!({"a": "bmV3", "b": "b2xk", "c": ""});
        assert_eq!(before, json!({"metadata": {"name": "s"}, "type": "Opaque", "data": data}));
        let mut after = before.clone();
        after["stringData"] = json!({"b": "new"});
        change(Kind::Secret, &before, &mut after);
        assert_eq!(after["data"], json!({"a": "bmV3", "b": "bmV3", "c": ""}));
        assert!(after["stringData"].is_null());
    }

    #[test]
    fn nobody_takes_a_namespaces_finalizer_or_name_away() {
        let before = admitted(Kind::Namespace, json!({"metadata": {"name": "n"}}));
        let mut after =
            json!({"metadata": {"name": "n", "labels": {}}, "spec": {"finalizers": []}});
        change(Kind::Namespace, &before, &mut after);
        assert_eq!(after, before);
    }

    #[test]
    fn a_part_that_has_a_request_of_its_own_is_all_that_this_changes_beside_metadata() {
        let before =
            json!({"metadata": {"name": "d"}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
        let other = json!({
            "metadata": {"name": "d", "annotations": {"a": "b"}, "labels": {"a": "b"}},
            "spec": {"replicas": 2}, "status": {"replicas": 2},
        });
        let changed = |kind, part| {
            let mut after = other.clone();
            let _admitted =
                admit_change(&Store::default(), kind, part, &before, &mut after).unwrap();
            let number = |field: &str| after[field]["replicas"].as_i64().unwrap();
            (number("spec"), number("status"), after["metadata"]["labels"].is_object())
        };
        assert_eq!(changed(Kind::StatefulSet, Part::Object), (2, 1, true));
        assert_eq!(changed(Kind::StatefulSet, Part::Status), (1, 2, true));
        assert_eq!(changed(Kind::Deployment, Part::Status), (1, 2, false));
        assert_eq!(changed(Kind::Namespace, Part::Finalizers), (2, 1, true));
    }
}
