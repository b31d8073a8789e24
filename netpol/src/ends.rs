//! The ends of a connection as people name them: as `netpol list` prints them, as kubectl takes them, by
//! address.

mod destination;

use std::net::IpAddr;

pub use self::destination::{Destination, LeftOut, PortName, destination, end_of, is_service};
use crate::cluster::{Cluster, Pod, Workload};
use crate::connectivity::ListedEnd;
use crate::isolation::End;
use crate::port::Protocol;
use crate::spelling::{did_you_mean, listed};

/// A name is nobody's, or several ends'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// Nobody is called so.
    #[error("{text:?}: no such workload or pod{hint}")]
    NoSuchEnd {
        /// What was asked for.
        text: String,
        /// Who may have been meant.
        hint: String,
    },
    /// Several are.
    #[error("{text:?} may be any of: {}", .ends.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// All of them.
        ends: Vec<String>,
    },
    /// No Service is called so.
    #[error("{text:?}: no such Service; there are: {there}")]
    NoSuchService {
        /// What was asked for.
        text: String,
        /// Those that there are.
        there: String,
    },
    /// A Service has not this port.
    #[error("Service {service} has no {protocol} port {port}; it has: {there}")]
    NoServicePort {
        /// The Service.
        service: String,
        /// What was asked for.
        port: String,
        /// The protocol.
        protocol: Protocol,
        /// Those that it has.
        there: String,
    },
    /// A pod has no port of this name.
    #[error("{pod} has no {protocol} port named {port:?}; it names: {there}")]
    NoSuchPort {
        /// The pod.
        pod: String,
        /// What was asked for.
        port: String,
        /// The protocol.
        protocol: Protocol,
        /// The names that it has.
        there: String,
    },
    /// An address has no named ports.
    #[error("{port:?}: an address has no named ports; write a number from 1 to 65535")]
    NoNamedPorts {
        /// What was asked for.
        port: String,
    },
    /// A kind that has no pods.
    #[error("{text:?}: {kind} is no kind that makes pods")]
    NoPods {
        /// What was asked for.
        text: String,
        /// The kind.
        kind: String,
    },
}

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted<'t> {
    namespace: &'t str,
    /// The kind, in the API's words.
    kind: Option<&'t str>,
    name: &'t str,
}

/// Who `text` means, in `namespace` where it says none: an address, which may be a pod's, or the pods of
/// one workload. `[NAMESPACE/]NAME`, `[NAMESPACE/]NAME[KIND]`, and as kubectl has it `KIND/NAME`.
pub fn find<'a>(
    cluster: &'a Cluster,
    namespace: &str,
    text: &str,
) -> Result<Vec<End<'a>>, EndError> {
    if let Some(address) = address(text) {
        // What shares its node's address is not the only one there.
        let owns = |pod: &&Pod| !pod.host_network && pod.addresses.contains(&address);
        let owner = cluster.pods().iter().find(owns);
        return Ok(vec![owner.map_or(End::Address(address), End::Pod)]);
    }
    let mut found = Vec::new();
    let mut no_pods = None;
    for name in readings(namespace, text) {
        if let Some(kind) = name.kind
            && is_without_pods(kind)
        {
            no_pods = Some(kind.to_owned());
            continue;
        }
        let is_meant = |pod: &&Pod| {
            pod.namespace == name.namespace
                && match name.kind {
                    Some("Pod") => pod.name == name.name && !is_template(pod),
                    Some(kind) => makers(pod).any(|one| one.kind == kind && one.name == name.name),
                    None => pod.name == name.name || makers(pod).any(|one| one.name == name.name),
                }
        };
        found = cluster.pods().iter().filter(is_meant).collect();
        if !found.is_empty() {
            break;
        }
    }
    let text = text.to_owned();
    let mut ends: Vec<String> = found.iter().map(|pod| ListedEnd::of(pod).to_string()).collect();
    ends.sort();
    ends.dedup();
    match (ends.len(), no_pods) {
        (0, Some(kind)) => Err(EndError::NoPods { text, kind }),
        (0, None) => Err(EndError::NoSuchEnd { hint: hint(cluster, &text), text }),
        (1, _) => Ok(found.into_iter().map(End::Pod).collect()),
        _ => Err(EndError::Ambiguous { text, ends }),
    }
}

/// An address, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

/// What made a pod: what a person knows, and what stands between.
fn makers(pod: &Pod) -> impl Iterator<Item = &Workload> {
    [Some(&pod.workload), pod.owner.as_ref(), pod.maker.as_ref()].into_iter().flatten()
}

/// Whether this stands for the pods that a workload makes, and is none.
fn is_template(pod: &Pod) -> bool {
    pod.workload.kind != "Pod" && pod.workload.name == pod.name && pod.addresses.is_empty()
}

