//! A document of YAML as the JSON value that Kubernetes makes of it (`sigs.k8s.io/yaml`, which reads
//! as go-yaml 2 does).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};
use yaml_events::{Event, Events};

use super::parse_error::ParseError;
use super::scalar::{KeyError, Scalar, ScalarError};

/// How deep collections may be in each other.
const DEEPEST: usize = 250;

/// What the tags begin with that YAML itself has.
const CORE: &str = "tag:yaml.org,2002:";

/// The tag of a key whose value's fields are its mapping's.
const MERGE: &str = "tag:yaml.org,2002:merge";

/// What a document says.
#[derive(Debug)]
pub(super) enum Composed {
    /// All of it.
    Whole(Value),
    /// Its kind, which nobody asked to read.
    Head(Value),
}

/// The line of each field of a document, by its path.
pub(super) type Lines = BTreeMap<String, u64>;

/// Whether of an object that begins with these fields the rest need not be read.
pub(super) type IsUnread = dyn Fn(&Map<String, Value>) -> bool;

/// Reads a text of one document. One whose first fields say so to `is_unread` is only looked through for
/// errors.
pub(super) fn compose(text: &str, is_unread: &IsUnread) -> Result<Composed, ParseError> {
    let mut composer = Composer::new(text, None);
    composer.run(is_unread)?;
    let value = composer.result.take().unwrap_or_default();
    Ok(if composer.is_unread { Composed::Head(value) } else { Composed::Whole(value) })
}

/// The lines of a text of one document; as far as it can be read.
pub(super) fn lines(text: &str) -> Lines {
    let mut composer = Composer::new(text, Some(Lines::new()));
    // What is wrong with it was told when it was read.
    let _ = composer.run(&|_| false);
    composer.lines.unwrap_or_default()
}

struct Composer<'t> {
    text: &'t str,
    stack: Vec<Frame>,
    /// What each anchor stands for, once that is whole, and of how many nodes that is.
    anchors: HashMap<String, Option<(Value, usize)>>,
    nodes: usize,
    /// So many nodes may be made, also by aliases.
    most_nodes: usize,
    result: Option<Value>,
    is_unread: bool,
    lines: Option<Lines>,
    /// The path of what comes next, where lines are wanted.
    path: String,
}

/// A collection that is not finished.
struct Frame {
    content: Content,
    anchor: Option<String>,
    /// How many nodes there were before it.
    nodes_before: usize,
    /// How long the path to it is.
    path: usize,
}

enum Content {
    Sequence(Vec<Value>),
    Mapping {
        object: Map<String, Value>,
        /// The key whose value comes next.
        key: Option<Key>,
        /// The keys that stand there themselves, once others were merged in.
        own: Option<HashSet<String>>,
    },
}

enum Key {
    Field(String),
    /// `<<`: its value's fields are this mapping's.
    Merge,
}

/// A node that is whole.
struct Node {
    value: Value,
    line: u64,
    /// As a key, if it can be one.
    key: Result<Key, KeyError>,
}

impl<'t> Composer<'t> {
    fn new(text: &'t str, lines: Option<Lines>) -> Self {
        Self {
            text,
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            // As much as the text itself can hold, and what a person abbreviates.
            most_nodes: text.len().saturating_mul(2).saturating_add(100_000),
            result: None,
            is_unread: false,
            lines,
            path: String::new(),
        }
    }

    fn run(&mut self, is_unread: &IsUnread) -> Result<(), ParseError> {
        let mut depth = 0_usize;
        let mut events = Events::of(self.text);
        while let Some(event) = events.next() {
            let (event, line) = event.map_err(|error| ParseError::syntax(self.text, error))?;
            match event {
                Event::DocumentStart if self.result.is_some() => {
                    return Err(ParseError::no_further(self.text, line));
                }
                Event::SequenceStart { .. } | Event::MappingStart { .. } => {
                    depth += 1;
                    if depth > DEEPEST {
                        return Err(ParseError::at(line, "collections are nested too deep"));
                    }
                }
                Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
                _ => {}
            }
            if self.is_unread {
                continue;
            }
            self.event(event, line)?;
            if self.lines.is_none()
                && let Some(head) = self.head()
                && is_unread(head)
            {
                self.is_unread = true;
                events.without_text();
                if let Some(Frame { content: Content::Mapping { object, .. }, .. }) =
                    self.stack.pop()
                {
                    self.result = Some(Value::Object(object));
                }
            }
        }
        Ok(())
    }

