//! Kinds that a cluster has, or that people bring to one, and the lab has not. Discovery names them, without a
//! verb, so that kubectl asks for them and is told what to use instead; of a kind that is nowhere it says that
//! its `CustomResourceDefinition` is missing.

use axum::http::Method;
use axum::http::header::{ACCEPT, HeaderMap};
use serde_json::{Value, json};

use super::error::ApiError;
use super::path::api_version;

/// Kinds of one version of a group that the lab has not.
pub(super) struct Absent {
    /// The group; empty for the core group.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kinds: &'static [AbsentKind],
}

/// A kind that the lab has not.
pub(super) struct AbsentKind {
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    /// Empty for a kind that has none.
    pub(super) short_name: &'static str,
    pub(super) namespaced: bool,
    /// What a person who wants it can do here.
    instead: &'static str,
}

const fn namespaced(
    plural: &'static str,
    kind: &'static str,
    short_name: &'static str,
    instead: &'static str,
) -> AbsentKind {
    AbsentKind { plural, kind, short_name, namespaced: true, instead }
}

const fn cluster_wide(
    plural: &'static str,
    kind: &'static str,
    short_name: &'static str,
    instead: &'static str,
) -> AbsentKind {
    AbsentKind { namespaced: false, ..namespaced(plural, kind, short_name, instead) }
}

const EVERYTHING: &str = "who has its token may do everything";
const STORAGE: &str = "a pod's volume can be an emptyDir";
const HOOKS: &str = "objects are checked as a cluster without one checks them";
const POLICIES: &str = "it enforces NetworkPolicy of networking.k8s.io/v1 alone";
const FORWARD: &str = "use kubectl port-forward";

/// All of them.
pub(super) static ABSENT: [Absent; 20] = [
    Absent {
        group: "",
        version: "v1",
        kinds: &[
            namespaced("limitranges", "LimitRange", "limits", "pods run without"),
            namespaced("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", STORAGE),
            cluster_wide("persistentvolumes", "PersistentVolume", "pv", STORAGE),
            namespaced("podtemplates", "PodTemplate", "", "a Deployment has one of its own"),
            namespaced("replicationcontrollers", "ReplicationController", "rc", "use a Deployment"),
            namespaced("resourcequotas", "ResourceQuota", "quota", "nothing is rationed"),
        ],
    },
    Absent {
        group: "apiextensions.k8s.io",
        version: "v1",
        kinds: &[cluster_wide(
            "customresourcedefinitions",
            "CustomResourceDefinition",
            "crd",
            "it has kinds of Kubernetes' own alone",
        )],
    },
    Absent {
        group: "apiregistration.k8s.io",
        version: "v1",
        kinds: &[cluster_wide(
            "apiservices",
            "APIService",
            "",
            "it has kinds of Kubernetes' own alone",
        )],
    },
    Absent {
        group: "admissionregistration.k8s.io",
        version: "v1",
        kinds: &[
            cluster_wide(
                "mutatingwebhookconfigurations",
                "MutatingWebhookConfiguration",
                "",
                HOOKS,
            ),
            cluster_wide("validatingadmissionpolicies", "ValidatingAdmissionPolicy", "", HOOKS),
            cluster_wide(
                "validatingwebhookconfigurations",
                "ValidatingWebhookConfiguration",
                "",
                HOOKS,
            ),
        ],
    },
    Absent {
        group: "authentication.k8s.io",
        version: "v1",
        kinds: &[cluster_wide("tokenreviews", "TokenReview", "", EVERYTHING)],
    },
    Absent {
        group: "autoscaling",
        version: "v1",
        kinds: &[namespaced(
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            "hpa",
            "use kubectl scale",
        )],
    },
    Absent {
        group: "autoscaling",
        version: "v2",
        kinds: &[namespaced(
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            "hpa",
            "use kubectl scale",
        )],
    },
    Absent {
        group: "certificates.k8s.io",
        version: "v1",
        kinds: &[cluster_wide(
            "certificatesigningrequests",
            "CertificateSigningRequest",
            "csr",
            EVERYTHING,
        )],
    },
    Absent {
        group: "cilium.io",
        version: "v2",
        kinds: &[
            cluster_wide(
                "ciliumclusterwidenetworkpolicies",
                "CiliumClusterwideNetworkPolicy",
                "ccnp",
                POLICIES,
            ),
            namespaced("ciliumnetworkpolicies", "CiliumNetworkPolicy", "cnp", POLICIES),
        ],
    },
    Absent {
        group: "crd.projectcalico.org",
        version: "v1",
        kinds: &[cluster_wide("globalnetworkpolicies", "GlobalNetworkPolicy", "", POLICIES)],
    },
    Absent {
        group: "events.k8s.io",
        version: "v1",
        kinds: &[namespaced("events", "Event", "", "its events are those of the group of pods")],
    },
    Absent {
        group: "gateway.networking.k8s.io",
        version: "v1",
        kinds: &[
            namespaced("gateways", "Gateway", "gtw", FORWARD),
            namespaced("httproutes", "HTTPRoute", "", FORWARD),
        ],
    },
    Absent {
        group: "networking.k8s.io",
        version: "v1",
        kinds: &[
            cluster_wide("ingressclasses", "IngressClass", "", FORWARD),
            namespaced("ingresses", "Ingress", "ing", FORWARD),
        ],
    },
    Absent {
        group: "node.k8s.io",
        version: "v1",
        kinds: &[cluster_wide(
            "runtimeclasses",
            "RuntimeClass",
            "",
            "a container is a process of this machine",
        )],
    },
    Absent {
        group: "policy",
        version: "v1",
        kinds: &[namespaced(
            "poddisruptionbudgets",
            "PodDisruptionBudget",
            "pdb",
            "pods are evicted without",
        )],
    },
    Absent {
        group: "policy.networking.k8s.io",
        version: "v1alpha1",
        kinds: &[
            cluster_wide("adminnetworkpolicies", "AdminNetworkPolicy", "anp", POLICIES),
            cluster_wide(
                "baselineadminnetworkpolicies",
                "BaselineAdminNetworkPolicy",
                "banp",
                POLICIES,
            ),
        ],
    },
    Absent {
        group: "policy.networking.k8s.io",
        version: "v1alpha2",
        kinds: &[cluster_wide("clusternetworkpolicies", "ClusterNetworkPolicy", "cnp", POLICIES)],
    },
    Absent {
        group: "rbac.authorization.k8s.io",
        version: "v1",
        kinds: &[
            cluster_wide("clusterrolebindings", "ClusterRoleBinding", "", EVERYTHING),
            cluster_wide("clusterroles", "ClusterRole", "", EVERYTHING),
            namespaced("rolebindings", "RoleBinding", "", EVERYTHING),
            namespaced("roles", "Role", "", EVERYTHING),
        ],
    },
    Absent {
        group: "scheduling.k8s.io",
        version: "v1",
        kinds: &[cluster_wide(
            "priorityclasses",
            "PriorityClass",
            "pc",
            "pods are scheduled in the order in which they come",
        )],
    },
    Absent {
        group: "storage.k8s.io",
        version: "v1",
        kinds: &[
            cluster_wide("csidrivers", "CSIDriver", "", STORAGE),
            cluster_wide("csinodes", "CSINode", "", STORAGE),
            cluster_wide("storageclasses", "StorageClass", "sc", STORAGE),
            cluster_wide("volumeattachments", "VolumeAttachment", "", STORAGE),
        ],
    },
];

