//! In which form a client asks to see objects: by its `Accept`
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-representations>).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use serde_json::{Value, json};

use super::error::ApiError;
use super::protobuf;
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

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As JSON, wherever the client reads it.
    Json,
    /// As protobuf.
    Protobuf,
}

/// The first form of `Accept` that there is.
pub(super) fn of(headers: &HeaderMap, include: &str) -> Result<Form, ApiError> {
    Ok(of_and_in(headers, include)?.0)
}

/// How the answer to a request with these headers is written.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    of_and_in(headers, "").map_or(Encoding::Json, |(_, encoding)| encoding)
}

fn of_and_in(headers: &HeaderMap, include: &str) -> Result<(Form, Encoding), ApiError> {
    let ranges = || {
        let values = headers.get_all(ACCEPT).iter();
        let ranges = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        ranges.filter(|range| !range.trim().is_empty())
    };
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        for range in ranges() {
            if let Some(form) = one(range, encoding, include)? {
                return Ok((form, encoding));
            }
        }
    }
    if ranges().next().is_some() {
        return Err(ApiError::NotAcceptable);
    }
    Ok((Form::Whole, Encoding::Json))
}

fn one(range: &str, encoding: Encoding, include: &str) -> Result<Option<Form>, ApiError> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let is_read = match encoding {
        Encoding::Json => matches!(media_type, "application/json" | "application/*" | "*/*"),
        Encoding::Protobuf => media_type == protobuf::MEDIA_TYPE,
    };
    if !is_read {
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
        // Tables have no protobuf (`TableOptions` of k8s.io/apiserver).
        "Table" if encoding == Encoding::Json => Form::Table(match include {
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
    fn json_is_written_wherever_it_is_read() {
        let protobuf = "application/vnd.kubernetes.protobuf";
        for (accept, expected) in [
            (protobuf.to_owned(), Encoding::Protobuf),
            (format!("{protobuf};stream=watch"), Encoding::Protobuf),
            (format!("{protobuf};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"), Encoding::Protobuf),
            (format!("{protobuf},application/json"), Encoding::Json),
            (format!("{protobuf}, */*"), Encoding::Json),
            (String::new(), Encoding::Json),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(encoding(&headers), expected, "{accept}");
        }
        let table = format!("{protobuf};as=Table;v=v1;g=meta.k8s.io");
        let headers = HeaderMap::from_iter([(ACCEPT, table.parse().unwrap())]);
        assert!(of(&headers, "").is_err());
    }

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
