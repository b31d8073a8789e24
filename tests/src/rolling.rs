//! A rolling restart under load, the same on any cluster.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Polls of the server, each on a connection of its own, while it is restarted.
pub const POLLS: usize = 20_000;

/// However slow the cluster is.
const MOST_TIME: Duration = Duration::from_secs(600);

/// The Pod that polls `server`, as restricted as the demo's own.
fn poller(server: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hello-poller"},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 9999, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "hello-client", "image": "hello-client:1.0.0",
                "args": [
                    format!("http://{server}:8080"), "--interval", "0",
                    "--count", POLLS.to_string(), "--expect", "allowed", "--log-format", "json",
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
    .to_string()
}

/// Polls the demo's server from a Pod while its Deployment is rolled over again and again, with
/// `kubectl LINE < INPUT`. That every poll was answered is what its exit code says.
///
/// # Panics
///
/// When one was not, or when it takes ten minutes.
pub fn polls_through_restarts(kubectl: impl Fn(&str, &str) -> String) {
    let start = Instant::now();
    // Its address, not its name: 20,000 names would be most of the work.
    let server = kubectl("get service hello-server -o jsonpath={.spec.clusterIP}", "");
    let _ = kubectl("apply -f -", &poller(&server));
    let _ = kubectl("wait --for=condition=Ready pod/hello-poller --timeout=60s", "");
    let mut restarts = 0;
    let phase = loop {
        let phase = kubectl("get pod hello-poller -o jsonpath={.status.phase}", "");
        if phase != "Running" {
            break phase;
        }
        assert!(start.elapsed() < MOST_TIME, "after {restarts} restarts it still polls");
        // `rollout restart` refuses a second one within the same second.
        let _ = kubectl(&format!("set env deployment/hello-server ROUND={restarts}"), "");
        let _ = kubectl("rollout status deployment/hello-server --timeout=60s", "");
        restarts += 1;
    };
    // A runtime may keep only the last of so many lines.
    let log = kubectl("logs hello-poller", "");
    let failed: Vec<_> = log.lines().filter(|line| !line.contains("\"answered\"")).collect();
    assert_eq!(phase, "Succeeded", "{restarts} restarts\n{}", failed.join("\n"));
    assert!(restarts >= 2, "{restarts}");
    let servers: BTreeSet<_> =
        log.split("Hostname: ").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(servers.len() >= 2, "the polls met only {servers:?}");
}
