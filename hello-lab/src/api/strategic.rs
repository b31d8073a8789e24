//! Strategic merge patch, which `kubectl apply`, `edit`, `set` and `rollout restart` send
//! (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>).
//!
//! It is a merge patch (RFC 7396) but for some lists, whose elements are merged by a key, and
//! for its directives. Which lists these are is a matter of their type and field ([`schema`]).
//! The order of merged lists is that of `normalizeElementOrder` of
//! k8s.io/apimachinery/pkg/util/strategicpatch.

mod schema;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use self::schema::{Field, List, Type};
use crate::objects::Kind;

/// Why a patch cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// An element of a list that is merged by this key has none.
    #[error("map: {element} does not contain declared merge key: {key}")]
    NoKey {
        /// The element.
        element: String,
        /// The key.
        key: &'static str,
    },
    /// A directive that there is not.
    #[error("unknown patch type found: {0}")]
    UnknownDirective(Value),
}

/// Applies `patch` to `target`, an object of `kind`.
pub fn apply(kind: Kind, target: &mut Value, patch: &Map<String, Value>) -> Result<(), MergeError> {
    merge_fields(schema::of(kind), target, patch)
}

fn merge(of: Type, target: &mut Value, patch: &Value) -> Result<(), MergeError> {
    if let Value::Object(patch) = patch {
        return merge_fields(of, target, patch);
    }
    *target = patch.clone();
    Ok(())
}

fn merge_fields(
    of: Type,
    target: &mut Value,
    patch: &Map<String, Value>,
) -> Result<(), MergeError> {
    match patch.get("$patch").map(|directive| (directive, directive.as_str())) {
        None | Some((_, Some("merge"))) => {}
        Some((_, Some("replace"))) => {
            let rest = patch.iter().filter(|(name, _)| !name.starts_with('$'));
            let rest = rest.map(|(name, value)| (name.clone(), value.clone()));
            *target = Value::Object(rest.collect());
            return Ok(());
        }
        Some((_, Some("delete"))) => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some((other, _)) => return Err(MergeError::UnknownDirective(other.clone())),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return Ok(()) };
    // Merged lists are put in order by where their elements were.
    let mut before: HashMap<&str, Value> = HashMap::new();
    for name in patch.keys() {
        let field = name.split_once('/').map_or(&**name, |(_, field)| field);
        if let Some(list @ Value::Array(_)) = target.get(field) {
            before.entry(field).or_insert_with(|| list.clone());
        }
    }
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
            match (of.field(name), value) {
                (Field::List(List::ByKey(key, element)), Value::Array(elements)) => {
                    merge_list(element, entry, elements, key)?;
                }
                (Field::List(List::Set), Value::Array(elements)) => merge_set(entry, elements),
                (Field::Object(of), _) => merge(of, entry, value)?,
                _ => merge(Type::UNKNOWN, entry, value)?,
            }
        }
    }
    let nothing = Value::Array(Vec::new());
    for (name, order) in patch {
        if let Some(field) = name.strip_prefix("$setElementOrder/")
            && let Field::List(list) = of.field(field)
            && let (Some(Value::Array(elements)), Value::Array(order)) =
                (target.get_mut(field), order)
        {
            let key = list.key();
            let before = before.get(field).unwrap_or(&nothing);
            *elements = in_order(std::mem::take(elements), order, before, key);
        }
    }
    Ok(())
}

/// What tells an element from others, as text.
fn identity(element: &Value, key: Option<&str>) -> String {
    match (key, element) {
        (Some(key), Value::Object(fields)) => {
            fields.get(key).map_or_else(String::new, Value::to_string)
        }
        _ => element.to_string(),
    }
}

fn merge_list(
    of: Type,
    target: &mut Value,
    patch: &[Value],
    key: &'static str,
) -> Result<(), MergeError> {
    let directive = |element: &Value| element.get("$patch").cloned();
    if patch.iter().any(|element| directive(element).is_some_and(|one| one == "replace")) {
        let rest = patch.iter().filter(|element| element.get("$patch").is_none());
        *target = Value::Array(rest.cloned().collect());
        return Ok(());
    }
    let before = match target.take() {
        Value::Array(elements) => elements,
        _ => Vec::new(),
    };
    let mut elements: Vec<Option<Value>> = before.iter().cloned().map(Some).collect();
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, element) in before.iter().enumerate() {
        places.entry(identity(element, Some(key))).or_default().push(place);
    }
    let mut order = Vec::new();
    for element in patch {
        if element.get(key).is_none_or(Value::is_null) {
            return Err(MergeError::NoKey { element: element.to_string(), key });
        }
        let same = identity(element, Some(key));
        match directive(element) {
            Some(delete) if delete == "delete" => {
                for place in places.remove(&same).unwrap_or_default() {
                    elements[place] = None;
                }
                continue;
            }
            None => {}
            Some(merge) if merge == "merge" => {}
            Some(other) => return Err(MergeError::UnknownDirective(other)),
        }
        let found = places.get(&same).and_then(|places| places.first()).copied();
        let place = found.unwrap_or_else(|| {
            elements.push(None);
            let place = elements.len() - 1;
            places.insert(same, vec![place]);
            place
        });
        let slot = elements[place].get_or_insert(Value::Null);
        merge(of, slot, element)?;
        order.push(element.clone());
    }
    let merged = elements.into_iter().flatten().collect();
    *target = Value::Array(in_order(merged, &order, &Value::Array(before), Some(key)));
    Ok(())
}

