//! What a strategic merge does with each field of each type: see `lists.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::objects::Kind;

const LISTS: &str = include_str!("lists.txt");

/// A type of the API, by its name; the empty name is that of one of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Type(&'static str);

/// What a field is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// An object of a type.
    Object(Type),
    /// A list.
    List(List),
    /// Anything else: a value, a map of values.
    Other,
}

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// It is replaced.
    Atomic,
    /// Its elements are primitives, each there once.
    Set,
    /// Elements of this type with the same key are one.
    ByKey(&'static str, Type),
}

impl List {
    /// The key of its elements.
    pub(super) fn key(self) -> Option<&'static str> {
        match self {
            Self::ByKey(key, _) => Some(key),
            Self::Atomic | Self::Set => None,
        }
    }
}

static FIELDS: LazyLock<HashMap<(&str, &str), Field>> = LazyLock::new(|| fields().collect());

/// Each line of the table: type and field, and what that is.
pub(super) fn fields() -> impl Iterator<Item = ((&'static str, &'static str), Field)> {
    LISTS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split(' ');
        let place = words.next()?.split_once('.')?;
        let of = words.next()?;
        let field = match (of.strip_prefix("[]"), words.next(), words.next()) {
            (None, ..) => Field::Object(Type(of)),
            (Some(element), Some("merge"), Some(key)) => {
                Field::List(List::ByKey(key, Type(element)))
            }
            (Some(_), Some("merge"), None) => Field::List(List::Set),
            (Some(_), ..) => Field::List(List::Atomic),
        };
        Some((place, field))
    })
}

/// The type of a kind's objects.
pub(super) fn of(kind: Kind) -> Type {
    Type(kind.resource().kind)
}

impl Type {
    pub(super) const UNKNOWN: Self = Self("");

    /// What this field of it is.
    pub(super) fn field(self, name: &str) -> Field {
        let fields: &HashMap<(&str, &str), Field> = &FIELDS;
        fields.get(&(self.0, name)).copied().unwrap_or(Field::Other)
    }

    #[cfg(test)]
    pub(super) fn name(self) -> &'static str {
        self.0
    }
}
