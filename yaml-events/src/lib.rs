//! What stands in a text of YAML, one event after the other, as libyaml reads it.
//!
//! Kubernetes reads YAML as go-yaml 2 does, which is libyaml in Go; readers of YAML 1.2 differ from it in
//! dozens of ways (tabs, comments, colons, line breaks). libyaml itself is here in Rust, as `libyaml-rs` of
//! the YAML organisation, whose functions are unsafe to call: this crate is all that calls them.
//!
//! It is newer than that which go-yaml 2 is made of, and reads what that does not, or otherwise: `\/` in double
//! quotes, and in flow collections a `?` within a word and a comma behind a tag. These are refused here.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, from_mut};
use std::slice;

use libyaml_rs::{
    YAML_ALIAS_EVENT, YAML_DOCUMENT_END_EVENT, YAML_DOCUMENT_START_EVENT,
    YAML_DOUBLE_QUOTED_SCALAR_STYLE, YAML_FLOW_MAPPING_STYLE, YAML_FLOW_SEQUENCE_STYLE,
    YAML_MAPPING_END_EVENT, YAML_MAPPING_START_EVENT, YAML_PLAIN_SCALAR_STYLE, YAML_SCALAR_EVENT,
    YAML_SEQUENCE_END_EVENT, YAML_SEQUENCE_START_EVENT, YAML_STREAM_START_EVENT,
    YAML_UTF8_ENCODING, yaml_event_delete, yaml_event_t, yaml_parser_delete,
    yaml_parser_initialize, yaml_parser_parse, yaml_parser_set_encoding,
    yaml_parser_set_input_string, yaml_parser_t,
};

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A document begins.
    DocumentStart,
    /// A document ends.
    DocumentEnd,
    /// A node stands here once more that has this anchor.
    Alias(String),
    /// A scalar.
    Scalar {
        /// The anchor, without `&`.
        anchor: Option<String>,
        /// The tag in full: `tag:yaml.org,2002:str` for `!!str`.
        tag: Option<String>,
        /// What it says, without quotes, escapes and indentation.
        value: String,
        /// Whether it is written without quotes and not as a block.
        is_plain: bool,
    },
    /// A sequence begins.
    SequenceStart {
        /// The anchor, without `&`.
        anchor: Option<String>,
    },
    /// A sequence ends.
    SequenceEnd,
    /// A mapping begins. Its keys and values follow by turns.
    MappingStart {
        /// The anchor, without `&`.
        anchor: Option<String>,
    },
    /// A mapping ends.
    MappingEnd,
}

/// A text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// Where; the first line is 1.
    pub line: u64,
    /// What, in libyaml's words.
    pub problem: String,
}

/// The events of a text, each with its line; the first is 1. Nothing follows an error.
#[derive(Debug)]
pub struct Events<'t> {
    /// From `Box::into_raw`, initialized, and this value's alone. libyaml keeps pointers to it in itself, so
    /// that it must stay where it is.
    parser: NonNull<yaml_parser_t>,
    has_ended: bool,
    has_text: bool,
    text: &'t str,
    /// How many flow collections are open.
    flow_depth: usize,
}

impl<'t> Events<'t> {
    /// The events of `text`.
    ///
    /// # Panics
    /// When there is no memory left.
    #[must_use]
    pub fn of(text: &'t str) -> Self {
        let parser = Box::into_raw(Box::new(MaybeUninit::<yaml_parser_t>::uninit()));
        let parser = NonNull::new(parser).expect("a box is somewhere").cast::<yaml_parser_t>();
        let pointer = parser.as_ptr();
        // SAFETY: it points to memory for a parser, which the function fills without reading it.
        let made = unsafe { yaml_parser_initialize(pointer) };
        assert!(made.ok, "no memory for a parser");
        let made = Self { parser, has_ended: false, has_text: true, text, flow_depth: 0 };
        // SAFETY: the parser is initialized, and has no encoding yet.
        unsafe { yaml_parser_set_encoding(pointer, YAML_UTF8_ENCODING) };
        // SAFETY: the parser is initialized, and has no input yet; the text outlives it, by `'t`.
        unsafe { yaml_parser_set_input_string(pointer, text.as_ptr(), text.len() as u64) };
        made
    }

