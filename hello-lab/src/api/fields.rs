//! Fields that a kind does not have: refused, told of, or left out, as the request's
//! `fieldValidation` says (<https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation>).

use std::collections::BTreeSet;
use std::fmt;

use netpol::field_error::FieldError;
use netpol::read::strict::{DecodeError, prune};
use serde_json::Value;

use super::answer::Warnings;
use super::error::ApiError;
use super::options::FieldValidation;
use crate::objects::validation::quantity;
use crate::objects::{Key, Kind};

/// What is wrong with an object's fields.
#[derive(Debug)]
pub(super) enum FieldFault {
    /// One is of the wrong type.
    WrongType(DecodeError),
    /// These are not there to be had, or come twice.
    Strict(Vec<String>),
}

impl fmt::Display for FieldFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType(error) => error.fmt(out),
            Self::Strict(faults) => write!(out, "strict decoding error: {}", faults.join(", ")),
        }
    }
}

/// Refuses fields that the kind does not have or that come twice, or takes the first out and tells of both,
/// as the request wishes.
pub(super) fn check_fields(
    kind: Kind,
    object: &mut Value,
    duplicates: &BTreeSet<String>,
    mode: FieldValidation,
) -> Result<Warnings, FieldFault> {
    let unknown = match kind.check_fields(object) {
        Ok(()) => Vec::new(),
        Err(DecodeError::UnknownFields(fields)) => fields,
        Err(error) => return Err(FieldFault::WrongType(error)),
    };
    if let Some(path) = kind.path_of_pod_spec()
        && let Some(path) = quantity::first_wrong(
            path,
            path.split('.').fold(&*object, |value, field| &value[field]),
        )
    {
        let message = quantity::WRONG_FORMAT.to_owned();
        return Err(FieldFault::WrongType(DecodeError::WrongType { path, message }));
    }
    let duplicate = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
    let missing = unknown.iter().map(|field| format!("unknown field {:?}", field.path));
    let faults: Vec<_> = missing.chain(duplicate).collect();
    match mode {
        FieldValidation::Strict if !faults.is_empty() => return Err(FieldFault::Strict(faults)),
        FieldValidation::Strict | FieldValidation::Warn | FieldValidation::Ignore => {}
    }
    for field in &unknown {
        prune(object, &field.path);
    }
    Ok(if mode == FieldValidation::Ignore { Warnings::new() } else { faults })
}

pub(super) fn cannot_be_handled(kind: Kind, fault: &FieldFault) -> ApiError {
    let name = kind.resource().kind;
    ApiError::BadRequest(format!("{name} in version \"v1\" cannot be handled as a {name}: {fault}"))
}

/// The same as errors of fields: kubectl shows the whole patch with anything else.
pub(super) fn field_errors(fault: &FieldFault) -> Vec<FieldError> {
    match fault {
        FieldFault::Strict(faults) => faults
            .iter()
            .map(|fault| {
                let path = fault.split('"').nth(1).unwrap_or_default();
                FieldError::forbidden(path, format!("strict decoding error: {fault}"))
            })
            .collect(),
        FieldFault::WrongType(DecodeError::WrongType { path, message }) => {
            vec![FieldError::invalid(path, Value::Null, message)]
        }
        FieldFault::WrongType(other) => {
            vec![FieldError::invalid("", Value::Null, other.to_string())]
        }
    }
}

/// Refuses an object that breaks a rule of its kind.
pub(super) fn refuse_invalid(
    kind: Kind,
    object: &Value,
    errors: Vec<FieldError>,
) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    Err(ApiError::Invalid(Key::new(kind, field("namespace"), field("name")), errors))
}
