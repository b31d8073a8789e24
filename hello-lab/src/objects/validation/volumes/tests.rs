use serde_json::json;

use super::*;

fn says(volumes: &Value, mounts: &Value) -> Vec<String> {
    let containers = json!([{"name": "c", "image": "i", "volumeMounts": mounts}]);
    let spec = json!({"volumes": volumes, "containers": containers});
    check("spec", &spec).iter().map(ToString::to_string).collect()
}

#[test]
fn volumes_are_checked_as_the_api_server_does() {
    let items = |item: &Value| json!([{"name": "v", "configMap": {"name": "m", "items": [item]}}]);
    let field = |path: &str| {
        let item = json!({"path": "x", "fieldRef": {"fieldPath": path}});
        json!([{"name": "v", "downwardAPI": {"items": [item]}}])
    };
    let twice = json!({"name": "m", "items": [{"key": "a", "path": "x"}]});
    for (volumes, expected) in [
        (json!([{"name": "v"}]), "spec.volumes[0]: Required value: must specify a volume type"),
        (
            json!([{"name": "v", "configMap": {"name": "m"}, "emptyDir": {}}]),
            "spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type",
        ),
        (json!([{"emptyDir": {}}]), "spec.volumes[0].name: Required value"),
        (
            json!([{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]),
            "spec.volumes[1].name: Duplicate value: \"v\"",
        ),
        (
            json!([{"name": "v", "emptyDir": {"sizeLimit": "-1"}}]),
            "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (json!([{"name": "v", "configMap": {}}]), "spec.volumes[0].configMap.name: Required value"),
        (json!([{"name": "v", "secret": {}}]), "spec.volumes[0].secret.secretName: Required value"),
        (
            json!([{"name": "v", "secret": {"secretName": "s", "defaultMode": 512}}]),
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 \
             (octal), both inclusive",
        ),
        (
            items(&json!({"key": "a", "path": "/a"})),
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"/a\": must be a relative path",
        ),
        (
            items(&json!({"key": "a", "path": "a/../../b"})),
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"a/../../b\": must not contain '..'",
        ),
        (
            items(&json!({"key": "a", "path": "..data"})),
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"..data\": must not start with '..'",
        ),
        (items(&json!({"path": "a"})), "spec.volumes[0].configMap.items[0].key: Required value"),
        (
            field("status.podIP"),
            "spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: \"status.podIP\": \
             supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \
             \"metadata.namespace\", \"metadata.uid\"",
        ),
        (
            json!([{"name": "v", "projected": {"sources": [{"configMap": twice, "secret": {"name": "s"}}]}}]),
            "spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!([{"name": "v", "projected": {"sources": [{"configMap": twice}, {"configMap": twice}]}}]),
            "spec.volumes[0].projected: Invalid value: \"m\": conflicting duplicate paths",
        ),
    ] {
        assert_eq!(says(&volumes, &Value::Null), [expected], "{volumes}");
    }
    let good = says(&field("metadata.labels['app']"), &Value::Null);
    assert!(good.is_empty(), "{good:?}");
    assert!(says(&Value::Null, &Value::Null).is_empty());
}

#[test]
fn mounts_are_checked_as_the_api_server_does() {
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let mount = |change: Value| {
        let mut mount = json!({"name": "v", "mountPath": "/v"});
        json_patch::merge(&mut mount, &change);
        mount
    };
    assert!(says(&volumes, &json!([mount(json!({"subPath": "a/b"}))])).is_empty());
    for (change, expected) in [
        (json!({"name": "w"}), "spec.containers[0].volumeMounts[0].name: Not found: \"w\""),
        (
            json!({"mountPath": null}),
            "spec.containers[0].volumeMounts[0].mountPath: Required value",
        ),
        (
            json!({"subPath": "../x"}),
            "spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'",
        ),
        (
            json!({"subPath": "/x"}),
            "spec.containers[0].volumeMounts.subPath: Invalid value: \"/x\": must be a relative path",
        ),
    ] {
        assert_eq!(says(&volumes, &json!([mount(change)])), [expected]);
    }
    let same = says(&volumes, &json!([mount(json!({})), mount(json!({}))]));
    let expected =
        "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique";
    assert_eq!(same, [expected]);
}
