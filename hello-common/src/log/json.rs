//! One event as one JSON object, with the field names of Cloud Logging's structured logging
//! (<https://cloud.google.com/logging/docs/structured-logging>).

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// The fields of one event.
///
/// A dotted name nests: `httpRequest.status` becomes `{"httpRequest":{"status":…}}`; not one with a
/// slash, such as `logging.googleapis.com/trace`.
/// Fields are for JSON; a text line is the message alone.
#[derive(Debug, Default)]
pub struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    /// Collects the fields of `event`.
    #[must_use]
    pub fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    /// The object: `severity`, `time`, `message`, then the event's own fields.
    #[must_use]
    pub fn into_json(self, level: Level) -> Value {
        let mut object = object(level, self.message);
        if let Value::Object(object) = &mut object {
            object.extend(self.others);
        }
        object
    }

    fn insert(&mut self, name: &str, value: Value) {
        let nested = name.split_once('.').filter(|_| !name.contains('/'));
        let Some((outer, inner)) = nested else {
            self.others.insert(name.to_owned(), value);
            return;
        };
        let nested = self.others.entry(outer).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(nested) = nested {
            nested.insert(inner.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.insert(field.name(), format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.insert(field.name(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}

/// An object of a message alone, of now.
pub(super) fn object(level: Level, message: String) -> Value {
    json!({"severity": severity(level), "time": super::now().to_string(), "message": message})
}

/// Cloud Logging's `LogSeverity` for a level.
fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_nest() {
        let mut fields = Fields::default();
        fields.insert("httpRequest.status", 200.into());
        fields.insert("httpRequest.requestMethod", "GET".into());
        fields.insert("plain", true.into());
        fields.insert("logging.googleapis.com/trace", "t".into());
        assert_eq!(
            Value::Object(fields.others),
            serde_json::json!({
                "httpRequest": {"status": 200, "requestMethod": "GET"},
                "plain": true,
                "logging.googleapis.com/trace": "t",
            })
        );
    }

    #[test]
    fn severities_are_those_of_cloud_logging() {
        assert_eq!(severity(Level::WARN), "WARNING");
        assert_eq!(severity(Level::TRACE), "DEBUG");
    }
}
