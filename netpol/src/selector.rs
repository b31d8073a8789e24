//! Label selectors (`metav1.LabelSelector`).

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::field_error::FieldError;
use crate::names;

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// The `labels` of a `metadata`, or of anything else that has them, in JSON.
#[must_use]
pub fn labels_of(metadata: &serde_json::Value) -> Labels {
    let labels = metadata["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Requirements that labels must all meet; with none, everything matches (rule 9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of it.
    pub operator: Operator,
}

/// What must hold of a label. An absent key is not the empty value (rule 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The key is there with one of these values.
    In(Vec<String>),
    /// The key is absent, or has none of these values.
    NotIn(Vec<String>),
    /// The key is there.
    Exists,
    /// The key is absent.
    DoesNotExist,
}

impl Selector {
    /// A selector of these requirements, which must all be met.
    #[must_use]
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self(requirements)
    }

    /// Reads a selector; `path` is where it stands.
    pub fn from_api(path: &str, selector: &LabelSelector) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut requirements = Vec::new();
        let labels = selector.match_labels.iter().flatten();
        for (key, value) in labels {
            let path = format!("{path}.matchLabels");
            let invalid = |text: &str, fault| FieldError::invalid(path.as_str(), text, fault);
            errors.extend(names::label_key(key).into_iter().map(|fault| invalid(key, fault)));
            errors.extend(names::label_value(value).into_iter().map(|fault| invalid(value, fault)));
            let operator = Operator::In(vec![value.clone()]);
            requirements.push(Requirement { key: key.clone(), operator });
        }
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            match requirement(&format!("{path}.matchExpressions[{index}]"), expression) {
                Ok(requirement) => requirements.push(requirement),
                Err(more) => errors.extend(more),
            }
        }
        if errors.is_empty() { Ok(Self(requirements)) } else { Err(errors) }
    }

    /// Whether `labels` meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// The requirements, those of `matchLabels` first.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// ` with LABELS`, to stand behind what it is a selector of; nothing for one of everything.
    #[must_use]
    pub fn with(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!(" with {self}") }
    }
}

impl Requirement {
    /// Whether `labels` meet it.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// In kubectl's words: `app=hello`, `tier in (a,b)`, `!legacy`; an empty selector is `<all>`.
impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("<all>");
        }
        for (index, requirement) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(out, "{key}={}", values[0]),
            Operator::In(values) => write!(out, "{key} in ({})", values.join(",")),
            Operator::NotIn(values) => write!(out, "{key} notin ({})", values.join(",")),
            Operator::Exists => out.write_str(key),
            Operator::DoesNotExist => write!(out, "!{key}"),
        }
    }
}

fn requirement(
    path: &str,
    expression: &LabelSelectorRequirement,
) -> Result<Requirement, Vec<FieldError>> {
    let key = expression.key.clone();
    let mut errors: Vec<_> = names::label_key(&key)
        .into_iter()
        .map(|fault| FieldError::invalid(format!("{path}.key"), key.as_str(), fault))
        .collect();
    let values = expression.values.clone().unwrap_or_default();
    for (index, value) in values.iter().enumerate() {
        let path = format!("{path}.values[{index}]");
        let invalid = |fault| FieldError::invalid(path.as_str(), value.as_str(), fault);
        errors.extend(names::label_value(value).into_iter().map(invalid));
    }
    let path_of_values = format!("{path}.values");
    let operator = match (expression.operator.as_str(), values.is_empty()) {
        ("In" | "NotIn", true) => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(path_of_values, detail));
            Operator::Exists
        }
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists" | "DoesNotExist", false) => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(path_of_values, detail));
            Operator::Exists
        }
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        (unknown, _) => {
            let path = format!("{path}.operator");
            errors.push(FieldError::invalid(path, unknown, "not a valid selector operator"));
            Operator::Exists
        }
    };
    if errors.is_empty() { Ok(Requirement { key, operator }) } else { Err(errors) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    fn selector(json: serde_json::Value) -> Result<Selector, Vec<FieldError>> {
        Selector::from_api("s", &serde_json::from_value(json).unwrap())
    }

    fn expression(operator: &str, values: &[&str]) -> Selector {
        let expression = serde_json::json!({"key": "k", "operator": operator, "values": values});
        selector(serde_json::json!({ "matchExpressions": [expression] })).unwrap()
    }

    #[test]
    fn an_empty_selector_matches_everything() {
        let empty = selector(serde_json::json!({})).unwrap();
        assert!(empty.matches(&labels(&[])) && empty.matches(&labels(&[("a", "b")])));
        assert_eq!(empty.to_string(), "<all>");
    }

    #[test]
    fn rule_11_in_needs_the_key() {
        let in_a = expression("In", &["a", "b"]);
        assert!(in_a.matches(&labels(&[("k", "b")])));
        assert!(!in_a.matches(&labels(&[("k", "c")])));
        assert!(!in_a.matches(&labels(&[])));
    }

    #[test]
    fn rule_11_not_in_matches_where_the_key_is_missing() {
        let not_in = expression("NotIn", &["a"]);
        assert!(not_in.matches(&labels(&[])));
        assert!(not_in.matches(&labels(&[("k", "b")])));
        assert!(!not_in.matches(&labels(&[("k", "a")])));
    }

    #[test]
    fn rule_11_does_not_exist_matches_where_the_key_is_missing() {
        assert!(expression("DoesNotExist", &[]).matches(&labels(&[])));
        assert!(!expression("DoesNotExist", &[]).matches(&labels(&[("k", "")])));
        assert!(expression("Exists", &[]).matches(&labels(&[("k", "")])));
        assert!(!expression("Exists", &[]).matches(&labels(&[])));
    }

    #[test]
    fn rule_11_the_empty_string_is_a_value_and_not_a_missing_key() {
        let empty_value = selector(serde_json::json!({"matchLabels": {"k": ""}})).unwrap();
        assert!(empty_value.matches(&labels(&[("k", "")])));
        assert!(!empty_value.matches(&labels(&[])));
        assert!(!expression("In", &[""]).matches(&labels(&[])));
        assert!(expression("NotIn", &[""]).matches(&labels(&[])));
    }

    #[test]
    fn labels_and_expressions_must_all_match() {
        let both = selector(serde_json::json!({
            "matchLabels": {"app": "a"},
            "matchExpressions": [{"key": "k", "operator": "Exists"}],
        }))
        .unwrap();
        assert!(both.matches(&labels(&[("app", "a"), ("k", "x")])));
        assert!(!both.matches(&labels(&[("app", "a")])));
        assert_eq!(both.to_string(), "app=a,k");
        assert_eq!(expression("In", &["a", "b"]).to_string(), "k in (a,b)");
    }

    #[test]
    fn values_go_with_in_and_not_in_only() {
        for (operator, values) in [
            ("In", &[][..]),
            ("NotIn", &[]),
            ("Exists", &["a"]),
            ("DoesNotExist", &["a"]),
            ("is", &["a"]),
        ] {
            let json = serde_json::json!({"key": "k", "operator": operator, "values": values});
            let result = selector(serde_json::json!({ "matchExpressions": [json] }));
            assert_eq!(result.unwrap_err().len(), 1, "{operator}");
        }
    }
}
