//! The kinds of object that the lab knows, and where one object is among them.

use k8s_openapi::api::{apps, core, discovery, networking};
use netpol::read::strict::{DecodeError, decode};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// v1 ConfigMap.
    ConfigMap,
    /// v1 Event.
    Event,
    /// v1 Namespace.
    Namespace,
    /// v1 Node.
    Node,
    /// v1 Pod.
    Pod,
    /// v1 Service.
    Service,
    /// v1 `ServiceAccount`.
    ServiceAccount,
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 ReplicaSet.
    ReplicaSet,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds that are in none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// How the API presents a kind.
#[derive(Debug)]
pub struct Resource {
    /// The group; empty for the core group.
    pub group: &'static str,
    /// The plural, in URLs.
    pub plural: &'static str,
    /// The kind's name.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Short names that kubectl takes.
    pub short_names: &'static [&'static str],
    /// Whether `kubectl get all` shows it.
    pub in_all: bool,
    /// Subresources besides the object itself.
    pub subresources: &'static [&'static str],
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::ConfigMap,
        Self::Event,
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::Service,
        Self::ServiceAccount,
        Self::Deployment,
        Self::ReplicaSet,
        Self::EndpointSlice,
        Self::NetworkPolicy,
    ];

    /// How the API presents it.
    #[must_use]
    pub fn resource(self) -> &'static Resource {
        &RESOURCES[self as usize]
    }

    /// The kind with this group and plural.
    #[must_use]
    pub fn find(group: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let resource = kind.resource();
            resource.group == group && resource.plural == plural
        })
    }

    /// `v1` or `GROUP/v1`.
    #[must_use]
    pub fn api_version(self) -> String {
        match self.resource().group {
            "" => "v1".to_owned(),
            group => format!("{group}/v1"),
        }
    }

    /// Whether `value` is an object of this kind with no field that the kind does not have.
    pub fn check_fields(self, value: &Value) -> Result<(), DecodeError> {
        fn check<T: DeserializeOwned>(value: &Value) -> Result<(), DecodeError> {
            decode::<T>(value).map(drop)
        }
        match self {
            Self::ConfigMap => check::<core::v1::ConfigMap>(value),
            Self::Event => check::<core::v1::Event>(value),
            Self::Namespace => check::<core::v1::Namespace>(value),
            Self::Node => check::<core::v1::Node>(value),
            Self::Pod => check::<core::v1::Pod>(value),
            Self::Service => check::<core::v1::Service>(value),
            Self::ServiceAccount => check::<core::v1::ServiceAccount>(value),
            Self::Deployment => check::<apps::v1::Deployment>(value),
            Self::ReplicaSet => check::<apps::v1::ReplicaSet>(value),
            Self::EndpointSlice => check::<discovery::v1::EndpointSlice>(value),
            Self::NetworkPolicy => check::<networking::v1::NetworkPolicy>(value),
        }
    }
}

/// In the order of [`Kind`].
static RESOURCES: [Resource; Kind::ALL.len()] = [
    resource("", "configmaps", "ConfigMap", &["cm"]),
    resource("", "events", "Event", &["ev"]),
    resource("", "namespaces", "Namespace", &["ns"]).cluster_wide(),
    resource("", "nodes", "Node", &["no"]).cluster_wide(),
    resource("", "pods", "Pod", &["po"]).in_all().with(&["exec", "log"]),
    resource("", "services", "Service", &["svc"]).in_all(),
    resource("", "serviceaccounts", "ServiceAccount", &["sa"]),
    resource("apps", "deployments", "Deployment", &["deploy"]).in_all().with(&["scale"]),
    resource("apps", "replicasets", "ReplicaSet", &["rs"]).in_all().with(&["scale"]),
    resource("discovery.k8s.io", "endpointslices", "EndpointSlice", &[]),
    resource("networking.k8s.io", "networkpolicies", "NetworkPolicy", &["netpol"]),
];

impl Resource {
    const fn cluster_wide(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn in_all(mut self) -> Self {
        self.in_all = true;
        self
    }

    const fn with(mut self, subresources: &'static [&'static str]) -> Self {
        self.subresources = subresources;
        self
    }

    /// The singular, which kubectl takes too.
    #[must_use]
    pub fn singular(&self) -> String {
        self.kind.to_lowercase()
    }

    /// The plural with its group, as messages name it: `deployments.apps`.
    #[must_use]
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

const fn resource(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
) -> Resource {
    Resource {
        group,
        plural,
        kind,
        namespaced: true,
        short_names,
        in_all: false,
        subresources: &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        for kind in Kind::ALL {
            assert_eq!(format!("{kind:?}"), kind.resource().kind);
            assert_eq!(Kind::find(kind.resource().group, kind.resource().plural), Some(kind));
        }
    }
}
