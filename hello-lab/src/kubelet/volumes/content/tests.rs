use serde_json::{Value, json};

use super::*;

fn store() -> Store {
    let store = Store::default();
    let map = json!({
        "metadata": {"name": "m", "namespace": "n"},
        "data": {"a": "1", "b": "2"}, "binaryData": {"c": "/w=="},
    });
    store.create(Kind::ConfigMap, map).unwrap();
    let secret = json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"p": "cHc="}});
    store.create(Kind::Secret, secret).unwrap();
    store
}

type Listed = Vec<(String, Vec<u8>, u32)>;

fn files(volume: &Value) -> Result<Option<Listed>, String> {
    let pod = json!({"metadata": {
        "name": "p", "namespace": "n", "uid": "u",
        "labels": {"b": "2", "a": "x\"y"}, "annotations": {"note": "one\ntwo\u{1}"},
    }});
    let pod = Object::new(Kind::Pod, pod).unwrap();
    let mut whole = json!({"name": "v"});
    json_patch::merge(&mut whole, volume);
    let volume: Volume = serde_json::from_value(whole).unwrap();
    let files = Sources { store: &store(), pod: &pod }.files(&volume);
    let files = files.map_err(|error| error.to_string())?;
    let list = |files: Files| {
        files.into_iter().map(|(path, file)| (path, file.content, file.mode)).collect()
    };
    Ok(files.map(list))
}

fn file(path: &str, content: &[u8], mode: u32) -> (String, Vec<u8>, u32) {
    (path.to_owned(), content.to_owned(), mode)
}

#[test]
fn a_config_map_and_a_secret_are_files_of_their_keys_or_of_the_items() {
    let all = files(&json!({"configMap": {"name": "m"}})).unwrap().unwrap();
    let expected = [file("a", b"1", 0o644), file("b", b"2", 0o644), file("c", &[0xff], 0o644)];
    assert_eq!(all, expected);
    let items = json!([{"key": "p", "path": "x//./y"}, {"key": "p", "path": "z", "mode": 0o600}]);
    let secret = json!({"secret": {"secretName": "s", "items": items, "defaultMode": 0o400}});
    let some = files(&secret).unwrap().unwrap();
    assert_eq!(some, [file("x/y", b"pw", 0o400), file("z", b"pw", 0o600)]);
    assert_eq!(files(&json!({"emptyDir": {}})).unwrap(), None);
}

#[test]
fn what_is_missing_is_named_as_by_a_kubelet_or_left_out_where_it_is_optional() {
    let items = json!([{"key": "z", "path": "z"}]);
    for (volume, expected) in [
        (json!({"configMap": {"name": "x"}}), "configmap \"x\" not found"),
        (json!({"secret": {"secretName": "x"}}), "secret \"x\" not found"),
        (
            json!({"configMap": {"name": "m", "items": items}}),
            "configmap references non-existent config key: z",
        ),
        (
            json!({"projected": {"sources": [{"secret": {"name": "s", "items": items}}]}}),
            "references non-existent secret key: z",
        ),
    ] {
        assert_eq!(files(&volume).unwrap_err(), expected);
    }
    for volume in [
        json!({"configMap": {"name": "x", "optional": true}}),
        json!({"secret": {"secretName": "s", "items": items, "optional": true}}),
        json!({"projected": {"sources": [{"secret": {"name": "x", "optional": true}}]}}),
        json!({"projected": {}}),
    ] {
        assert_eq!(files(&volume).unwrap(), Some(Vec::new()), "{volume}");
    }
}

#[test]
fn the_pods_own_fields_are_written_as_the_downward_api_does() {
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let items = json!([
        field("all", "metadata.labels"),
        field("one", "metadata.labels['b']"),
        field("notes", "metadata.annotations"),
        field("where", "metadata.namespace"),
    ]);
    let expected = [
        file("all", b"a=\"x\\\"y\"\nb=\"2\"", 0o644),
        file("notes", b"note=\"one\\ntwo\\x01\"", 0o644),
        file("one", b"2", 0o644),
        file("where", b"n", 0o644),
    ];
    assert_eq!(files(&json!({"downwardAPI": {"items": items}})).unwrap().unwrap(), expected);
    let unknown = json!({"downwardAPI": {"items": [field("x", "status.podIP")]}});
    assert_eq!(files(&unknown).unwrap_err(), "unsupported fieldPath: status.podIP");
}

#[test]
fn of_two_sources_of_a_projected_volume_the_later_has_a_path_that_both_name() {
    let sources = json!([
        {"configMap": {"name": "m", "items": [{"key": "a", "path": "same"}]}},
        {"secret": {"name": "s", "items": [{"key": "p", "path": "same", "mode": 0o400}]}},
    ]);
    let all = files(&json!({"projected": {"sources": sources, "defaultMode": 0o440}}));
    assert_eq!(all.unwrap().unwrap(), [file("same", b"pw", 0o400)]);
}

#[test]
fn no_path_leads_out_of_the_volume() {
    for bad in ["", "/", "/a", "..", "../a", "a/../b", "..data", "..data/x", ".", "a/.."] {
        assert_eq!(path(bad), Err(ContentError::BadPath(bad.to_owned())), "{bad}");
    }
    assert_eq!(path("a/..b/c").unwrap(), "a/..b/c");
}
