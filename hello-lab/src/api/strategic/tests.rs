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
    assert_eq!(patched_as(Kind::NetworkPolicy, json!({"spec": {"ingress": rules}}), &patch), patch);
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
    let target = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    assert_eq!(patched(target, &patch), json!({"strategy": {"type": "Recreate"}}));
    let patch = json!({"a": {"$patch": "replace", "b": 1}});
    assert_eq!(patched(json!({"a": {"c": 2}}), &patch), json!({"a": {"b": 1}}));
    let patch = json!({"$deleteFromPrimitiveList/finalizers": ["x"]});
    assert_eq!(patched(json!({"finalizers": ["x", "y"]}), &patch), json!({"finalizers": ["y"]}));
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
    assert!(refused.unwrap_err().to_string().contains("does not contain declared merge key: name"));
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