    /// An object of which a field was just read.
    fn head(&self) -> Option<&Map<String, Value>> {
        match &self.stack[..] {
            [Frame { content: Content::Mapping { object, key: None, .. }, .. }] => Some(object),
            _ => None,
        }
    }

    fn event(&mut self, event: Event, line: u64) -> Result<(), ParseError> {
        match event {
            Event::Scalar { anchor, tag, value: word, is_plain } => {
                let tag = tag.as_deref();
                let is_merge = word == "<<" && (tag == Some(MERGE) || is_plain && tag.is_none());
                let scalar =
                    scalar_of(word, is_plain, tag).map_err(|error| ParseError::of(line, error))?;
                let key = if is_merge { Ok(Key::Merge) } else { scalar.to_key().map(Key::Field) };
                self.count(1, line)?;
                if self.is_key_next() && anchor.is_none() {
                    return self.store(Node { value: Value::Null, line, key });
                }
                let value = scalar.into_value().map_err(|error| ParseError::of(line, error))?;
                if let Some(anchor) = anchor {
                    self.anchors.insert(anchor, Some((value.clone(), 1)));
                }
                self.put(Node { value, line, key })
            }
            Event::Alias(anchor) => {
                let (value, nodes) = match self.anchors.get(&anchor) {
                    Some(Some((value, nodes))) => (value, *nodes),
                    Some(None) => {
                        let said = format!("anchor '{anchor}' value contains itself");
                        return Err(ParseError::at(line, said));
                    }
                    None => {
                        let said = format!("unknown anchor '{anchor}' referenced");
                        return Err(ParseError::or_template(self.text, line, said));
                    }
                };
                let key = key_of(value).map(Key::Field);
                if self.nodes.saturating_add(nodes) > self.most_nodes {
                    return Err(ParseError::too_many(line));
                }
                let value = value.clone();
                self.nodes += nodes;
                self.put(Node { value, line, key })
            }
            Event::SequenceStart { anchor } => {
                self.open(Content::Sequence(Vec::new()), anchor, line)
            }
            Event::MappingStart { anchor } => {
                let mapping = Content::Mapping { object: Map::new(), key: None, own: None };
                self.open(mapping, anchor, line)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line),
            Event::DocumentStart | Event::DocumentEnd => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, line: u64) -> Result<(), ParseError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.most_nodes { Err(ParseError::too_many(line)) } else { Ok(()) }
    }

    fn open(
        &mut self,
        content: Content,
        anchor: Option<String>,
        line: u64,
    ) -> Result<(), ParseError> {
        if self.is_key_next() {
            return Err(ParseError::no_key(self.text, line, KeyError::Collection));
        }
        let path = self.enter(line);
        if let Some(anchor) = &anchor {
            self.anchors.insert(anchor.clone(), None);
        }
        self.stack.push(Frame { content, anchor, nodes_before: self.nodes, path });
        self.count(1, line)
    }

