//! JSON in which it is noticed that a key comes twice, as the API server notices it
//! (sigs.k8s.io/json, `UnmarshalStrict`). The last one counts.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A document, and the paths of the keys that come twice in it.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) value: Value,
    pub(super) duplicates: BTreeSet<String>,
}

/// So many duplicates are named, and so many bytes of their paths: an answer does not grow with what is sent.
const MOST_NAMED: usize = 100;
const LONGEST_PATH: usize = 1 << 10;

/// Reads a whole document. Its depth is bounded by `serde_json`.
pub(super) fn read(text: &[u8]) -> Result<Document, serde_json::Error> {
    let duplicates = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let part = Part { path: Path::Root, duplicates: &duplicates };
    let value = part.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Document { value, duplicates: duplicates.into_inner() })
}

/// Where in a document something is. It is written out for a duplicate alone.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Element(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => out.write_str(name),
            Path::Field(parent, name) => write!(out, "{parent}.{name}"),
            Path::Element(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

/// A text that ends where it would be too long.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST_PATH.saturating_sub(self.0.len());
        self.0.extend(text.chars().take(room));
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

/// A value at a path.
struct Part<'d> {
    path: Path<'d>,
    duplicates: &'d RefCell<BTreeSet<String>>,
}

impl Part<'_> {
    fn note_duplicate(path: Path<'_>, duplicates: &RefCell<BTreeSet<String>>) {
        let mut duplicates = duplicates.borrow_mut();
        if duplicates.len() < MOST_NAMED {
            let mut text = Bounded(String::new());
            // One that is too long is cut off.
            let _ = write!(text, "{path}");
            duplicates.insert(text.0);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rest: A) -> Result<Value, A::Error> {
        let Self { path, duplicates } = self;
        let mut elements = Vec::new();
        loop {
            let path = Path::Element(&path, elements.len());
            let Some(element) = rest.next_element_seed(Part { path, duplicates })? else { break };
            elements.push(element);
        }
        Ok(elements.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rest: A) -> Result<Value, A::Error> {
        let Self { path, duplicates } = self;
        let mut fields = Map::new();
        while let Some(name) = rest.next_key::<String>()? {
            let path = Path::Field(&path, &name);
            if fields.contains_key(&name) {
                Part::note_duplicate(path, duplicates);
            }
            let value = rest.next_value_seed(Part { path, duplicates })?;
            fields.insert(name, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_come_twice_are_named_and_the_last_one_counts() {
        let text = br#"{"a": 1, "b": [{"c": null, "c": -2.5}], "a": {"x": true, "x": "y"}}"#;
        let Document { value, duplicates } = read(text).unwrap();
        assert_eq!(value, json!({"a": {"x": "y"}, "b": [{"c": -2.5}]}));
        assert_eq!(Vec::from_iter(duplicates), ["a", "a.x", "b[0].c"]);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{} x", "nul", "{\"a\": }", &"[".repeat(10_000)] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