/// Those of a version of a group.
pub(super) fn kinds(group: &str, version: &str) -> impl Iterator<Item = &'static AbsentKind> {
    let absent = ABSENT.iter().filter(move |one| (one.group, one.version) == (group, version));
    absent.flat_map(|one| one.kinds)
}

/// What a request for such a kind gets: a refusal with what to use instead. Who asks as a program does, for the
/// whole list and not for a table of it, gets an empty one: there are none, and `kubectl apply --prune` and
/// `cluster-info dump` read the lists of every kind that they know.
pub(super) fn answer(
    path: &str,
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Option<Result<Value, ApiError>> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (group, version, rest) = match segments[..] {
        ["api", version, ref rest @ ..] => ("", version, rest),
        ["apis", group, version, ref rest @ ..] => (group, version, rest),
        _ => return None,
    };
    let (["namespaces", _, plural, rest @ ..] | [plural, rest @ ..]) = rest else { return None };
    let kind = kinds(group, version).find(|kind| kind.plural == *plural)?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let watch = query.is_some_and(|query| {
        form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "watch")
    });
    if method == Method::GET && rest.is_empty() && !watch && !accept.contains("as=Table") {
        return Some(Ok(json!({
            "kind": format!("{}List", kind.kind),
            "apiVersion": api_version(group, version),
            "metadata": {"resourceVersion": "0"},
            "items": [],
        })));
    }
    Some(Err(ApiError::KindNotInTheLab { kind: kind.kind, instead: kind.instead }))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::objects::Kind;

    #[test]
    fn what_the_lab_has_is_not_absent() {
        for Absent { group, kinds, .. } in &ABSENT {
            for absent in *kinds {
                assert!(Kind::find(group, absent.plural).is_none(), "{}", absent.kind);
            }
        }
    }

    fn ask(method: &Method, path: &str, accept: &'static str) -> Option<Result<Value, ApiError>> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        let (path, query) =
            path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        answer(path, method, &headers, query)
    }

    #[test]
    fn a_person_is_refused_one_object_and_all_of_a_namespace_and_all() {
        const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        for path in [
            "/apis/networking.k8s.io/v1/ingresses",
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i/status",
            "/api/v1/persistentvolumes/p",
        ] {
            assert!(ask(&Method::GET, path, TABLE).unwrap().is_err(), "{path}");
            assert!(ask(&Method::POST, path, "*/*").unwrap().is_err(), "{path}");
        }
        for path in [
            "/apis/networking.k8s.io/v1/networkpolicies",
            "/apis/networking.k8s.io/v2/ingresses",
            "/api/v1/namespaces/ingresses",
            "/api/v1",
            "/",
        ] {
            assert!(ask(&Method::GET, path, TABLE).is_none(), "{path}");
        }
    }

    #[test]
    fn a_program_reads_that_there_are_none_and_can_watch_none() {
        let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
        let list = ask(&Method::GET, path, "application/json").unwrap().unwrap();
        assert_eq!((&list["kind"], &list["items"]), (&json!("IngressList"), &json!([])));
        assert!(
            ask(&Method::GET, &format!("{path}?watch=true"), "application/json").unwrap().is_err()
        );
        assert!(ask(&Method::GET, &format!("{path}/one"), "application/json").unwrap().is_err());
        assert!(ask(&Method::DELETE, path, "application/json").unwrap().is_err());
    }
}
