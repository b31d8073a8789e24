//! Log lines: text where a person reads, JSON where Cloud Logging does.
//!
//! Lines are written by a thread of their own, so that neither a slow nor a closed pipe ever
//! holds up or ends the program.

pub mod json;

use std::fmt;
use std::io::Write;

use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

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

/// Lines that may wait for a slow reader; later ones are dropped, so memory stays bounded.
const WAITING_LINES: usize = 8 * 1024;

/// Installs the process's subscriber, which writes to `out` from a thread of its own.
///
/// `RUST_LOG` names the lowest level that is logged, `info` by default. Keep the guard until the end: dropping it
/// flushes what waits.
///
/// # Panics
///
/// When a subscriber is installed already.
#[must_use = "dropping the guard ends the log"]
pub fn init(out: impl Write + Send + 'static, format: Format, style: TextStyle) -> WorkerGuard {
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).finish(out);
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .with_writer(writer)
        .event_format(LineFormat { format, style })
        .init();
    guard
}

/// Formats one event as one line.
struct LineFormat {
    format: Format,
    style: TextStyle,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = json::Fields::of(event);
        if self.format == Format::Json {
            return writeln!(writer, "{}", fields.into_json(event.metadata(), &now()));
        }
        if self.style == TextStyle::Stamped {
            write!(writer, "{} {} ", now(), event.metadata().level())?;
        }
        writeln!(writer, "{}", fields.message())
    }
}

/// The time as RFC 3339 in UTC.
fn now() -> String {
    let mut text = String::new();
    // A string takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}
