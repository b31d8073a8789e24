//! What an API server's admission does to an object before it is validated: it is let into its
//! namespace, gets its defaults, and the values that are allocated to it.

use serde_json::{Value, json};

use super::defaults;
use super::kind::{Key, Kind};
use super::names::SERVICE_NETWORK;
use super::object::remove;
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

/// Fills in the defaults, and the address of a Service.
pub fn admit(store: &Store, kind: Kind, object: &mut Value) {
    strip_type(object);
    defaults::apply(kind, object);
    if kind == Kind::Service
        && object["spec"]["clusterIP"].as_str().unwrap_or_default().is_empty()
        && let Some(address) = free_service_address(store)
    {
        object["spec"]["clusterIPs"] = json!([address]);
        object["spec"]["clusterIP"] = address.into();
    }
}

fn strip_type(object: &mut Value) {
    remove(object, "apiVersion");
    remove(object, "kind");
}

/// An address of the Services' network that no Service has.
fn free_service_address(store: &Store) -> Option<String> {
    let (services, _) = store.list(Kind::Service, None);
    let taken = |address: &str| {
        services.iter().any(|service| service.value()["spec"]["clusterIP"] == address)
    };
    // Random, so that the address of a deleted Service is not at once that of another.
    let first = u32::from(SERVICE_NETWORK);
    (0..1000)
        .map(|_| std::net::Ipv4Addr::from(first + rand::random_range(0x100..0xffff)).to_string())
        .find(|address| !taken(address))
}
