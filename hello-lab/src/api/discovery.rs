//! What the API has, as kubectl asks for it: legacy discovery, and the least of `OpenAPI` v3
//! with which `kubectl apply` sends its patches.

use std::collections::BTreeMap;

use serde_json::{Value, json};

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
        "/api/v1" => Some(resources("")),
        "/openapi/v3" => Some(openapi_index()),
        path => {
            if let Some(rest) = path.strip_prefix("/apis/") {
                let group = rest.strip_suffix("/v1").unwrap_or(rest);
                let document = if group == rest { one_group } else { resources };
                return names().contains(&group).then(|| document(group));
            }
            let group_version = path.strip_prefix("/openapi/v3/")?;
            let group = match group_version {
                "api/v1" => "",
                other => other.strip_prefix("apis/")?.strip_suffix("/v1")?,
            };
            Some(openapi(group))
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

/// The groups but the core one.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.resource().group).collect();
    names.retain(|group| !group.is_empty());
    names.dedup();
    names
}

fn groups() -> Value {
    json!({
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": names().iter().map(|name| group(name)).collect::<Vec<_>>(),
    })
}

fn one_group(name: &str) -> Value {
    let mut group = group(name);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn kinds(group: &str) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(move |kind| kind.resource().group == group)
}

fn resources(group: &str) -> Value {
    let mut list = Vec::new();
    for kind in kinds(group) {
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
                "scale" => ("Scale", json!(["get", "patch", "update"])),
                "attach" => ("PodAttachOptions", json!(["create", "get"])),
                "exec" => ("PodExecOptions", json!(["create", "get"])),
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
    let group_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": list,
    })
}

fn openapi_index() -> Value {
    let mut paths = BTreeMap::new();
    paths.insert("api/v1".to_owned(), json!({"serverRelativeURL": "/openapi/v3/api/v1"}));
    for group in names() {
        let path = format!("apis/{group}/v1");
        let url = format!("/openapi/v3/{path}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

/// An `OpenAPI` v2 document about nothing, as kubectl reads it: protobuf, with the field
/// `swagger` alone. Without one kubectl speaks of `OpenAPI` when somebody misspells a kind.
pub const OPENAPI_V2: &[u8] = b"\x0a\x032.0";

/// The type of [`OPENAPI_V2`].
pub const OPENAPI_V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What `kubectl explain` shows of every kind, and of its fields.
const NOT_EXPLAINED: &str = "hello-lab has no descriptions of fields: kubectl explain needs a real cluster \
    (kind, GKE), and says of most here that they do not exist, which is not so. The same is at \
    https://kubernetes.io/docs/reference/kubernetes-api/";

/// The fields that kinds begin with: of others kubectl itself says that there are none.
const FIRST_FIELDS: [&str; 6] = ["apiVersion", "data", "kind", "metadata", "spec", "status"];

/// kubectl asks whether a kind's patches take `fieldValidation`, and explains a kind by its description;
/// nothing else is said.
fn openapi(group: &str) -> Value {
    let mut paths = serde_json::Map::new();
    let mut schemas = serde_json::Map::new();
    let prefix = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
    for kind in kinds(group) {
        let resource = kind.resource();
        let names = json!({"group": resource.group, "version": "v1", "kind": resource.kind});
        let operation = json!({
            "parameters": [{"name": "fieldValidation", "in": "query"}],
            "x-kubernetes-group-version-kind": names,
        });
        paths.insert(format!("{prefix}/{}", resource.plural), json!({ "patch": operation }));
        let schema = json!({
            "type": "object",
            "description": NOT_EXPLAINED,
            "properties": FIRST_FIELDS
                .map(|name| (name, json!({"type": "object", "description": NOT_EXPLAINED})))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            "x-kubernetes-group-version-kind": [names],
        });
        schemas.insert(resource.kind.to_owned(), schema);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "hello-lab", "version": "v1"},
        "paths": paths,
        "components": {"schemas": schemas},
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
        for path in ["/apis/example.com", "/apis/example.com/v1", "/api/v2", "/"] {
            assert!(document(path, "v1.34.0").is_none(), "{path}");
        }
    }
}
