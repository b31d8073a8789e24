//! Strategic merge patch, which `kubectl apply`, `edit`, `set` and `rollout restart` send
//! (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>).
//!
//! It is a merge patch (RFC 7396) but for some lists, whose elements are merged by a key, and
//! for its directives.

use serde_json::{Map, Value};

use crate::objects::Kind;

/// Lists that are merged, by the name of their field, with the key that tells their elements
/// apart. (From the `patchMergeKey` tags of the API's types.)
const MERGED_LISTS: [(&str, &str); 13] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("secrets", "name"),
    ("volumeMounts", "mountPath"),
    ("conditions", "type"),
    ("ownerReferences", "uid"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("podIPs", "ip"),
];

/// Applies `patch` to `target`, an object of `kind` or a part of one.
pub fn apply(kind: Kind, target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if patch.get("$patch").is_some_and(|directive| directive == "replace") {
        let rest = patch.iter().filter(|(name, _)| !name.starts_with('$'));
        *target = Value::Object(rest.map(|(name, value)| (name.clone(), value.clone())).collect());
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            delete_primitives(target, field, value);
        } else if name == "$retainKeys" {
            retain_keys(target, value);
        } else if name.starts_with('$') {
            // Orders are restored after their list has been merged.
        } else if value.is_null() {
            target.remove(name);
        } else {
            let entry = target.entry(name).or_insert(Value::Null);
            match (merge_key(kind, name), value) {
                (Some(key), Value::Array(elements)) => merge_list(kind, entry, elements, key),
                _ => apply(kind, entry, value),
            }
        }
    }
    for (name, order) in patch {
        if let Some(field) = name.strip_prefix("$setElementOrder/") {
            reorder(target, field, order);
        }
    }
}

/// The key that tells the elements of the list in this field apart. `ports` are a Service's,
/// a container's, or a policy's, which are not merged.
fn merge_key(kind: Kind, field: &str) -> Option<&'static str> {
    match (kind, field) {
        (Kind::NetworkPolicy, "ports") => None,
        (Kind::Service, "ports") => Some("port"),
        (_, "ports") => Some("containerPort"),
        _ => MERGED_LISTS.iter().find(|(name, _)| *name == field).map(|(_, key)| *key),
    }
}

fn merge_list(kind: Kind, target: &mut Value, patch: &[Value], key: &str) {
    if patch.iter().any(|element| element.get("$patch").is_some_and(|one| one == "replace")) {
        let rest = patch.iter().filter(|element| element.get("$patch").is_none());
        *target = Value::Array(rest.cloned().collect());
        return;
    }
    let mut elements = match target.take() {
        Value::Array(elements) => elements,
        _ => Vec::new(),
    };
    for element in patch {
        let same = |one: &Value| one.get(key) == element.get(key);
        if element.get("$patch").is_some_and(|directive| directive == "delete") {
            elements.retain(|one| !same(one));
        } else if let Some(found) = elements.iter_mut().find(|one| same(one)) {
            apply(kind, found, element);
        } else {
            let mut new = Value::Null;
            apply(kind, &mut new, element);
            elements.push(new);
        }
    }
    *target = Value::Array(elements);
}

fn delete_primitives(target: &mut Map<String, Value>, field: &str, gone: &Value) {
    let gone = gone.as_array().cloned().unwrap_or_default();
    if let Some(Value::Array(list)) = target.get_mut(field) {
        list.retain(|element| !gone.contains(element));
    }
}

fn retain_keys(target: &mut Map<String, Value>, keys: &Value) {
    let keys: Vec<&str> = keys.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    target.retain(|name, _| keys.contains(&name.as_str()));
}

/// Puts the elements that `order` names into that order; others keep their place after them.
fn reorder(target: &mut Map<String, Value>, field: &str, order: &Value) {
    let order = order.as_array().cloned().unwrap_or_default();
    let Some(Value::Array(list)) = target.get_mut(field) else { return };
    let rank = |element: &Value| {
        order
            .iter()
            .position(|wanted| match wanted {
                Value::Object(keys) => {
                    keys.iter().all(|(name, value)| element.get(name) == Some(value))
                }
                primitive => primitive == element,
            })
            .unwrap_or(usize::MAX)
    };
    list.sort_by_key(rank);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched_as(kind: Kind, mut target: Value, patch: &Value) -> Value {
        apply(kind, &mut target, patch);
        target
    }

    fn patched(target: Value, patch: &Value) -> Value {
        patched_as(Kind::Pod, target, patch)
    }

    #[test]
    fn fields_are_merged_and_null_removes() {
        let target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        let patch = json!({"a": {"b": null, "e": {"f": 3}}, "d": [2]});
        assert_eq!(patched(target, &patch), json!({"a": {"c": 2, "e": {"f": 3}}, "d": [2]}));
    }

    #[test]
    fn containers_are_merged_by_name_and_keep_what_the_patch_does_not_name() {
        let target = json!({"containers": [
            {"name": "a", "image": "a:1", "command": ["x"], "ports": [{"containerPort": 80}]},
            {"name": "b", "image": "b:1"},
        ]});
        let patch = json!({
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [
                {"name": "a", "image": "a:2"}, {"name": "c", "image": "c:1", "x": null},
                {"name": "b", "$patch": "delete"},
            ],
        });
        assert_eq!(
            patched(target, &patch),
            json!({"containers": [
                {"name": "c", "image": "c:1"},
                {"name": "a", "image": "a:2", "command": ["x"], "ports": [{"containerPort": 80}]},
            ]})
        );
    }

    #[test]
    fn a_policys_ports_and_peers_are_replaced() {
        let target = json!({"ingress": [{"ports": [{"port": 80}, {"port": 81}], "from": [{}]}]});
        let patch = json!({"ingress": [{"ports": [{"port": 82}]}]});
        assert_eq!(
            patched_as(Kind::NetworkPolicy, target, &patch),
            json!({"ingress": [{"ports": [{"port": 82}]}]})
        );
    }

    #[test]
    fn a_services_ports_are_merged_by_port() {
        let target = json!({"ports": [{"port": 80, "targetPort": 1, "name": "a"}]});
        let patch = json!({"ports": [{"port": 80, "targetPort": 2}]});
        assert_eq!(
            patched_as(Kind::Service, target, &patch),
            json!({"ports": [{"port": 80, "targetPort": 2, "name": "a"}]})
        );
    }

    #[test]
    fn directives_replace_retain_and_delete() {
        let target =
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
        let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
        assert_eq!(patched(target, &patch), json!({"strategy": {"type": "Recreate"}}));
        let patch = json!({"a": {"$patch": "replace", "b": 1}});
        assert_eq!(patched(json!({"a": {"c": 2}}), &patch), json!({"a": {"b": 1}}));
        let patch = json!({"$deleteFromPrimitiveList/finalizers": ["x"]});
        assert_eq!(
            patched(json!({"finalizers": ["x", "y"]}), &patch),
            json!({"finalizers": ["y"]})
        );
    }
}
