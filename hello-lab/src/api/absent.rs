//! Kinds that a cluster has, or that people bring to one, and the lab has not. Discovery names them, without a
//! verb, so that kubectl asks for them and is told what to use instead; of a kind that is nowhere it says that
//! its `CustomResourceDefinition` is missing.

use axum::http::Method;
use axum::http::header::{ACCEPT, HeaderMap};
use serde_json::{Value, json};

use super::error::ApiError;

/// A kind that the lab has not.
pub(super) struct Absent {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    pub(super) short_name: &'static str,
    /// What a person who wants it can do here.
    instead: &'static str,
}

const fn absent(names: [&'static str; 5], namespaced: bool, instead: &'static str) -> Absent {
    let [group, version, plural, kind, short_name] = names;
    Absent { group, version, plural, kind, namespaced, short_name, instead }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const EVERYTHING: &str = "who has its token may do everything";
const STORAGE: &str = "a pod's volume can be an emptyDir";
const HOOKS: &str = "objects are checked as a cluster without one checks them";
const POLICIES: &str = "it enforces NetworkPolicy of networking.k8s.io/v1 alone";

/// All of them.
pub(super) const ABSENT: [Absent; 30] = [
    absent(["", "v1", "limitranges", "LimitRange", "limits"], true, "pods run without"),
    absent(["", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc"], true, STORAGE),
    absent(["", "v1", "persistentvolumes", "PersistentVolume", "pv"], false, STORAGE),
    absent(["", "v1", "podtemplates", "PodTemplate", ""], true, "a Deployment has one of its own"),
    absent(
        ["", "v1", "replicationcontrollers", "ReplicationController", "rc"],
        true,
        "use a Deployment",
    ),
    absent(["", "v1", "resourcequotas", "ResourceQuota", "quota"], true, "nothing is rationed"),
    absent(
        [
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
            "crd",
        ],
        false,
        "it has kinds of Kubernetes' own alone",
    ),
    absent(
        [
            "admissionregistration.k8s.io",
            "v1",
            "mutatingwebhookconfigurations",
            "MutatingWebhookConfiguration",
            "",
        ],
        false,
        HOOKS,
    ),
    absent(
        [
            "admissionregistration.k8s.io",
            "v1",
            "validatingadmissionpolicies",
            "ValidatingAdmissionPolicy",
            "",
        ],
        false,
        HOOKS,
    ),
    absent(
        [
            "admissionregistration.k8s.io",
            "v1",
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
            "",
        ],
        false,
        HOOKS,
    ),
    absent(
        ["autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa"],
        true,
        "use kubectl scale",
    ),
    absent(
        ["autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa"],
        true,
        "use kubectl scale",
    ),
    absent(
        [
            "certificates.k8s.io",
            "v1",
            "certificatesigningrequests",
            "CertificateSigningRequest",
            "csr",
        ],
        false,
        EVERYTHING,
    ),
    absent(
        [
            "cilium.io",
            "v2",
            "ciliumclusterwidenetworkpolicies",
            "CiliumClusterwideNetworkPolicy",
            "ccnp",
        ],
        false,
        POLICIES,
    ),
    absent(
        ["cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy", "cnp"],
        true,
        POLICIES,
    ),
    absent(
        ["crd.projectcalico.org", "v1", "globalnetworkpolicies", "GlobalNetworkPolicy", ""],
        false,
        POLICIES,
    ),
    absent(
        ["gateway.networking.k8s.io", "v1", "gateways", "Gateway", "gtw"],
        true,
        "use kubectl port-forward",
    ),
    absent(
        ["gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", ""],
        true,
        "use kubectl port-forward",
    ),
    absent(
        ["networking.k8s.io", "v1", "ingressclasses", "IngressClass", ""],
        false,
        "use kubectl port-forward",
    ),
    absent(
        ["networking.k8s.io", "v1", "ingresses", "Ingress", "ing"],
        true,
        "use kubectl port-forward",
    ),
    absent(
        ["policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb"],
        true,
        "pods are evicted without",
    ),
    absent(
        [
            "policy.networking.k8s.io",
            "v1alpha1",
            "adminnetworkpolicies",
            "AdminNetworkPolicy",
            "anp",
        ],
        false,
        POLICIES,
    ),
    absent(
        [
            "policy.networking.k8s.io",
            "v1alpha1",
            "baselineadminnetworkpolicies",
            "BaselineAdminNetworkPolicy",
            "banp",
        ],
        false,
        POLICIES,
    ),
    absent(
        [
            "policy.networking.k8s.io",
            "v1alpha2",
            "clusternetworkpolicies",
            "ClusterNetworkPolicy",
            "cnp",
        ],
        false,
        POLICIES,
    ),
    absent([RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", ""], false, EVERYTHING),
    absent([RBAC, "v1", "clusterroles", "ClusterRole", ""], false, EVERYTHING),
    absent([RBAC, "v1", "rolebindings", "RoleBinding", ""], true, EVERYTHING),
    absent([RBAC, "v1", "roles", "Role", ""], true, EVERYTHING),
    absent(
        ["scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc"],
        false,
        "pods are scheduled in the order in which they come",
    ),
    absent(["storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc"], false, STORAGE),
];

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
    let kind = ABSENT
        .iter()
        .find(|kind| (kind.group, kind.version, kind.plural) == (group, version, *plural))?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let watch = query.is_some_and(|query| {
        form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "watch")
    });
    if method == Method::GET && rest.is_empty() && !watch && !accept.contains("as=Table") {
        let api_version =
            if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        return Some(Ok(json!({
            "kind": format!("{}List", kind.kind),
            "apiVersion": api_version,
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
        for absent in &ABSENT {
            assert!(Kind::find(absent.group, absent.plural).is_none(), "{}", absent.kind);
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
