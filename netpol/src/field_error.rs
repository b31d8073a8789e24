//! One violated rule of the API, in the API server's words
//! (`k8s.io/apimachinery/pkg/util/validation/field`).

use std::fmt;

use serde_json::Value;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct FieldError {
    /// The field, such as `spec.ingress[0].ports[1].port`.
    pub path: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The kinds of fault that the API server tells apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A value that breaks a rule.
    Invalid(Value, String),
    /// A value that must be there and is not.
    Required(String),
    /// A value that must not be there.
    Forbidden(String),
    /// A value outside a fixed list, and that list.
    NotSupported(String, &'static [&'static str]),
    /// A value that must be unique and is not.
    Duplicate(Value),
    /// A name of something that there is not.
    NotFound(Value),
    /// A value that is longer than so many bytes.
    TooLong(usize),
}

impl Fault {
    /// The API's name of this kind, the `reason` of a Status cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(..) => "FieldValueInvalid",
            Self::Required(_) => "FieldValueRequired",
            Self::Forbidden(_) => "FieldValueForbidden",
            Self::NotSupported(..) => "FieldValueNotSupported",
            Self::Duplicate(_) => "FieldValueDuplicate",
            Self::NotFound(_) => "FieldValueNotFound",
            Self::TooLong(_) => "FieldValueTooLong",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(value, detail) => write!(out, "Invalid value: {value}: {detail}"),
            Self::Required(detail) if detail.is_empty() => out.write_str("Required value"),
            Self::Required(detail) => write!(out, "Required value: {detail}"),
            Self::Forbidden(detail) => write!(out, "Forbidden: {detail}"),
            Self::NotSupported(value, supported) => {
                let supported: Vec<_> =
                    supported.iter().map(|value| format!("{value:?}")).collect();
                write!(
                    out,
                    "Unsupported value: {value:?}: supported values: {}",
                    supported.join(", ")
                )
            }
            Self::Duplicate(value) => write!(out, "Duplicate value: {value}"),
            Self::NotFound(value) => write!(out, "Not found: {value}"),
            Self::TooLong(most) => write!(out, "Too long: may not be more than {most} bytes"),
        }
    }
}

impl FieldError {
    /// See [`Fault::Invalid`].
    pub fn invalid(
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { path: path.into(), fault: Fault::Invalid(value.into(), detail.into()) }
    }

    /// See [`Fault::Required`].
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), fault: Fault::Required(detail.into()) }
    }

    /// See [`Fault::Forbidden`].
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), fault: Fault::Forbidden(detail.into()) }
    }

    /// See [`Fault::NotSupported`].
    pub fn not_supported(
        path: impl Into<String>,
        value: impl Into<String>,
        supported: &'static [&'static str],
    ) -> Self {
        Self { path: path.into(), fault: Fault::NotSupported(value.into(), supported) }
    }

    /// See [`Fault::Duplicate`].
    pub fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { path: path.into(), fault: Fault::Duplicate(value.into()) }
    }

    /// See [`Fault::NotFound`].
    pub fn not_found(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { path: path.into(), fault: Fault::NotFound(value.into()) }
    }

    /// See [`Fault::TooLong`].
    pub fn too_long(path: impl Into<String>, most: usize) -> Self {
        Self { path: path.into(), fault: Fault::TooLong(most) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_in_the_api_servers_words() {
        let errors = [
            (
                FieldError::invalid("spec.port", 0, "must be between 1 and 65535, inclusive"),
                "spec.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (FieldError::required("spec.a", ""), "spec.a: Required value"),
            (
                FieldError::not_supported("protocol", "ICMP", &["SCTP", "TCP"]),
                r#"protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP""#,
            ),
            (FieldError::not_found("spec.n", "w"), r#"spec.n: Not found: "w""#),
            (FieldError::duplicate("spec.p[1]", "a"), r#"spec.p[1]: Duplicate value: "a""#),
        ];
        for (error, words) in errors {
            assert_eq!(error.to_string(), words);
        }
    }
}
