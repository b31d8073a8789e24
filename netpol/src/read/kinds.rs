//! Which kind an object is of: one that is read, one of Kubernetes' own that says nothing about
//! connections, a policy that is not modelled, or a misspelt one.

use serde_json::{Map, Value};

use super::DEFINITION;
use crate::cluster::ForeignPolicy;
use crate::spelling::likest;

/// What the head of an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A kind that is read.
    Known,
    /// A policy of another kind than NetworkPolicy, `KIND.GROUP`, and whether it is of the whole cluster.
    Policy { name: String, cluster_wide: bool },
    /// A kind that says nothing about connections.
    Other,
    /// No API server knows it; why, in kubectl's words.
    NoMatch(String),
}

/// The version of the API that has the kinds which are read.
pub(super) fn api_version(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Endpoints" | "Namespace" | "Pod" | "ReplicationController" | "Service" => "v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "NetworkPolicy" => "networking.k8s.io/v1",
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        _ => return None,
    })
}

/// What an object of `kind` in `version` (its `apiVersion`) is.
pub(super) fn kind_of(version: &str, kind: &str) -> Kind {
    let group = group(version);
    if let Some(kinds) = kinds_of(group) {
        return match api_version(kind) {
            Some(expected) if expected == version => Kind::Known,
            Some(expected) if !kinds.contains(&kind) => no_match(version, kind, Some(expected)),
            Some(_) => Kind::NoMatch(format!(
                "apiVersion: {version} is not served; {kind} is of {}",
                api_version(kind).unwrap_or_default()
            )),
            // The group without a name has one version.
            None if group.is_empty() && version != "v1" => no_match(version, kind, None),
            None if kinds.contains(&kind) => Kind::Other,
            None => no_match(version, kind, None),
        };
    }
    // A group that is added to Kubernetes has a dot in its name.
    if !group.contains('.')
        && let Some(expected) = api_version(kind).or_else(|| like(kind).and_then(api_version))
    {
        return no_match(version, kind, Some(expected));
    }
    if is_policy(group, kind) {
        let name = format!("{kind}.{group}");
        return Kind::Policy { name, cluster_wide: is_cluster_wide(kind) };
    }
    Kind::Other
}

/// Whether objects of this kind are policies that are not modelled.
#[must_use]
pub fn kind_is_policy(version: &str, kind: &str) -> bool {
    matches!(kind_of(version, kind), Kind::Policy { .. })
}

/// Whether an object that begins with these fields says nothing about connections and is of Kubernetes' own
/// kinds, so that the rest of it need not be read.
pub(super) fn is_unread(head: &Map<String, Value>) -> bool {
    let text = |field: &str| head.get(field).and_then(Value::as_str);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else { return false };
    // The name of a definition tells of which group operators have kinds.
    let is_named = kind != DEFINITION || head.contains_key("metadata");
    let is_own = kinds_of(group(version)).is_some();
    is_own && is_named && kind != "List" && kind_of(version, kind) == Kind::Other
}

/// What an object of `kind` without `apiVersion` is.
pub(super) fn kind_without_version(kind: &str) -> Kind {
    if api_version(kind).is_some() {
        return Kind::Known;
    }
    let is_known = |(_, kinds): &(&str, &[&str])| kinds.contains(&kind);
    if KINDS.iter().any(is_known) {
        return Kind::Other;
    }
    let hint = like(kind).map(|known| format!("; did you mean {known}?")).unwrap_or_default();
    Kind::NoMatch(format!("apiVersion: Required value: {kind:?} is no kind of Kubernetes{hint}"))
}

/// As kubectl says it.
fn no_match(version: &str, kind: &str, expected: Option<&str>) -> Kind {
    let hint = match (expected, like(kind)) {
        (Some(expected), _) => format!("; it is of {expected}"),
        (None, Some(known)) => {
            let place = api_version(known).unwrap_or(version);
            let place = if place == version { String::new() } else { format!(" of {place}") };
            format!("; did you mean {known}{place}?")
        }
        (None, None) => String::new(),
    };
    Kind::NoMatch(format!("kind: no matches for kind {kind:?} in version {version:?}{hint}"))
}