/// A list of primitives, each of which is in it once.
fn merge_set(target: &mut Value, patch: &[Value]) {
    let before = target.take();
    let mut merged = before.as_array().cloned().unwrap_or_default();
    merged.extend(patch.iter().cloned());
    let mut seen = HashSet::new();
    merged.retain(|element| seen.insert(element.to_string()));
    *target = Value::Array(in_order(merged, patch, &before, None));
}

/// Puts elements in order: those that `order` names as it names them, and between them the others, before
/// the first that they stood before (`normalizeElementOrder`, `mergeSortedSlice`).
fn in_order(
    elements: Vec<Value>,
    order: &[Value],
    before: &Value,
    key: Option<&str>,
) -> Vec<Value> {
    let places = |list: &[Value]| -> HashMap<String, usize> {
        let mut places = HashMap::new();
        for (place, element) in list.iter().enumerate() {
            places.entry(identity(element, key)).or_insert(place);
        }
        places
    };
    let wanted = places(order);
    let stood = places(before.as_array().map_or(&[], Vec::as_slice));
    let with_place = |places: &HashMap<String, usize>, element: &Value| {
        places.get(&identity(element, key)).copied()
    };
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        elements.into_iter().partition(|element| with_place(&wanted, element).is_some());
    named.sort_by_key(|element| with_place(&wanted, element));
    others.sort_by_key(|element| with_place(&stood, element).unwrap_or(usize::MAX));
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    let mut all = Vec::new();
    while let (Some(other), Some(next)) = (others.peek(), named.peek()) {
        let is_before = match (with_place(&stood, other), with_place(&stood, next)) {
            (Some(other), Some(next)) => other < next,
            _ => false,
        };
        all.extend(if is_before { others.next() } else { named.next() });
    }
    all.extend(named);
    all.extend(others);
    all
}

fn delete_primitives(target: &mut Map<String, Value>, field: &str, gone: &Value) {
    let gone = gone.as_array().into_iter().flatten();
    let gone: HashSet<String> = gone.map(Value::to_string).collect();
    if let Some(Value::Array(list)) = target.get_mut(field) {
        list.retain(|element| !gone.contains(&element.to_string()));
    }
}

