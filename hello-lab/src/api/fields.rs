//! Fields that a kind does not have: refused, told of, or left out, as the request's
//! `fieldValidation` says (<https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation>).

use netpol::field_error::FieldError;
use netpol::read::strict::{DecodeError, prune};
use serde_json::Value;

use super::answer::Warnings;
use super::error::ApiError;
use crate::objects::{Key, Kind};

/// Refuses fields that the kind does not have, or, with `Warn` and `Ignore`, takes them out.
pub(super) fn check_fields(
    kind: Kind,
    object: &mut Value,
    mode: &str,
) -> Result<Warnings, DecodeError> {
    match kind.check_fields(object) {
        Ok(()) => Ok(Warnings::new()),
        Err(DecodeError::UnknownFields(fields)) if mode == "Warn" || mode == "Ignore" => {
            for field in &fields {
                prune(object, &field.path);
            }
            let warnings = fields.iter().map(|field| format!("unknown field {:?}", field.path));
            Ok(if mode == "Warn" { warnings.collect() } else { Warnings::new() })
        }
        Err(error) => Err(error),
    }
}

pub(super) fn cannot_be_handled(kind: Kind, error: &DecodeError) -> String {
    let name = kind.resource().kind;
    format!("{name} in version \"v1\" cannot be handled as a {name}: {error}")
}

/// The same as errors of fields: kubectl shows the whole patch with anything else.
pub(super) fn field_errors(error: &DecodeError) -> Vec<FieldError> {
    match error {
        DecodeError::UnknownFields(fields) => fields
            .iter()
            .map(|field| {
                let detail = format!("strict decoding error: unknown field {:?}", field.path);
                FieldError::forbidden(&field.path, detail)
            })
            .collect(),
        DecodeError::WrongType { path, message } => {
            vec![FieldError::invalid(path, Value::Null, message)]
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