/// The kind that is spelt most like `kind`.
fn like(kind: &str) -> Option<&'static str> {
    /// From which likeness on a kind is taken for another one misspelt (1 is the same).
    const LIKE: f64 = 0.7;
    let lower = kind.to_ascii_lowercase();
    let singular = lower.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let singular = singular.as_deref().or_else(|| lower.strip_suffix('s')).unwrap_or(&lower);
    let likeness = |known: &str| {
        let known = known.to_ascii_lowercase();
        [lower.as_str(), singular]
            .map(|one| strsim::normalized_damerau_levenshtein(one, &known))
            .into_iter()
            .fold(0.0, f64::max)
    };
    likest(KINDS.iter().flat_map(|(_, kinds)| kinds.iter().copied()), LIKE, likeness)
}

/// The API group of an `apiVersion`.
pub(super) fn group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether a kind of somebody else's group decides on connections of pods.
fn is_policy(group: &str, kind: &str) -> bool {
    // Calico's staged policies decide nothing; a MultiNetworkPolicy is about a pod's other networks.
    let decides_nothing = kind.starts_with("Staged") || kind == "MultiNetworkPolicy";
    (kind.ends_with("NetworkPolicy")
        || kind == "GlobalNetworkPolicy"
        || is_other_policy(group, kind))
        && !decides_nothing
}

/// Policies whose kind does not end with NetworkPolicy: OVN-Kubernetes' and NSX'.
fn is_other_policy(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("k8s.ovn.org", "EgressFirewall") | ("crd.nsx.vmware.com", "SecurityPolicy")
    )
}

fn is_cluster_wide(kind: &str) -> bool {
    matches!(
        kind,
        "AdminNetworkPolicy"
            | "BaselineAdminNetworkPolicy"
            | "ClusterNetworkPolicy"
            | "CiliumClusterwideNetworkPolicy"
            | "GlobalNetworkPolicy"
    )
}

/// Whether a policy of this kind (`KIND.GROUP`) is always in a namespace, and without one in that of
/// its input.
pub(super) fn is_namespaced(kind: &str) -> bool {
    matches!(
        kind,
        "CiliumNetworkPolicy.cilium.io"
            | "NetworkPolicy.projectcalico.org"
            | "NetworkPolicy.crd.projectcalico.org"
            | "NetworkPolicy.crd.antrea.io"
            | "ApplicationNetworkPolicy.networking.k8s.aws"
            | "EgressFirewall.k8s.ovn.org"
            | "FQDNNetworkPolicy.networking.gke.io"
            | "SecurityPolicy.crd.nsx.vmware.com"
    )
}

impl ForeignPolicy {
    /// Whether `kinds`, each `KIND` or `KIND.GROUP`, has its kind.
    #[must_use]
    pub fn is_of(&self, kinds: &[String]) -> bool {
        let bare = self.kind.split('.').next().unwrap_or_default();
        kinds.iter().any(|kind| *kind == self.kind || kind == bare)
    }
}

/// The kinds of a group that is Kubernetes' own.
pub(super) fn kinds_of(group: &str) -> Option<&'static [&'static str]> {
    KINDS.iter().find(|(name, _)| *name == group).map(|(_, kinds)| *kinds)
}

