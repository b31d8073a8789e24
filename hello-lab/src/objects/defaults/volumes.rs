//! The defaults of a pod's volumes (`SetDefaults_Volume` and its neighbours of pkg/apis/core/v1).

use serde_json::{Value, json};

use super::set;

/// What the mode of a file is, where nobody says otherwise.
const MODE: u32 = 0o644;

/// Fills in the defaults of a pod spec's volumes.
pub(super) fn apply(spec: &mut Value) {
    let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) else { return };
    for volume in volumes.iter_mut().filter_map(Value::as_object_mut) {
        if volume.iter().all(|(field, value)| field == "name" || value.is_null()) {
            volume.insert("emptyDir".to_owned(), json!({}));
        }
        for kind in ["configMap", "secret", "downwardAPI", "projected"] {
            let Some(source) = volume.get_mut(kind).filter(|source| source.is_object()) else {
                continue;
            };
            set(source, "defaultMode", || MODE.into());
            fields(source);
            for source in list(source, "sources") {
                if let Some(downward) = source.get_mut("downwardAPI") {
                    fields(downward);
                }
            }
        }
    }
}

fn fields(source: &mut Value) {
    for item in list(source, "items") {
        if let Some(field) = item.get_mut("fieldRef").filter(|field| field.is_object()) {
            set(field, "apiVersion", || "v1".into());
        }
    }
}

fn list<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_without_a_source_is_empty_and_modes_and_versions_are_filled_in() {
        let field = json!({"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}});
        let mut spec = json!({"volumes": [
            {"name": "e"},
            {"name": "m", "configMap": {"name": "m"}, "emptyDir": null},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}},
            {"name": "p", "projected": {"sources": [{"downwardAPI": {"items": [field]}}]}},
        ]});
        apply(&mut spec);
        let volumes = &spec["volumes"];
        assert_eq!(volumes[0]["emptyDir"], json!({}));
        assert_eq!(volumes[1]["configMap"]["defaultMode"], 420);
        assert_eq!(volumes[2]["secret"]["defaultMode"], 256);
        let projected = &volumes[3]["projected"];
        assert_eq!(projected["defaultMode"], 420);
        let item = &projected["sources"][0]["downwardAPI"]["items"][0];
        assert_eq!(item["fieldRef"]["apiVersion"], "v1");
        let mut without = json!({"containers": []});
        apply(&mut without);
        assert_eq!(without, json!({"containers": []}));
    }
}
