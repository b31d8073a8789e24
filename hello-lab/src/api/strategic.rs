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
mod tests;
