//! The table of types: what the fields of each message are called, and how they are written.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions,
};
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Made by `hello-lab/protobuf/generate.go` from Kubernetes' own types.
const TABLE: &str = include_str!("../../../protobuf/types.txt");

/// The package of every message here; protobuf wants one, and nobody sees it.
const PACKAGE: &str = "k";

/// What is wrong with a value.
#[derive(Debug, thiserror::Error)]
pub(in crate::api) enum Fault {
    /// It is of another type than its field.
    #[error("{field}: a value of the wrong type")]
    WrongType {
        /// The field's name.
        field: String,
    },
    /// Bytes that are said to be JSON.
    #[error("{field}: no JSON")]
    NoJson {
        /// The field's name.
        field: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The table names a message that it does not have: a fault of hello-lab's own.
    #[error("the table of types has no {0}")]
    NoMessage(String),
}

/// What one value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Bool,
    Int32,
    Int64,
    Bytes,
    /// Seconds and nanoseconds; as JSON, RFC 3339 with so many digits of a second's part.
    Time(u8),
    /// A text in a message.
    Quantity,
    IntOrString,
    /// JSON in a message.
    Raw,
    Message(&'static str),
}

/// How many of them a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    One,
    List,
    /// By text.
    Map,
    /// By text, lists of them, each in a message.
    MapOfLists,
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) many: Many,
    /// Whether Go tells "none" from an empty one.
    pub(super) pointer: bool,
    /// Whether an empty one is left out of JSON.
    pub(super) omit_empty: bool,
    /// Whether its own fields stand in its place.
    pub(super) inline: bool,
}

impl Field {
    /// What is said of a value of another type.
    pub(super) fn wrong(&self) -> Fault {
        Fault::WrongType { field: self.name.to_owned() }
    }
}

/// The whole table.
pub(super) struct Types {
    kinds: HashMap<(&'static str, &'static str), &'static str>,
    messages: HashMap<&'static str, Vec<Field>>,
    pool: DescriptorPool,
}

impl Types {
    /// The table, which is read once.
    pub(super) fn get() -> &'static Self {
        static TYPES: LazyLock<Types> = LazyLock::new(|| Types::read(TABLE));
        &TYPES
    }

    fn read(table: &'static str) -> Self {
        let mut kinds = HashMap::new();
        let mut messages: HashMap<&str, Vec<Field>> = HashMap::new();
        let mut open = "";
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            match words[..] {
                ["kind", version, kind, message] => _ = kinds.insert((version, kind), message),
                [message] => {
                    open = message;
                    messages.entry(open).or_default();
                }
                [number, name, kind, ref marks @ ..] => {
                    let field = field(number, name, kind, marks);
                    messages.entry(open).or_default().extend(field);
                }
                _ => {}
            }
        }
        // A table that is wrong has no descriptors, and a test holds that this one has.
        let mut pool = DescriptorPool::new();
        if let Err(error) = pool.add_file_descriptor_set(descriptors(&messages)) {
            tracing::error!("the table of types cannot be used: {error}");
        }
        Self { kinds, messages, pool }
    }

    /// The message of a kind. Clients send `DeleteOptions` under the version of what they delete.
    pub(super) fn message_of(&self, api_version: &str, kind: &str) -> Option<&'static str> {
        let version = if kind == "DeleteOptions" { "v1" } else { api_version };
        self.kinds.get(&(version, kind)).copied()
    }

    pub(super) fn fields(&self, message: &str) -> Result<&[Field], Fault> {
        let fields = self.messages.get(message).map(Vec::as_slice);
        fields.ok_or_else(|| Fault::NoMessage(message.to_owned()))
    }

    pub(super) fn descriptor(&self, message: &str) -> Result<MessageDescriptor, Fault> {
        let name = format!("{PACKAGE}.{}", type_name(message));
        self.pool.get_message_by_name(&name).ok_or_else(|| Fault::NoMessage(message.to_owned()))
    }

    #[cfg(test)]
    pub(super) fn all_messages(&self) -> impl Iterator<Item = &'static str> {
        self.messages.keys().copied()
    }

    #[cfg(test)]
    pub(super) fn all_kinds(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.kinds.keys().copied()
    }
}

