use std::collections::BTreeMap;

use super::*;
use crate::objects::Kind;

/// What a client sends, from JSON.
fn sent(object: &Value) -> Vec<u8> {
    write(object).unwrap()
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"app": "a"}, "creationTimestamp": "2026-11-26T10:00:00Z"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "a"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "c",
                        "image": "i",
                        "command": ["a", ""],
                        "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "envFrom": [{"configMapRef": {"name": "m"}}],
                        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
                        "resources": {"limits": {"cpu": "100m"}},
                        "securityContext": {"runAsUser": 0},
                    }],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                },
            },
        },
    })
}

#[test]
fn an_object_comes_back_as_it_was_sent() {
    for object in [
        deployment(),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"a": "AAEC"}, "immutable": false, "type": "Opaque",
        }),
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "count": 3,
            "involvedObject": {"kind": "Pod"}, "eventTime": "2026-11-26T10:00:00.123456Z",
            "reportingComponent": "", "reportingInstance": "", "source": {"component": "x"},
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"},
            "spec": {
                "podSelector": {},
                "ingress": [{"ports": [{"port": 80, "endPort": 90}], "from": [{"podSelector": {}}]}],
            },
        }),
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"extra": {"a": ["b", "c"]}, "user": "u"}, "status": {"allowed": false},
        }),
    ] {
        assert_eq!(read(&sent(&object)).unwrap(), object);
    }
}

#[test]
fn what_is_empty_is_left_out_unless_go_tells_it_from_none() {
    // As client-go sends it: every field that is no pointer, empty ones too.
    let mut object = deployment();
    object["spec"]["minReadySeconds"] = 0.into();
    object["spec"]["template"]["spec"]["nodeName"] = "".into();
    object["spec"]["template"]["spec"]["hostNetwork"] = false.into();
    object["spec"]["selector"]["matchExpressions"] = json!([]);
    assert_eq!(read(&sent(&object)).unwrap(), deployment());
}

#[test]
fn every_message_has_a_descriptor_and_every_kind_of_the_lab_has_a_message() {
    let types = Types::get();
    for message in types.all_messages() {
        assert!(types.descriptor(message).is_ok(), "{message}");
        assert!(
            !types.fields(message).unwrap().is_empty() || message.ends_with("Source"),
            "{message}"
        );
    }
    for kind in Kind::ALL {
        let (version, kind) = (kind.api_version(), kind.resource().kind);
        for kind in [kind.to_owned(), format!("{kind}List")] {
            assert!(types.message_of(&version, &kind).is_some(), "{kind}");
        }
    }
    let by_kind: BTreeMap<_, _> = types.all_kinds().collect();
    assert!(by_kind.len() > 10);
}

#[test]
fn an_event_of_a_watch_has_its_length_before_it() {
    let event = json!({"type": "ADDED", "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}});
    let bytes = write_event(&event).unwrap();
    let (length, message) = bytes.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, message.len());
    let read_back = WatchEvent::decode(message).unwrap();
    assert_eq!(read_back.change, "ADDED");
    let pod = read(&read_back.object.unwrap().raw).unwrap();
    assert_eq!(pod["metadata"]["name"], "p");
}

#[test]
fn what_is_no_protobuf_or_of_no_known_kind_is_refused() {
    assert!(matches!(read(b"{}"), Err(ProtobufError::NoMagic)));
    assert!(matches!(read(b"k8s\0\xff\xff"), Err(ProtobufError::Broken(_))));
    let other = json!({"apiVersion": "v9", "kind": "Pod"});
    assert!(matches!(write(&other), Err(ProtobufError::UnknownKind { .. })));
    let wrong = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": {}}});
    assert!(matches!(write(&wrong), Err(ProtobufError::Fault(_))));
    let wrong = json!({"apiVersion": "v1", "kind": "Pod", "spec": 1});
    assert!(write(&wrong).is_err());
    // Every body that is cut short, or has a bit turned, is read or refused.
    let body = sent(&deployment());
    for index in 4..body.len() {
        let _ = read(&body[..index]);
        let mut other = body.clone();
        other[index] ^= 1 << (index % 8);
        let _ = read(&other);
    }
}
