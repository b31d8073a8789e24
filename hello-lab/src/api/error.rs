//! Refusals, as the API server words them: a `metav1.Status`.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use netpol::field_error::FieldError;
use serde_json::{Value, json};

use crate::objects::admission::AdmissionError;
use crate::objects::{Key, Kind, StoreError};

/// Why a request was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object is not admitted.
    #[error(transparent)]
    Admission(AdmissionError),
    /// The object breaks rules of its kind.
    #[error("{} {:?} is invalid: {}", qualified_kind(.0.kind), .0.name, list(.1))]
    Invalid(Key, Vec<FieldError>),
    /// A request's options are not those that there are.
    #[error("{}.meta.k8s.io \"\" is invalid: {}", .0, list(.1))]
    InvalidOptions(&'static str, Vec<FieldError>),
    /// A patch cannot be done to this object.
    #[error("{0}")]
    CannotPatch(String),
    /// It is not the object that is meant: `what` of it is another.
    #[error("Operation cannot be fulfilled on {} {:?}: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {is}", .key.kind.resource().qualified(), .key.name)]
    Precondition {
        /// The object.
        key: Key,
        /// `UID` or `ResourceVersion`.
        what: &'static str,
        /// Which the request wants.
        wanted: String,
        /// Which there is.
        is: String,
    },
    /// What an API server calls a fault of its own, although it is the request's.
    #[error("{0}")]
    Internal(String),
    /// A version that nobody has seen yet.
    #[error("Too large resource version: {0}, current: {1}")]
    VersionOfTheFuture(u64, u64),
    /// What it goes on from is no longer known.
    #[error("{0}")]
    Expired(String),
    /// The handler panicked.
    #[error("this request made the API panic; see what hello-lab says")]
    Panicked,
    /// No form of the answer that the client takes.
    #[error(
        "only the following media types are accepted: application/json, application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    )]
    NotAcceptable,
    /// The body did not come in time.
    #[error("the request's body did not come within {} s", .0.as_secs())]
    TooSlow(std::time::Duration),
    /// The request cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// No token, or a wrong one.
    #[error("Unauthorized")]
    Unauthorized,
    /// Understood, and not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// No such path.
    #[error("the server could not find the requested resource")]
    NoSuchPath,
    /// The method makes no sense here.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// A body of a type that is not read.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// Something that Kubernetes has and the lab has not.
    #[error("hello-lab has no {0}; a real cluster (kind, GKE) has")]
    NotInTheLab(&'static str),
    /// A kind that Kubernetes or its users have and the lab has not.
    #[error("hello-lab has no {kind}: {instead}")]
    KindNotInTheLab {
        /// The kind.
        kind: &'static str,
        /// What there is instead.
        instead: &'static str,
    },
    /// What a request is to be handed on to cannot be reached.
    #[error("{0}")]
    ServiceUnavailable(String),
    /// The request asks for too much.
    #[error("Request entity too large: {0}")]
    TooLarge(String),
}

impl From<AdmissionError> for ApiError {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::Namespace(error) => error.into(),
            AdmissionError::Invalid(key, errors) => Self::Invalid(key, errors),
            other => Self::Admission(other),
        }
    }
}

impl ApiError {
    fn code(&self) -> StatusCode {
        match self {
            Self::Store(StoreError::NotFound(_)) | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Precondition { .. }
            | Self::Store(StoreError::AlreadyExists(_) | StoreError::Conflict(_)) => {
                StatusCode::CONFLICT
            }
            Self::Expired(_) | Self::Store(StoreError::TooOld(_)) => StatusCode::GONE,
            Self::Invalid(..) | Self::InvalidOptions(..) | Self::CannotPatch(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::VersionOfTheFuture(..) => StatusCode::GATEWAY_TIMEOUT,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BadRequest(_) | Self::Store(StoreError::Unreadable(_)) => StatusCode::BAD_REQUEST,
            Self::Internal(_)
            | Self::Panicked
            | Self::Admission(AdmissionError::NoAddress | AdmissionError::NoPort) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::Admission(_) => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotInTheLab(_) | Self::KindNotInTheLab { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::ServiceUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Store(StoreError::NotFound(_)) | Self::NoSuchPath => "NotFound",
            Self::Store(StoreError::AlreadyExists(_)) => "AlreadyExists",
            Self::Precondition { .. } | Self::Store(StoreError::Conflict(_)) => "Conflict",
            Self::Expired(_) | Self::Store(StoreError::TooOld(_)) => "Expired",
            Self::Invalid(..) | Self::InvalidOptions(..) | Self::CannotPatch(_) => "Invalid",
            // The API server names no reason.
            Self::Internal(_) => "",
            Self::VersionOfTheFuture(..) | Self::TooSlow(_) => "Timeout",
            Self::NotAcceptable => "NotAcceptable",
            Self::BadRequest(_) | Self::Store(StoreError::Unreadable(_)) => "BadRequest",
            Self::Panicked
            | Self::Admission(AdmissionError::NoAddress | AdmissionError::NoPort) => {
                "InternalError"
            }
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden(_) | Self::Admission(_) => "Forbidden",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::UnsupportedMediaType(_) => "UnsupportedMediaType",
            Self::NotInTheLab(_) | Self::KindNotInTheLab { .. } => "NotImplemented",
            Self::ServiceUnavailable(_) => "ServiceUnavailable",
            Self::TooLarge(_) => "RequestEntityTooLarge",
        }
    }

    /// `details`, without which some clients crash; the kind and name of what it is about.
    fn details(&self) -> Value {
        match self {
            Self::Store(
                StoreError::NotFound(key)
                | StoreError::AlreadyExists(key)
                | StoreError::Conflict(key),
            )
            | Self::Precondition { key, .. } => {
                let resource = key.kind.resource();
                json!({"name": key.name, "group": resource.group, "kind": resource.plural})
            }
            Self::Invalid(key, errors) => {
                let resource = key.kind.resource();
                json!({
                    "name": key.name,
                    "group": resource.group,
                    "kind": resource.kind,
                    "causes": causes(errors),
                })
            }
            Self::InvalidOptions(kind, errors) => {
                json!({"group": "meta.k8s.io", "kind": kind, "causes": causes(errors)})
            }
            _ => json!({}),
        }
    }

    /// The `Status` object.
    #[must_use]
    pub fn status(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.to_string(),
            "reason": self.reason(),
            "details": self.details(),
            "code": self.code().as_u16(),
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = self.status().to_string();
        (self.code(), [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}

fn causes(errors: &[FieldError]) -> Vec<Value> {
    let cause = |error: &FieldError| {
        json!({
            "reason": error.fault.reason(),
            "message": error.fault.to_string(),
            "field": error.path,
        })
    };
    errors.iter().map(cause).collect()
}

/// `Deployment.apps`, as the API server names a kind in this message.
fn qualified_kind(kind: Kind) -> String {
    let resource = kind.resource();
    match resource.group {
        "" => resource.kind.to_owned(),
        group => format!("{}.{group}", resource.kind),
    }
}

fn list(errors: &[FieldError]) -> String {
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    match &texts[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_the_api_servers() {
        let key = Key::new(Kind::Deployment, "n", "d");
        assert_eq!(
            ApiError::from(StoreError::NotFound(key.clone())).to_string(),
            "deployments.apps \"d\" not found"
        );
        let error = FieldError::required("spec.selector", "");
        assert_eq!(
            ApiError::Invalid(key, vec![error]).to_string(),
            "Deployment.apps \"d\" is invalid: spec.selector: Required value"
        );
    }
}
