//! Nothing that users send hangs the lab: every verb of every kind, with the repository's own manifests, with
//! nothing and with nulls everywhere, from eight clients at once.
//!
//! `HELLO_HANG_HUNT_SECONDS` says for how long: 8 seconds unless it says something else, a minute in earnest.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use end_to_end::proxy::{Proxy, Request};
use end_to_end::{As, Lab, PATIENCE, repository, wait_for};
use serde_json::{Value, json};

/// How many clients there are.
const CLIENTS: usize = 8;

/// The longest that any request may take: far more than one takes, and far less than for ever.
const HANGS: Duration = Duration::from_secs(20);

/// How soon /readyz answers: 99 of 100 within this time. The machine does other things too, among them the
/// pods that the clients make and all of the clients themselves, so the slowest may wait for a processor; a
/// lab that waits for a lock or for one of its requests is slow far more often than that.
const READY: Duration = Duration::from_millis(100);

/// The slowest answer of /readyz: whatever the machine does, it is not for ever.
const READY_AT_LAST: Duration = Duration::from_secs(3);

/// A kind: the path of its group, its plural, and an object of it.
struct Kind {
    group: &'static str,
    plural: &'static str,
    namespaced: bool,
    manifest: Value,
}

/// The first object of this kind in a manifest of the repository.
fn own(file: &str, kind: &str) -> Value {
    let text = std::fs::read_to_string(repository().join("manifests").join(file)).unwrap();
    let documents =
        text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    documents.into_iter().find(|one| one["kind"] == kind).unwrap()
}

fn kinds() -> Vec<Kind> {
    let named = |name: &str| json!({"metadata": {"name": name}});
    let deployment = own("hello-app/hello-server.yaml", "Deployment");
    let pod = json!({"metadata": {"name": "p"}, "spec": deployment["spec"]["template"]["spec"]});
    let set = json!({"metadata": {"name": "r"}, "spec": {
        "replicas": 1, "selector": deployment["spec"]["selector"], "template": deployment["spec"]["template"],
    }});
    let slice =
        json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": [], "ports": []});
    let of_template = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "selector": deployment["spec"]["selector"], "template": deployment["spec"]["template"],
        }})
    };
    let (daemons, stateful) = (of_template("d"), of_template("u"));
    let mut ending = deployment["spec"]["template"].clone();
    ending["spec"]["restartPolicy"] = "Never".into();
    let kind = |group, plural, namespaced, manifest| Kind { group, plural, namespaced, manifest };
    vec![
        kind("/api/v1", "configmaps", true, json!({"metadata": {"name": "c"}, "data": {"a": "b"}})),
        kind("/api/v1", "endpoints", true, json!({"metadata": {"name": "n"}, "subsets": []})),
        kind("/api/v1", "events", true, json!({"metadata": {"name": "v"}, "involvedObject": {}})),
        kind("/api/v1", "namespaces", false, named("hunted")),
        kind("/api/v1", "nodes", false, named("hunted")),
        kind("/api/v1", "pods", true, pod),
        kind(
            "/api/v1",
            "secrets",
            true,
            json!({"metadata": {"name": "t"}, "stringData": {"a": "b"}}),
        ),
        kind("/api/v1", "serviceaccounts", true, named("s")),
        kind("/api/v1", "services", true, own("hello-app/hello-server.yaml", "Service")),
        kind("/apis/apps/v1", "deployments", true, deployment),
        kind("/apis/apps/v1", "replicasets", true, set),
        kind(
            "/apis/apps/v1",
            "controllerrevisions",
            true,
            json!({
                "metadata": {"name": "k"}, "revision": 1, "data": {},
            }),
        ),
        kind("/apis/apps/v1", "daemonsets", true, daemons),
        kind("/apis/apps/v1", "statefulsets", true, stateful),
        kind(
            "/apis/batch/v1",
            "cronjobs",
            true,
            json!({"metadata": {"name": "h"}, "spec": {
                "schedule": "* * * * *", "jobTemplate": {"spec": { "template": ending }},
            }}),
        ),
        kind(
            "/apis/batch/v1",
            "jobs",
            true,
            json!({"metadata": {"name": "j"}, "spec": {
                "template": ending,
            }}),
        ),
        kind("/apis/coordination.k8s.io/v1", "leases", true, named("l")),
        kind("/apis/discovery.k8s.io/v1", "endpointslices", true, slice),
        kind(
            "/apis/networking.k8s.io/v1",
            "networkpolicies",
            true,
            own("network-policy.yaml", "NetworkPolicy"),
        ),
    ]
}

/// The same with null for everything but what names it.
fn with_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let named = matches!(name.as_str(), "name" | "apiVersion" | "kind");
                let value = if named { value.clone() } else { with_nulls(value) };
                (name.clone(), value)
            })
            .collect(),
        Value::Array(elements) => {
            let mut elements: Vec<_> = elements.iter().map(with_nulls).collect();
            elements.push(Value::Null);
            elements.into()
        }
        _ => Value::Null,
    }
}

/// One request: method, path, type of the body, body.
type Ask = (&'static str, String, &'static str, String);