/// What `text` may mean, the likelier first: a namespace may be called as a kind is.
fn readings<'t>(namespace: &'t str, text: &'t str) -> Vec<Wanted<'t>> {
    let (rest, kind) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((rest, kind)) => (rest, Some(kind)),
        None => (text, None),
    };
    let parts: Vec<&str> = rest.split('/').collect();
    match (parts.as_slice(), kind) {
        ([name], kind) => vec![Wanted { namespace, kind, name }],
        ([first, name], None) => {
            let kind = kind_of(first).map(|kind| Wanted { namespace, kind: Some(kind), name });
            let place = Wanted { namespace: first, kind: None, name };
            kind.into_iter().chain([place]).collect()
        }
        ([namespace, name], kind) => vec![Wanted { namespace, kind, name }],
        ([namespace, resource, name], None) => kind_of(resource)
            .map(|kind| Wanted { namespace, kind: Some(kind), name })
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// The kind of a resource as kubectl takes it: singular, plural or short, with or without its group.
#[must_use]
pub fn kind_of(resource: &str) -> Option<&'static str> {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (kind, its_group) = match resource.to_ascii_lowercase().as_str() {
        "po" | "pod" | "pods" => ("Pod", ""),
        "deploy" | "deployment" | "deployments" => ("Deployment", "apps"),
        "rs" | "replicaset" | "replicasets" => ("ReplicaSet", "apps"),
        "sts" | "statefulset" | "statefulsets" => ("StatefulSet", "apps"),
        "ds" | "daemonset" | "daemonsets" => ("DaemonSet", "apps"),
        "job" | "jobs" => ("Job", "batch"),
        "cj" | "cronjob" | "cronjobs" => ("CronJob", "batch"),
        "rc" | "replicationcontroller" | "replicationcontrollers" => ("ReplicationController", ""),
        "svc" | "service" | "services" => ("Service", ""),
        "ro" | "rollout" | "rollouts" => ("Rollout", "argoproj.io"),
        "netpol" | "networkpolicy" | "networkpolicies" => ("NetworkPolicy", "networking.k8s.io"),
        "ns" | "namespace" | "namespaces" => ("Namespace", ""),
        _ => return None,
    };
    let group = group.strip_prefix("v1").map_or(group, |rest| rest.trim_start_matches('.'));
    (group.is_empty() || group == its_group).then_some(kind)
}

fn is_without_pods(kind: &str) -> bool {
    matches!(kind, "NetworkPolicy" | "Namespace" | "Service")
}

/// Who may have been meant: those that are spelt most like `text`, or some of all.
fn hint(cluster: &Cluster, text: &str) -> String {
    let mut all: Vec<(String, &str)> = cluster
        .pods()
        .iter()
        .map(|pod| (ListedEnd::of(pod).to_string(), pod.workload.name.as_str()))
        .collect();
    all.sort();
    all.dedup();
    if all.is_empty() {
        return ": there is no workload at all".to_owned();
    }
    let bare = text.split('[').next().unwrap_or(text);
    let bare = bare.rsplit('/').next().unwrap_or(bare);
    let scored = all
        .iter()
        .map(|(end, name)| (strsim::normalized_damerau_levenshtein(bare, name), end.clone()));
    did_you_mean(scored).unwrap_or_else(|| {
        format!("; there are: {}", listed(all.into_iter().map(|(end, _)| end).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Workload;

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        let pods = [
            ("shop", "web-1", "Deployment", "web"),
            ("shop", "web-2", "Deployment", "web"),
            ("shop", "db-0", "StatefulSet", "db"),
            ("shop", "db", "Pod", "db"),
            ("pod", "x", "Pod", "x"),
            ("other", "web", "CronJob", "web"),
        ];
        for (namespace, name, kind, workload) in pods {
            cluster.add_pod(Pod {
                namespace: namespace.into(),
                name: name.into(),
                workload: Workload { kind: kind.into(), name: workload.into() },
                ..Pod::default()
            });
        }
        cluster
    }

    fn names(text: &str) -> Result<Vec<String>, String> {
        let cluster = cluster();
        let found = find(&cluster, "shop", text).map_err(|error| error.to_string())?;
        let name = |end: &End<'_>| match end {
            End::Pod(pod) => pod.to_string(),
            other => format!("{other:?}"),
        };
        Ok(found.iter().map(name).collect())
    }

    #[test]
    fn an_end_is_named_as_list_prints_it_or_as_kubectl_takes_it() {
        let web = ["shop/web-1", "shop/web-2"];
        for text in [
            "web",
            "shop/web",
            "web[Deployment]",
            "shop/web[Deployment]",
            "deploy/web",
            "deployments/web",
            "deployment.apps/web",
            "deployment.v1.apps/web",
            "shop/deploy/web",
        ] {
            assert_eq!(names(text).unwrap(), web, "{text}");
        }
        assert_eq!(names("pod/web-2").unwrap(), ["shop/web-2"]);
        assert_eq!(names("sts/db").unwrap(), ["shop/db-0"]);
        assert_eq!(names("po/db").unwrap(), ["shop/db"]);
        assert_eq!(names("pod/x").unwrap(), ["pod/x"], "no pod x in shop: the namespace pod");
        assert_eq!(names("other/cj/web").unwrap(), ["other/web"]);
    }

    #[test]
    fn a_name_that_several_have_is_told_with_all_of_them() {
        assert_eq!(
            names("db").unwrap_err(),
            "\"db\" may be any of: shop/db[Pod], shop/db[StatefulSet]"
        );
    }

    #[test]
    fn a_name_that_nobody_has_is_told_with_those_like_it_and_at_most_ten() {
        assert_eq!(
            names("wbe").unwrap_err(),
            "\"wbe\": no such workload or pod; did you mean other/web[CronJob] or shop/web[Deployment]?"
        );
        assert!(names("deployment.batch/web").is_err());
        assert_eq!(
            names("netpol/web").unwrap_err(),
            "\"netpol/web\": NetworkPolicy is no kind that makes pods"
        );
        let mut cluster = cluster();
        for number in 0..20_000 {
            let name = format!("n{number}");
            let workload = Workload { kind: "Pod".into(), name: name.clone() };
            cluster.add_pod(Pod { namespace: "z".into(), name, workload, ..Pod::default() });
        }
        let said = find(&cluster, "shop", "quite-another").unwrap_err().to_string();
        assert!(said.len() < 400 && said.contains("and 19995 more"), "{said}");
    }
}
