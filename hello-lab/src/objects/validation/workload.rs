//! Rules of what makes pods of a template (pkg/apis/apps/validation, pkg/apis/batch/validation).

use netpol::field_error::FieldError;
use netpol::names;
use netpol::selector::{Selector, labels_of};
use serde_json::{Value, json};

use super::super::names::CONTROLLER_UID_LABEL;
use super::super::schedule::{Schedule, time_zone};
use super::metadata;
use super::pod::{not_negative, one_of};
use super::pod_spec;

/// Indexed Jobs run no more pods at once than this (`maxParallelismForIndexedJob`).
const MOST_INDEXED: i64 = 100_000;

/// What a ReplicaSet and those like it must be: `kind` in the words of the API server.
pub(super) fn replicated(kind: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    errors.extend(not_negative("spec.replicas".to_owned(), &spec["replicas"]));
    errors.extend(template("spec.template", &spec["template"]));
    match serde_json::from_value(spec["selector"].clone()) {
        Err(_) => errors.push(FieldError::required("spec.selector", "")),
        Ok(selector) => match Selector::from_api("spec.selector", &selector) {
            Err(more) => errors.extend(more),
            Ok(selector) if selector.requirements().is_empty() => {
                let detail = format!("empty selector is invalid for {kind}");
                errors.push(FieldError::invalid("spec.selector", spec["selector"].clone(), detail));
            }
            Ok(selector) => errors.extend(selects_its_own(&selector, spec)),
        },
    }
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy.as_str().is_some_and(|policy| policy != "Always") {
        let path = "spec.template.spec.restartPolicy";
        errors.push(FieldError::not_supported(
            path,
            policy.as_str().unwrap_or_default(),
            &["Always"],
        ));
    }
    errors.extend(pod_spec("spec.template.spec", &spec["template"]["spec"]));
    errors
}

/// A selector that does not match its own template would have pods made for ever.
fn selects_its_own(selector: &Selector, spec: &Value) -> Option<FieldError> {
    let metadata = &spec["template"]["metadata"];
    let detail = "`selector` does not match template `labels`";
    (!selector.matches(&labels_of(metadata))).then(|| {
        FieldError::invalid("spec.template.metadata.labels", metadata["labels"].clone(), detail)
    })
}

fn template(path: &str, template: &Value) -> Vec<FieldError> {
    let labels = labels_of(&template["metadata"]);
    let mut errors = names::labels(&format!("{path}.metadata.labels"), &labels);
    let annotations = &template["metadata"]["annotations"];
    errors.extend(metadata::annotations(&format!("{path}.metadata.annotations"), annotations));
    errors
}

/// `ValidateDaemonSet`.
pub(super) fn daemon_set(spec: &Value) -> Vec<FieldError> {
    let mut errors = replicated("daemonset", spec);
    let strategy = &spec["updateStrategy"];
    let types = &["OnDelete", "RollingUpdate"];
    errors.extend(one_of("spec.updateStrategy.type".to_owned(), &strategy["type"], types));
    let rolling = &strategy["rollingUpdate"];
    let is_zero = |value: &Value| value.is_null() || *value == 0 || *value == "0%";
    if rolling.is_object() {
        let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
        if !is_zero(unavailable) && !is_zero(surge) {
            let path = "spec.updateStrategy.rollingUpdate.maxSurge";
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.push(FieldError::invalid(path, surge.clone(), detail));
        }
        if is_zero(unavailable) && is_zero(surge) {
            let path = "spec.updateStrategy.rollingUpdate.maxUnavailable";
            errors.push(FieldError::required(path, "cannot be 0 when maxSurge is 0"));
        }
    }
    for field in ["minReadySeconds", "revisionHistoryLimit"] {
        errors.extend(not_negative(format!("spec.{field}"), &spec[field]));
    }
    errors
}

/// `ValidateStatefulSetSpec`, and what the lab has not.
pub(super) fn stateful_set(spec: &Value) -> Vec<FieldError> {
    let mut errors = replicated("statefulset", spec);
    let policy = &spec["podManagementPolicy"];
    if !matches!(policy.as_str(), None | Some("OrderedReady" | "Parallel")) {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid("spec.podManagementPolicy", policy.clone(), detail));
    }
    let strategy = &spec["updateStrategy"];
    if !matches!(strategy["type"].as_str(), None | Some("OnDelete" | "RollingUpdate")) {
        let detail = "must be 'RollingUpdate' or 'OnDelete'";
        errors.push(FieldError::invalid("spec.updateStrategy", strategy.clone(), detail));
    }
    let partition = &strategy["rollingUpdate"]["partition"];
    errors
        .extend(not_negative("spec.updateStrategy.rollingUpdate.partition".to_owned(), partition));
    errors.extend(not_negative("spec.ordinals.start".to_owned(), &spec["ordinals"]["start"]));
    for field in ["minReadySeconds", "revisionHistoryLimit"] {
        errors.extend(not_negative(format!("spec.{field}"), &spec[field]));
    }
    if spec["volumeClaimTemplates"].as_array().is_some_and(|list| !list.is_empty()) {
        let detail = "hello-lab has no storage that outlives a pod; leave them out, or take kind";
        errors.push(FieldError::forbidden("spec.volumeClaimTemplates", detail));
    }
    errors
}

