//! A JSON value as a typed object of the API, with strict field validation: unknown fields are
//! errors, as with kubectl's `--validate=strict`.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why a value is not the object that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fields that the type does not have, in the order they stand.
    #[error("strict decoding error: {}", list_unknown(.0))]
    UnknownFields(Vec<String>),
    /// A value of the wrong type.
    #[error("{path}: {message}")]
    WrongType {
        /// Where.
        path: String,
        /// What was found, and what was expected.
        message: String,
    },
}

/// Decodes `value`. A type error is found first; else all unknown fields are named.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, DecodeError> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    let decoded = serde_ignored::deserialize(deserializer, |path| unknown.push(dotted(&path)));
    match decoded {
        Ok(object) if unknown.is_empty() => Ok(object),
        Ok(_) => Err(DecodeError::UnknownFields(unknown)),
        Err(error) => {
            let path = track.path().to_string();
            Err(DecodeError::WrongType { path, message: error.to_string() })
        }
    }
}

/// Takes the field at `path`, in the notation of [`DecodeError::UnknownFields`], out of `value`.
pub fn prune(value: &mut Value, path: &str) {
    let pointer = path.replace('[', ".").replace(']', "");
    let mut segments: Vec<&str> = pointer.split('.').collect();
    let Some(last) = segments.pop() else { return };
    let mut place = Some(value);
    for segment in segments {
        place = place.and_then(|place| match place {
            Value::Array(elements) => elements.get_mut(segment.parse::<usize>().ok()?),
            Value::Object(fields) => fields.get_mut(segment),
            _ => None,
        });
    }
    if let Some(Value::Object(fields)) = place {
        fields.remove(last);
    }
}

fn list_unknown(paths: &[String]) -> String {
    let quoted: Vec<_> = paths.iter().map(|path| format!("unknown field {path:?}")).collect();
    quoted.join(", ")
}

/// The path in the API's notation: `spec.ingress[0].from`.
fn dotted(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Map { parent, key } => match dotted(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => dotted(parent),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use serde_json::json;

    use super::*;

    fn policy(spec: &Value) -> Result<NetworkPolicy, String> {
        let object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "p"}, "spec": spec,
        });
        decode(&object).map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_fields_are_named_in_the_api_servers_words() {
        let spec = json!({"podSelecter": {}, "ingress": [{"form": []}]});
        assert_eq!(
            policy(&spec).unwrap_err(),
            r#"strict decoding error: unknown field "spec.ingress[0].form", unknown field "spec.podSelecter""#
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_path() {
        let error = policy(&json!({"ingress": "all"})).unwrap_err();
        assert!(error.starts_with("spec.ingress: invalid type: string \"all\""), "{error}");
    }

    #[test]
    fn an_unknown_field_can_be_taken_out() {
        let mut value = json!({"spec": {"ingress": [{"form": [], "from": []}]}, "x": 1});
        for path in ["spec.ingress[0].form", "x", "no.such[7].field"] {
            prune(&mut value, path);
        }
        assert_eq!(value, json!({"spec": {"ingress": [{"from": []}]}}));
    }

    #[test]
    fn a_right_object_is_decoded() {
        assert!(policy(&json!({"podSelector": {}, "ingress": null})).is_ok());
    }
}
