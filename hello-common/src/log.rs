//! Log lines: text where a person reads, JSON where Cloud Logging does.
//!
//! Lines are written by a thread of their own, so that neither a slow nor a closed pipe ever
//! holds up or ends the program.

pub mod json;
mod writer;

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

pub use self::writer::Guard;
use self::writer::Lines;

/// How log lines look (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line, with Cloud Logging's `severity`, `message` and `time`.
    Json,
}

/// What a text line carries beside its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextStyle {
    /// Time and severity, then the message.
    Stamped,
    /// The message alone, as it is: the client's output is the tutorial's transcript.
    Bare,
}

/// Installs the process's subscriber, which writes to standard output from a thread of its own.
///
/// `RUST_LOG` names the lowest level that is logged, `info` by default. Keep the guard until the end:
/// dropping it writes what waits. Fails where a thread cannot be had.
///
/// # Panics
///
/// When a subscriber is installed already.
pub fn init(format: Format, style: TextStyle) -> io::Result<Guard> {
    // Not `Stdout`, which writes each line by itself.
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let lines = LineFormat { format, style };
    let report = move |dropped: u64| {
        let mut line = String::new();
        lines.write(&mut line, Level::WARN, &|line| {
            write!(line, "{dropped} log lines dropped: their reader is too slow")
        });
        line
    };
    let (writer, guard) = writer::start(out, report)?;
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    let log = Log { lines, level: level.unwrap_or(LevelFilter::INFO), writer };
    tracing::subscriber::set_global_default(log).expect("nobody else installs a subscriber");
    Ok(guard)
}

/// Makes a line of each event. Spans are not told of.
struct Log {
    lines: LineFormat,
    level: LevelFilter,
    writer: Lines,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        thread_local! {
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.lines.event(line, event);
            self.writer.put(line.as_bytes());
            line.shrink_to(MOST_KEPT);
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Bytes that a thread keeps for its next line.
const MOST_KEPT: usize = 4096;

/// Formats one event as one line.
#[derive(Clone, Copy)]
struct LineFormat {
    format: Format,
    style: TextStyle,
}

impl LineFormat {
    /// Adds a line to `out`, which takes everything.
    fn write(self, out: &mut String, level: Level, message: &dyn Fn(&mut String) -> fmt::Result) {
        let _ = match (self.format, self.style) {
            (Format::Json, _) => {
                let mut text = String::new();
                message(&mut text).and_then(|()| writeln!(out, "{}", json::object(level, text)))
            }
            (Format::Text, style) => {
                if style == TextStyle::Stamped {
                    let _ = write!(out, "{} {level} ", now());
                }
                message(out).and_then(|()| out.write_char('\n'))
            }
        };
    }

    fn event(self, out: &mut String, event: &Event<'_>) {
        let level = *event.metadata().level();
        match self.format {
            Format::Json => {
                let _ = writeln!(out, "{}", json::Fields::of(event).into_json(level));
            }
            Format::Text => self.write(out, level, &|out| {
                let mut message = Message { out, result: Ok(()) };
                event.record(&mut message);
                message.result
            }),
        }
    }
}

/// Writes an event's message as it comes, and nothing of its other fields: a text line has no more.
struct Message<'w> {
    out: &'w mut String,
    result: fmt::Result,
}

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.result = write!(self.out, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.result = self.out.write_str(value);
        }
    }
}

/// The time as RFC 3339 in UTC.
fn now() -> impl fmt::Display {
    humantime::format_rfc3339_micros(SystemTime::now())
}
