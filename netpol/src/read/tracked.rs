//! A JSON value that is decoded while its path is known, and that tells of fields which the
//! type does not have, together with those that it has.
//!
//! One type serves every layer of a document: layers that wrap one another (as those of
//! `serde_ignored` and `serde_path_to_error`) would make the code of each of the API's many
//! types anew.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value, json, map};

/// Where in a document something is: `spec.ingress[0].from`.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Element(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, key) => out.write_str(key),
            Path::Field(parent, key) => write!(out, "{parent}.{key}"),
            Path::Element(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

/// A step on the way to a value.
#[derive(Clone, Debug)]
enum Step {
    Field(String),
    Element(usize),
}

impl Path<'_> {
    fn steps(&self) -> Vec<Step> {
        let (parent, last) = match self {
            Path::Root => return Vec::new(),
            Path::Field(parent, key) => (parent, Step::Field((*key).to_owned())),
            Path::Element(parent, index) => (parent, Step::Element(*index)),
        };
        let mut steps = parent.steps();
        steps.push(last);
        steps
    }
}

/// A null that was read, and the JSON of what it was read as; none for a field that is absent.
#[derive(Debug)]
pub(super) struct ReadNull {
    steps: Vec<Step>,
    meant: Option<Value>,
}

impl ReadNull {
    /// Writes what was read in the place of the null.
    pub(super) fn replace(self, root: &mut Value) {
        let Self { mut steps, meant } = self;
        let Some(last) = steps.pop() else {
            *root = meant.unwrap_or_default();
            return;
        };
        let mut place = Some(root);
        for step in &steps {
            place = place.and_then(|place| match step {
                Step::Field(name) => place.get_mut(name),
                Step::Element(index) => place.get_mut(index),
            });
        }
        match (place, last) {
            (Some(Value::Object(fields)), Step::Field(name)) => match meant {
                Some(meant) => _ = fields.insert(name, meant),
                None => _ = fields.remove(&name),
            },
            (Some(Value::Array(elements)), Step::Element(index)) => {
                if let Some(element) = elements.get_mut(index) {
                    *element = meant.unwrap_or_default();
                }
            }
            // Each of them was passed on the way to the null.
            _ => {}
        }
    }
}

/// A field that the type of its object does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Where.
    pub path: String,
    /// The fields that the type has.
    pub known: &'static [&'static str],
}

/// What was seen on the way.
#[derive(Default)]
pub(super) struct Seen {
    pub unknown: RefCell<Vec<UnknownField>>,
    /// Every null, in the order they stand.
    pub nulls: RefCell<Vec<ReadNull>>,
    /// The innermost place of the error, if there was one.
    pub failed: RefCell<Option<String>>,
}

impl Seen {
    fn fail(&self, path: &Path<'_>, error: Error) -> Error {
        self.failed.borrow_mut().get_or_insert_with(|| path.to_string());
        error
    }
}

/// A value of a document.
pub(super) struct Node<'de, 'p> {
    value: &'de Value,
    path: Path<'p>,
    /// The fields of the object that this is a field of.
    siblings: &'static [&'static str],
    seen: &'p Seen,
}

impl<'de, 'p> Node<'de, 'p> {
    pub(super) fn root(value: &'de Value, seen: &'p Seen) -> Self {
        Self { value, path: Path::Root, siblings: &[], seen }
    }

    /// Notes what this null is read as.
    fn null_is(&self, meant: Option<Value>) {
        let null = ReadNull { steps: self.path.steps(), meant };
        self.seen.nulls.borrow_mut().push(null);
    }

    fn visit<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Self { value, path, seen, .. } = self;
        let visited = match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => number.deserialize_any(visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(elements) => {
                visitor.visit_seq(Elements { rest: elements.iter().enumerate(), path: &path, seen })
            }
            Value::Object(object) => visitor.visit_map(Fields {
                rest: object.iter(),
                next: None,
                known: fields,
                path: &path,
                seen,
            }),
        };
        visited.map_err(|error| seen.fail(&path, error))
    }
}

impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(&[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            // As with all of the below, Go reads null as the type's zero.
            Value::Null => {
                self.null_is(Some(json!({})));
                visitor.visit_map(NoFields)
            }
            _ => self.visit(fields, visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => {
                self.null_is(Some(json!({})));
                visitor.visit_map(NoFields)
            }
            _ => self.visit(&[], visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => {
                self.null_is(Some("".into()));
                visitor.visit_borrowed_str("")
            }
            _ => self.visit(&[], visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => {
                self.null_is(Some(false.into()));
                visitor.visit_bool(false)
            }
            _ => self.visit(&[], visitor),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => {
                self.null_is(Some(0.into()));
                visitor.visit_i64(0)
            }
            _ => self.visit(&[], visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => {
                // Every field is optional to the API's types. Of what is no field, only bytes are
                // (the values of a ConfigMap's `binaryData`).
                self.null_is(self.siblings.is_empty().then(|| "".into()));
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == "Quantity" && self.value.is_null() {
            // `Quantity.UnmarshalJSON` of k8s.io/apimachinery/pkg/api/resource.
            self.null_is(Some("0".into()));
            return visitor.visit_newtype_struct(BorrowedStrDeserializer::new("0"));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let field = UnknownField { path: self.path.to_string(), known: self.siblings };
        self.seen.unknown.borrow_mut().push(field);
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Self { value, path, seen, .. } = self;
        let visited = value.deserialize_enum(name, variants, visitor);
        visited.map_err(|error| seen.fail(&path, error))
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf
        unit unit_struct seq tuple tuple_struct identifier
    }
}

/// The fields of an object that is null.
struct NoFields;

impl<'de> MapAccess<'de> for NoFields {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Error> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("there is no value without a key"))
    }
}

struct Elements<'de, 'p> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    path: &'p Path<'p>,
    seen: &'p Seen,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        let path = Path::Element(self.path, index);
        seed.deserialize(Node { value, path, siblings: &[], seen: self.seen }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Fields<'de, 'p> {
    rest: map::Iter<'de>,
    next: Option<(&'de str, &'de Value)>,
    known: &'static [&'static str],
    path: &'p Path<'p>,
    seen: &'p Seen,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.next = Some((key, value));
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, value)) = self.next.take() else {
            return Err(Error::custom("a value was asked for before its key"));
        };
        let path = Path::Field(self.path, key);
        seed.deserialize(Node { value, path, siblings: self.known, seen: self.seen })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}
