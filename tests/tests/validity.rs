//! The lab, a real API server and netpol agree on which policies are valid: those of the tables in
//! netpol/tests/{invalid,odd}.yaml.
//!
//! `HELLO_KUBERNETES` names the kubeconfig of a cluster for tests alone. Nothing is stored there: each
//! request is a dry run.

use std::process::Command;

use end_to_end::proxy::{Proxy, Request};
use end_to_end::{As, Lab, PATIENCE, program, repository, run, skip};
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

/// Whether the API server would take the policy; its answer. The body is sent as it is: kubectl itself
/// parses YAML first, and loses duplicate keys.
fn takes(proxy: &Proxy, text: &str) -> (bool, String) {
    let request = Request {
        method: "POST",
        path: "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies\
               ?dryRun=All&fieldValidation=Strict",
        content_type: "application/yaml",
        body: text,
    };
    let answer = proxy.send(request, PATIENCE);
    assert!(matches!(answer.code, 201 | 400 | 422), "neither taken nor refused: {answer:?}");
    (answer.code == 201, answer.body)
}

/// Every case of both files, and whether it is valid.
fn all_cases() -> Vec<(Case, bool)> {
    let mut all = Vec::new();
    for (file, valid, at_least) in [("invalid.yaml", false, 70), ("odd.yaml", true, 40)] {
        let cases = cases(file);
        assert!(cases.len() >= at_least, "{file}: {}", cases.len());
        all.extend(cases.into_iter().map(|case| (case, valid)));
    }
    all
}

/// Whether netpol is right about a case.
fn netpol_knows(case: &Case, valid: bool) -> Result<(), String> {
    let netpol = run(Command::new(program("netpol")).args(["check", "-"]), &case.text);
    if netpol.status.success() == valid {
        return Ok(());
    }
    Err(format!("netpol: {}: {}", case.name, netpol.stderr))
}

/// Whether `kubectl apply` takes a case as it should.
fn kubectl_knows(kubectl: &mut Command, case: &Case, valid: bool) -> Result<(), String> {
    let kubectl = kubectl.args(["apply", "--dry-run=server", "--validate=strict", "-f", "-"]);
    let output = run(kubectl, &case.text);
    if output.status.success() == (valid || case.taken_by == "kubectl") {
        return Ok(());
    }
    Err(format!("kubectl: {}: {}{}", case.name, output.stdout, output.stderr))
}

#[test]
fn the_lab_refuses_the_invalid_policies_and_takes_the_odd_ones() {
    let lab = Lab::start(As::Myself);
    let judge = |(case, valid): (Case, bool)| {
        [kubectl_knows(&mut lab.command("kubectl"), &case, valid), netpol_knows(&case, valid)]
    };
    let wrong: Vec<_> = all_cases().into_iter().flat_map(judge).filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.end();
}

#[test]
fn the_api_server_refuses_the_invalid_policies_and_takes_the_odd_ones() {
    const NAME: &str = "the_api_server_refuses_the_invalid_policies_and_takes_the_odd_ones";
    let Ok(kubeconfig) = std::env::var("HELLO_KUBERNETES") else {
        return skip(NAME, "HELLO_KUBERNETES names no kubeconfig of a Kubernetes for tests");
    };
    let kubectl = || {
        let mut kubectl = Command::new("kubectl");
        kubectl.env("KUBECONFIG", &kubeconfig);
        kubectl
    };
    let proxy = Proxy::start(&mut kubectl());
    let mut wrong = Vec::new();
    for (case, valid) in all_cases() {
        let (taken, answer) = takes(&proxy, &case.text);
        if taken != (valid || case.taken_by == "API server") {
            wrong.push(format!("the API server: {}: {answer}", case.name));
        }
        wrong.extend(kubectl_knows(&mut kubectl(), &case, valid).err());
        wrong.extend(netpol_knows(&case, valid).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
