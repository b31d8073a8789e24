//! `labelSelector` and `fieldSelector` of a query
//! (k8s.io/apimachinery/pkg/labels/selector.go and pkg/fields/selector.go).

use std::collections::BTreeMap;

use netpol::names;
use serde_json::Value;

use crate::objects::{Kind, Object};

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

/// One requirement of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    path: String,
    equal: bool,
    value: String,
}

/// Why a selector is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text of a label selector is none.
    #[error("unable to parse requirement: found {found}, expected: {expected}")]
    Unparsed {
        /// What stands there.
        found: String,
        /// What could.
        expected: &'static str,
    },
    /// A key or a value is none.
    #[error("unable to parse requirement: {what}: Invalid value: {text:?}: {fault}")]
    Invalid {
        /// `key` or `values`.
        what: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A requirement of a field selector has no operator.
    #[error("invalid selector: '{selector}'; can't understand '{part}'")]
    NoOperator {
        /// The whole.
        selector: String,
        /// The requirement.
        part: String,
    },
    /// Objects of this kind are not selected by this field.
    #[error("field label not supported: {0}")]
    UnsupportedField(String),
    /// The same, of a kind of which nothing but its place can be selected by.
    #[error("{0:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")]
    UnknownField(String),
}

impl Selection {
    /// Reads both selectors; the error says which part is not understood.
    pub fn parse(kind: Kind, labels: &str, fields: &str) -> Result<Self, SelectorError> {
        Ok(Self { labels: Labels::new(labels).read()?, fields: read_fields(kind, fields)? })
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether `object` is one of them.
    #[must_use]
    pub fn matches(&self, object: &Object) -> bool {
        let fields = self
            .fields
            .iter()
            .all(|field| (look_up(object, &field.path) == field.value) == field.equal);
        fields && (self.labels.is_empty() || self.labels_match(&object.labels()))
    }

    fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|Requirement { key, operator }| {
            let value = labels.get(key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match operator {
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
                Operator::GreaterThan(least) => number().is_some_and(|number| number > *least),
                Operator::LessThan(most) => number().is_some_and(|number| number < *most),
            }
        })
    }
}

/// A part of a label selector's text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Mark(&'static str),
    End,
}

/// A label selector that is being read.
struct Labels {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Labels {
    fn new(text: &str) -> Self {
        const MARKS: [&str; 9] = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                tokens.push(Token::Mark(mark));
                rest = rest[mark.len()..].trim_start();
                continue;
            }
            let ends = |char: char| char.is_whitespace() || "=!<>(),".contains(char);
            let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            tokens.push(Token::Word(word.to_owned()));
            rest = after.trim_start();
        }
        Self { tokens: tokens.into_iter().peekable() }
    }

    fn read(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut all = Vec::new();
        if self.tokens.peek().is_none() {
            return Ok(all);
        }
        loop {
            all.push(self.requirement()?);
            match self.next() {
                Token::End => return Ok(all),
                Token::Mark(",") => {}
                other => return Err(unparsed(&other, "',' or the end")),
            }
        }
    }

    fn next(&mut self) -> Token {
        self.tokens.next().unwrap_or(Token::End)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (key, is_not) = match self.next() {
            Token::Mark("!") => (self.next(), true),
            other => (other, false),
        };
        let Token::Word(key) = key else { return Err(unparsed(&key, "'!' or a key")) };
        check("key", &key, names::label_key(&key))?;
        let is_over = matches!(self.tokens.peek(), None | Some(Token::Mark(",")));
        let operator = match (is_not, is_over) {
            (true, _) => Operator::DoesNotExist,
            (false, true) => Operator::Exists,
            (false, false) => self.operator()?,
        };
        Ok(Requirement { key, operator })
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        match self.next() {
            Token::Mark("=" | "==") => Ok(Operator::In(vec![self.value()?])),
            Token::Mark("!=") => Ok(Operator::NotIn(vec![self.value()?])),
            Token::Mark(">") => Ok(Operator::GreaterThan(self.number()?)),
            Token::Mark("<") => Ok(Operator::LessThan(self.number()?)),
            Token::Word(word) if word == "in" => Ok(Operator::In(self.set()?)),
            Token::Word(word) if word == "notin" => Ok(Operator::NotIn(self.set()?)),
            other => Err(unparsed(&other, "in, notin, =, ==, !=, < or >")),
        }
    }

    /// A value, which may be empty.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.tokens.peek() {
            Some(Token::Word(_)) => {
                let Token::Word(value) = self.next() else { return Ok(String::new()) };
                check("values", &value, names::label_value(&value))?;
                Ok(value)
            }
            None | Some(Token::Mark("," | ")")) => Ok(String::new()),
            Some(other) => Err(unparsed(other, "a value")),
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.parse().map_err(|_| SelectorError::Invalid {
            what: "values",
            text: value.clone(),
            fault: "for 'Gt', 'Lt' operators, the value must be an integer".to_owned(),
        })
    }

    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Mark("(") => {}
            other => return Err(unparsed(&other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            match self.next() {
                Token::Mark(",") => {}
                Token::Mark(")") => return Ok(values),
                other => return Err(unparsed(&other, "',' or ')'")),
            }
        }
    }
}