    /// Leaves out of all events that follow what they say: they only tell whether the text is YAML.
    pub fn without_text(&mut self) {
        self.has_text = false;
    }

    /// What go-yaml 2 reads otherwise of `event`, if it does so.
    fn otherwise(&mut self, event: &yaml_event_t) -> Option<&'static str> {
        match event.type_ {
            YAML_SEQUENCE_START_EVENT => {
                // SAFETY: this is the part of this type.
                let style = unsafe { event.data.sequence_start.style };
                self.flow_depth +=
                    usize::from(self.flow_depth > 0 || style == YAML_FLOW_SEQUENCE_STYLE);
            }
            YAML_MAPPING_START_EVENT => {
                // SAFETY: this is the part of this type.
                let style = unsafe { event.data.mapping_start.style };
                self.flow_depth +=
                    usize::from(self.flow_depth > 0 || style == YAML_FLOW_MAPPING_STYLE);
            }
            YAML_SEQUENCE_END_EVENT | YAML_MAPPING_END_EVENT => {
                self.flow_depth = self.flow_depth.saturating_sub(1);
            }
            YAML_SCALAR_EVENT => {
                // SAFETY: this is the part of this type.
                let scalar = unsafe { &event.data.scalar };
                let written = self.written(event).unwrap_or_default();
                if scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE && has_escaped_slash(written) {
                    return Some("found unknown escape character");
                }
                if self.flow_depth == 0 || scalar.style != YAML_PLAIN_SCALAR_STYLE {
                    return None;
                }
                // SAFETY: the value is null or has that many bytes, as long as the event.
                if unsafe { bytes(scalar.value, scalar.length) }.contains(&b'?') {
                    return Some("a ? in a flow collection begins a key: put the word in quotes");
                }
                let last = written.rsplit(char::is_whitespace).next().unwrap_or_default();
                let is_before = |char| {
                    let end = usize::try_from(event.end_mark.index).ok();
                    end.and_then(|end| self.text.get(end..))
                        .is_some_and(|rest| rest.starts_with(char))
                };
                if scalar.length == 0 && last.starts_with('!') && is_before(',') {
                    return Some("a comma behind a tag is part of it: put a blank between them");
                }
            }
            _ => {}
        }
        None
    }

    /// The text of an event, with its anchor and its tag.
    fn written(&self, event: &yaml_event_t) -> Option<&'t str> {
        let start = usize::try_from(event.start_mark.index).ok()?;
        self.text.get(start..usize::try_from(event.end_mark.index).ok()?)
    }

    fn error(&self) -> SyntaxError {
        // SAFETY: the parser is initialized, and nothing else uses it meanwhile.
        let parser = unsafe { self.parser.as_ref() };
        let problem = if parser.problem.is_null() {
            "no YAML".to_owned()
        } else {
            // SAFETY: a problem that is not null is one of libyaml's own texts, which end in a zero.
            unsafe { CStr::from_ptr(parser.problem) }.to_string_lossy().into_owned()
        };
        SyntaxError { line: parser.problem_mark.line + 1, problem }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<(Event, u64), SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            let mut event = Made(MaybeUninit::zeroed());
            // SAFETY: the parser is initialized and has its input, and the event is memory for one.
            let parsed = unsafe { yaml_parser_parse(self.parser.as_ptr(), event.0.as_mut_ptr()) };
            if !parsed.ok {
                self.has_ended = true;
                return Some(Err(self.error()));
            }
            // SAFETY: the function has filled it.
            let made = unsafe { event.0.assume_init_ref() };
            let line = made.start_mark.line + 1;
            if let Some(problem) = self.otherwise(made) {
                self.has_ended = true;
                return Some(Err(SyntaxError { line, problem: problem.to_owned() }));
            }
            match convert(made, self.has_text) {
                Found::Event(event) => return Some(Ok((event, line))),
                Found::StreamStart => {}
                Found::StreamEnd => self.has_ended = true,
            }
        }
        None
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        // SAFETY: the parser is initialized, and used no more.
        unsafe { yaml_parser_delete(self.parser.as_ptr()) };
        // SAFETY: it is from `Box::into_raw` of a box of this type.
        drop(unsafe { Box::from_raw(self.parser.as_ptr().cast::<MaybeUninit<yaml_parser_t>>()) });
    }
}

