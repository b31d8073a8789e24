//! `netpol check`.

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use netpol::lint::cidrs::{Version, refused};
use netpol::lint::{Level, Remark, warnings};
use netpol::read::{Finding, Manifests};
use serde_json::{Value, json};

use super::sources::{Choice, Paths, Read};
use super::{Failure, say, say_error, say_sentences};

/// Check manifests as an API server with strict validation does, and for what is hardly meant
///
/// Errors are what an API server refuses; exit code 2. Warnings are about what is valid: a policy that
/// selects no pod, a peer that matches nobody, a port that is a Service's and no pod's, a DNS that is cut
/// off, a pod or a Service that nobody reaches, a list that is empty and means everyone. Notes are right if
/// something is there that no manifest shows, such as the pods that an operator makes.
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

    /// The version of Kubernetes whose rules hold: from 1.36 on, odd CIDRs are errors
    #[arg(long, value_name = "VERSION", default_value = "1.35")]
    kubernetes: Version,

    /// What not to pass: exit code 1 for warnings; never for notes
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
        let Read { manifests, findings, .. } = self.paths.read(&self.choice)?;
        // On a part nothing can be said of what selects whom.
        let remarks =
            if findings.is_empty() { warnings(&manifests, self.kubernetes) } else { Vec::new() };
        let refused = refused(&manifests, self.kubernetes);
        let errors = [findings, manifests.refusals.clone(), refused].concat();
        if errors.is_empty() && manifests.is_empty() {
            return Err(Failure::BadArgument(anyhow!(
                "{what}: no object of Kubernetes at all: there is nothing to check"
            )));
        }
        match self.format {
            Format::Text => {
                errors.iter().for_each(say_error);
                for Remark { level, finding: Finding { file, line, message } } in &remarks {
                    let line = line.map(|line| format!("{line}: ")).unwrap_or_default();
                    say_error(&format_args!(
                        "{}:{line}{level}: {message}",
                        if file == "-" { "standard input" } else { file }
                    ));
                }
                if errors.is_empty() {
                    summarise(&manifests, &remarks)?;
                }
            }
            Format::Json => say(format_args!("{:#}", json(&errors, &remarks)))?,
            Format::Sarif => say(format_args!("{:#}", sarif(&errors, &remarks)))?,
        }
        if !errors.is_empty() {
            return Err(Failure::BadInput(Vec::new()));
        }
        let warnings = count(&remarks, Level::Warning);
        if self.fail_on == FailOn::Warning && warnings != 0 {
            return Err(anyhow!("{warnings} warnings").into());
        }
        Ok(())
    }
}

/// One line of what was read, and one of what was not.
fn summarise(manifests: &Manifests, remarks: &[Remark]) -> anyhow::Result<()> {
    let cluster = &manifests.cluster;
    let (policies, pods) = (cluster.policies().len(), cluster.pods().len());
    let counted = [Level::Warning, Level::Note].map(|level| match count(remarks, level) {
        0 => None,
        1 => Some(format!("1 {level}")),
        more => Some(format!("{more} {level}s")),
    });
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    let findings =
        if counted.is_empty() { "no findings".to_owned() } else { counted.join(" and ") };
    let policies = match policies {
        1 => "1 policy".to_owned(),
        more => format!("{more} policies"),
    };
    say_sentences(&format!("{findings} in {policies}, {pods} pods and workloads"))?;
    if !manifests.skipped.is_empty() {
        let kinds = manifests.skipped.iter().map(|(kind, count)| format!("{count} {kind}"));
        say_sentences(&format!("not looked at: {}", kinds.collect::<Vec<_>>().join(", ")))?;
    }
    Ok(())
}

fn count(remarks: &[Remark], level: Level) -> usize {
    remarks.iter().filter(|remark| remark.level == level).count()
}

fn all<'a>(
    errors: &'a [Finding],
    remarks: &'a [Remark],
) -> impl Iterator<Item = (String, &'a Finding)> {
    let errors = errors.iter().map(|finding| ("error".to_owned(), finding));
    errors.chain(remarks.iter().map(|remark| (remark.level.to_string(), &remark.finding)))
}

fn json(errors: &[Finding], remarks: &[Remark]) -> Value {
    let object = |(severity, Finding { file, line, message }): (String, &Finding)| json!({"file": file, "line": line, "severity": severity, "message": message});
    all(errors, remarks).map(object).collect()
}

/// `docs.oasis-open.org/sarif/sarif/v2.1.0`: an error's rule is the API's, a warning's and a note's a lint.
fn sarif(errors: &[Finding], remarks: &[Remark]) -> Value {
    let result = |(level, Finding { file, line, message }): (String, &Finding)| {
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
    let results: Vec<Value> = all(errors, remarks).map(result).collect();
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
