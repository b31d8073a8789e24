//! The demo on a real Kubernetes that enforces no NetworkPolicy: all but the policies' effect.
//!
//! `HELLO_KUBERNETES` names the kubeconfig of a cluster for tests alone, which has the images.

use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use end_to_end::rolling::polls_through_restarts;
use end_to_end::{Output, program, repository, run, skip, wait_for};
use serde_json::Value;

/// One test at a time has the namespace `default`.
static DEFAULT: Mutex<()> = Mutex::new(());

struct Cluster {
    kubeconfig: String,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// The cluster, whose namespace `default` admits only what is `restricted`; `None`, with the
    /// reason said, where there is none.
    fn get(test: &str) -> Option<Self> {
        let Ok(kubeconfig) = std::env::var("HELLO_KUBERNETES") else {
            skip(test, "HELLO_KUBERNETES names no kubeconfig of a Kubernetes for tests");
            return None;
        };
        let alone = DEFAULT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let cluster = Self { kubeconfig, _alone: alone };
        let _ = cluster.kubectl("label ns default pod-security.kubernetes.io/enforce=restricted");
        // Of those who were here before.
        let _ = cluster.kubectl("delete events --all");
        Some(cluster)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig).current_dir(repository());
        command
    }

    fn try_kubectl(&self, line: &str, input: &str) -> Output {
        run(self.command("kubectl").args(line.split_whitespace()), input)
    }

    fn kubectl(&self, line: &str) -> String {
        self.try_kubectl(line, "").ok()
    }

    /// The warnings among the events of the demo's own objects.
    fn warnings(&self) -> Vec<String> {
        let events = self.kubectl("get events --field-selector type=Warning -o json");
        let events: Value = serde_json::from_str(&events).unwrap();
        let items = events["items"].as_array().unwrap();
        let about = |event: &Value| {
            let name = event["involvedObject"]["name"].as_str().unwrap_or_default().to_owned();
            format!("{name}: {}: {}", event["reason"], event["message"])
        };
        items.iter().map(about).filter(|text| text.starts_with("hello-")).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.try_kubectl("delete --ignore-not-found -f ./manifests/hello-app/", "");
        let _ = self.try_kubectl("delete --ignore-not-found pod hello-poller", "");
        let _ = self.try_kubectl("delete events --all", "");
        let _ = self.try_kubectl("label ns default pod-security.kubernetes.io/enforce-", "");
    }
}

#[test]
fn the_manifests_run_on_a_real_kubernetes_without_a_warning_and_restart_without_a_loss() {
    let Some(cluster) = Cluster::get(
        "the_manifests_run_on_a_real_kubernetes_without_a_warning_and_restart_without_a_loss",
    ) else {
        return;
    };
    let applied = cluster.kubectl("apply -f ./manifests/hello-app/");
    assert!(applied.contains("deployment.apps/hello-server created"), "{applied}");
    let _ = cluster.kubectl("wait --for=condition=Available deployment --all --timeout=60s");
    for label in ["hello", "not-hello"] {
        // Name, Service and server answer both clients.
        wait_for("the client's log", || {
            let log = cluster.kubectl(&format!("logs --tail 3 -l app={label}"));
            log.starts_with("Hello, world!\nVersion: 1.0.0\nHostname: hello-server-").then_some(())
        });
    }
    // A kubelet may ask before the server listens, where a machine is busy; and the controller of Endpoints may
    // not have heard yet that those are gone which the test before has left.
    let is_of_the_start = |text: &String| {
        (text.contains("Readiness probe failed") && text.ends_with("connect: connection refused\""))
            || text.contains("\"FailedToCreateEndpoint\"") && text.ends_with("already exists\"")
    };
    let warnings = || {
        let all = cluster.warnings().into_iter();
        all.filter(|text| !is_of_the_start(text)).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), Vec::<String>::new());

    polls_through_restarts(|line, input| cluster.try_kubectl(line, input).ok());
    // That a server that drains is not ready is how it asks for no more requests; the kubelet goes on
    // to ask until it has seen the end.
    let pods = cluster.kubectl("get pods -o name");
    let is_of_the_end = |text: &String| {
        let name = text.split(':').next().unwrap_or_default();
        text.contains("Readiness probe failed: HTTP probe failed with statuscode: 503")
            || (text.contains("Readiness probe failed") && !pods.contains(name))
    };
    let others: Vec<_> = warnings().into_iter().filter(|text| !is_of_the_end(text)).collect();
    assert_eq!(others, Vec::<String>::new());
}

