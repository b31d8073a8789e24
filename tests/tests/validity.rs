//! A real API server and netpol agree on which policies are valid: those of the tables in
//! netpol/tests/{invalid,odd}.yaml.
//!
//! `HELLO_KUBERNETES` names the kubeconfig of a cluster for tests alone. Nothing is stored there: each
//! request is a dry run.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use end_to_end::{program, repository, run, skip};
use serde_json::Value;

const HEAD: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";

/// A policy.
struct Case {
    name: String,
    text: String,
    /// Who takes it although it is invalid.
    taken_by: String,
}

fn cases(file: &str) -> Vec<Case> {
    let path = repository().join("netpol/tests").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let list: Vec<Value> = serde_saphyr::from_str(&text).unwrap();
    let case = |case: &Value| {
        let text = match (case["document"].as_str(), case["spec"].as_str()) {
            (Some(document), None) => document.to_owned(),
            (None, Some(spec)) => {
                let lines: Vec<_> = spec.lines().map(|line| format!("  {line}\n")).collect();
                HEAD.to_owned() + &lines.concat()
            }
            _ => panic!("either a document or a spec: {case}"),
        };
        let taken_by = case["taken by"].as_str().unwrap_or_default().to_owned();
        Case { name: case["case"].as_str().unwrap().to_owned(), text, taken_by }
    };
    list.iter().map(case).collect()
}

/// `kubectl proxy`, so that a body can be sent as it is: kubectl itself parses YAML first, and loses
/// duplicate keys.
struct Proxy {
    process: Child,
    port: u16,
}

impl Proxy {
    fn start(kubeconfig: &str) -> Self {
        let mut process = Command::new("kubectl")
            .args(["proxy", "--port=0", "--kubeconfig", kubeconfig])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().expect("the proxy's port");
        Self { process, port }
    }

    /// Whether the API server would take the policy; its answer.
    fn takes(&self, text: &str) -> (bool, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST /apis/networking.k8s.io/v1/namespaces/default/networkpolicies\
             ?dryRun=All&fieldValidation=Strict HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/yaml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let refused = answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 422 ");
        let taken = answer.starts_with("HTTP/1.1 201 ");
        assert!(refused || taken, "neither taken nor refused: {answer}");
        (taken, answer)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_api_server_refuses_the_invalid_policies_and_takes_the_odd_ones() {
    const NAME: &str = "the_api_server_refuses_the_invalid_policies_and_takes_the_odd_ones";
    let Ok(kubeconfig) = std::env::var("HELLO_KUBERNETES") else {
        return skip(NAME, "HELLO_KUBERNETES names no kubeconfig of a Kubernetes for tests");
    };
    let proxy = Proxy::start(&kubeconfig);
    let mut wrong = Vec::new();
    for (file, valid, at_least) in [("invalid.yaml", false, 60), ("odd.yaml", true, 20)] {
        let cases = cases(file);
        assert!(cases.len() >= at_least, "{file}: {}", cases.len());
        for case in &cases {
            let (taken, answer) = proxy.takes(&case.text);
            if taken != (valid || case.taken_by == "API server") {
                wrong.push(format!("the API server: {file}: {}: {answer}", case.name));
            }
            let mut kubectl = Command::new("kubectl");
            kubectl.args(["apply", "--dry-run=server", "--validate=strict", "-f", "-"]);
            let output = run(kubectl.env("KUBECONFIG", &kubeconfig), &case.text);
            let taken = output.status.success();
            if taken != (valid || case.taken_by == "kubectl") {
                wrong.push(format!("kubectl: {file}: {}: {}", case.name, output.stderr));
            }
            let netpol = run(Command::new(program("netpol")).args(["check", "-"]), &case.text);
            if netpol.status.success() != valid {
                wrong.push(format!("netpol: {file}: {}: {}", case.name, netpol.stderr));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