/// Every verb of every kind with every body, in a namespace.
fn requests(namespace: &str) -> Vec<Ask> {
    const PATCHES: [&str; 3] = [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/json-patch+json",
    ];
    let json = "application/json";
    let own = json!({"metadata": {"name": namespace}}).to_string();
    let mut all = Vec::new();
    for Kind { group, plural, namespaced, manifest } in kinds() {
        let name = manifest["metadata"]["name"].as_str().unwrap();
        let list = if namespaced {
            format!("{group}/namespaces/{namespace}/{plural}")
        } else {
            format!("{group}/{plural}")
        };
        let one = format!("{list}/{name}");
        let bodies = [
            manifest.to_string(),
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            with_nulls(&manifest).to_string(),
            json!({"metadata": {"name": name}, "spec": null, "status": null}).to_string(),
        ];
        for body in &bodies {
            // Whatever was deleted meanwhile, by this client or another.
            all.push(("POST", "/api/v1/namespaces".to_owned(), json, own.clone()));
            all.push(("POST", list.clone(), json, manifest.to_string()));
            all.push(("POST", list.clone(), json, body.clone()));
            all.push(("PUT", one.clone(), json, body.clone()));
            for patch in PATCHES {
                all.push(("PATCH", one.clone(), patch, body.clone()));
            }
            let parts: &[_] = match plural {
                "pods" => &["status", "log", "exec?command=true"],
                "deployments" | "replicasets" => &["status", "scale"],
                _ => &["status"],
            };
            for part in parts {
                all.push(("PUT", format!("{one}/{part}"), json, body.clone()));
                all.push(("PATCH", format!("{one}/{part}"), PATCHES[0], body.clone()));
                all.push(("GET", format!("{one}/{part}"), "", String::new()));
            }
        }
        all.push((
            "PATCH",
            one.clone(),
            PATCHES[2],
            json!([{"op": "add", "path": "/metadata/labels", "value": {"a": null}}]).to_string(),
        ));
        all.push(("GET", list.clone(), "", String::new()));
        all.push(("GET", format!("{list}?limit=1"), "", String::new()));
        all.push(("GET", format!("{list}?watch=true&timeoutSeconds=1"), "", String::new()));
        all.push(("GET", one.clone(), "", String::new()));
        for body in &bodies {
            all.push(("DELETE", one.clone(), json, body.clone()));
            all.push(("DELETE", list.clone(), json, body.clone()));
        }
    }
    all
}

/// What came of it.
#[derive(Default)]
struct Found {
    codes: BTreeMap<u16, usize>,
    wrong: Vec<String>,
}

/// Sends everything again and again, each client from another place on.
fn hunt(proxy: &Proxy, client: usize, end: Instant, found: &Mutex<Found>, sent: &AtomicUsize) {
    let all = requests(&format!("hunt-{client}"));
    let places = (client * all.len() / CLIENTS..).map(|place| &all[place % all.len()]);
    for (method, path, content_type, body) in places.take_while(|_| Instant::now() < end) {
        let request = Request { method, path, content_type, body };
        let answer = proxy.try_send(request, &[], HANGS);
        sent.fetch_add(1, Ordering::Relaxed);
        let mut found = found.lock().unwrap();
        match answer {
            Ok(answer) => {
                *found.codes.entry(answer.code).or_default() += 1;
                // 502 is the proxy's, for a connection that broke.
                if answer.code == 502 || answer.body.contains("\"InternalError\"") {
                    found.wrong.push(format!("{method} {path} {body}: {answer:?}"));
                }
            }
            Err(error) => found.wrong.push(format!("{method} {path} {body}: {error}")),
        }
    }
}

/// Asks /readyz until `over`: how long each answer took.
fn ask_ready(proxy: &Proxy, over: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let request = Request { method: "GET", path: "/readyz", content_type: "", body: "" };
        let start = Instant::now();
        let answer = proxy.try_send(request, &[], HANGS).unwrap();
        assert_eq!((answer.code, &*answer.body), (200, "ok"));
        times.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    times.sort();
    times
}

/// Whether the client of this Deployment was answered at its last poll.
fn is_answered(lab: &Lab, deployment: &str) -> bool {
    let log = lab.try_kubectl(&format!("logs --tail 3 deploy/{deployment}"), "");
    log.stdout.starts_with("Hello, world!")
}

#[test]
fn nothing_that_is_sent_hangs_the_lab_and_policies_bite_afterwards() {
    let seconds = std::env::var("HELLO_HANG_HUNT_SECONDS").ok().and_then(|text| text.parse().ok());
    let lab = Lab::start(As::Myself);
    let proxy = Proxy::start(&mut lab.command("kubectl"));
    let (found, sent, over) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(8));
    let times = std::thread::scope(|scope| {
        let asker = Proxy::start(&mut lab.command("kubectl"));
        let over = &over;
        let ready = scope.spawn(move || ask_ready(&asker, over));
        let (proxy, found, sent) = (&proxy, &found, &sent);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || hunt(proxy, client, end, found, sent)))
            .collect();
        let ends: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        assert!(ends.iter().all(Result::is_ok));
        ready.join().unwrap()
    });
    let Found { codes, wrong } = found.into_inner().unwrap();
    let share = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "{} requests: {codes:?}; /readyz {} times: median {:?}, 99th {:?}, slowest {:?}",
        sent.into_inner(),
        times.len(),
        share(50),
        share(99),
        share(100)
    );
    assert!(wrong.is_empty(), "{} wrong: {}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    for code in [200, 201, 400, 404, 422] {
        assert!(codes.contains_key(&code), "{code} was never answered: {codes:?}");
    }
    assert!(share(99) <= READY, "99 of 100 within {:?}", share(99));
    assert!(share(100) <= READY_AT_LAST, "the slowest took {:?}", share(100));

    let start = Instant::now();
    lab.install_hello_app();
    wait_for("answers", || is_answered(&lab, "hello-client-blocked").then_some(()));
    let _ = lab.kubectl("apply -f ./manifests/network-policy.yaml");
    wait_for("the policy", || (!is_answered(&lab, "hello-client-blocked")).then_some(()));
    wait_for("the allowed client", || is_answered(&lab, "hello-client-allowed").then_some(()));
    assert!(start.elapsed() < 2 * PATIENCE);
    lab.end();
}
