//! The kinds beyond Deployments and Services, as people use them with kubectl.

use end_to_end::{As, Lab, wait_for};
use serde_json::{Value, json};

/// A pod's spec: of the client, with these arguments.
fn client(policy: &str, arguments: &[&str]) -> Value {
    json!({
        "restartPolicy": policy,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "hello-client:1.0.0", "args": arguments}],
    })
}

/// A client that asks nobody, for ever.
fn idle() -> Value {
    client("Always", &["http://127.0.0.1:1"])
}

fn job(name: &str, arguments: &[&str]) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": client("Never", arguments)}},
    })
}

fn apply(lab: &Lab, object: &Value) {
    let _ = lab.kubectl_with("apply -f -", &object.to_string());
}

/// One field of an object.
fn field(lab: &Lab, object: &str, path: &str) -> String {
    lab.try_kubectl(&format!("get {object} -o jsonpath={{{path}}}"), "").stdout
}

#[test]
fn jobs_run_to_their_end_and_cron_jobs_make_them() {
    let lab = Lab::start(As::Myself);
    apply(&lab, &job("good", &["--version"]));
    let _ = lab.kubectl("wait --for=condition=Complete job/good --timeout=30s");
    assert!(lab.kubectl("logs job/good").contains("hello-client"));
    assert_eq!(field(&lab, "job/good", ".status.succeeded"), "1");
    apply(&lab, &job("bad", &["--no-such-option"]));
    let _ = lab.kubectl("wait --for=condition=Failed job/bad --timeout=30s");
    assert!(lab.kubectl("describe job bad").contains("BackoffLimitExceeded"));
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "timeZone": "Etc/UTC", "jobTemplate": {
            "spec": job("", &["--version"])["spec"],
        }},
    });
    apply(&lab, &cron_job);
    let _ = lab.kubectl("create job --from=cronjob/nightly now");
    let _ = lab.kubectl("wait --for=condition=Complete job/now --timeout=30s");
    let table = lab.kubectl("get cronjobs,jobs");
    assert!(table.contains("0 3 * * *") && table.contains("1/1"), "{table}");
    let _ = lab.kubectl("delete job good bad --timeout=20s");
    wait_for("their pods' end", || {
        lab.try_kubectl("get pods -l job-name=good -o name", "").stdout.is_empty().then_some(())
    });
    let said = lab.refused("create cronjob odd --image=a --schedule=61", "");
    assert!(said.contains("expected exactly 5 fields"), "{said}");
    lab.end();
}

#[test]
fn the_pods_of_a_stateful_set_have_names_that_stay_and_are_in_dns() {
    let lab = Lab::start(As::Myself);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": idle()},
        },
    });
    apply(&lab, &service);
    apply(&lab, &set);
    let _ = lab.kubectl("rollout status statefulset/web --timeout=30s");
    let address = || field(&lab, "pod/web-1", ".status.podIP");
    let resolves = || {
        let name = "web-1.web.default.svc.cluster.local";
        let line = format!("exec web-0 -- getent ahostsv4 {name}");
        lab.try_kubectl(&line, "").stdout.starts_with(&address()).then_some(())
    };
    wait_for("the name of web-1", resolves);
    let _ = lab.kubectl("delete pod web-1 --timeout=20s");
    wait_for("the name of another web-1", || (!address().is_empty()).then(resolves)?);
    let first = field(&lab, "statefulset/web", ".status.updateRevision");
    let _ = lab.kubectl("set env statefulset/web A=b");
    let _ = lab.kubectl("rollout status statefulset/web --timeout=30s");
    let second = field(&lab, "statefulset/web", ".status.updateRevision");
    assert_ne!(first, second);
    let history = lab.kubectl("rollout history statefulset/web");
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    let _ = lab.kubectl("rollout undo statefulset/web");
    let _ = lab.kubectl("rollout status statefulset/web --timeout=30s");
    assert_eq!(field(&lab, "statefulset/web", ".status.updateRevision"), first);
    let _ = lab.kubectl("scale statefulset/web --replicas=1");
    let _ = lab.kubectl("wait --for=delete pod/web-1 --timeout=20s");
    let mut claims = set;
    claims["metadata"]["name"] = "claims".into();
    claims["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "v"}, "spec": {}}]);
    let said = lab.refused("apply -f -", &claims.to_string());
    assert!(
        said.contains("spec.volumeClaimTemplates: Forbidden: hello-lab has no storage"),
        "{said}"
    );
    lab.end();
}

