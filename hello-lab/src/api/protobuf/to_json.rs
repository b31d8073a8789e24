//! Protobuf to JSON, as Go writes the same object (encoding/json's `omitempty`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use prost_reflect::{DynamicMessage, MapKey, Value as Proto};
use serde_json::{Map, Value, json};

use super::types::{Fault, Field, Many, Shape, Types};

/// Adds the fields of a message to `object`.
pub(super) fn add(
    types: &Types,
    name: &str,
    message: &DynamicMessage,
    object: &mut Value,
) -> Result<(), Fault> {
    for field in types.fields(name)? {
        let there = message.has_field_by_number(field.number);
        let Some(value) = message.get_field_by_number(field.number) else {
            return Err(Fault::NoMessage(name.to_owned()));
        };
        if field.inline {
            if let (Shape::Message(name), Proto::Message(message)) = (field.shape, &*value) {
                add(types, name, message, object)?;
            }
            continue;
        }
        if field.pointer && !there {
            continue;
        }
        let value = many(types, field, &value)?;
        let left_out = match &value {
            Value::Null => true,
            // A structure is never empty for Go, but one that was not sent says nothing.
            Value::Object(map) => map.is_empty() && (!there || field.many != Many::One),
            Value::Array(list) => list.is_empty(),
            Value::String(text) => text.is_empty() && field.omit_empty && !field.pointer,
            Value::Bool(set) => !set && field.omit_empty && !field.pointer,
            Value::Number(number) => {
                number.as_i64() == Some(0) && field.omit_empty && !field.pointer
            }
        };
        if !left_out {
            object[field.name] = value;
        }
    }
    Ok(())
}

fn many(types: &Types, field: &Field, value: &Proto) -> Result<Value, Fault> {
    match (field.many, value) {
        (Many::One, value) => one(types, field, value),
        (Many::List, Proto::List(list)) => {
            list.iter().map(|item| one(types, field, item)).collect()
        }
        (Many::Map | Many::MapOfLists, Proto::Map(map)) => {
            let mut object = Map::new();
            for (key, value) in map {
                let MapKey::String(key) = key else { return Err(field.wrong()) };
                let value = match (field.many, value) {
                    (Many::MapOfLists, Proto::Message(message)) => {
                        let Some(list) = message.get_field_by_number(1) else {
                            return Err(field.wrong());
                        };
                        let items = list.as_list().unwrap_or_default();
                        items
                            .iter()
                            .map(|item| one(types, field, item))
                            .collect::<Result<_, _>>()?
                    }
                    _ => one(types, field, value)?,
                };
                object.insert(key.clone(), value);
            }
            Ok(object.into())
        }
        _ => Err(field.wrong()),
    }
}

fn one(types: &Types, field: &Field, value: &Proto) -> Result<Value, Fault> {
    Ok(match (field.shape, value) {
        (Shape::Text, Proto::String(text)) => text.as_str().into(),
        (Shape::Bool, Proto::Bool(set)) => (*set).into(),
        (Shape::Int32, Proto::I32(number)) => (*number).into(),
        (Shape::Int64, Proto::I64(number)) => (*number).into(),
        (Shape::Bytes, Proto::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Shape::Time(digits), Proto::Message(message)) => {
            let (seconds, nanoseconds) = (integer(message, 1), integer(message, 2));
            if !message.has_field_by_number(1) && !message.has_field_by_number(2) {
                return Ok(Value::Null);
            }
            let part = i32::try_from(nanoseconds).map_err(|_| field.wrong())?;
            let time = Timestamp::new(seconds, part).map_err(|_| field.wrong())?;
            format!("{time:.*}", usize::from(digits)).into()
        }
        (Shape::Quantity, Proto::Message(message)) => text(message, 1).into(),
        (Shape::IntOrString, Proto::Message(message)) => match integer(message, 1) {
            0 => integer(message, 2).into(),
            _ => text(message, 3).into(),
        },
        (Shape::Raw, Proto::Message(message)) => {
            let bytes = message.get_field_by_number(1);
            let bytes = bytes.as_ref().and_then(|value| value.as_bytes());
            match bytes.map_or(&[][..], |bytes| bytes) {
                [] => Value::Null,
                bytes => serde_json::from_slice(bytes)
                    .map_err(|source| Fault::NoJson { field: field.name.to_owned(), source })?,
            }
        }
        (Shape::Message(name), Proto::Message(message)) => {
            let mut object = json!({});
            add(types, name, message, &mut object)?;
            object
        }
        _ => return Err(field.wrong()),
    })
}

fn integer(message: &DynamicMessage, number: u32) -> i64 {
    match message.get_field_by_number(number).as_deref() {
        Some(Proto::I64(number)) => *number,
        Some(Proto::I32(number)) => (*number).into(),
        _ => 0,
    }
}

fn text(message: &DynamicMessage, number: u32) -> String {
    let value = message.get_field_by_number(number);
    value.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}