fn check(what: &'static str, text: &str, faults: Vec<String>) -> Result<(), SelectorError> {
    match faults.into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(SelectorError::Invalid { what, text: text.to_owned(), fault }),
    }
}

fn unparsed(found: &Token, expected: &'static str) -> SelectorError {
    let found = match found {
        Token::Word(word) => format!("'{word}'"),
        Token::Mark(mark) => format!("'{mark}'"),
        Token::End => "the end".to_owned(),
    };
    SelectorError::Unparsed { found, expected }
}

/// The fields, besides name and namespace, that objects of a kind can be selected by
/// (`AddFieldLabelConversionsFor…` of pkg/apis/core/v1/conversion.go; none for other groups).
fn selectable(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Kind::Namespace => &["status.phase"],
        Kind::Node => &["spec.unschedulable"],
        Kind::Service => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

fn read_fields(kind: Kind, text: &str) -> Result<Vec<Field>, SelectorError> {
    let mut fields = Vec::new();
    for part in split_unescaped(text).into_iter().filter(|part| !part.is_empty()) {
        let field = field(part).ok_or_else(|| SelectorError::NoOperator {
            selector: text.to_owned(),
            part: part.to_owned(),
        })?;
        let known = selectable(kind);
        let place = ["metadata.name", "metadata.namespace"];
        if !place.contains(&&*field.path) && !known.contains(&&*field.path) {
            return Err(if known.is_empty() {
                SelectorError::UnknownField(field.path)
            } else {
                SelectorError::UnsupportedField(field.path)
            });
        }
        fields.push(field);
    }
    Ok(fields)
}

/// The parts between commas, but for those after a backslash.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut escaped = false;
    let between = |char| {
        let splits = char == ',' && !escaped;
        escaped = char == '\\' && !escaped;
        splits
    };
    text.split(between).collect()
}

fn field(text: &str) -> Option<Field> {
    let (path, value, equal) = if let Some((path, value)) = text.split_once("!=") {
        (path, value, false)
    } else {
        let (path, value) = text.split_once("==").or_else(|| text.split_once('='))?;
        (path, value, true)
    };
    let mut plain = String::new();
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    Some(Field { path: path.trim().to_owned(), equal, value: plain })
}

/// The text of a field that can be selected by.
fn look_up(object: &Object, path: &str) -> String {
    let path = if path == "source" { "source.component" } else { path };
    let found = path.split('.').fold(object.value(), |value, name| &value[name]);
    match found {
        Value::String(text) => text.clone(),
        Value::Null if matches!(path, "spec.hostNetwork" | "spec.unschedulable") => {
            "false".to_owned()
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
