//! `OpenAPI` documents: what each kind's fields are, which `kubectl explain` shows and completion reads, and that
//! patches take `fieldValidation`, which `kubectl apply` asks first.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::objects::Kind;

/// An `OpenAPI` v2 document about nothing, as kubectl reads it: protobuf, with the field
/// `swagger` alone. Without one kubectl speaks of `OpenAPI` when somebody misspells a kind.
pub const V2: &[u8] = b"\x0a\x032.0";

/// The type of [`V2`].
pub const V2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The list of documents: one for the core group, and one for each of `groups`.
pub(super) fn index(groups: &[&str]) -> Value {
    let mut paths = BTreeMap::new();
    paths.insert("api/v1".to_owned(), json!({"serverRelativeURL": "/openapi/v3/api/v1"}));
    for group in groups {
        let path = format!("apis/{group}/v1");
        let url = format!("/openapi/v3/{path}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

/// That of one group. The schemas are Kubernetes' own, as k8s-openapi has them.
///
/// It does not say that patches may be strategic merge patches: with that kubectl would make them from these
/// schemas, which lack the keys of lists, and not from what it knows itself.
pub(super) fn document(group: &str) -> Value {
    let mut paths = Map::new();
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut names = BTreeMap::new();
    let prefix = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
    for kind in Kind::ALL.into_iter().filter(|kind| kind.resource().group == group) {
        let resource = kind.resource();
        let name = json!({"group": resource.group, "version": "v1", "kind": resource.kind});
        let operation = json!({
            "parameters": [{"name": "fieldValidation", "in": "query"}],
            "x-kubernetes-group-version-kind": name,
        });
        paths.insert(format!("{prefix}/{}", resource.plural), json!({ "patch": operation }));
        names.insert(kind.add_schema(&mut generator), name);
    }
    let mut schemas = generator.take_definitions(true);
    for (schema, name) in names {
        if let Some(schema) = schemas.get_mut(&schema) {
            schema["x-kubernetes-group-version-kind"] = json!([name]);
            // So k8s-openapi, whose types always have metadata; the API takes an object without.
            if let Some(required) = schema["required"].as_array_mut() {
                required.retain(|field| field != "metadata");
            }
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_has_its_schema_and_every_kind_its_name() {
        fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        for group in ["", "apps", "batch", "networking.k8s.io"] {
            let document = document(group);
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let path = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(path).is_some(), "{group:?}: {reference}");
            }
        }
        let schemas = &document("networking.k8s.io")["components"]["schemas"];
        let policy = &schemas["io.k8s.api.networking.v1.NetworkPolicy"];
        assert_eq!(policy["x-kubernetes-group-version-kind"][0]["kind"], "NetworkPolicy");
        assert_eq!(policy["required"], json!([]));
        assert_eq!(policy["properties"]["spec"]["type"], Value::Null);
    }
}