/// None where the table is wrong.
fn field(
    number: &'static str,
    name: &'static str,
    kind: &'static str,
    marks: &[&str],
) -> Option<Field> {
    let (pointer, kind) = kind.strip_prefix('*').map_or((false, kind), |kind| (true, kind));
    let (many, kind) = [("map:list:", Many::MapOfLists), ("map:", Many::Map), ("[]", Many::List)]
        .into_iter()
        .find_map(|(prefix, many)| Some((many, kind.strip_prefix(prefix)?)))
        .unwrap_or((Many::One, kind));
    let shape = match kind {
        "string" => Shape::Text,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "bytes" => Shape::Bytes,
        "Time" => Shape::Time(0),
        "MicroTime" => Shape::Time(6),
        "Quantity" => Shape::Quantity,
        "IntOrString" => Shape::IntOrString,
        "FieldsV1" | "RawExtension" => Shape::Raw,
        message => Shape::Message(message),
    };
    Some(Field {
        number: number.parse().ok()?,
        name,
        shape,
        many,
        pointer,
        omit_empty: marks.contains(&"?"),
        inline: marks.contains(&"<"),
    })
}

fn type_name(message: &str) -> String {
    message.replace('.', "_")
}

/// The messages as protobuf's own reflection describes them.
fn descriptors(messages: &HashMap<&'static str, Vec<Field>>) -> FileDescriptorSet {
    let own = messages.iter().map(|(name, fields)| {
        let mut message =
            DescriptorProto { name: Some(type_name(name)), ..DescriptorProto::default() };
        for field in fields {
            describe(&mut message, field);
        }
        message
    });
    let plain = |name: &str, fields: &[(i32, Type, Label)]| DescriptorProto {
        name: Some(name.to_owned()),
        field: fields
            .iter()
            .map(|(number, kind, label)| descriptor(*number, *kind, None, *label))
            .collect(),
        ..DescriptorProto::default()
    };
    let one = Label::Optional;
    let special = [
        plain("Time", &[(1, Type::Int64, one), (2, Type::Int32, one)]),
        plain("Quantity", &[(1, Type::String, one)]),
        plain(
            "IntOrString",
            &[(1, Type::Int64, one), (2, Type::Int32, one), (3, Type::String, one)],
        ),
        plain("Raw", &[(1, Type::Bytes, one)]),
        plain("Texts", &[(1, Type::String, Label::Repeated)]),
    ];
    let file = FileDescriptorProto {
        name: Some("types".to_owned()),
        package: Some(PACKAGE.to_owned()),
        message_type: own.chain(special).collect(),
        syntax: Some("proto2".to_owned()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }
}

/// Adds a field to its message; maps have a message of their own for an entry (protobuf's language guide,
/// "Maps").
fn describe(message: &mut DescriptorProto, field: &Field) {
    let (kind, named) = match field.shape {
        Shape::Text => (Type::String, None),
        Shape::Bool => (Type::Bool, None),
        Shape::Int32 => (Type::Int32, None),
        Shape::Int64 => (Type::Int64, None),
        Shape::Bytes => (Type::Bytes, None),
        Shape::Time(_) => (Type::Message, Some("Time".to_owned())),
        Shape::Quantity => (Type::Message, Some("Quantity".to_owned())),
        Shape::IntOrString => (Type::Message, Some("IntOrString".to_owned())),
        Shape::Raw => (Type::Message, Some("Raw".to_owned())),
        Shape::Message(name) => (Type::Message, Some(type_name(name))),
    };
    let named = named.map(|name| format!(".{PACKAGE}.{name}"));
    let Ok(number) = i32::try_from(field.number) else { return };
    let (value_type, value_name) = match field.many {
        Many::One => {
            message.field.push(descriptor(number, kind, named, Label::Optional));
            return;
        }
        Many::List => {
            message.field.push(descriptor(number, kind, named, Label::Repeated));
            return;
        }
        Many::Map => (kind, named),
        Many::MapOfLists => (Type::Message, Some(format!(".{PACKAGE}.Texts"))),
    };
    let name = format!("F{number}Entry");
    let mut key = descriptor(1, Type::String, None, Label::Optional);
    key.name = Some("key".to_owned());
    let mut value = descriptor(2, value_type, value_name, Label::Optional);
    value.name = Some("value".to_owned());
    let entry = format!(".{PACKAGE}.{}.{name}", message.name.as_deref().unwrap_or_default());
    message.field.push(descriptor(number, Type::Message, Some(entry), Label::Repeated));
    message.nested_type.push(DescriptorProto {
        name: Some(name),
        field: vec![key, value],
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..DescriptorProto::default()
    });
}

fn descriptor(
    number: i32,
    kind: Type,
    named: Option<String>,
    label: Label,
) -> FieldDescriptorProto {
    FieldDescriptorProto {
        // Fields are known by number; as JSON they are named by the table.
        name: Some(format!("f{number}")),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        type_name: named,
        ..FieldDescriptorProto::default()
    }
}
