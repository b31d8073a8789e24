//! The lab and a real API server answer the same requests with the same status, reason and effect: those of
//! the tables in tests/requests/*.yaml, each sent as it stands there, without what kubectl makes of it.
//!
//! `HELLO_KUBERNETES` names the kubeconfig of a cluster for tests alone. Each request has a namespace of its
//! own there, which is deleted afterwards.
//!
//! # The tables
//!
//! A case has a name, requests that are sent first (`given`), the one that it is about (`ask`), and what can
//! be seen afterwards (`then`, waited for). A request is a method and a path; a path without a leading `/` is
//! in the case's namespace, which `{ns}` stands for. `{uid NAME}` and `{version NAME}` are those of an object
//! that was answered with before, `{continue}` is the last list's; `<repeat 3 x>` is `xxx`.
//!
//! What is expected of an answer: `code`; `reason` and a part of the message (`says`) of a Status; a part of a
//! `Warning` header (`warns`); a part of the body (`has`: fields of objects, all elements of lists, null for
//! what is absent). `lab` has what differs on the lab, which refuses by name what it does not have.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use end_to_end::proxy::{Answer, Proxy, Request};
use end_to_end::{As, Lab, PATIENCE, repository, skip};
use serde_json::{Value, json};

/// The place of each plural in the API.
const GROUPS: [(&str, &str); 11] = [
    ("configmaps", "/api/v1"),
    ("events", "/api/v1"),
    ("pods", "/api/v1"),
    ("services", "/api/v1"),
    ("serviceaccounts", "/api/v1"),
    ("deployments", "/apis/apps/v1"),
    ("replicasets", "/apis/apps/v1"),
    ("endpointslices", "/apis/discovery.k8s.io/v1"),
    ("networkpolicies", "/apis/networking.k8s.io/v1"),
    ("persistentvolumeclaims", "/api/v1"),
    ("nosuchthings", "/api/v1"),
];

/// A cluster that is asked.
struct Cluster {
    proxy: Proxy,
    token: String,
    is_lab: bool,
}

/// One case as it runs: its namespace, and what it has learnt.
struct Run<'c> {
    cluster: &'c Cluster,
    namespace: String,
    known: BTreeMap<String, String>,
}

impl Run<'_> {
    fn fill_in(&self, text: &str) -> String {
        let mut text =
            text.replace("{ns}", &self.namespace).replace("{token}", &self.cluster.token);
        for (name, value) in &self.known {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        while let Some((before, rest)) = text.split_once("<repeat ") {
            let (inside, after) = rest.split_once('>').expect("its end");
            let (count, what) = inside.split_once(' ').expect("a number and a text");
            text = format!("{before}{}{after}", what.repeat(count.parse().expect("a number")));
        }
        text
    }

    fn send(&mut self, step: &Value) -> Answer {
        let ask = step["ask"].as_str().unwrap_or_else(|| panic!("no request: {step}"));
        let (method, path) = ask.split_once(' ').expect("a method and a path");
        let path = self.fill_in(path);
        let path = if path.starts_with('/') {
            path
        } else {
            let plural = path.split(['/', '?']).next().unwrap_or_default();
            let group = GROUPS.iter().find(|(name, _)| *name == plural);
            let (_, group) = group.unwrap_or_else(|| panic!("no plural {plural:?}"));
            format!("{group}/namespaces/{}/{path}", self.namespace)
        };
        let body = match (&step["body"], step["text"].as_str()) {
            (Value::Null, None) => String::new(),
            (Value::Null, Some(text)) => text.to_owned(),
            (body, _) => body.to_string(),
        };
        let body = self.fill_in(&body);
        let content_type = match (step["type"].as_str(), method) {
            (Some("merge" | "json" | "strategic"), _) => {
                let kind = step["type"].as_str().unwrap_or_default();
                let kind = kind.replace("strategic", "strategic-merge");
                format!("application/{kind}-patch+json")
            }
            (Some(given), _) => given.to_owned(),
            (None, "PATCH") => "application/merge-patch+json".to_owned(),
            (None, "GET") => String::new(),
            (None, _) => "application/json".to_owned(),
        };
        let headers = step["headers"].as_object().into_iter().flatten();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.clone(), self.fill_in(value.as_str().unwrap_or_default())))
            .collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let request = Request { method, path: &path, content_type: &content_type, body: &body };
        let answer = self.cluster.proxy.send_with(request, &headers, PATIENCE);
        self.learn(&answer);
        answer
    }

    fn learn(&mut self, answer: &Answer) {
        let Ok(object) = serde_json::from_str::<Value>(&answer.body) else { return };
        let metadata = &object["metadata"];
        if let Some(name) = metadata["name"].as_str() {
            for (what, field) in [("uid", "uid"), ("version", "resourceVersion")] {
                let value = metadata[field].as_str().unwrap_or_default();
                self.known.insert(format!("{what} {name}"), value.to_owned());
            }
        } else if let Some(version) = metadata["resourceVersion"].as_str() {
            self.known.insert("list version".to_owned(), version.to_owned());
        }
        if let Some(token) = metadata["continue"].as_str() {
            self.known.insert("continue".to_owned(), token.to_owned());
        }
    }

    /// What is wrong with an answer.
    fn judge(&self, expected: &Value, answer: &Answer) -> Option<String> {
        let mut expected = expected.clone();
        if self.cluster.is_lab
            && let Some(lab) = expected["lab"].as_object().cloned()
        {
            for (name, value) in lab {
                expected[name] = value;
            }
        }
        let code = answer.code.to_string();
        let right = match &expected["code"] {
            Value::Null => code.starts_with('2'),
            given => *given == answer.code,
        };
        if !right {
            return Some(format!("{code}, not {}", expected["code"]));
        }
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if let Some(reason) = expected["reason"].as_str()
            && body["reason"] != reason
        {
            return Some(format!("reason {}, not {reason}", body["reason"]));
        }
        if answer.code >= 400 && expected["code"].is_number() {
            let status = json!({"kind": "Status", "status": "Failure", "code": answer.code});
            if !is_part(&status, &body) && expected["bare"] != true {
                return Some("no Status".to_owned());
            }
        }
        let message = body["message"].as_str().unwrap_or(&answer.body);
        if let Some(says) = expected["says"].as_str()
            && !message.contains(&self.fill_in(says))
        {
            return Some(format!("it does not say {says:?}"));
        }
        match &expected["warns"] {
            Value::String(part)
                if !answer.head.contains(part.as_str()) || !answer.head.contains("299 - ") =>
            {
                return Some(format!("no warning {part:?}"));
            }
            Value::Null | Value::String(_) => {}
            _ if answer.head.contains("299 - ") => return Some("a warning".to_owned()),
            _ => {}
        }
        let has: Value =
            serde_json::from_str(&self.fill_in(&expected["has"].to_string())).expect("JSON");
        (!has.is_null() && !is_part(&has, &body)).then(|| format!("it has not {has}"))
    }

    fn case(&mut self, case: &Value) -> Result<(), String> {
        let list = |name: &str| case[name].as_array().cloned().unwrap_or_default();
        for step in list("given") {
            self.step(&step, step["wait"] == true).map_err(|error| format!("given {error}"))?;
        }
        self.step(case, case["wait"] == true)?;
        for step in list("then") {
            self.step(&step, true).map_err(|error| format!("then {error}"))?;
        }
        Ok(())
    }

    /// Sends a request, or with `waits` again and again until the answer is right.
    fn step(&mut self, step: &Value, waits: bool) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let answer = self.send(step);
            let Some(wrong) = self.judge(step, &answer) else { return Ok(()) };
            if !waits || start.elapsed() > Duration::from_secs(20) {
                return Err(format!("{}: {wrong}: {}", step["ask"], shown(&answer)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn shown(answer: &Answer) -> String {
    let mut text = format!("{} {}", answer.code, answer.body.trim());
    if let Some((end, _)) = text.char_indices().nth(600) {
        text.truncate(end);
    }
    text
}

/// Whether `part` is in `whole`: each field of an object, every element of a list; null is absent.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(fields), _) => {
            fields.iter().all(|(name, value)| is_part(value, &whole[name.as_str()]))
        }
        (Value::Array(some), Value::Array(all)) => {
            some.len() == all.len()
                && some.iter().zip(all).all(|(part, whole)| is_part(part, whole))
        }
        (Value::Array(some), Value::Null) => some.is_empty(),
        (part, whole) => part == whole,
    }
}

