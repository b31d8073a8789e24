//! What a cluster needs of its own, a person may delete and edit all the same: it comes back, and names
//! resolve again.

use std::time::{Duration, Instant};

use end_to_end::{As, Lab, PATIENCE, wait_for};
use serde_json::Value;

/// How long after kubectl has returned something may be missing.
const SOON: Duration = Duration::from_secs(1);

const SERVER: &str = "hello-server.default.svc.cluster.local";

/// Whether a pod of the demo finds the server by its name.
fn resolves(lab: &Lab) -> bool {
    let line = format!("exec deploy/hello-client-allowed -- getent ahosts {SERVER}");
    lab.try_kubectl(&line, "").status.success()
}

/// Runs kubectl, which must end by itself, well before its own patience does.
fn promptly(lab: &Lab, line: &str) {
    let start = Instant::now();
    let output = lab.try_kubectl(line, "");
    assert!(output.status.success(), "{line}: {}{}", output.stdout, output.stderr);
    assert!(start.elapsed() < PATIENCE / 2, "{line}: took {:?}", start.elapsed());
}

/// What there is of the cluster's own: each object by its name, and what makes it what it is.
fn own(lab: &Lab) -> Vec<String> {
    let mut all = Vec::new();
    for line in [
        "namespaces",
        "nodes",
        "services -n default --field-selector=metadata.name=kubernetes",
        "services,deployments -n kube-system",
        // Those of the DNS, which have new names and addresses each time.
        "endpointslices,pods -n kube-system",
        "configmaps,serviceaccounts -n default",
        "configmaps,serviceaccounts -n kube-system",
    ] {
        let list = lab.json(line);
        for item in list["items"].as_array().expect("a list") {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &item["metadata"];
            let is_pod = item["kind"] == "Pod";
            let name = if is_pod { "" } else { metadata["name"].as_str().unwrap_or_default() };
            let parts = [
                text(&item["kind"]),
                text(&metadata["namespace"]),
                name.to_owned(),
                metadata["labels"].to_string(),
                if is_pod { &item["spec"]["containers"] } else { &item["spec"] }.to_string(),
                item["data"].to_string(),
                item["status"]["phase"].to_string(),
                item["endpoints"][0]["conditions"].to_string(),
            ];
            all.push(parts.join(" "));
        }
    }
    all.sort();
    all
}

#[test]
fn what_the_cluster_needs_comes_back_within_a_second_and_names_resolve_again() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    wait_for("the name", || resolves(&lab).then_some(()));
    let before = own(&lab);
    assert!(before.len() >= 12, "{before:#?}");
    let spec = r#"{"spec":{"selector":{"k8s-app":"other"},"ports":[{"port":1}]}}"#;
    let nowhere = r#"{"spec":{"template":{"spec":{"nodeSelector":{"disk":"ssd"}}}}}"#;
    for line in [
        "delete pod -n kube-system -l k8s-app=kube-dns",
        "delete pod -n kube-system -l k8s-app=kube-dns --now",
        "delete pod -n kube-system -l k8s-app=kube-dns --force --grace-period=0",
        "delete pods -n kube-system --all",
        "delete replicasets -n kube-system --all",
        "delete deployment -n kube-system coredns",
        "delete deployment -n kube-system coredns --cascade=foreground",
        "delete deployment -n kube-system coredns --cascade=orphan",
        "label deployment -n kube-system coredns k8s-app=other --overwrite",
        "set image deployment/coredns -n kube-system coredns=busybox",
        &format!("patch deployment -n kube-system coredns --type=merge -p {nowhere}"),
        "delete service -n kube-system kube-dns",
        "delete services --all -n kube-system",
        "delete service kubernetes",
        &format!("patch service -n kube-system kube-dns --type=merge -p {spec}"),
        "delete endpointslices --all -A",
        "label endpointslice -n kube-system kube-dns kubernetes.io/service-name=other --overwrite",
        "delete configmaps --all -n kube-system",
        "delete configmap kube-root-ca.crt",
        r#"patch configmap kube-root-ca.crt --type=merge -p {"data":{"ca.crt":"mine"}}"#,
        r#"patch configmap -n kube-system kube-root-ca.crt --type=merge -p {"data":null}"#,
        "delete serviceaccounts --all -n default",
        "delete node hello-lab",
        "label node hello-lab kubernetes.io/hostname-",
        "delete namespace kube-node-lease",
        "label namespace kube-system kubernetes.io/metadata.name=other --overwrite",
        // All of a namespace's own at once, which `kubectl delete all` stands for.
        "delete all --all -n kube-system",
    ] {
        promptly(&lab, line);
        let done = Instant::now();
        let mut now = own(&lab);
        while now != before && done.elapsed() < SOON * 2 {
            now = own(&lab);
        }
        let missing: Vec<_> = before.iter().filter(|one| !now.contains(one)).collect();
        assert!(missing.is_empty(), "{line}: {missing:#?}");
        wait_for(&format!("the name after {line}"), || resolves(&lab).then_some(()));
    }
    // A server-side refusal, as for namespaces: these are what all else is in.
    for namespace in ["default", "kube-system", "kube-public"] {
        let said = lab.refused(&format!("delete namespace {namespace}"), "");
        assert!(said.contains("this namespace may not be deleted"), "{said}");
    }
    lab.end();
}

