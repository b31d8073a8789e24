//! The tables of invalid policies, and of odd ones that are valid. tests/tests/kubernetes.rs of the
//! repository sends the same to a real API server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is how it fails")]

use netpol::read::{Input, valid_manifests};
use serde::Deserialize;

const HEAD: &str =
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";

#[derive(Deserialize)]
struct Entry {
    case: String,
    spec: Option<String>,
    document: Option<String>,
    says: Option<String>,
}

impl Entry {
    fn text(&self) -> String {
        match (&self.document, &self.spec) {
            (Some(document), None) => document.clone(),
            (None, Some(spec)) => {
                let lines = spec.lines().map(|line| format!("  {line}\n"));
                HEAD.to_owned() + &lines.collect::<String>()
            }
            _ => panic!("{}: either a document or a spec", self.case),
        }
    }

    /// What netpol finds in it.
    fn findings(&self) -> Vec<String> {
        let result = valid_manifests(&[Input::new("-")], self.text().as_bytes());
        let findings = result.err().unwrap_or_default();
        findings
            .iter()
            .map(|finding| finding.to_string().replacen("standard input:", "", 1))
            .collect()
    }
}

fn cases(text: &str) -> Vec<Entry> {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn what_the_api_server_refuses_is_found_with_its_line_and_field() {
    let cases = cases(include_str!("invalid.yaml"));
    assert!(cases.len() >= 60, "{}", cases.len());
    let wrong = cases.iter().filter_map(|case| {
        let (findings, says) = (case.findings(), case.says.as_deref().unwrap());
        let found = findings.iter().any(|finding| finding.starts_with(says));
        (!found).then(|| format!("{}\n  not said: {says}\n  but: {findings:?}", case.case))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_looks_odd_and_is_valid_has_no_finding() {
    let cases = cases(include_str!("odd.yaml"));
    assert!(cases.len() >= 20, "{}", cases.len());
    let wrong: Vec<_> = cases
        .iter()
        .filter(|case| !case.findings().is_empty())
        .map(|case| format!("{}: {:?}", case.case, case.findings()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