fn retain_keys(target: &mut Map<String, Value>, keys: &Value) {
    let keys = keys.as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: HashSet<&str> = keys.collect();
    target.retain(|name, _| keys.contains(name.as_str()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched_as(kind: Kind, mut target: Value, patch: &Value) -> Value {
        apply(kind, &mut target, patch.as_object().unwrap()).unwrap();
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
        let target = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "command": ["x"], "ports": [{"containerPort": 80}]},
            {"name": "b", "image": "b:1"},
        ]}});
        let patch = json!({"spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [
                {"name": "a", "image": "a:2"}, {"name": "c", "image": "c:1", "x": null},
                {"name": "b", "$patch": "delete"},
            ],
        }});
        assert_eq!(
            patched(target, &patch),
            json!({"spec": {"containers": [
                {"name": "c", "image": "c:1"},
                {"name": "a", "image": "a:2", "command": ["x"], "ports": [{"containerPort": 80}]},
            ]}})
        );
    }

    #[test]
    fn a_policys_ports_and_peers_are_replaced() {
        let rules = json!([{"ports": [{"port": 80}, {"port": 81}], "from": [{}]}]);
        let patch = json!({"spec": {"ingress": [{"ports": [{"port": 82}]}]}});
        assert_eq!(
            patched_as(Kind::NetworkPolicy, json!({"spec": {"ingress": rules}}), &patch),
            patch
        );
    }

    #[test]
    fn a_services_ports_are_merged_by_port() {
        let target = json!({"spec": {"ports": [{"port": 80, "targetPort": 1, "name": "a"}]}});
        let patch = json!({"spec": {"ports": [{"port": 80, "targetPort": 2}]}});
        assert_eq!(
            patched_as(Kind::Service, target, &patch),
            json!({"spec": {"ports": [{"port": 80, "targetPort": 2, "name": "a"}]}})
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

    /// Every way from the objects of a kind to a list: the fields that lead there, and what it is. The
    /// elements of lists on the way have the key `k` of theirs.
    fn ways(of: Type, way: &[(&'static str, Option<&'static str>)], all: &mut Vec<Way>) {
        for ((owner, name), field) in schema::fields() {
            if owner != of.name() {
                continue;
            }
            let on = |key| [way, &[(name, key)]].concat();
            match field {
                Field::Object(of) => ways(of, &on(None), all),
                Field::List(list) => {
                    all.push((way.to_vec(), name, list));
                    if let List::ByKey(key, of) = list {
                        ways(of, &on(Some(key)), all);
                    }
                }
                Field::Other => {}
            }
        }
    }

    type Way = (Vec<(&'static str, Option<&'static str>)>, &'static str, List);

    /// An object in which `inner` stands at the end of a way.
    fn at(way: &[(&str, Option<&str>)], inner: Value) -> Value {
        way.iter().rev().fold(inner, |mut inner, (name, key)| match key {
            None => json!({ *name: inner }),
            Some(key) => {
                inner[*key] = "same".into();
                json!({ *name: [inner] })
            }
        })
    }

    #[test]
    fn every_list_of_every_kind_is_merged_as_its_type_says() {
        let (mut kept, mut merged) = (0, 0);
        for kind in Kind::ALL {
            let mut all = Vec::new();
            ways(schema::of(kind), &[], &mut all);
            assert!(all.iter().any(|(_, name, _)| *name == "finalizers"), "{kind:?}");
            for (way, name, list) in all {
                let (old, new, expected) = match list {
                    List::Atomic => (json!([{"a": 1}]), json!([{"b": 2}]), json!([{"b": 2}])),
                    List::Set => (json!(["x", "y"]), json!(["y", "z"]), json!(["x", "y", "z"])),
                    List::ByKey(key, _) => (
                        json!([{key: "p", "old": 1}, {key: "q", "old": 1}]),
                        json!([{key: "q", "new": 2}, {key: "r", "new": 2}]),
                        json!([
                            {key: "p", "old": 1}, {key: "q", "old": 1, "new": 2}, {key: "r", "new": 2},
                        ]),
                    ),
                };
                if list == List::Atomic {
                    kept += 1;
                } else {
                    merged += 1;
                }
                let target = at(&way, json!({name: old, "beside": 1}));
                let patch = at(&way, json!({ name: new }));
                let expected = at(&way, json!({name: expected, "beside": 1}));
                assert_eq!(patched_as(kind, target, &patch), expected, "{kind:?} {way:?} {name}");
            }
        }
        assert!(kept > 200 && merged > 100, "{kept} {merged}");
    }

    #[test]
    fn others_stay_where_they_stood_between_those_that_are_named() {
        let env =
            |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
        let pod = |list: Value| json!({"spec": {"containers": [{"name": "c", "env": list}]}});
        for (before, patch, after) in [
            (&["x"][..], &["w"][..], &["w", "x"][..]),
            (&["a", "b", "c"], &["b"], &["a", "b", "c"]),
            (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
            (&["a", "b"], &["new", "b"], &["new", "a", "b"]),
        ] {
            assert_eq!(
                patched(pod(env(before)), &pod(env(patch))),
                pod(env(after)),
                "{before:?} {patch:?}"
            );
        }
    }

    #[test]
    fn an_element_without_its_key_is_refused() {
        let patch = json!({"spec": {"containers": [{"image": "a"}]}});
        let refused = apply(Kind::Pod, &mut json!({}), patch.as_object().unwrap());
        assert!(
            refused.unwrap_err().to_string().contains("does not contain declared merge key: name")
        );
    }

    #[test]
    fn long_lists_are_merged_in_no_time() {
        let list: Vec<_> = (0..50_000).map(|n| json!({"name": n.to_string()})).collect();
        let names: Vec<_> = (0..50_000).map(|n| format!("a.b/{n}")).collect();
        let pod = json!({"metadata": {"finalizers": names}, "spec": {"containers": list}});
        let patch = json!({
            "metadata": {"finalizers": names, "$deleteFromPrimitiveList/finalizers": names},
            "spec": {"containers": list, "$setElementOrder/containers": list},
        });
        let start = std::time::Instant::now();
        let merged = patched(pod.clone(), &patch);
        assert_eq!(merged["spec"], pod["spec"]);
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    }
}
