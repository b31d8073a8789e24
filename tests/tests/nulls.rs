//! Null in what users send is what the API server reads it as, and never the end of anything.

use end_to_end::{As, Lab, wait_for};
use serde_json::{Value, json};

/// Whether the client of this Deployment was answered at its last poll.
fn is_answered(lab: &Lab, deployment: &str) -> bool {
    let log = lab.kubectl(&format!("logs --tail 3 deploy/{deployment}"));
    log.starts_with("Hello, world!")
}

/// A pod, and a Deployment of such pods, with a label without a value, and other nulls.
fn with_nulls() -> Value {
    let labels = json!({"app": "with-nulls", "team": null});
    let spec = json!({
        "nodeSelector": null,
        "containers": [{
            "name": "c",
            "image": "hello-client:1.0.0",
            "args": null,
            "env": [{"name": "EMPTY", "value": null}],
            "resources": {"limits": {"cpu": null, "memory": "0.10Gi"}},
        }],
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "with-nulls", "labels": labels, "annotations": {"note": null}},
            "spec": spec,
        },
        {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "with-nulls", "labels": null},
            "spec": {
                "selector": {"matchLabels": labels},
                "strategy": {"rollingUpdate": null},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "with-nulls"},
            "spec": {"selector": labels, "ports": [{"port": 80, "name": null}], "clusterIP": null},
        },
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "with-nulls"},
            "data": {"a": null}, "binaryData": {"b": null},
        },
    ]})
}

#[test]
fn a_label_of_null_is_the_empty_one_and_policies_go_on() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    wait_for("answers", || is_answered(&lab, "hello-client-blocked").then_some(()));
    let _ = lab.kubectl_with("create -f -", &with_nulls().to_string());

    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    wait_for("the policy", || (!is_answered(&lab, "hello-client-blocked")).then_some(()));
    wait_for("the allowed client", || is_answered(&lab, "hello-client-allowed").then_some(()));
    let _ = lab.kubectl("run probe --image hello-client:1.0.0 --labels team=");
    let _ = lab.kubectl("wait --for=condition=Ready pod -l team= --timeout=30s");

    let pod = lab.json("pod with-nulls");
    assert_eq!(pod["metadata"]["labels"], json!({"app": "with-nulls", "team": ""}));
    assert_eq!(pod["metadata"]["annotations"], json!({"note": ""}));
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["env"], json!([{"name": "EMPTY"}]));
    let limits = json!({"cpu": "0", "memory": "0.10Gi"});
    assert_eq!(container["resources"]["limits"], limits, "what was written stays");
    assert_eq!(lab.json("pods -l team=")["items"].as_array().map(Vec::len), Some(3));
    let slice = lab.json("endpointslice with-nulls");
    assert_eq!(slice["endpoints"].as_array().map(Vec::len), Some(2), "the Service selects by it");
    let map = lab.json("configmap with-nulls");
    assert_eq!((&map["data"], &map["binaryData"]), (&json!({"a": ""}), &json!({"b": ""})));
    lab.end();
}

#[test]
fn a_manifest_with_nulls_can_be_replaced_by_itself_and_is_then_what_it_was() {
    let lab = Lab::start(As::Myself);
    // `kubectl apply` takes nulls for fields to be removed, and does not send them.
    let manifest = with_nulls().to_string();
    let _ = lab.kubectl_with("create -f -", &manifest);
    let specs = || {
        let list = lab
            .json("pods,deployments,services,configmaps --field-selector=metadata.name=with-nulls");
        let parts = |item: &Value| {
            [&item["metadata"]["labels"], &item["spec"], &item["data"]].map(Value::clone)
        };
        list["items"].as_array().expect("a list").iter().map(parts).collect::<Vec<_>>()
    };
    let before = specs();
    assert_eq!(before.len(), 4);
    for _ in 0..2 {
        let _ = lab.kubectl_with("replace -f -", &manifest);
        assert_eq!(specs(), before);
    }
    let _ = lab.kubectl_with("delete -f -", &manifest);
    lab.end();
}

#[test]
fn nulls_where_nothing_can_be_empty_are_refused_by_name() {
    let lab = Lab::start(As::Myself);
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    let service = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let container = |field: &str, value: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        container[field] = value;
        pod(json!({"containers": [container]}))
    };
    for (object, says) in [
        (pod(json!({"containers": [null]})), "spec.containers[0].name: Required value"),
        (pod(json!({"containers": null})), "spec.containers: Required value"),
        (pod(Value::Null), "spec.containers: Required value"),
        (container("ports", json!([null])), "spec.containers[0].ports[0].containerPort: Required"),
        (container("env", json!([null])), "spec.containers[0].env[0].name: Required value"),
        (container("image", Value::Null), "spec.containers[0].image: Required value"),
        (service(json!({"ports": [null]})), "spec.ports[0].port"),
        (service(json!({"ports": null})), "spec.ports: Required value"),
    ] {
        let said = lab.refused("create -f -", &object.to_string());
        assert!(said.contains("is invalid: ") && said.contains(says), "{object}: {said}");
    }
    assert_eq!(lab.kubectl("get pods"), "");
    lab.end();
}