#[test]
fn all_pods_and_services_of_all_namespaces_can_be_deleted_and_the_demo_runs_again() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    promptly(&lab, "delete pods --all -A");
    promptly(&lab, "wait --for=condition=Available deployment --all --timeout=30s");
    wait_for("the name", || resolves(&lab).then_some(()));
    promptly(&lab, "delete services --all -A");
    let dns = "get service -n kube-system kube-dns -o jsonpath={.spec.clusterIP}";
    wait_for("the DNS", || lab.try_kubectl(dns, "").stdout.eq("10.96.0.10").then_some(()));
    wait_for("no name", || (!resolves(&lab)).then_some(()));
    lab.install_hello_app();
    wait_for("the name", || resolves(&lab).then_some(()));
    lab.end();
}

#[test]
fn the_policies_of_the_dns_are_those_of_its_pod_whichever_it_is() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    wait_for("the name", || resolves(&lab).then_some(()));
    promptly(&lab, "rollout restart deployment -n kube-system coredns");
    promptly(&lab, "rollout status deployment -n kube-system coredns --timeout=30s");
    let deny = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: \
                kube-system}\nspec: {podSelector: {matchLabels: {k8s-app: kube-dns}}}\n";
    let _ = lab.kubectl_with("apply -f -", deny);
    wait_for("the policy", || (!resolves(&lab)).then_some(()));
    promptly(&lab, "delete pod -n kube-system -l k8s-app=kube-dns");
    let available =
        "wait --for=condition=Ready -n kube-system pod -l k8s-app=kube-dns --timeout=30s";
    wait_for("the new pod", || lab.try_kubectl(available, "").status.success().then_some(()));
    assert!(!resolves(&lab), "the new pod's policy is the old one's");
    let _ = lab.kubectl_with("delete -f -", deny);
    wait_for("the name", || resolves(&lab).then_some(()));
    lab.end();
}

#[test]
fn the_dns_is_a_deployment_as_in_any_cluster_that_people_scale_quarantine_and_look_into() {
    let lab = Lab::start(As::Myself);
    lab.install_hello_app();
    wait_for("the name", || resolves(&lab).then_some(()));
    let dns = "pod -n kube-system -l k8s-app=kube-dns -o jsonpath={.items[*].metadata.name}";
    let first = lab.kubectl(&format!("get {dns}"));
    assert!(first.starts_with("coredns-") && !first.contains(' '), "{first}");
    // A pod without the label is a pod of its own, and another takes its place.
    promptly(&lab, &format!("label pod -n kube-system {first} k8s-app=other --overwrite"));
    let second = wait_for("another", || {
        let name = lab.kubectl(&format!("get {dns}"));
        (!name.is_empty() && name != first).then_some(name)
    });
    wait_for("the name", || resolves(&lab).then_some(()));
    promptly(&lab, &format!("delete pod -n kube-system {first}"));
    assert_eq!(lab.kubectl(&format!("get {dns}")), second);
    promptly(&lab, "scale deployment -n kube-system coredns --replicas=0");
    wait_for("no name", || (!resolves(&lab)).then_some(()));
    promptly(&lab, "scale deployment -n kube-system coredns --replicas=2");
    promptly(&lab, "rollout status deployment -n kube-system coredns --timeout=30s");
    wait_for("the name", || resolves(&lab).then_some(()));
    lab.end();
}
