//! A JSON value as a typed object of the API, with strict field validation: unknown fields are
//! errors, as with kubectl's `--validate=strict`.

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use super::tracked::UnknownField;
use super::tracked::{Node, Seen};
use crate::spelling::likest;

/// From which likeness on a field is taken for another one misspelt (1 is the same).
const LIKE: f64 = 0.5;

/// Why a value is not the object that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fields that the type does not have, in the order they stand.
    #[error("strict decoding error: {}", list_unknown(.0))]
    UnknownFields(Vec<UnknownField>),
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
    let seen = Seen::default();
    let object = read(value, &seen)?;
    let unknown = seen.unknown.into_inner();
    if unknown.is_empty() { Ok(object) } else { Err(DecodeError::UnknownFields(unknown)) }
}

/// Decodes `value`, and writes there what its nulls were read as: nothing for a field, `""` for a string
/// in a map or a list, `{}` for an object in a list. So the API server stores them. Also the fields that
/// the type does not have.
pub fn decode_nulls<T: DeserializeOwned>(
    value: &mut Value,
) -> Result<(T, Vec<UnknownField>), DecodeError> {
    let seen = Seen::default();
    let object = read(value, &seen)?;
    for null in seen.nulls.into_inner() {
        null.replace(value);
    }
    Ok((object, seen.unknown.into_inner()))
}

fn read<T: DeserializeOwned>(value: &Value, seen: &Seen) -> Result<T, DecodeError> {
    T::deserialize(Node::root(value, seen)).map_err(|error| {
        let path = seen.failed.borrow_mut().take().unwrap_or_default();
        DecodeError::WrongType { path, message: error.to_string() }
    })
}

impl UnknownField {
    /// The known field that is spelt most like it, if one is.
    #[must_use]
    pub fn suggestion(&self) -> Option<&'static str> {
        let name = self.path.rsplit('.').next().unwrap_or_default();
        let likeness = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
        likest(self.known.iter().copied(), LIKE, likeness)
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

fn list_unknown(fields: &[UnknownField]) -> String {
    let quoted: Vec<_> =
        fields.iter().map(|field| format!("unknown field {:?}", field.path)).collect();
    quoted.join(", ")
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
    fn a_misspelt_field_is_told_what_it_should_be() {
        let object = json!({"podSelecter": {}, "ingress": [{"form": [], "x": 1}]});
        let decoded = decode::<k8s_openapi::api::networking::v1::NetworkPolicySpec>(&object);
        let Err(DecodeError::UnknownFields(fields)) = decoded else { panic!("{decoded:?}") };
        let told: Vec<_> =
            fields.iter().map(|field| (field.path.as_str(), field.suggestion())).collect();
        assert_eq!(
            told,
            [
                ("ingress[0].form", Some("from")),
                ("ingress[0].x", None),
                ("podSelecter", Some("podSelector"))
            ]
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
    fn nulls_become_what_they_were_read_as() {
        use k8s_openapi::api::core::v1::{ConfigMap, Pod};
        let mut pod = json!({
            "metadata": {"name": "p", "labels": {"a.b/c": null, "d": "e"}, "annotations": null},
            "spec": {
                "hostNetwork": null,
                "nodeSelector": {"x": null},
                "securityContext": {"supplementalGroups": [null, 5]},
                "containers": [null, {
                    "name": "c",
                    "args": ["a", null],
                    "ports": [null],
                    "env": [{"name": "e", "value": null}],
                    "resources": {"limits": {"cpu": null, "memory": "0.1Gi"}},
                }],
            },
        });
        let (typed, unknown) = decode_nulls::<Pod>(&mut pod).unwrap();
        assert!(unknown.is_empty());
        let expected = json!({
            "metadata": {"name": "p", "labels": {"a.b/c": "", "d": "e"}},
            "spec": {
                "nodeSelector": {"x": ""},
                "securityContext": {"supplementalGroups": [0, 5]},
                "containers": [{}, {
                    "name": "c",
                    "args": ["a", ""],
                    "ports": [{}],
                    "env": [{"name": "e"}],
                    "resources": {"limits": {"cpu": "0", "memory": "0.1Gi"}},
                }],
            },
        });
        assert_eq!(pod, expected);
        assert_eq!(serde_json::from_value::<Pod>(pod).unwrap(), typed, "any reader sees the same");
        let mut map = json!({"data": {"a": null}, "binaryData": {"b": null}, "immutable": null});
        decode_nulls::<ConfigMap>(&mut map).unwrap();
        assert_eq!(map, json!({"data": {"a": ""}, "binaryData": {"b": ""}}));
    }

    #[test]
    fn nulls_are_replaced_beside_unknown_fields() {
        let mut object =
            json!({"spec": {"form": null, "podSelector": {"matchLabels": {"a": null}}}});
        let (_, unknown) = decode_nulls::<NetworkPolicy>(&mut object).unwrap();
        assert_eq!(unknown[0].path, "spec.form");
        assert_eq!(object["spec"]["podSelector"]["matchLabels"]["a"], "");
    }

    #[test]
    fn a_right_object_is_decoded() {
        assert!(policy(&json!({"podSelector": {}, "ingress": null})).is_ok());
    }
}