#[test]
fn a_pod_waits_for_a_node_that_meets_it() {
    let lab = Lab::start(As::Myself);
    let pod = |name: &str, change: &Value| {
        let mut spec = idle();
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        apply(
            &lab,
            &json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
            }),
        );
    };
    let waits = |name: &str, words: &str| {
        wait_for("the scheduler's word", || {
            lab.kubectl(&format!("describe pod {name}")).contains(words).then_some(())
        });
        assert_eq!(field(&lab, &format!("pod/{name}"), ".status.phase"), "Pending");
    };
    let runs = |name: &str| {
        let _ = lab.kubectl(&format!("wait --for=condition=Ready pod/{name} --timeout=30s"));
    };
    pod("picky", &json!({"nodeSelector": {"disk": "ssd"}}));
    waits("picky", "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.");
    // Nobody has to end it first.
    let _ = lab.kubectl("delete pod picky --timeout=10s");
    pod("picky", &json!({"nodeSelector": {"disk": "ssd"}}));
    let _ = lab.kubectl("label node hello-lab disk=ssd");
    runs("picky");
    let _ = lab.kubectl("cordon hello-lab");
    assert!(lab.kubectl("get nodes").contains("Ready,SchedulingDisabled"));
    pod("late", &json!({}));
    waits("late", "1 node(s) were unschedulable");
    let _ = lab.kubectl("uncordon hello-lab");
    runs("late");
    let _ = lab.kubectl("taint node hello-lab team=blue:NoSchedule");
    pod("untaught", &json!({}));
    waits("untaught", "1 node(s) had untolerated taint {team: blue}");
    pod("taught", &json!({"tolerations": [{"key": "team", "value": "blue"}]}));
    runs("taught");
    let _ = lab.kubectl("taint node hello-lab team-");
    runs("untaught");
    let huge = json!([{"name": "c", "image": "hello-client:1.0.0", "resources": {
        "requests": {"memory": "100Ti"},
    }}]);
    pod("huge", &json!({"containers": huge}));
    waits("huge", "1 Insufficient memory");
    pod("elsewhere", &json!({"nodeName": "other"}));
    let described = lab.kubectl("describe node hello-lab");
    assert!(described.contains("Allocatable:") && !described.contains("-9223372036854775808"));
    assert!(described.contains("RenewTime:"), "{described}");
    let _ = lab.kubectl("drain hello-lab --force --timeout=30s");
    let left = lab.kubectl("get pods -o name");
    assert_eq!(left, "pod/elsewhere\npod/huge\n", "only what is on no node, or on another");
    let dns = "get pods -n kube-system -l k8s-app=kube-dns -o name";
    assert!(!lab.kubectl(dns).is_empty(), "the DNS stays");
    lab.end();
}

#[test]
fn a_daemon_set_has_a_pod_on_the_node_also_when_that_is_cordoned() {
    let lab = Lab::start(As::Myself);
    let _ = lab.kubectl("cordon hello-lab");
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": idle()},
        },
    });
    apply(&lab, &set);
    let _ = lab.kubectl("rollout status daemonset/agent --timeout=30s");
    let _ = lab.kubectl("set env daemonset/agent A=b");
    let _ = lab.kubectl("rollout status daemonset/agent --timeout=30s");
    let _ = lab.kubectl("rollout undo daemonset/agent");
    let _ = lab.kubectl("rollout status daemonset/agent --timeout=30s");
    let _ = lab.kubectl("drain hello-lab --ignore-daemonsets --timeout=20s");
    assert_eq!(field(&lab, "daemonset/agent", ".status.numberReady"), "1");
    lab.end();
}

