//! The verbs through the router, as clients reach them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::objects::{Key, Store};

const TOKEN: &str = "secret";
const MAPS: &str = "/api/v1/namespaces/n/configmaps";

/// An API on a store with the namespace `n`.
fn api() -> Api {
    let store = Store::default();
    let namespace = json!({"metadata": {"name": "n"}});
    store.create(Kind::Namespace, namespace).unwrap();
    Api {
        store,
        logs: crate::kubelet::logs::Logs::default(),
        attachables: crate::kubelet::attach::Attachables::default(),
        containers: crate::kubelet::exec::Containers::default(),
        token: TOKEN.into(),
    }
}

/// Sends a request; the status code and the body.
async fn send(api: &Api, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let content_type =
        if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    send_text(api, method, path, content_type, Body::from(body)).await
}

async fn send_text(
    api: &Api,
    method: &str,
    path: &str,
    content_type: &str,
    body: Body,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(CONTENT_TYPE, content_type)
        .body(body)
        .unwrap();
    let response = router(api.clone()).oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"x": "1"}})
}

#[tokio::test]
async fn an_object_is_created_read_changed_listed_and_deleted() {
    let api = api();
    let (code, created) = send(&api, "POST", MAPS, map("a")).await;
    assert_eq!((code, &created["kind"]), (201, &json!("ConfigMap")));
    let one = format!("{MAPS}/a");
    assert_eq!(send(&api, "GET", &one, Value::Null).await, (200, created));
    let (code, patched) = send(&api, "PATCH", &one, json!({"data": {"y": "2"}})).await;
    assert_eq!((code, &patched["data"]), (200, &json!({"x": "1", "y": "2"})));
    let (code, replaced) = send(&api, "PUT", &one, map("a")).await;
    assert_eq!((code, &replaced["data"]), (200, &json!({"x": "1"})));
    let (code, list) = send(&api, "GET", MAPS, Value::Null).await;
    assert_eq!((code, &list["items"]), (200, &json!([replaced])));
    assert_eq!(send(&api, "DELETE", &one, Value::Null).await.0, 200);
    assert_eq!(send(&api, "GET", &one, Value::Null).await.0, 404);
    assert_eq!(send(&api, "DELETE", &one, Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_status_is_read_and_written_by_a_request_of_its_own() {
    let api = api();
    let pods = "/api/v1/namespaces/n/pods";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(send(&api, "POST", pods, pod).await.0, 201);
    let status = format!("{pods}/p/status");
    let patch = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "other"}, "status": {"message": "m"}});
    let (code, mut patched) = send(&api, "PATCH", &status, patch).await;
    assert_eq!((code, &patched["status"]["message"]), (200, &json!("m")), "{patched}");
    assert_eq!(patched["metadata"]["labels"]["a"], "b");
    assert_ne!(patched["spec"]["nodeName"], "other");
    patched["status"]["message"] = "n".into();
    patched["spec"] = json!({});
    let (code, replaced) = send(&api, "PUT", &status, patched).await;
    assert_eq!((code, &replaced["status"]["message"]), (200, &json!("n")), "{replaced}");
    assert_eq!(send(&api, "GET", &status, Value::Null).await, (200, replaced));
    let finalize = "/api/v1/namespaces/n/finalize";
    let namespace = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["a.b/x"]}});
    let (code, finalized) = send(&api, "PUT", finalize, namespace).await;
    assert_eq!((code, &finalized["spec"]["finalizers"]), (200, &json!(["a.b/x"])));
}

#[tokio::test]
async fn nothing_is_done_as_a_dry_run() {
    let api = api();
    send(&api, "POST", MAPS, map("a")).await;
    let before = api.store.version();
    for (method, path, body) in [
        ("POST", "?dryRun=All", map("b")),
        ("PUT", "/a?dryRun=All", json!({"metadata": {"name": "a"}})),
        ("PATCH", "/a?dryRun=All", json!({"data": null})),
        ("DELETE", "/a?dryRun=All", Value::Null),
        ("DELETE", "/a", json!({"dryRun": ["All"]})),
        ("DELETE", "?dryRun=All", Value::Null),
    ] {
        let (code, answer) = send(&api, method, &format!("{MAPS}{path}"), body).await;
        assert!((200..300).contains(&code), "{method} {path}: {answer}");
        assert_eq!(api.store.version(), before, "{method} {path}");
    }
}

#[tokio::test]
async fn options_that_there_are_not_do_nothing() {
    let api = api();
    send(&api, "POST", MAPS, map("a")).await;
    let before = api.store.version();
    for (method, path, body) in [
        ("POST", "?dryRun=bogus", map("b")),
        ("POST", "?fieldValidation=bogus", map("b")),
        ("PUT", "/a?dryRun=all", json!({"metadata": {"name": "a"}})),
        ("PATCH", "/a?fieldValidation=strict", json!({"data": null})),
        ("DELETE", "/a?dryRun=bogus", Value::Null),
        ("DELETE", "/a?propagationPolicy=bogus", Value::Null),
        ("DELETE", "/a", json!({"dryRun": ["bogus"]})),
        ("DELETE", "?dryRun=bogus", Value::Null),
    ] {
        let (code, answer) = send(&api, method, &format!("{MAPS}{path}"), body).await;
        assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{method} {path}");
        assert_eq!(api.store.version(), before, "{method} {path}");
    }
}