/// `ValidateStatefulSetUpdate`.
pub(super) fn stateful_set_change(old: &Value, new: &Value) -> Vec<FieldError> {
    const MAY: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        for field in MAY {
            super::super::object::remove(&mut spec, field);
        }
        spec
    };
    if fixed(old) == fixed(new) {
        return Vec::new();
    }
    let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                  'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                  'minReadySeconds' are forbidden";
    vec![FieldError::forbidden("spec", detail)]
}

/// `ValidateJob`.
pub(super) fn job(object: &Value) -> Vec<FieldError> {
    let spec = &object["spec"];
    let mut errors = job_spec("spec", spec);
    let selector = serde_json::from_value(spec["selector"].clone());
    let Ok(selector) = selector else {
        errors.push(FieldError::required("spec.selector", ""));
        return errors;
    };
    match Selector::from_api("spec.selector", &selector) {
        Err(more) => errors.extend(more),
        Ok(selector) => errors.extend(selects_its_own(&selector, spec)),
    }
    let generated = json!({"matchLabels": {CONTROLLER_UID_LABEL: object["metadata"]["uid"]}});
    if spec["manualSelector"] != true && spec["selector"] != generated {
        let detail = "`selector` not auto-generated";
        errors.push(FieldError::invalid("spec.selector", spec["selector"].clone(), detail));
    }
    errors
}

/// `validateJobSpec`, and what the lab has not.
fn job_spec(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let at = |field: &str| format!("{path}.{field}");
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        errors.extend(not_negative(at(field), &spec[field]));
    }
    for field in [
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "podFailurePolicy",
        "successPolicy",
        "managedBy",
    ] {
        if !spec[field].is_null() {
            errors.push(FieldError::forbidden(at(field), "hello-lab's Jobs have none"));
        }
    }
    let modes = &["Indexed", "NonIndexed"];
    errors.extend(one_of(at("completionMode"), &spec["completionMode"], modes));
    if spec["completionMode"] == "Indexed" {
        if spec["completions"].is_null() {
            let detail = "when completion mode is Indexed";
            errors.push(FieldError::required(at("completions"), detail));
        }
        let parallelism = &spec["parallelism"];
        if parallelism.as_i64().is_some_and(|number| number > MOST_INDEXED) {
            let detail = format!(
                "must be less than or equal to {MOST_INDEXED} when completion mode is Indexed"
            );
            errors.push(FieldError::invalid(at("parallelism"), parallelism.clone(), detail));
        }
    }
    let policies = &["Failed", "TerminatingOrFailed"];
    errors.extend(one_of(at("podReplacementPolicy"), &spec["podReplacementPolicy"], policies));
    errors.extend(template(&at("template"), &spec["template"]));
    errors.extend(pod_spec(&at("template.spec"), &spec["template"]["spec"]));
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if matches!(policy.as_str(), None | Some("" | "Always")) {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.push(FieldError::required(at("template.spec.restartPolicy"), detail));
    }
    errors
}

/// `ValidateJobSpecUpdate`. A Job that is suspended and has not begun may change where its pods go.
pub(super) fn job_change(old: &Value, new: &Value) -> Vec<FieldError> {
    let fields = ["completions", "selector", "template", "completionMode"];
    let changed = fields.into_iter().filter(|field| {
        // Both numbers of an indexed Job may change together (`IsElasticIndexedJob`).
        let is_elastic = *field == "completions"
            && new["completionMode"] == "Indexed"
            && new["completions"] == new["parallelism"];
        old[*field] != new[*field] && !is_elastic
    });
    let invalid = |field: &str| {
        FieldError::invalid(format!("spec.{field}"), new[field].clone(), "field is immutable")
    };
    changed.map(invalid).collect()
}

