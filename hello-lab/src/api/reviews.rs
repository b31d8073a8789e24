//! What a client asks of itself: may I do this (`kubectl auth can-i`), and who am I (`kubectl auth whoami`). Who
//! has the lab's token may do everything, as a member of `system:masters` on a cluster; there is nobody else.

use axum::http::header::HeaderMap;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::json_response;
use super::body;
use super::error::ApiError;
use super::form::{self, Form};
use crate::objects::names::NODE_NAME;

/// The kinds of review, each with its group and plural.
pub(super) const REVIEWS: [(&str, &str, &str); 3] = [
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
];

/// The kind of review that a path asks for.
pub(super) fn find(path: &str) -> Option<&'static str> {
    let (group, plural) = path.strip_prefix("/apis/")?.split_once("/v1/")?;
    REVIEWS.iter().find(|review| (review.0, review.1) == (group, plural)).map(|review| review.2)
}

/// Answers a review with what it asks and its status. Nothing is stored.
pub(super) fn answer(
    kind: &'static str,
    method: &Method,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Response, ApiError> {
    if method != Method::POST {
        return Err(ApiError::MethodNotAllowed);
    }
    // They have no other form (and so no columns).
    if form::of(headers, "")? != Form::Whole {
        return Err(ApiError::NotAcceptable);
    }
    let mut review = body::parse(headers, bytes)?.value;
    if !review.is_object() || review["kind"].as_str().is_some_and(|given| given != kind) {
        return Err(ApiError::BadRequest(format!("the body is no {kind}")));
    }
    let spec = &review["spec"];
    let status = match kind {
        "SelfSubjectReview" => {
            let groups = ["system:masters", "system:authenticated"];
            json!({"userInfo": {"username": NODE_NAME, "groups": groups}})
        }
        "SelfSubjectAccessReview" => {
            let asked = ["resourceAttributes", "nonResourceAttributes"];
            if asked.iter().filter(|field| spec[**field].is_object()).count() != 1 {
                return Err(ApiError::BadRequest(format!(
                    "spec: exactly one of {} is to be given",
                    asked.join(" and ")
                )));
            }
            json!({"allowed": true, "reason": "who has the lab's token may do everything"})
        }
        _ => {
            if spec["namespace"].as_str().is_none_or(str::is_empty) {
                return Err(ApiError::BadRequest("no namespace on request".to_owned()));
            }
            json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            })
        }
    };
    if review["metadata"].is_null() {
        review["metadata"] = json!({"creationTimestamp": Value::Null});
    }
    review["status"] = status;
    Ok(json_response(StatusCode::CREATED, &review))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::ACCEPT;

    use super::*;

    fn ask(kind: &'static str, body: &str) -> Result<Response, ApiError> {
        answer(kind, &Method::POST, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_review_that_asks_nothing_or_is_another_is_refused() {
        let access =
            r#"{"kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"get"}}}"#;
        assert!(ask("SelfSubjectAccessReview", access).is_ok());
        assert!(ask("SelfSubjectRulesReview", access).is_err());
        for bad in
            ["", "null", "[]", "{}", r#"{"spec":null}"#, r#"{"spec":{"resourceAttributes":null}}"#]
        {
            assert!(ask("SelfSubjectAccessReview", bad).is_err(), "{bad}");
            assert!(ask("SelfSubjectRulesReview", bad).is_err(), "{bad}");
        }
        assert!(ask("SelfSubjectRulesReview", r#"{"spec":{"namespace":"default"}}"#).is_ok());
        assert!(ask("SelfSubjectReview", "{}").is_ok());
    }

    #[test]
    fn a_review_is_no_table() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(table))]);
        let refused = answer("SelfSubjectReview", &Method::POST, &headers, b"{}");
        assert!(matches!(refused, Err(ApiError::NotAcceptable)));
    }

    #[test]
    fn a_review_is_found_by_its_whole_path() {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        assert_eq!(find(path), Some("SelfSubjectAccessReview"));
        for other in [
            "/apis/authorization.k8s.io/v1",
            "/apis/authentication.k8s.io/v1/selfsubjectaccessreviews",
        ] {
            assert_eq!(find(other), None);
        }
    }
}
