//! Rules of what holds nothing but data: `ConfigMaps` and Secrets.

use netpol::field_error::FieldError;
use serde_json::Value;

/// `MaxSecretSize`, which is a ConfigMap's too.
const LARGEST: usize = 1 << 20;

const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// `ValidateConfigMap`.
pub(super) fn config_map(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            size += if field == "data" { length(value) } else { decoded_length(value) };
            let path = format!("{field}[{key}]");
            errors.extend(key_of_data(&path, key));
            if field == "data" && !object["binaryData"][key].is_null() {
                let detail = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(path, key.as_str(), detail));
            }
        }
    }
    if size > LARGEST {
        errors.push(FieldError::too_long("", LARGEST));
    }
    errors
}

/// `ValidateSecret`.
pub(super) fn secret(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        size += decoded_length(value);
        errors.extend(key_of_data(&format!("data[{key}]"), key));
    }
    if size > LARGEST {
        errors.push(FieldError::too_long("data", LARGEST));
    }
    let missing = |keys: &[&str]| -> Vec<FieldError> {
        let missing = keys.iter().filter(|key| object["data"][**key].is_null());
        missing.map(|key| FieldError::required(format!("data[{key}]"), "")).collect()
    };
    match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if object["metadata"]["annotations"][name].as_str().unwrap_or_default().is_empty() {
                let path = format!("metadata.annotations[{name}]");
                errors.push(FieldError::required(path, ""));
            }
        }
        "kubernetes.io/dockercfg" => errors.extend(missing(&[".dockercfg"])),
        "kubernetes.io/dockerconfigjson" => errors.extend(missing(&[".dockerconfigjson"])),
        "kubernetes.io/basic-auth" => {
            let missing = missing(&["username", "password"]);
            errors.extend(missing.into_iter().filter(|_| {
                object["data"]["username"].is_null() && object["data"]["password"].is_null()
            }));
        }
        "kubernetes.io/ssh-auth" => errors.extend(missing(&["ssh-privatekey"])),
        "kubernetes.io/tls" => errors.extend(missing(&["tls.crt", "tls.key"])),
        _ => {}
    }
    errors
}

/// `ValidateConfigMapUpdate`.
pub(super) fn config_map_change(before: &Value, after: &Value) -> Vec<FieldError> {
    unchanged(before, after, &["data", "binaryData"])
}

/// `ValidateSecretUpdate`.
pub(super) fn secret_change(before: &Value, after: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if before["type"] != after["type"] {
        errors.push(FieldError::invalid("type", after["type"].clone(), "field is immutable"));
    }
    errors.extend(unchanged(before, after, &["data"]));
    errors
}

/// What has changed of these fields of an object that says of itself that it does not.
fn unchanged(before: &Value, after: &Value, fields: &[&str]) -> Vec<FieldError> {
    if before["immutable"] != true {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if after["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", IMMUTABLE));
    }
    for field in fields {
        if before[*field] != after[*field] {
            errors.push(FieldError::forbidden(*field, IMMUTABLE));
        }
    }
    errors
}

/// `IsConfigMapKey`.
fn key_of_data(path: &str, key: &str) -> Option<FieldError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let detail = if key.is_empty() || !key.bytes().all(valid) {
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
         'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    } else if key.len() > 253 {
        "must be no more than 253 characters"
    } else if matches!(key, "." | "..") || key.starts_with("..") {
        "must not start with '..'"
    } else {
        return None;
    };
    Some(FieldError::invalid(path, key, detail))
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

/// As they are decoded: four characters are three bytes.
fn decoded_length(value: &Value) -> usize {
    length(value) / 4 * 3
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_has_what_its_type_needs() {
        let paths = |kind: &str, keys: &[&str]| -> Vec<String> {
            let data: Value = keys.iter().map(|key| ((*key).to_owned(), json!("YQ=="))).collect();
            let errors = secret(&json!({"type": kind, "data": data}));
            errors.into_iter().map(|error| error.path).collect()
        };
        assert!(paths("Opaque", &[]).is_empty());
        assert!(paths("example.com/own", &["a"]).is_empty());
        assert_eq!(paths("Opaque", &["a b"]), ["data[a b]"]);
        assert_eq!(paths("kubernetes.io/tls", &["tls.crt"]), ["data[tls.key]"]);
        assert_eq!(paths("kubernetes.io/basic-auth", &[]).len(), 2);
        assert!(paths("kubernetes.io/basic-auth", &["password"]).is_empty());
        assert_eq!(paths("kubernetes.io/service-account-token", &[]).len(), 1);
    }

    #[test]
    fn an_immutable_one_stays_what_it_is() {
        let before = json!({"type": "Opaque", "immutable": true, "data": {"a": "YQ=="}});
        let says = |after: Value| -> Vec<String> {
            secret_change(&before, &after).iter().map(ToString::to_string).collect()
        };
        assert!(says(before.clone()).is_empty());
        let after = json!({"type": "Opaque", "immutable": true, "data": {"a": "Yg=="}});
        assert_eq!(says(after), ["data: Forbidden: field is immutable when `immutable` is set"]);
        let after = json!({"type": "Opaque", "data": {"a": "YQ=="}});
        assert_eq!(says(after).len(), 1);
        let other = secret_change(&json!({"type": "a"}), &json!({"type": "b"}));
        assert_eq!(other[0].to_string(), "type: Invalid value: \"b\": field is immutable");
    }
}
