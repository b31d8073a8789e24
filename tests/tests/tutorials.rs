//! What other tutorials have people type: images that everybody names, commands and variables as Kubernetes
//! defines them, and Kubernetes' own page about NetworkPolicies.

use std::process::Command;

use end_to_end::{As, Lab, Output, run, users, wait_for};

fn shell(lab: &Lab, line: &str) -> Output {
    run(lab.command("bash").args(["-c", line]), "")
}

/// The log of a pod that has ended, and of why a container did not start.
fn log_of(lab: &Lab, pod: &str) -> String {
    let phase = format!("get pod {pod} -o jsonpath={{.status.phase}}");
    wait_for(pod, || matches!(lab.kubectl(&phase).as_str(), "Succeeded" | "Failed").then_some(()));
    lab.kubectl(&format!("logs {pod}"))
}

fn message_of(lab: &Lab, pod: &str, state: &str, reason: &str) -> String {
    let path = format!("get pod {pod} -o jsonpath={{.status.containerStatuses[0].state.{state}");
    wait_for(reason, || (lab.kubectl(&format!("{path}.reason}}")) == reason).then_some(()));
    lab.kubectl(&format!("{path}.message}}"))
}

#[test]
fn command_replaces_the_entrypoint_and_args_its_arguments() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: command}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "hello-client:1.0.0", command: [sh, -c, "echo hi from $0"], args: [sh]}
---
apiVersion: v1
kind: Pod
metadata: {name: args}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "hello-client:1.0.0", args: [--version]}
---
apiVersion: v1
kind: Pod
metadata: {name: own}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "hello-client:1.0.0", command: [/hello-client], args: [--version]}
---
apiVersion: v1
kind: Pod
metadata: {name: unknown}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "hello-client:1.0.0", command: [no-such-program, x]}
"#;
    for user in users() {
        let lab = Lab::start(user);
        let _ = lab.kubectl_with("apply -f -", PODS);
        assert_eq!(log_of(&lab, "command"), "hi from sh\n");
        assert_eq!(log_of(&lab, "args"), "hello-client 1.0.0\n");
        assert_eq!(log_of(&lab, "own"), "hello-client 1.0.0\n");
        let said = message_of(&lab, "unknown", "terminated", "StartError");
        assert!(said.contains("\"no-such-program\": executable file not found"), "{said}");
        lab.end();
    }
}

#[test]
fn variables_are_expanded_and_read_from_fields_config_maps_secrets_and_services() {
    const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {tier: web}, annotations: {note: hi}}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: busybox
    command: [sh, -c, "echo 'arg $(E_LABEL) $$(E_LABEL)'; env | grep ^E_ | sort"]
    envFrom: [{prefix: E_, configMapRef: {name: m}}]
    env:
    - {name: E_LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
    - {name: E_NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
    - {name: E_SECRET, valueFrom: {secretKeyRef: {name: s, key: word}}}
    - {name: E_NONE, valueFrom: {configMapKeyRef: {name: none, key: a, optional: true}}}
    - {name: E_URL, value: "http://$(HELLO_SERVER_SERVICE_HOST):$(HELLO_SERVER_SERVICE_PORT)/$(E_LABEL)"}
"#;
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    let _ = lab.kubectl_with("apply -f -", PODS);
    let waits = message_of(&lab, "p", "waiting", "CreateContainerConfigError");
    assert_eq!(waits, "configmap \"m\" not found");
    let _ = lab.kubectl("create configmap m --from-literal=a=1 --from-literal=b=2");
    let waits = "get pod p -o jsonpath={.status.containerStatuses[0].state.waiting.message}";
    wait_for("what it waits for next", || {
        (lab.kubectl(waits) == "secret \"s\" not found").then_some(())
    });
    let _ = lab.kubectl("create secret generic s --from-literal=word=pass");
    let address = lab.kubectl("get service hello-server -o jsonpath={.spec.clusterIP}");
    let expected = format!(
        "arg web $(E_LABEL)\nE_LABEL=web\nE_NOTE=hi\nE_SECRET=pass\nE_URL=http://{address}:8080/web\n\
         E_a=1\nE_b=2\n"
    );
    assert_eq!(log_of(&lab, "p"), expected);
    let variables = lab.kubectl("exec deploy/hello-client-allowed -- env");
    assert!(variables.contains("KUBERNETES_SERVICE_HOST=10.96.0.1"), "{variables}");
    lab.end();
}

#[test]
fn an_image_that_is_not_here_is_told_with_what_to_type() {
    let lab = Lab::start_with(As::Myself, &["--image", "mine.example/tool=/bin/echo"]);
    let _ = lab.kubectl("run redis --image=redis:7");
    let said = message_of(&lab, "redis", "waiting", "ImagePullBackOff");
    assert!(said.contains("--image redis:7=PATH"), "{said}");
    // One that is given without a tag is that of every tag.
    let _ = lab.kubectl("run tool --image=mine.example/tool:v3 --restart=Never -- a b");
    assert_eq!(log_of(&lab, "tool"), "a b\n");
    // What stands in for another's image is said.
    let _ = lab.kubectl("create deployment web --image=nginx");
    let _ = lab.kubectl("wait --for=condition=Available deployment/web --timeout=30s");
    let events = lab.kubectl("get events --field-selector reason=StandIn");
    assert!(events.contains("hello-server, which answers on port 80"), "{events}");
    lab.end();
}

/// Kubernetes' page "Declare Network Policy"
/// (<https://kubernetes.io/docs/tasks/administer-cluster/declare-network-policy/>), word for word but for
/// the options that make wget give up.
#[test]
fn kubernetes_own_page_declare_network_policy_works_as_it_stands() {
    const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: access-nginx}\n\
                          spec:\n  podSelector: {matchLabels: {app: nginx}}\n  ingress:\n  - from:\n    \
                          - podSelector: {matchLabels: {access: \"true\"}}\n";
    if Command::new("wget").arg("--version").output().is_err() {
        end_to_end::skip("declare network policy", "no wget on this machine");
        return;
    }
    for user in users() {
        let lab = Lab::start(user);
        let _ = lab.kubectl("create deployment nginx --image=nginx");
        let _ = lab.kubectl("expose deployment nginx --port=80");
        let listed = lab.kubectl("get svc,pod");
        assert!(listed.contains("service/nginx") && listed.contains("pod/nginx-"), "{listed}");
        let _ = lab.kubectl("wait --for=condition=Available deployment/nginx --timeout=30s");
        let wget = |labels: &str| {
            let line = format!(
                "kubectl run busybox --rm -i {labels} --image=busybox:1.28 --restart=Never -- \
                 wget --spider --timeout=1 --tries=1 nginx"
            );
            shell(&lab, &line)
        };
        let _ = wget("").ok();
        let _ = lab.kubectl_with("apply -f -", POLICY);
        let blocked = wget("").failed();
        assert!(blocked.contains("timed out"), "{blocked}");
        let _ = wget("--labels=access=true").ok();
        lab.end();
    }
}