/// The groups of Kubernetes itself (1.35) with every kind that they have or had: what is in none of
/// them is misspelt (<https://kubernetes.io/docs/reference/kubernetes-api/>).
const KINDS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "List",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
            "Status",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "ExternalAdmissionHookConfiguration",
            "InitializerConfiguration",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    (
        "apps",
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "DeploymentRollback",
            "ReplicaSet",
            "Scale",
            "StatefulSet",
        ],
    ),
    ("auditregistration.k8s.io", &["AuditSink"]),
    ("authentication.k8s.io", &["SelfSubjectReview", "TokenRequest", "TokenReview"]),
    (
        "authorization.k8s.io",
        &[
            "LocalSubjectAccessReview",
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
    ),
    ("autoscaling", &["HorizontalPodAutoscaler", "Scale"]),
    ("batch", &["CronJob", "Job", "JobTemplate", "ScheduledJob"]),
    (
        "certificates.k8s.io",
        &["CertificateSigningRequest", "ClusterTrustBundle", "PodCertificateRequest"],
    ),
    ("coordination.k8s.io", &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("events.k8s.io", &["Event"]),
    (
        "extensions",
        &[
            "DaemonSet",
            "Deployment",
            "DeploymentRollback",
            "HorizontalPodAutoscaler",
            "Ingress",
            "Job",
            "NetworkPolicy",
            "PodSecurityPolicy",
            "ReplicaSet",
            "Scale",
            "ThirdPartyResource",
        ],
    ),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("internal.apiserver.k8s.io", &["StorageVersion"]),
    (
        "networking.k8s.io",
        &["ClusterCIDR", "IPAddress", "Ingress", "IngressClass", "NetworkPolicy", "ServiceCIDR"],
    ),
    ("node.k8s.io", &["RuntimeClass"]),
    ("policy", &["Eviction", "PodDisruptionBudget", "PodSecurityPolicy"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
    (
        "resource.k8s.io",
        &[
            "DeviceClass",
            "DeviceTaintRule",
            "PodSchedulingContext",
            "ResourceClaim",
            "ResourceClaimParameters",
            "ResourceClaimTemplate",
            "ResourceClass",
            "ResourceClassParameters",
            "ResourceSlice",
        ],
    ),
    ("scheduling.k8s.io", &["PriorityClass", "Workload"]),
    ("settings.k8s.io", &["PodPreset"]),
    (
        "storage.k8s.io",
        &[
            "CSIDriver",
            "CSINode",
            "CSIStorageCapacity",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
    ),
    ("storagemigration.k8s.io", &["StorageVersionMigration"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn said(version: &str, kind: &str) -> String {
        match kind_of(version, kind) {
            Kind::NoMatch(said) => said,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_misspelt_kind_or_version_of_kubernetes_is_no_kind() {
        for kind in ["NetworkPolcy", "Networkpolicy", "networkpolicy", "NetworkPolicies"] {
            assert_eq!(
                said("networking.k8s.io/v1", kind),
                format!(
                    "kind: no matches for kind {kind:?} in version \"networking.k8s.io/v1\"; \
                     did you mean NetworkPolicy?"
                )
            );
        }
        for version in ["v1", "networking/v1", "networking.k8s.io", "apps/v1", "networkpolicy/v1"] {
            let said = said(version, "NetworkPolicy");
            assert!(said.contains("no matches for kind \"NetworkPolicy\""), "{version}: {said}");
            assert!(said.ends_with("it is of networking.k8s.io/v1"), "{version}: {said}");
        }
        let said = said("v1", "Deploymnet");
        assert!(said.ends_with("did you mean Deployment of apps/v1?"), "{said}");
    }

    #[test]
    fn an_old_version_is_no_longer_served() {
        for version in ["extensions/v1beta1", "networking.k8s.io/v1beta1", "networking.k8s.io/v2"] {
            assert_eq!(
                said(version, "NetworkPolicy"),
                format!(
                    "apiVersion: {version} is not served; NetworkPolicy is of networking.k8s.io/v1"
                )
            );
        }
    }

    #[test]
    fn what_others_add_to_kubernetes_is_a_policy_if_it_is_called_one() {
        let policy = |version: &str, kind: &str| match kind_of(version, kind) {
            Kind::Policy { name, cluster_wide } => Some((name, cluster_wide)),
            _ => None,
        };
        for (version, kind, wide) in [
            ("projectcalico.org/v3", "NetworkPolicy", false),
            ("crd.projectcalico.org/v1", "GlobalNetworkPolicy", true),
            ("cilium.io/v2", "CiliumNetworkPolicy", false),
            ("cilium.io/v2", "CiliumClusterwideNetworkPolicy", true),
            ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", true),
            ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", true),
            ("networking.k8s.oi/v1", "NetworkPolicy", false),
        ] {
            let name = format!("{kind}.{}", group(version));
            assert_eq!(policy(version, kind), Some((name, wide)));
        }
        for (version, kind) in [
            ("projectcalico.org/v3", "StagedNetworkPolicy"),
            ("k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy"),
            ("cert-manager.io/v1", "Certificate"),
            ("skaffold/v4beta1", "Config"),
            ("rbac.authorization.k8s.io/v1beta1", "Role"),
            ("policy/v1beta1", "PodSecurityPolicy"),
        ] {
            assert_eq!(kind_of(version, kind), Kind::Other, "{version} {kind}");
        }
    }

    #[test]
    fn without_a_version_a_kind_must_be_kubernetes_own() {
        assert_eq!(kind_without_version("NetworkPolicy"), Kind::Known);
        assert_eq!(kind_without_version("Secret"), Kind::Other);
        assert!(matches!(kind_without_version("NetworkPolcy"), Kind::NoMatch(_)));
    }
}