/// The cases of every table.
fn cases() -> Vec<Value> {
    let folder = repository().join("tests/tests/requests");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let cases: Vec<Value> = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        all.extend(cases);
    }
    all
}

/// Sends all cases, and tells of those that were not answered as they should be.
fn send_all(cluster: &Cluster) {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    let only = std::env::var("HELLO_REQUEST").unwrap_or_default();
    let mut wrong = Vec::new();
    let run = std::process::id();
    for (index, case) in cases.iter().enumerate() {
        let name = case["case"].as_str().unwrap_or_else(|| panic!("no name: {case}"));
        if !name.contains(&only) {
            continue;
        }
        let namespace = format!("requests-{run}-{index}");
        let mut run = Run { cluster, namespace: namespace.clone(), known: BTreeMap::new() };
        let made =
            json!({"ask": "POST /api/v1/namespaces", "body": {"metadata": {"name": namespace}}});
        assert_eq!(run.send(&made).code, 201);
        if let Err(error) = run.case(case) {
            wrong.push(format!("- {name}: {error}"));
        }
        let _ = run.send(&json!({"ask": format!("DELETE /api/v1/namespaces/{namespace}")}));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn token(kubectl: &mut Command) -> String {
    let token = kubectl.args(["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"]);
    String::from_utf8(token.output().unwrap().stdout).unwrap()
}

#[test]
fn the_lab_answers_each_request_as_an_api_server_does_or_refuses_it_by_name() {
    let lab = Lab::start(As::Myself);
    let cluster = Cluster {
        proxy: Proxy::start(&mut lab.command("kubectl")),
        token: token(&mut lab.command("kubectl")),
        is_lab: true,
    };
    send_all(&cluster);
    lab.end();
}

#[test]
fn a_real_api_server_answers_each_request_as_the_table_says() {
    const NAME: &str = "a_real_api_server_answers_each_request_as_the_table_says";
    let Ok(kubeconfig) = std::env::var("HELLO_KUBERNETES") else {
        return skip(NAME, "HELLO_KUBERNETES names no kubeconfig of a Kubernetes for tests");
    };
    let kubectl = || {
        let mut kubectl = Command::new("kubectl");
        kubectl.env("KUBECONFIG", &kubeconfig);
        kubectl
    };
    let proxy = Proxy::start(&mut kubectl());
    send_all(&Cluster { proxy, token: token(&mut kubectl()), is_lab: false });
}
