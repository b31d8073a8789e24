//! What the API has, as kubectl asks for it: legacy discovery.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::absent::{self, ABSENT};
use super::openapi;
use super::path::api_version;
use super::reviews::REVIEWS;
use crate::objects::Kind;

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The document at `path`, if it is one of discovery.
#[must_use]
pub fn document(path: &str, git_version: &str) -> Option<Value> {
    match path.trim_end_matches('/') {
        "/version" => Some(version(git_version)),
        "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => Some(groups()),
        "/api/v1" => Some(resources("", "v1")),
        "/openapi/v3" => Some(openapi::index(&names())),
        path => {
            if let Some(rest) = path.strip_prefix("/apis/") {
                let known = group_versions();
                return match rest.split_once('/') {
                    None => known.contains_key(rest).then(|| one_group(rest, &known)),
                    Some((group, version)) => {
                        known.get(group)?.contains(version).then(|| resources(group, version))
                    }
                };
            }
            let group_version = path.strip_prefix("/openapi/v3/")?;
            let group = match group_version {
                "api/v1" => "",
                other => other.strip_prefix("apis/")?.strip_suffix("/v1")?,
            };
            (group.is_empty() || names().contains(&group)).then(|| openapi::document(group))
        }
    }
}

fn version(git_version: &str) -> Value {
    let mut parts = git_version.trim_start_matches('v').split('.');
    json!({
        "major": parts.next().unwrap_or_default(),
        "minor": parts.next().unwrap_or_default(),
        "gitVersion": git_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none: hello-lab",
        "compiler": "rustc",
        "platform": format!("linux/{}", std::env::consts::ARCH),
    })
}

/// The groups that have kinds, but the core one.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.resource().group).collect();
    names.retain(|group| !group.is_empty());
    names.dedup();
    names
}

/// Every group but the core one, with its versions.
fn group_versions() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let of_kinds = names().into_iter().map(|group| (group, "v1"));
    let of_reviews = REVIEWS.iter().map(|review| (review.0, "v1"));
    let of_absent = ABSENT.iter().map(|absent| (absent.group, absent.version));
    for (group, version) in of_kinds.chain(of_reviews).chain(of_absent) {
        if !group.is_empty() {
            versions.entry(group).or_default().insert(version);
        }
    }
    versions
}

fn groups() -> Value {
    let known = group_versions();
    json!({
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": known.iter().map(|(name, versions)| group(name, versions)).collect::<Vec<_>>(),
    })
}

fn one_group(name: &str, known: &BTreeMap<&str, BTreeSet<&str>>) -> Value {
    let mut group = group(name, &known[name]);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

/// The newest version comes first.
fn group(name: &str, versions: &BTreeSet<&str>) -> Value {
    let versions = versions
        .iter()
        .rev()
        .map(|version| json!({"groupVersion": api_version(name, version), "version": version}));
    let versions: Vec<Value> = versions.collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn kinds(group: &str) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(move |kind| kind.resource().group == group)
}

fn resources(group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for kind in kinds(group).filter(|_| version == "v1") {
        let resource = kind.resource();
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": VERBS,
            "shortNames": resource.short_names,
        });
        if resource.in_all {
            entry["categories"] = json!(["all"]);
        }
        list.push(entry);
        for sub in resource.subresources {
            let (kind, verbs) = match *sub {
                "eviction" => ("Eviction", json!(["create"])),
                "ephemeralcontainers" | "status" => {
                    (resource.kind, json!(["get", "patch", "update"]))
                }
                "finalize" => (resource.kind, json!(["update"])),
                "scale" => ("Scale", json!(["get", "patch", "update"])),
                "attach" => ("PodAttachOptions", json!(["create", "get"])),
                "exec" => ("PodExecOptions", json!(["create", "get"])),
                "proxy" => (
                    if kind == Kind::Pod { "PodProxyOptions" } else { "ServiceProxyOptions" },
                    json!(["create", "delete", "get", "patch", "update"]),
                ),
                "portforward" => ("PodPortForwardOptions", json!(["create", "get"])),
                _ => (resource.kind, json!(["get"])),
            };
            let mut entry = json!({
                "name": format!("{}/{sub}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": verbs,
            });
            // Of a group of their own; by the second kubectl drain knows that it can evict.
            if let Some(group) = match *sub {
                "scale" => Some("autoscaling"),
                "eviction" => Some("policy"),
                _ => None,
            } {
                entry["group"] = group.into();
                entry["version"] = "v1".into();
            }
            list.push(entry);
        }
    }
    for (_, plural, kind) in REVIEWS.iter().filter(|review| (review.0, "v1") == (group, version)) {
        list.push(json!({
            "name": plural,
            "singularName": kind.to_lowercase(),
            "namespaced": false,
            "kind": kind,
            "verbs": ["create"],
        }));
    }
    for absent in absent::kinds(group, version) {
        let short_names = Some(absent.short_name).filter(|name| !name.is_empty());
        list.push(json!({
            "name": absent.plural,
            "singularName": absent.kind.to_lowercase(),
            "namespaced": absent.namespaced,
            "kind": absent.kind,
            "verbs": [],
            "shortNames": Vec::from_iter(short_names),
        }));
    }
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version(group, version),
        "resources": list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_discovered_in_its_group() {
        for kind in Kind::ALL {
            let resource = kind.resource();
            let path = match resource.group {
                "" => "/api/v1".to_owned(),
                group => format!("/apis/{group}/v1"),
            };
            let list = document(&path, "v1.34.0").unwrap();
            let names = list["resources"].as_array().unwrap();
            assert!(names.iter().any(|one| one["name"] == resource.plural), "{kind:?}");
        }
    }

    #[test]
    fn a_group_can_be_asked_for_by_itself() {
        let group = document("/apis/networking.k8s.io", "v1.34.0").unwrap();
        assert_eq!(group["kind"], "APIGroup");
        assert_eq!(group["versions"][0]["groupVersion"], "networking.k8s.io/v1");
    }

    #[test]
    fn there_is_nothing_else() {
        for path in [
            "/apis/example.com",
            "/apis/example.com/v1",
            "/apis/autoscaling/v3",
            "/apis/networking.k8s.io/v1/x",
            "/openapi/v3/apis/example.com/v1",
            "/api/v2",
            "/",
        ] {
            assert!(document(path, "v1.34.0").is_none(), "{path}");
        }
    }
}