/// An event of libyaml's, whose memory is given back with it. Zeroes are an event that has none.
struct Made(MaybeUninit<yaml_event_t>);

impl Drop for Made {
    fn drop(&mut self) {
        // SAFETY: it is zeroes, or filled by libyaml, and used no more.
        unsafe { yaml_event_delete(from_mut(&mut self.0).cast()) };
    }
}

enum Found {
    StreamStart,
    Event(Event),
    StreamEnd,
}

/// An event of libyaml's in Rust's own types. The parts of its union that are read are those of its type.
fn convert(event: &yaml_event_t, has_text: bool) -> Found {
    Found::Event(match event.type_ {
        YAML_ALIAS_EVENT if !has_text => Event::Alias(String::new()),
        YAML_SCALAR_EVENT if !has_text => {
            Event::Scalar { anchor: None, tag: None, value: String::new(), is_plain: false }
        }
        YAML_DOCUMENT_START_EVENT => Event::DocumentStart,
        YAML_DOCUMENT_END_EVENT => Event::DocumentEnd,
        YAML_ALIAS_EVENT => {
            // SAFETY: this is the part of this type.
            let alias = unsafe { &event.data.alias };
            // SAFETY: an anchor is null or a text of libyaml's that ends in a zero, as long as the event.
            Event::Alias(unsafe { text(alias.anchor) }.unwrap_or_default())
        }
        YAML_SCALAR_EVENT => {
            // SAFETY: this is the part of this type.
            let scalar = unsafe { &event.data.scalar };
            // SAFETY: an anchor is null or a text that ends in a zero, as long as the event.
            let anchor = unsafe { text(scalar.anchor) };
            // SAFETY: a tag is null or a text that ends in a zero, as long as the event.
            let tag = unsafe { text(scalar.tag) };
            // SAFETY: the value is null or has that many bytes, as long as the event.
            let value = unsafe { bytes(scalar.value, scalar.length) };
            Event::Scalar {
                anchor,
                tag,
                value: String::from_utf8_lossy(value).into_owned(),
                is_plain: scalar.style == YAML_PLAIN_SCALAR_STYLE,
            }
        }
        YAML_SEQUENCE_START_EVENT => {
            // SAFETY: this is the part of this type.
            let sequence = unsafe { &event.data.sequence_start };
            // SAFETY: an anchor is null or a text that ends in a zero, as long as the event.
            Event::SequenceStart { anchor: unsafe { text(sequence.anchor) } }
        }
        YAML_SEQUENCE_END_EVENT => Event::SequenceEnd,
        YAML_MAPPING_START_EVENT => {
            // SAFETY: this is the part of this type.
            let mapping = unsafe { &event.data.mapping_start };
            // SAFETY: an anchor is null or a text that ends in a zero, as long as the event.
            Event::MappingStart { anchor: unsafe { text(mapping.anchor) } }
        }
        YAML_MAPPING_END_EVENT => Event::MappingEnd,
        YAML_STREAM_START_EVENT => return Found::StreamStart,
        _ => return Found::StreamEnd,
    })
}

/// Whether a text in double quotes has `\/`, which is of YAML 1.2.
fn has_escaped_slash(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, escaped)) = rest.split_once('\\') {
        let mut chars = escaped.chars();
        if chars.next() == Some('/') {
            return true;
        }
        rest = chars.as_str();
    }
    false
}

/// Bytes of libyaml's.
///
/// # Safety
/// The pointer is null, or to that many bytes, which live for `'b`.
unsafe fn bytes<'b>(start: *const u8, length: u64) -> &'b [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: as the caller says.
    unsafe { slice::from_raw_parts(start, usize::try_from(length).unwrap_or_default()) }
}

/// A text of libyaml's.
///
/// # Safety
/// The pointer is null, or to bytes that end in a zero and live as long as this call.
unsafe fn text(start: *const u8) -> Option<String> {
    if start.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let text = unsafe { CStr::from_ptr(start.cast()) };
    Some(text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
