//! `labelSelector` and `fieldSelector` of a query.

use netpol::selector::{Operator, Requirement, Selector};
use serde_json::Value;

use crate::objects::Object;

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    labels: Selector,
    fields: Vec<Field>,
}

/// One requirement of a field selector.
#[derive(Clone, Debug)]
struct Field {
    path: String,
    equal: bool,
    value: String,
}

impl Selection {
    /// Reads both selectors; the error says which part is not understood.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, String> {
        let labels = split(labels).into_iter().map(requirement).collect::<Result<_, _>>()?;
        let fields = split(fields).into_iter().map(field).collect::<Result<_, _>>()?;
        Ok(Self { labels: Selector::new(labels), fields })
    }

    /// Whether `object` is one of them.
    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        self.labels.matches(&object.labels())
            && self
                .fields
                .iter()
                .all(|field| (lookup(object.value(), &field.path) == field.value) == field.equal)
    }
}

/// The text of the field at a dotted path; empty where there is none.
fn lookup(value: &Value, path: &str) -> String {
    let found = path.split('.').fold(value, |value, name| &value[name]);
    match found {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The parts between commas, but for those within parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let between = |char| {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        char == ',' && depth == 0
    };
    text.split(between).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let values = |list: &str| -> Option<Vec<String>> {
        let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, operator) = if let Some(key) = text.strip_prefix('!') {
        (key, Operator::DoesNotExist)
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Operator::NotIn(one(value)))
    } else if let Some((key, list)) = text.split_once(" notin ") {
        (key, Operator::NotIn(values(list).ok_or_else(|| unparsed(text))?))
    } else if let Some((key, list)) = text.split_once(" in ") {
        (key, Operator::In(values(list).ok_or_else(|| unparsed(text))?))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Operator::In(one(value)))
    } else {
        (text, Operator::Exists)
    };
    let key = key.trim().to_owned();
    if !netpol::names::label_key(&key).is_empty() {
        return Err(unparsed(text));
    }
    Ok(Requirement { key, operator })
}

fn field(text: &str) -> Result<Field, String> {
    let (path, value, equal) = if let Some((path, value)) = text.split_once("!=") {
        (path, value, false)
    } else {
        let (path, value) =
            text.split_once("==").or_else(|| text.split_once('=')).ok_or_else(|| unparsed(text))?;
        (path, value, true)
    };
    Ok(Field { path: path.trim().to_owned(), equal, value: value.trim().to_owned() })
}

fn unparsed(text: &str) -> String {
    format!("unable to parse requirement: {text:?}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::Kind;

    fn matches(labels: &str, fields: &str) -> bool {
        let object = Object::new(
            Kind::Pod,
            json!({
                "metadata": {"name": "p", "labels": {"app": "hello", "tier": "web"}},
                "status": {"phase": "Running"},
            }),
        )
        .unwrap();
        Selection::parse(labels, fields).unwrap().matches(&object)
    }

    #[test]
    fn label_selectors_are_those_of_kubectl() {
        for labels in [
            "",
            "app=hello",
            "app==hello",
            "app!=other",
            "app",
            "!nope",
            "app in (hello, other)",
            "app notin (a,b),tier=web",
            "nope!=a",
        ] {
            assert!(matches(labels, ""), "{labels}");
        }
        for labels in ["app=other", "nope", "!app", "app in (a,b)", "app=hello,tier=db"] {
            assert!(!matches(labels, ""), "{labels}");
        }
    }

    #[test]
    fn field_selectors_look_up_any_field() {
        assert!(matches("", "metadata.name=p,status.phase!=Pending"));
        assert!(!matches("", "metadata.name=q"));
        assert!(matches("", "spec.nodeName="));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for labels in ["=a", "a in b", "a b"] {
            assert!(Selection::parse(labels, "").is_err(), "{labels}");
        }
        assert!(Selection::parse("", "metadata.name").is_err());
    }
}
