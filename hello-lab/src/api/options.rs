//! The options of requests that write: `CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions` of
//! meta/v1, from the query and, for a deletion, from the body. What is not known is refused, never ignored.

use netpol::field_error::FieldError;
use serde_json::Value;

use super::body;
use super::call::Call;
use super::error::ApiError;
use crate::objects::deletion::{Deletion, Propagation};

/// What becomes of fields that a kind does not have, and of those that come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldValidation {
    /// They are taken out.
    Ignore,
    /// They are taken out, and the client is told.
    Warn,
    /// They are refused.
    Strict,
}

/// How something is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct WriteOptions {
    /// Nothing is stored.
    pub(super) dry_run: bool,
    pub(super) fields: FieldValidation,
}

impl WriteOptions {
    /// Reads them for a request whose options are called `kind`.
    pub(super) fn read(call: &Call, kind: &'static str) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let dry_run = dry_run(&[call.parameter("dryRun")], &mut errors);
        let fields = match call.parameter("fieldValidation") {
            // What the API server does where nothing is said, since 1.27.
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            other => {
                let supported = &["Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", other, supported));
                FieldValidation::Strict
            }
        };
        refuse(kind, errors)?;
        Ok(Self { dry_run, fields })
    }
}

/// Whether it is a dry run; what is no way of one is an error (`ValidateDryRun`).
fn dry_run(values: &[&str], errors: &mut Vec<FieldError>) -> bool {
    let mut dry = false;
    for value in values.iter().filter(|value| !value.is_empty()) {
        dry = true;
        if *value != "All" {
            errors.push(FieldError::not_supported("dryRun", *value, &["All"]));
        }
    }
    dry
}

fn refuse(kind: &'static str, errors: Vec<FieldError>) -> Result<(), ApiError> {
    if errors.is_empty() { Ok(()) } else { Err(ApiError::InvalidOptions(kind, errors)) }
}

/// How something is to be deleted.
#[derive(Clone, Debug)]
pub(super) struct DeleteOptions {
    pub(super) dry_run: bool,
    pub(super) deletion: Deletion,
}

impl DeleteOptions {
    /// From the body, or else from the query; the API server takes one of them alone.
    pub(super) fn read(call: &Call, bytes: &[u8]) -> Result<Self, ApiError> {
        let options = if bytes.is_empty() { from_query(call)? } else { body::any(bytes)?.value };
        if !options.is_object() {
            return Err(ApiError::Internal(
                "couldn't get version/kind; the body is no DeleteOptions".to_owned(),
            ));
        }
        let wrong = |field: &str| {
            ApiError::BadRequest(format!(
                "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: {field}: \
                 a value of the wrong type"
            ))
        };
        let text = |value: &Value, field: &str| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(wrong(field)),
        };
        let grace_seconds = match &options["gracePeriodSeconds"] {
            Value::Null => None,
            // A negative one is taken for the shortest (`BeforeDelete`).
            seconds => Some(seconds.as_i64().ok_or_else(|| wrong("gracePeriodSeconds"))?),
        };
        let grace_seconds = grace_seconds.map(|seconds| u64::try_from(seconds).unwrap_or(1));
        let preconditions = &options["preconditions"];
        if !preconditions.is_null() && !preconditions.is_object() {
            return Err(wrong("preconditions"));
        }
        let mut errors = Vec::new();
        let dry_runs = match &options["dryRun"] {
            Value::Null => Vec::new(),
            Value::Array(list) => list
                .iter()
                .map(|one| one.as_str().ok_or_else(|| wrong("dryRun")))
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong("dryRun")),
        };
        let in_body = dry_run(&dry_runs, &mut errors);
        let in_query = dry_run(&[call.parameter("dryRun")], &mut errors);
        let orphan = match &options["orphanDependents"] {
            Value::Null => None,
            orphan => Some(orphan.as_bool().ok_or_else(|| wrong("orphanDependents"))?),
        };
        let policy = text(&options["propagationPolicy"], "propagationPolicy")?;
        if orphan.is_some() && policy.is_some() {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            let given = policy.clone().unwrap_or_default();
            errors.push(FieldError::invalid("propagationPolicy", given, detail));
        }
        let propagation = match (policy.as_deref(), orphan) {
            (Some("Background"), _) | (None, Some(false) | None) => Propagation::Background,
            (Some("Foreground"), _) => Propagation::Foreground,
            (Some("Orphan"), _) | (None, Some(true)) => Propagation::Orphan,
            (Some(other), _) => {
                let supported = &["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", other, supported));
                Propagation::Background
            }
        };
        refuse("DeleteOptions", errors)?;
        let uid = text(&preconditions["uid"], "preconditions.uid")?;
        let version = text(&preconditions["resourceVersion"], "preconditions.resourceVersion")?;
        let deletion = Deletion { grace_seconds, propagation, uid, version };
        Ok(Self { dry_run: in_body || in_query, deletion })
    }
}

/// The options that the query has, as the body would have them.
fn from_query(call: &Call) -> Result<Value, ApiError> {
    let mut options = serde_json::json!({});
    let seconds = call.parameter("gracePeriodSeconds");
    if !seconds.is_empty() {
        options["gracePeriodSeconds"] = call.number("gracePeriodSeconds")?.into();
    }
    for name in ["propagationPolicy", "orphanDependents"] {
        let given = call.parameter(name);
        if !given.is_empty() {
            options[name] =
                if name == "orphanDependents" { call.flag(name).into() } else { given.into() };
        }
    }
    Ok(options)
}
