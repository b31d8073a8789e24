//! Syntax of names and labels (`k8s.io/apimachinery/pkg/util/validation`).
//!
//! Each function returns what is wrong with the text, or nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::field_error::FieldError;

const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', \
    or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
    '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name', or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
    'MyValue', or 'my_value', or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName', or 'my.name', or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// An object of a kind, by namespace and name (`k8s.io/apimachinery/pkg/types.NamespacedName`); on a
/// command line `[NAMESPACE/]NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamespacedName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl NamespacedName {
    /// That of the namespaced object with this metadata. One that names no namespace is in `default`.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            name: name_of(metadata).to_owned(),
        }
    }
}

/// The name of an object; of one that the API server has yet to name what it begins with (`generateName`).
#[must_use]
pub fn name_of(metadata: &ObjectMeta) -> &str {
    let written = |name: &'_ Option<String>| name.as_deref().is_some_and(|name| !name.is_empty());
    let name = if written(&metadata.name) { &metadata.name } else { &metadata.generate_name };
    name.as_deref().unwrap_or_default()
}

/// A text is no `[NAMESPACE/]NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected [NAMESPACE/]NAME")]
pub struct NotAName;

impl FromStr for NamespacedName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        if !dns_label(namespace).is_empty() || !dns_subdomain(name).is_empty() {
            return Err(NotAName);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// A namespace's name, or a container's.
#[must_use]
pub fn dns_label(text: &str) -> Vec<String> {
    let mut faults = at_most(63, text);
    if !is_dns_label(text) {
        faults.push(DNS_LABEL.to_owned());
    }
    faults
}

/// Most objects' names.
#[must_use]
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut faults = at_most(253, text);
    if !text.split('.').all(is_dns_label) {
        faults.push(DNS_SUBDOMAIN.to_owned());
    }
    faults
}

/// A Service's name.
#[must_use]
pub fn dns_1035(text: &str) -> Vec<String> {
    let mut faults = at_most(63, text);
    if !is_dns_label(text) || text.starts_with(|char: char| char.is_ascii_digit()) {
        faults.push(DNS_1035.to_owned());
    }
    faults
}

/// A label's or an annotation's key: an optional prefix, `/`, and a name.
#[must_use]
pub fn label_key(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        None => (None, text),
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut faults = Vec::new();
    match prefix {
        Some("") => faults.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            faults.extend(
                dns_subdomain(prefix).into_iter().map(|fault| format!("prefix part {fault}")),
            );
        }
        None => {}
    }
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    }
    faults.extend(at_most(63, name).into_iter().map(|fault| format!("name part {fault}")));
    if !is_qualified(name) {
        faults.push(NAME_PART.to_owned());
    }
    faults
}

/// A label's value.
#[must_use]
pub fn label_value(text: &str) -> Vec<String> {
    let mut faults = at_most(63, text);
    if !text.is_empty() && !is_qualified(text) {
        faults.push(LABEL_VALUE.to_owned());
    }
    faults
}

/// A container port's name (RFC 6335, as the API restricts it).
#[must_use]
pub fn port_name(text: &str) -> Vec<String> {
    let mut faults = at_most(15, text);
    if !text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) || text.is_empty()
    {
        faults
            .push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".into());
    }
    if text.contains("--") {
        faults.push("must not contain consecutive hyphens".into());
    }
    if text.starts_with('-') || text.ends_with('-') {
        faults.push("must not begin or end with a hyphen".into());
    }
    faults
}

/// The labels of an object at `path`.
#[must_use]
pub fn labels(path: &str, labels: &BTreeMap<String, String>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        let invalid_key = |fault| FieldError::invalid(path, key.as_str(), fault);
        errors.extend(label_key(key).into_iter().map(invalid_key));
        let invalid_value = |fault| FieldError::invalid(path, value.as_str(), fault);
        errors.extend(label_value(value).into_iter().map(invalid_value));
    }
    errors
}

fn at_most(length: usize, text: &str) -> Vec<String> {
    match text.len() {
        too_long if too_long > length => vec![format!("must be no more than {length} characters")],
        _ => Vec::new(),
    }
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_qualified(text: &str) -> bool {
    let ends = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && ends(text.chars().next())
        && ends(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_names() {
        assert!(dns_label("hello-server").is_empty() && dns_subdomain("a.b-c").is_empty());
        for bad in ["", "-a", "a-", "A", "a_b", &"a".repeat(64)] {
            assert!(!dns_label(bad).is_empty(), "{bad}");
        }
        for bad in ["", ".a", "a..b", &"a".repeat(254)] {
            assert!(!dns_subdomain(bad).is_empty(), "{bad}");
        }
        assert!(!dns_1035("1a").is_empty() && dns_label("1a").is_empty());
    }

    #[test]
    fn label_keys_may_have_a_prefix_and_values_may_be_empty() {
        assert!(label_key("kubernetes.io/metadata.name").is_empty() && label_value("").is_empty());
        for bad in ["", "/a", "a/", "a/b/c", "-a", "A_/b", &"k".repeat(64)] {
            assert!(!label_key(bad).is_empty(), "{bad}");
        }
        for bad in ["-a", "a b", "a/", &"v".repeat(64)] {
            assert!(!label_value(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_port_name_has_a_letter_and_at_most_fifteen_characters() {
        assert!(port_name("http").is_empty() && port_name("a-1").is_empty());
        for bad in ["", "80", "a--b", "-a", "a-", "HTTP", "abcdefghijklmnop"] {
            assert!(!port_name(bad).is_empty(), "{bad}");
        }
    }
}