#[test]
fn validate_says_on_a_real_kubernetes_that_no_engine_enforces() {
    let Some(cluster) = Cluster::get("validate_says_on_a_real_kubernetes_that_no_engine_enforces")
    else {
        return;
    };
    let mut validate = cluster.command("scripts/validate.sh");
    let said = run(validate.env("WAIT", "20").stdin(Stdio::null()), "").failed();
    assert!(said.contains("Hello, world!\nVersion: 1.0.0\nHostname: hello-server-"), "{said}");
    assert!(said.contains("deployment \"hello-server\" successfully rolled out"), "{said}");
    assert!(
        said.contains("although a NetworkPolicy forbids it. Does a policy engine run"),
        "{said}"
    );
    assert_eq!(cluster.kubectl("get deployments,networkpolicies -o name"), "");
}

#[test]
fn the_api_server_takes_every_manifest_without_a_warning() {
    let Some(cluster) = Cluster::get("the_api_server_takes_every_manifest_without_a_warning")
    else {
        return;
    };
    let files = ["hello-app", "network-policy.yaml", "network-policy-namespaced.yaml"];
    for file in files.into_iter().chain(["network-policy-combined.yaml"]) {
        let line = format!("apply --dry-run=server --validate=strict -f ./manifests/{file}");
        let output = cluster.try_kubectl(&line, "");
        assert_eq!(output.stderr, "", "{file}");
        assert!(output.ok().contains("created (server dry run)"), "{file}");
    }
}

/// A workload of each kind that makes pods, all of them with a policy.
const EVERY_KIND: &str = r"
kind: Namespace
apiVersion: v1
metadata: {name: drift, labels: {team: drift}}
---
{kind: Pod, apiVersion: v1, metadata: {name: bare, namespace: drift, labels: {app: bare}}, spec: SPEC}
---
{kind: Deployment, apiVersion: apps/v1, metadata: {name: web, namespace: drift}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: SPEC}}}
---
{kind: StatefulSet, apiVersion: apps/v1, metadata: {name: db, namespace: drift}, spec: {serviceName: db, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: SPEC}}}
---
{kind: DaemonSet, apiVersion: apps/v1, metadata: {name: agent, namespace: drift}, spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, spec: SPEC}}}
---
{kind: ReplicaSet, apiVersion: apps/v1, metadata: {name: set, namespace: drift}, spec: {selector: {matchLabels: {app: set}}, template: {metadata: {labels: {app: set}}, spec: SPEC}}}
---
{kind: Job, apiVersion: batch/v1, metadata: {name: once, namespace: drift}, spec: {template: {metadata: {labels: {app: once}}, spec: {restartPolicy: Never, containers: [{name: c, image: 'nobody/has-this:1', imagePullPolicy: Never}]}}}}
---
{kind: CronJob, apiVersion: batch/v1, metadata: {name: nightly, namespace: drift}, spec: {schedule: '0 3 * * *', jobTemplate: {spec: {template: {metadata: {labels: {app: nightly}}, spec: {restartPolicy: Never, containers: [{name: c, image: 'nobody/has-this:1', imagePullPolicy: Never}]}}}}}}
---
{kind: Service, apiVersion: v1, metadata: {name: db, namespace: drift}, spec: {selector: {app: db}, ports: [{port: 80, targetPort: http}]}}
---
{kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, metadata: {name: db, namespace: drift}, spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, nightly]}]}}, {ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: http}]}]}}
---
{kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, metadata: {name: out, namespace: drift}, spec: {podSelector: {matchLabels: {app: agent}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: drift}}}]}]}}
";

#[test]
fn what_was_applied_to_a_real_kubernetes_has_not_drifted() {
    let Some(cluster) = Cluster::get("what_was_applied_to_a_real_kubernetes_has_not_drifted")
    else {
        return;
    };
    let spec = "{containers: [{name: c, image: 'hello-server:dev', imagePullPolicy: Never, ports: [{name: http, containerPort: 8080}]}]}";
    let manifest = EVERY_KIND.replace("SPEC", spec);
    let written = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(&written, &manifest).unwrap();
    let written = written.path().to_str().unwrap();
    let _ = cluster.kubectl(&format!("apply -f {written}"));
    let pods = || cluster.kubectl("get pods -n drift -o name").lines().count();
    wait_for("a pod of each", || (pods() >= 7).then_some(()));
    let diff = |arguments: &[&str], input: &str| {
        let mut netpol = cluster.command(program("netpol").to_str().unwrap());
        let said = run(netpol.arg("diff").args(arguments).args(["--fail-on", "any"]), input);
        assert_eq!((said.status.code(), said.stdout.as_str()), (Some(0), ""), "{}", said.stderr);
    };
    diff(&[written, "--cluster"], "");
    // A CronJob that has not run yet has no pod that tells of it.
    for kinds in ["all,namespaces,networkpolicies", "namespaces,pods,cronjobs,networkpolicies"] {
        let dump = cluster.kubectl(&format!("get {kinds} -A -o yaml"));
        diff(&[written, "-"], &dump);
        diff(&["-", written], &dump);
    }
    let _ = cluster.kubectl("delete namespace drift --wait=false");
}
