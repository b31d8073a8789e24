//! `netpol check`.

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use netpol::lint::warnings;
use netpol::read::{Finding, Manifests};
use serde_json::{Value, json};

use super::sources::{Choice, Paths};
use super::{Failure, say, say_error};

/// Check manifests as an API server with strict validation does, and for what is hardly meant
///
/// Errors are what an API server refuses; exit code 2. Warnings are about what is valid: a policy that
/// selects no pod, a peer that matches nobody, a named port that nobody has, a DNS that is cut off, a
/// pod that nobody reaches.
///
/// Example: netpol check manifests/hello-app manifests/network-policy.yaml
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    paths: Paths,

    #[command(flatten)]
    choice: Choice,

    /// The form of the findings
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// What not to pass: exit code 1 for warnings
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// A line each: file, line, field, what is wrong
    #[default]
    Text,
    /// An array of objects
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines
    Sarif,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors alone
    #[default]
    Error,
    /// Warnings too
    Warning,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let what = self.paths.to_string();
        let (manifests, findings) = self.paths.read(&self.choice);
        // On a part nothing can be said of what selects whom.
        let warnings = if findings.is_empty() { warnings(&manifests) } else { Vec::new() };
        let errors = [findings, manifests.refusals.clone()].concat();
        if errors.is_empty() && manifests.is_empty() {
            return Err(Failure::BadArgument(anyhow!(
                "{what}: no object of Kubernetes at all: there is nothing to check"
            )));
        }
        match self.format {
            Format::Text => {
                errors.iter().for_each(say_error);
                for Finding { file, line, message } in &warnings {
                    let line = line.map(|line| format!("{line}: ")).unwrap_or_default();
                    say_error(&format_args!(
                        "{}:{line}warning: {message}",
                        if file == "-" { "standard input" } else { file }
                    ));
                }
                if errors.is_empty() {
                    summarise(&manifests, warnings.len())?;
                }
            }
            Format::Json => say(format_args!("{:#}", json(&errors, &warnings)))?,
            Format::Sarif => say(format_args!("{:#}", sarif(&errors, &warnings)))?,
        }
        if !errors.is_empty() {
            return Err(Failure::BadInput(Vec::new()));
        }
        if self.fail_on == FailOn::Warning && !warnings.is_empty() {
            return Err(anyhow!("{} warnings", warnings.len()).into());
        }
        Ok(())
    }
}

/// One line of what was read, and one of what was not.
fn summarise(manifests: &Manifests, warnings: usize) -> anyhow::Result<()> {
    let cluster = &manifests.cluster;
    let (policies, pods) = (cluster.policies().len(), cluster.pods().len());
    let findings = match warnings {
        0 => "no findings".to_owned(),
        1 => "1 warning".to_owned(),
        more => format!("{more} warnings"),
    };
    let policies = match policies {
        1 => "1 policy".to_owned(),
        more => format!("{more} policies"),
    };
    say(format_args!("{findings} in {policies}, {pods} pods and workloads"))?;
    if !manifests.skipped.is_empty() {
        let kinds = manifests.skipped.iter().map(|(kind, count)| format!("{count} {kind}"));
        say(format_args!("not looked at: {}", kinds.collect::<Vec<_>>().join(", ")))?;
    }
    Ok(())
}

fn all<'a>(
    errors: &'a [Finding],
    warnings: &'a [Finding],
) -> impl Iterator<Item = (&'static str, &'a Finding)> {
    let errors = errors.iter().map(|finding| ("error", finding));
    errors.chain(warnings.iter().map(|finding| ("warning", finding)))
}

fn json(errors: &[Finding], warnings: &[Finding]) -> Value {
    let object = |(severity, Finding { file, line, message }): (&str, &Finding)| json!({"file": file, "line": line, "severity": severity, "message": message});
    all(errors, warnings).map(object).collect()
}

/// `docs.oasis-open.org/sarif/sarif/v2.1.0`: an error's rule is the API's, a warning's a lint.
fn sarif(errors: &[Finding], warnings: &[Finding]) -> Value {
    let result = |(level, Finding { file, line, message }): (&str, &Finding)| {
        let rule = if level == "error" { "api" } else { "lint" };
        json!({
            "ruleId": rule,
            "level": level,
            "message": {"text": message},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": file},
                "region": {"startLine": line.unwrap_or(1)},
            }}],
        })
    };
    let results: Vec<Value> = all(errors, warnings).map(result).collect();
    let rules = json!([
        {"id": "api", "shortDescription": {"text": "An API server with strict validation refuses it."}},
        {"id": "lint", "shortDescription": {"text": "It is valid, and hardly meant."}},
    ]);
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "netpol", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}