#[test]
fn a_pod_in_quarantine_is_replaced_and_secrets_and_endpoints_are_what_they_are() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let pods = || lab.json("pods -l app=quarantine")["items"].as_array().unwrap().clone();
    let _ = lab.kubectl("label pod -l app=hello-server app=quarantine --overwrite");
    wait_for("another pod", || {
        let ready = field(&lab, "deployment/hello-server", ".status.readyReplicas");
        let list = lab.try_kubectl("get pods -l app=hello-server -o name", "").stdout;
        (ready == "1" && list.lines().count() == 1).then_some(())
    });
    assert_eq!(pods().len(), 1);
    assert!(pods()[0]["metadata"]["ownerReferences"].is_null());

    let _ = lab.kubectl("create secret generic s --from-literal=password=hunter2");
    assert_eq!(field(&lab, "secret/s", ".data.password"), "aHVudGVyMg==");
    assert!(lab.kubectl("describe secret s").contains("7 bytes"));
    let _ = lab.kubectl(r#"patch secret s -p {"immutable":true}"#);
    let said = lab.refused(r#"patch secret s -p {"stringData":{"password":"other"}}"#, "");
    assert!(said.contains("field is immutable when `immutable` is set"), "{said}");
    let wrong = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"w"},"data":{"a":"%"}}"#;
    assert!(lab.refused("create -f -", wrong).contains("data"), "base64 is checked");

    // A Service without a selector leads where somebody says.
    let server = pods()[0]["status"]["podIP"].clone();
    apply(
        &lab,
        &json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "by-hand"},
            "spec": {"ports": [{"port": 8080}]},
        }),
    );
    apply(
        &lab,
        &json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"},
            "subsets": [{"addresses": [{"ip": server}], "ports": [{"port": 8080}]}],
        }),
    );
    let polling = client(
        "Never",
        &["http://by-hand:8080", "--count=5", "--interval=0.2", "--expect=allowed"],
    );
    apply(
        &lab,
        &json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "poll"},
            "spec": {"template": {"spec": polling}},
        }),
    );
    let _ = lab.kubectl("wait --for=condition=Complete job/poll --timeout=40s");
    lab.end();
}

#[test]
fn a_roll_out_that_is_undone_brings_back_the_replica_set_that_was() {
    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  \
                              selector: {matchLabels: {app: d}}\n  template:\n    metadata: {labels: {app: d}}\n    \
                              spec: {containers: [{name: c, image: \"hello-server:1.0.0\", env: [{name: A, value: \"0\"}]}]}\n";
    let lab = Lab::start(As::Myself);
    for value in ["0", "1"] {
        let _ =
            lab.kubectl_with("apply -f -", &DEPLOYMENT.replace("\"0\"", &format!("\"{value}\"")));
        let _ = lab.kubectl("rollout status deploy d --timeout=30s");
    }
    let _ = lab.kubectl("rollout undo deploy d");
    let _ = lab.kubectl("rollout status deploy d --timeout=30s");
    assert_eq!(lab.kubectl("get rs -o name").lines().count(), 2);
    let history = lab.kubectl("rollout history deploy d");
    let revisions: Vec<_> =
        history.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(revisions, ["deployment.apps/d", "REVISION", "2", "3"], "{history}");
    lab.end();
}

#[test]
fn a_port_of_the_node_leads_pods_where_its_service_does_and_their_policies_with_them() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let expose = "expose deployment hello-server --name=on-node --port=80 --target-port=8080 --type=NodePort";
    let told = lab.try_kubectl(expose, "");
    assert!(told.stderr.contains("Warning: spec.type: in hello-lab pods alone reach a nodePort"));
    let _ = told.ok();
    let port = lab.kubectl("get service on-node -o jsonpath={.spec.ports[0].nodePort}");
    let node =
        r#"get nodes -o jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}"#;
    let node = lab.kubectl(node);
    let listed = lab.kubectl("get service on-node --no-headers");
    assert!(listed.contains("NodePort") && listed.contains(&format!("80:{port}/TCP")), "{listed}");
    let ask = |label: &str| {
        let name = format!("asks-{}", lab.json("pods")["items"].as_array().map_or(0, Vec::len));
        let client = "--image=hello-client:1.0.0 --restart=Never --rm -i --quiet";
        let url = format!("http://{node}:{port} --count 1 --timeout 1");
        lab.try_kubectl(&format!("run {name} --labels=app={label} {client} -- {url}"), "").stdout
    };
    assert!(ask("hello").contains("Hello, world!"));
    let manifest = "manifests/network-policy.yaml";
    let _ = lab.kubectl(&format!("apply -f {manifest}"));
    wait_for("the policy", || ask("not-hello").contains("timed out").then_some(()));
    assert!(ask("hello").contains("Hello, world!"), "a pod is itself, also by way of the node");
    let _ = lab.kubectl("scale deployment hello-server --replicas=0");
    wait_for("a refusal", || ask("hello").contains("refused").then_some(()));
    lab.end();
}