    fn close(&mut self, line: u64) -> Result<(), ParseError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::Sequence(elements) => Value::Array(elements),
            Content::Mapping { object, .. } => Value::Object(object),
        };
        if let Some(anchor) = frame.anchor {
            self.anchors.insert(anchor, Some((value.clone(), self.nodes - frame.nodes_before)));
        }
        self.path.truncate(frame.path);
        self.store(Node { value, line, key: Err(KeyError::Collection) })
    }

    /// Whether what comes next is a key.
    fn is_key_next(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Mapping { key: None, .. }, .. }))
    }

    /// A node that is whole at once.
    fn put(&mut self, node: Node) -> Result<(), ParseError> {
        if !self.is_key_next() {
            let path = self.enter(node.line);
            self.path.truncate(path);
        }
        self.store(node)
    }

    /// Notes the line of the element that begins, and goes to its path; returns how long that was before.
    fn enter(&mut self, line: u64) -> usize {
        let before = self.path.len();
        let Some(lines) = &mut self.lines else { return before };
        match self.stack.last() {
            None => {
                lines.entry(String::new()).or_insert(line);
            }
            Some(Frame { content: Content::Sequence(elements), .. }) => {
                // A String takes whatever is written.
                let _ = write!(self.path, "[{}]", elements.len());
                lines.entry(self.path.clone()).or_insert(line);
            }
            Some(Frame { content: Content::Mapping { key, .. }, .. }) => {
                if let Some(Key::Field(key)) = key {
                    if !self.path.is_empty() {
                        self.path.push('.');
                    }
                    self.path.push_str(key);
                }
            }
        }
        before
    }

    /// Adds a node to what it is in.
    fn store(&mut self, Node { value, line, key: as_key }: Node) -> Result<(), ParseError> {
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.result = Some(value),
            Some(Content::Sequence(elements)) => elements.push(value),
            Some(Content::Mapping { object, key, own }) => match key.take() {
                None => {
                    let found =
                        as_key.map_err(|error| ParseError::no_key(self.text, line, error))?;
                    if let Key::Field(field) = &found {
                        let is_there = match own {
                            Some(own) => !own.insert(field.clone()),
                            None => object.contains_key(field),
                        };
                        if is_there {
                            return Err(ParseError::duplicate(line, field));
                        }
                        if let Some(lines) = &mut self.lines {
                            let dot = if self.path.is_empty() { "" } else { "." };
                            lines.insert(format!("{}{dot}{field}", self.path), line);
                        }
                    }
                    *key = Some(found);
                }
                Some(Key::Field(field)) => {
                    object.insert(field, value);
                }
                Some(Key::Merge) => {
                    own.get_or_insert_with(|| object.keys().cloned().collect());
                    merge(object, value).map_err(|error| ParseError::of(line, error))?;
                }
            },
        }
        Ok(())
    }
}

/// What `<<` has for a value is no mapping.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("map merge requires map or sequence of maps as the value")]
struct MergeError;

/// Merges the fields of `value`, or of each mapping in it, the first of which goes before the others, as
/// go-yaml 2 does: also over fields that stand before it.
fn merge(object: &mut Map<String, Value>, value: Value) -> Result<(), MergeError> {
    match value {
        Value::Object(fields) => object.extend(fields),
        Value::Array(elements) => {
            for element in elements.into_iter().rev() {
                let Value::Object(fields) = element else { return Err(MergeError) };
                object.extend(fields);
            }
        }
        _ => return Err(MergeError),
    }
    Ok(())
}

/// What a scalar says, by how it is written.
fn scalar_of(word: String, is_plain: bool, tag: Option<&str>) -> Result<Scalar, ScalarError> {
    match tag.map(|tag| tag.strip_prefix(CORE)) {
        None if is_plain => Ok(Scalar::plain(&word)),
        Some(Some(kind)) => Scalar::tagged(&word, kind),
        // Tags that YAML does not have itself say nothing.
        None | Some(None) => Ok(Scalar::Text(word)),
    }
}

/// A value that an anchor stands for, as a key.
fn key_of(value: &Value) -> Result<String, KeyError> {
    match value {
        Value::Null => Scalar::Null.to_key(),
        Value::Bool(is) => Scalar::Bool(*is).to_key(),
        Value::Number(number) => match (number.as_i128(), number.as_f64()) {
            (Some(int), _) => Scalar::Int(int).to_key(),
            (None, Some(float)) => Scalar::Float(float).to_key(),
            (None, None) => Err(KeyError::Number),
        },
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => Err(KeyError::Collection),
    }
}
