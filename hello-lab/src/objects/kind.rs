//! The kinds of object that the lab knows, and where one object is among them.

use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, ResourceScope};
use netpol::read::strict::DecodeError;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::typed::{Decoded, decode};

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
    /// `v1` or `GROUP/v1`.
    api_version: &'static str,
}

/// The one list of kinds: the type of each, its short names, and what else the API says of it. Group,
/// version, kind, plural and scope are the type's own.
macro_rules! kinds {
    ($($kind:ident $short_names:tt $(. $with:ident($($argument:expr)?))*;)+) => {
        /// A kind of object.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(
                #[doc = concat!("That of [`", stringify!($kind), "`].")]
                $kind,
            )+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: [Self; [$(stringify!($kind)),+].len()] = [$(Self::$kind),+];

            /// How the API presents it.
            #[must_use]
            pub fn resource(self) -> &'static Resource {
                match self {
                    $(Self::$kind => {
                        static RESOURCE: Resource =
                            Resource::of::<$kind>(&$short_names)$(.$with($($argument)?))*;
                        &RESOURCE
                    })+
                }
            }

            /// Adds its schema, and those that this one refers to, to the generator's, and names it.
            pub fn add_schema(self, generator: &mut SchemaGenerator) -> String {
                match self {
                    $(Self::$kind => {
                        let _ = generator.subschema_for::<$kind>();
                        <$kind as JsonSchema>::schema_name().into_owned()
                    })+
                }
            }

            /// Decodes an object of this kind, and writes in `value` what its nulls were read as.
            pub(super) fn decode(self, value: &mut Value) -> Result<Decoded, DecodeError> {
                match self {
                    $(Self::$kind => decode::<$kind>(value),)+
                }
            }
        }
    };
}

kinds! {
    ConfigMap ["cm"];
    Endpoints ["ep"];
    Event ["ev"];
    Namespace ["ns"].with(&["finalize", "status"]);
    Node ["no"].with(&["status"]);
    Pod ["po"].in_all().with(&["attach", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "status"]);
    Secret [];
    Service ["svc"].in_all().with(&["proxy", "status"]);
    ServiceAccount ["sa"];
    ControllerRevision [];
    DaemonSet ["ds"].in_all().with(&["status"]);
    Deployment ["deploy"].in_all().with(&["scale", "status"]);
    ReplicaSet ["rs"].in_all().with(&["scale", "status"]);
    StatefulSet ["sts"].in_all().with(&["scale", "status"]);
    CronJob ["cj"].in_all().with(&["status"]);
    Job [].in_all().with(&["status"]);
    Lease [];
    EndpointSlice [];
    NetworkPolicy ["netpol"];
}

impl Kind {
    /// The kind with this group and plural.
    #[must_use]
    pub fn find(group: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let resource = kind.resource();
            resource.group == group && resource.plural == plural
        })
    }

    /// The kind that objects name so.
    #[must_use]
    pub fn named(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| {
            let resource = one.resource();
            resource.api_version == api_version && resource.kind == kind
        })
    }

    /// Where its objects have the spec of a pod, if they do: the names of the fields with dots between.
    #[must_use]
    pub fn path_of_pod_spec(self) -> Option<&'static str> {
        match self {
            Self::Pod => Some("spec"),
            Self::DaemonSet
            | Self::Deployment
            | Self::ReplicaSet
            | Self::StatefulSet
            | Self::Job => Some("spec.template.spec"),
            Self::CronJob => Some("spec.jobTemplate.spec.template.spec"),
            _ => None,
        }
    }

    /// `v1` or `GROUP/v1`.
    #[must_use]
    pub fn api_version(self) -> String {
        self.resource().api_version.to_owned()
    }

    /// Whether `value` is an object of this kind with no field that the kind does not have. Where it has
    /// nulls, what the API server reads them as is written, unless a value is of the wrong type.
    pub fn check_fields(self, value: &mut Value) -> Result<(), DecodeError> {
        let (_, unknown) = self.decode(value)?;
        if unknown.is_empty() { Ok(()) } else { Err(DecodeError::UnknownFields(unknown)) }
    }
}

/// The fields of a type of the API, in the order of the alphabet.
#[cfg(test)]
pub(crate) fn fields_of<T: JsonSchema>() -> Vec<String> {
    let schema = T::json_schema(&mut SchemaGenerator::default());
    let fields = schema.as_value()["properties"].as_object().unwrap();
    let mut names: Vec<_> = fields.keys().cloned().collect();
    names.sort_unstable();
    names
}

/// Whether a type's objects are in namespaces.
trait Scope: ResourceScope {
    const NAMESPACED: bool;
}

impl Scope for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

impl Scope for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl Resource {
    const fn of<T: k8s_openapi::Resource<Scope: Scope>>(
        short_names: &'static [&'static str],
    ) -> Self {
        Self {
            group: T::GROUP,
            plural: T::URL_PATH_SEGMENT,
            kind: T::KIND,
            namespaced: <T::Scope as Scope>::NAMESPACED,
            short_names,
            in_all: false,
            subresources: &[],
            api_version: T::API_VERSION,
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_found_by_its_place_in_the_api() {
        for kind in Kind::ALL {
            assert_eq!(format!("{kind:?}"), kind.resource().kind);
            assert_eq!(Kind::find(kind.resource().group, kind.resource().plural), Some(kind));
        }
        let namespaced = |kind: Kind| kind.resource().namespaced;
        assert!(!namespaced(Kind::Node) && !namespaced(Kind::Namespace) && namespaced(Kind::Pod));
        assert_eq!(Kind::NetworkPolicy.api_version(), "networking.k8s.io/v1");
        assert_eq!(Kind::Pod.api_version(), "v1");
    }

    #[test]
    fn an_object_of_another_kind_or_with_other_fields_is_none_of_this_kind() {
        for kind in Kind::ALL {
            let mut object = json!({
                "apiVersion": kind.api_version(),
                "kind": kind.resource().kind,
                "metadata": {"name": "a", "labels": {"b": null}},
            });
            kind.check_fields(&mut object).unwrap();
            assert_eq!(object["metadata"]["labels"]["b"], "", "{kind:?}");
            object["metadata"]["lables"] = json!({});
            assert!(kind.check_fields(&mut object).is_err(), "{kind:?}");
            let mut other = json!({"kind": "Other"});
            assert!(kind.check_fields(&mut other).is_err(), "{kind:?}");
        }
    }
}