#[tokio::test]
async fn a_list_in_pages_is_the_list_at_its_first_page() {
    let api = api();
    for name in ["a", "b", "c", "d"] {
        send(&api, "POST", MAPS, map(name)).await;
    }
    let (_, first) = send(&api, "GET", &format!("{MAPS}?limit=2"), Value::Null).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    send(&api, "DELETE", &format!("{MAPS}/c"), Value::Null).await;
    send(&api, "PATCH", &format!("{MAPS}/d"), json!({"data": {"x": "2"}})).await;
    send(&api, "POST", MAPS, map("e")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let next = format!("{MAPS}?limit=2&continue={token}");
    let (_, second) = send(&api, "GET", &next, Value::Null).await;
    let names: Vec<_> =
        second["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["c", "d"]);
    assert_eq!(second["items"][1]["data"]["x"], "1");
    assert_eq!(second["metadata"]["continue"], Value::Null);
}

#[tokio::test]
async fn what_goes_on_from_a_forgotten_version_is_told_so() {
    let api = api();
    for name in ["a", "b"] {
        send(&api, "POST", MAPS, map(name)).await;
    }
    let (_, first) = send(&api, "GET", &format!("{MAPS}?limit=1"), Value::Null).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let key = Key::new(Kind::ConfigMap, "n", "a");
    // More than its log keeps, in bytes.
    for n in 0..40 {
        let text = n.to_string().repeat(1 << 19);
        api.store.change(&key, |map| map["data"]["x"] = text.as_str().into()).unwrap();
    }
    let next = format!("{MAPS}?limit=1&continue={token}");
    let (code, answer) = send(&api, "GET", &next, Value::Null).await;
    assert_eq!((code, &answer["reason"]), (410, &json!("Expired")));
    let watch = format!("{MAPS}?watch=true&resourceVersion=2&timeoutSeconds=1");
    let (code, event) = send(&api, "GET", &watch, Value::Null).await;
    assert_eq!((code, &event["object"]["code"]), (200, &json!(410)));
}

#[tokio::test]
async fn who_shows_no_token_gets_nothing() {
    let api = api();
    let ask = async |authorization: &str| {
        let request = Request::builder().uri(MAPS).header(AUTHORIZATION, authorization);
        let request = request.body(Body::empty()).unwrap();
        router(api.clone()).oneshot(request).await.unwrap().status().as_u16()
    };
    for right in ["Bearer secret", "bearer secret", "BEARER secret"] {
        assert_eq!(ask(right).await, 200, "{right}");
    }
    for wrong in
        ["", "Bearer", "Bearer ", "Bearer  secret", "secret", "Basic secret", "Bearer secretx"]
    {
        assert_eq!(ask(wrong).await, 401, "{wrong}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_an_error_of_its_request_alone() {
    let result = caught(async { panic!("no such luck") }).await;
    let response = result.unwrap_err().into_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&status["kind"], &status["reason"], &status["code"]),
        (&json!("Status"), &json!("InternalError"), &json!(500))
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let api = api();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = send_text(&api, "POST", MAPS, "application/json", never);
    let (code, status) = tokio::time::timeout(Duration::from_secs(120), answer).await.unwrap();
    assert_eq!((code, &status["reason"]), (408, &json!("Timeout")));
}

#[tokio::test]
async fn a_body_has_a_bound() {
    let api = api();
    let large = Body::from(vec![b' '; (3 << 20) + 1]);
    let (code, status) = send_text(&api, "POST", MAPS, "application/json", large).await;
    assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
}

#[tokio::test]
async fn every_verb_of_every_kind_answers_whatever_is_sent() {
    let api = api();
    let texts = [
        "",
        "null",
        "{}",
        "[]",
        "\"\"",
        "0",
        r#"{"metadata": null}"#,
        r#"{"metadata": {"name": "a"}, "spec": null, "status": null, "data": null}"#,
        r#"{"metadata": {"name": "a", "labels": {"a": null}}, "spec": {"containers": [null], "ports": [null]}}"#,
        r#"{"metadata": {"name": "a", "finalizers": [null], "ownerReferences": [null]}}"#,
        r#"[{"op": "add", "path": "", "value": null}]"#,
        r#"[{"op": "remove", "path": ""}]"#,
    ];
    let mut codes: BTreeMap<u16, usize> = BTreeMap::new();
    for kind in Kind::ALL {
        let resource = kind.resource();
        let group = match resource.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        let namespace = if resource.namespaced { "/namespaces/n" } else { "" };
        let all = format!("{group}{namespace}/{}", resource.plural);
        for path in
            [all.clone(), format!("{all}/a"), format!("{all}/a/scale"), format!("{all}/a/status")]
        {
            for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
                for text in texts {
                    for content_type in [
                        "application/json",
                        "application/merge-patch+json",
                        "application/strategic-merge-patch+json",
                        "application/json-patch+json",
                    ] {
                        let (code, answer) =
                            send_text(&api, method, &path, content_type, Body::from(text)).await;
                        assert_ne!(answer["reason"], "InternalError", "{method} {path} {text}");
                        assert!(answer.is_object(), "{method} {path} {text}: {code}");
                        *codes.entry(code).or_default() += 1;
                    }
                }
            }
        }
        // What is served next was not spoilt by what came before.
        assert_eq!(send(&api, "GET", &all, Value::Null).await.0, 200);
    }
    assert!(codes.contains_key(&200) && codes.contains_key(&201), "{codes:?}");
}
