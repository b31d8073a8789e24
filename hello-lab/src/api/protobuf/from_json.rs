//! JSON to protobuf.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use prost_reflect::{DynamicMessage, MapKey, Value as Proto};
use serde_json::Value;

use super::types::{Fault, Field, Many, Shape, Types};

/// An object as a message.
pub(super) fn message(types: &Types, name: &str, object: &Value) -> Result<DynamicMessage, Fault> {
    let mut message = DynamicMessage::new(types.descriptor(name)?);
    for field in types.fields(name)? {
        if field.inline {
            if let Shape::Message(name) = field.shape {
                let inner = self::message(types, name, object)?;
                set(&mut message, field, Proto::Message(inner))?;
            }
            continue;
        }
        let value = &object[field.name];
        if !value.is_null() {
            let value = many(types, field, value)?;
            set(&mut message, field, value)?;
        }
    }
    Ok(message)
}

fn set(message: &mut DynamicMessage, field: &Field, value: Proto) -> Result<(), Fault> {
    message.try_set_field_by_number(field.number, value).map_err(|_| field.wrong())
}

fn many(types: &Types, field: &Field, value: &Value) -> Result<Proto, Fault> {
    let list = |value: &Value| -> Result<Vec<Proto>, Fault> {
        let items = value.as_array().ok_or_else(|| field.wrong())?;
        items.iter().map(|item| one(types, field, item)).collect()
    };
    Ok(match field.many {
        Many::One => one(types, field, value)?,
        Many::List => Proto::List(list(value)?),
        Many::Map | Many::MapOfLists => {
            let object = value.as_object().ok_or_else(|| field.wrong())?;
            let mut map = HashMap::new();
            for (key, value) in object {
                let value = match field.many {
                    Many::MapOfLists => special(types, "Texts", &[(1, Proto::List(list(value)?))])?,
                    _ => one(types, field, value)?,
                };
                map.insert(MapKey::String(key.clone()), value);
            }
            Proto::Map(map)
        }
    })
}

fn one(types: &Types, field: &Field, value: &Value) -> Result<Proto, Fault> {
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| field.wrong());
    let number = || value.as_i64().ok_or_else(|| field.wrong());
    let small = |number: i64| i32::try_from(number).map_err(|_| field.wrong());
    Ok(match field.shape {
        Shape::Text => Proto::String(text()?),
        Shape::Bool => Proto::Bool(value.as_bool().ok_or_else(|| field.wrong())?),
        Shape::Int32 => Proto::I32(small(number()?)?),
        Shape::Int64 => Proto::I64(number()?),
        Shape::Bytes => {
            let bytes = STANDARD.decode(text()?).map_err(|_| field.wrong())?;
            Proto::Bytes(bytes.into())
        }
        Shape::Time(_) => {
            let time: Timestamp = text()?.parse().map_err(|_| field.wrong())?;
            let seconds = Proto::I64(time.as_second());
            special(types, "Time", &[(1, seconds), (2, Proto::I32(time.subsec_nanosecond()))])?
        }
        Shape::Quantity => {
            special(types, "Quantity", &[(1, Proto::String(quantity(value, field)?))])?
        }
        Shape::IntOrString => match value.as_str() {
            Some(text) => {
                let text = Proto::String(text.to_owned());
                special(types, "IntOrString", &[(1, Proto::I64(1)), (3, text)])?
            }
            None => special(types, "IntOrString", &[(2, Proto::I32(small(number()?)?))])?,
        },
        Shape::Raw => special(types, "Raw", &[(1, Proto::Bytes(value.to_string().into()))])?,
        Shape::Message(name) => {
            if !value.is_object() {
                return Err(field.wrong());
            }
            Proto::Message(message(types, name, value)?)
        }
    })
}

/// A quantity may be a number in JSON (`Quantity.UnmarshalJSON`).
fn quantity(value: &Value, field: &Field) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(field.wrong()),
    }
}

fn special(types: &Types, name: &str, fields: &[(u32, Proto)]) -> Result<Proto, Fault> {
    let mut message = DynamicMessage::new(types.descriptor(name)?);
    for (number, value) in fields {
        message
            .try_set_field_by_number(*number, value.clone())
            .map_err(|_| Fault::NoMessage(name.to_owned()))?;
    }
    Ok(Proto::Message(message))
}