/// `ValidateCronJobCreate`.
pub(super) fn cron_job(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = &object["metadata"]["name"];
    // Its Jobs' names have eleven letters more.
    if name.as_str().is_some_and(|name| name.len() > 52) {
        let detail = "must be no more than 52 characters";
        errors.push(FieldError::invalid("metadata.name", name.clone(), detail));
    }
    let spec = &object["spec"];
    match spec["schedule"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required("spec.schedule", "")),
        text if text.contains("TZ=") => {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(FieldError::invalid("spec.schedule", text, detail));
        }
        text => {
            if let Err(error) = Schedule::parse(text) {
                errors.push(FieldError::invalid("spec.schedule", text, error.to_string()));
            }
        }
    }
    if let Some(zone) = spec["timeZone"].as_str() {
        let detail = match zone {
            "" => Some("timeZone must be nil or non-empty string".to_owned()),
            zone if zone.eq_ignore_ascii_case("local") => Some(
                "timeZone must be an explicit time zone as defined in \
                 https://www.iana.org/time-zones"
                    .to_owned(),
            ),
            zone if time_zone(zone).is_none() => Some(format!("unknown time zone {zone}")),
            _ => None,
        };
        errors.extend(detail.map(|detail| FieldError::invalid("spec.timeZone", zone, detail)));
    }
    let policies = &["Allow", "Forbid", "Replace"];
    let policy = one_of("spec.concurrencyPolicy".to_owned(), &spec["concurrencyPolicy"], policies);
    errors.extend(policy);
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"]
    {
        errors.extend(not_negative(format!("spec.{field}"), &spec[field]));
    }
    let job = &spec["jobTemplate"]["spec"];
    errors.extend(job_spec("spec.jobTemplate.spec", job));
    if job["manualSelector"] == true {
        let path = "spec.jobTemplate.spec.manualSelector";
        errors.push(FieldError::not_supported(path, "true", &["nil", "false"]));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::super::super::admission::admit;
    use super::super::super::{Kind, Store};
    use super::*;

    fn pods(policy: &str) -> Value {
        json!({"spec": {
            "restartPolicy": policy, "containers": [{"name": "c", "image": "i"}],
        }})
    }

    fn says(kind: Kind, change: &Value) -> Vec<String> {
        let job = json!({"template": pods("Never")});
        let spec = if kind == Kind::Job {
            job
        } else {
            json!({"schedule": "* * * * *", "jobTemplate": {"spec": job}})
        };
        let mut object = json!({"metadata": {"name": "a"}, "spec": spec});
        json_patch::merge(&mut object, change);
        let _admitted = admit(&Store::default(), kind, &mut object).unwrap();
        super::super::validate(kind, &object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_job_is_checked_as_the_api_server_does() {
        assert!(says(Kind::Job, &json!({})).is_empty());
        for (spec, expected) in [
            (
                json!({"template": pods("Always")}),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                json!({"completionMode": "Indexed", "parallelism": 2}),
                "spec.completions: Required value: when completion mode is Indexed",
            ),
            (
                json!({"backoffLimit": -1}),
                "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"successPolicy": {"rules": []}}),
                "spec.successPolicy: Forbidden: hello-lab's Jobs have none",
            ),
        ] {
            assert_eq!(says(Kind::Job, &json!({ "spec": spec })), [expected]);
        }
        let own = says(Kind::Job, &json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}));
        assert!(own.iter().any(|one| one.ends_with("`selector` not auto-generated")), "{own:?}");
    }

    #[test]
    fn a_cron_job_is_checked_as_the_api_server_does() {
        assert!(says(Kind::CronJob, &json!({})).is_empty());
        for (spec, expected) in [
            (
                json!({"schedule": "61 * * * *"}),
                "spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61",
            ),
            (
                json!({"timeZone": "No/Such"}),
                "spec.timeZone: Invalid value: \"No/Such\": unknown time zone No/Such",
            ),
            (
                json!({"concurrencyPolicy": "Never"}),
                "spec.concurrencyPolicy: Unsupported value: \"Never\": supported values: \"Allow\", \
                 \"Forbid\", \"Replace\"",
            ),
        ] {
            assert_eq!(says(Kind::CronJob, &json!({ "spec": spec })), [expected]);
        }
        let long = says(Kind::CronJob, &json!({"metadata": {"name": "a".repeat(53)}}));
        assert_eq!(long.len(), 1, "{long:?}");
    }

    #[test]
    fn what_a_job_does_stays_what_it_is() {
        let old = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"});
        let mut new = old.clone();
        new["completions"] = 3.into();
        assert_eq!(job_change(&old, &new).len(), 1);
        new["parallelism"] = 3.into();
        assert!(job_change(&old, &new).is_empty());
    }
}
