//! What stands in a text of YAML, one event after the other, as libyaml reads it.
//!
//! Kubernetes reads YAML as go-yaml 2 does, which is libyaml in Go; readers of YAML 1.2 differ from it in
//! dozens of ways (tabs, comments, colons, line breaks). libyaml itself is here in Rust, as `libyaml-rs` of
//! the YAML organisation, whose functions are unsafe to call: this crate is all that calls them.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, from_mut};
use std::slice;

use libyaml_rs::{
    YAML_ALIAS_EVENT, YAML_DOCUMENT_END_EVENT, YAML_DOCUMENT_START_EVENT, YAML_MAPPING_END_EVENT,
    YAML_MAPPING_START_EVENT, YAML_PLAIN_SCALAR_STYLE, YAML_SCALAR_EVENT, YAML_SEQUENCE_END_EVENT,
    YAML_SEQUENCE_START_EVENT, YAML_STREAM_START_EVENT, YAML_UTF8_ENCODING, yaml_event_delete,
    yaml_event_t, yaml_parser_delete, yaml_parser_initialize, yaml_parser_parse,
    yaml_parser_set_encoding, yaml_parser_set_input_string, yaml_parser_t,
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
    text: PhantomData<&'t str>,
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
        let made = Self { parser, has_ended: false, has_text: true, text: PhantomData };
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
            let length = usize::try_from(scalar.length).unwrap_or_default();
            let value = if scalar.value.is_null() {
                &[]
            } else {
                // SAFETY: the value has that many bytes, as long as the event.
                unsafe { slice::from_raw_parts(scalar.value, length) }
            };
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
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(Event, u64)>, SyntaxError> {
        Events::of(text).collect()
    }

    #[test]
    fn every_event_is_told_with_its_line() {
        let plain = |value: &str| Event::Scalar {
            anchor: None,
            tag: None,
            value: value.to_owned(),
            is_plain: true,
        };
        let events = read("a: &x [!!int '1']\nb:\n  *x\n").unwrap();
        assert_eq!(
            events,
            [
                (Event::DocumentStart, 1),
                (Event::MappingStart { anchor: None }, 1),
                (plain("a"), 1),
                (Event::SequenceStart { anchor: Some("x".to_owned()) }, 1),
                (
                    Event::Scalar {
                        anchor: None,
                        tag: Some("tag:yaml.org,2002:int".to_owned()),
                        value: "1".to_owned(),
                        is_plain: false,
                    },
                    1
                ),
                (Event::SequenceEnd, 1),
                (plain("b"), 2),
                (Event::Alias("x".to_owned()), 3),
                (Event::MappingEnd, 4),
                (Event::DocumentEnd, 4),
            ]
        );
    }

    #[test]
    fn nothing_is_no_document_and_an_error_is_the_last() {
        assert_eq!(read(""), Ok(vec![]));
        let mut events = Events::of("a: [\n");
        let error = events.find_map(Result::err).unwrap();
        assert_eq!(error.line, 2);
        assert_eq!(error.to_string(), "line 2: did not find expected node content");
        assert!(events.next().is_none());
    }

    #[test]
    fn a_reading_can_be_left_at_any_event() {
        let text =
            "%TAG !e! tag:e,2026:\n--- !e!a\n- &x \"é\\u00e9\"\n- !!str {a: |\n  b\n }\n- *x\n";
        for count in 0..20 {
            let _ = Events::of(text).take(count).count();
        }
    }
}
