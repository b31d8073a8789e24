//! In which form a client asks to see objects: by its `Accept`
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-representations>).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use serde_json::{Value, json};

use super::error::ApiError;
use super::table::{self, Rows, metadata_of};
use crate::objects::{Kind, Object};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Whole,
    /// Their metadata alone.
    Metadata,
    /// For people to read.
    Table(Rows),
}

/// The first form of `Accept` that there is.
pub(super) fn of(headers: &HeaderMap, include: &str) -> Result<Form, ApiError> {
    let mut some = false;
    for value in headers.get_all(ACCEPT) {
        for range in
            value.to_str().unwrap_or_default().split(',').filter(|one| !one.trim().is_empty())
        {
            some = true;
            if let Some(form) = one(range, include)? {
                return Ok(form);
            }
        }
    }
    if some { Err(ApiError::NotAcceptable) } else { Ok(Form::Whole) }
}

fn one(range: &str, include: &str) -> Result<Option<Form>, ApiError> {
    let mut parts = range.split(';').map(str::trim);
    if !matches!(parts.next(), Some("application/json" | "application/*" | "*/*")) {
        return Ok(None);
    }
    let (mut name, mut version, mut group) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => name = value,
            Some(("v", value)) => version = value,
            Some(("g", value)) => group = value,
            _ => {}
        }
    }
    let form = match name {
        "" => return Ok(Some(Form::Whole)),
        _ if (version, group) != ("v1", "meta.k8s.io") => return Ok(None),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Form::Metadata,
        "Table" => Form::Table(match include {
            "None" => Rows::None,
            "" | "Metadata" => Rows::Metadata,
            "Object" => Rows::Object,
            other => {
                return Err(ApiError::BadRequest(format!(
                    "unrecognized includeObject value: {other:?}"
                )));
            }
        }),
        _ => return Ok(None),
    };
    Ok(Some(form))
}

impl Form {
    /// One object; `with_columns` names the columns of a Table.
    pub(super) fn of_one(self, object: &Object, with_columns: bool) -> Value {
        match self {
            Self::Whole => object.presented(),
            Self::Metadata => metadata_of(object),
            Self::Table(rows) => {
                let version = &object.value()["metadata"]["resourceVersion"];
                let metadata = json!({"resourceVersion": version});
                table::table(object.kind(), &[object], metadata, with_columns, rows)
            }
        }
    }

    /// A list of a kind, with the list's own metadata.
    pub(super) fn of_list(self, kind: Kind, objects: &[&Object], metadata: Value) -> Value {
        let (list, version, items): (String, String, Vec<Value>) = match self {
            Self::Table(rows) => return table::table(kind, objects, metadata, true, rows),
            Self::Whole => (
                format!("{}List", kind.resource().kind),
                kind.api_version(),
                objects.iter().map(|object| object.presented()).collect(),
            ),
            Self::Metadata => (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
                objects.iter().map(|object| metadata_of(object)).collect(),
            ),
        };
        json!({"kind": list, "apiVersion": version, "metadata": metadata, "items": items})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_there_is_is_taken() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, include, expected) in [
            ("", "", Some(Form::Whole)),
            ("*/*", "", Some(Form::Whole)),
            ("application/vnd.kubernetes.protobuf,application/json", "", Some(Form::Whole)),
            (table, "", Some(Form::Table(Rows::Metadata))),
            (table, "Object", Some(Form::Table(Rows::Object))),
            (
                "application/json;as=Table;v=v9;g=meta.k8s.io, application/json",
                "",
                Some(Form::Whole),
            ),
            (
                "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
                "",
                Some(Form::Metadata),
            ),
            ("application/json;as=Bogus;v=v1;g=meta.k8s.io", "", None),
            ("text/html", "", None),
            (table, "bogus", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(of(&headers, include).ok(), expected, "{accept} {include}");
        }
    }
}
