//! The lab's table of how lists are merged is that of a real API server.
//!
//! `HELLO_KUBERNETES` names the kubeconfig of a cluster for tests alone; it is only read.

use std::collections::BTreeSet;
use std::process::Command;

use end_to_end::{repository, run, skip};
use serde_json::Value;

/// The kinds of the lab, as the definitions of the API server's document are named.
const KINDS: [&str; 19] = [
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Event",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Node",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.core.v1.Endpoints",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.apps.v1.ControllerRevision",
    "io.k8s.api.apps.v1.DaemonSet",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.ReplicaSet",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.batch.v1.CronJob",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.coordination.v1.Lease",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.api.networking.v1.NetworkPolicy",
];

fn short(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or_default()
}

/// The definition that a property refers to.
fn referred(property: &Value) -> Option<&str> {
    property["$ref"].as_str()?.strip_prefix("#/definitions/")
}

/// Writes the lines of the table for a definition and all that it leads to.
fn walk(
    definitions: &Value,
    name: &str,
    seen: &mut BTreeSet<String>,
    lines: &mut BTreeSet<String>,
) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let properties = definitions[name]["properties"].as_object().into_iter().flatten();
    for (field, property) in properties {
        let place = format!("{}.{field}", short(name));
        if let Some(of) = referred(property) {
            if definitions[of]["properties"].is_object() {
                lines.insert(format!("{place} {}", short(of)));
            }
            walk(definitions, of, seen, lines);
        } else if property["type"] == "array" {
            let items = &property["items"];
            let of = referred(items).or(items["type"].as_str()).unwrap();
            let strategy = property["x-kubernetes-patch-strategy"].as_str().unwrap_or_default();
            let how = match property["x-kubernetes-patch-merge-key"].as_str() {
                _ if !strategy.split(',').any(|one| one == "merge") => "atomic".to_owned(),
                Some(key) => format!("merge {key}"),
                None => "merge".to_owned(),
            };
            lines.insert(format!("{place} []{} {how}", short(of)));
            if let Some(of) = referred(items) {
                walk(definitions, of, seen, lines);
            }
        }
    }
}

#[test]
fn the_table_of_merged_lists_is_the_api_servers() {
    const NAME: &str = "the_table_of_merged_lists_is_the_api_servers";
    let Ok(kubeconfig) = std::env::var("HELLO_KUBERNETES") else {
        return skip(NAME, "HELLO_KUBERNETES names no kubeconfig of a Kubernetes for tests");
    };
    let mut kubectl = Command::new("kubectl");
    kubectl.env("KUBECONFIG", kubeconfig).args(["get", "--raw", "/openapi/v2"]);
    let document: Value = serde_json::from_str(&run(&mut kubectl, "").ok()).unwrap();
    let (mut seen, mut expected) = (BTreeSet::new(), BTreeSet::new());
    for kind in KINDS {
        walk(&document["definitions"], kind, &mut seen, &mut expected);
    }
    let path = repository().join("hello-lab/src/api/strategic/lists.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    let ours: BTreeSet<String> = lines.collect();
    let (more, less): (Vec<_>, Vec<_>) =
        (ours.difference(&expected).collect(), expected.difference(&ours).collect());
    assert!(more.is_empty() && less.is_empty(), "more: {more:?}; less: {less:?}");
    assert!(ours.len() > 250, "{}", ours.len());
}
