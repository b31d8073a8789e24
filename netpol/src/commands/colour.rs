//! Colour, on a terminal alone, and not if `NO_COLOR` is set (<https://no-color.org>) or the
//! terminal is dumb (`TERM=dumb`).

use std::fmt;
use std::io::IsTerminal;

/// A colour by its number (ECMA-48, SGR).
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// A text that is coloured where that helps.
pub(super) struct Painted<T>(Option<Colour>, T);

impl Colour {
    /// `text` in this colour, if `stream` shows colours.
    pub(super) fn paint<T>(self, text: T, stream: &impl IsTerminal) -> Painted<T> {
        Painted(shows(stream).then_some(self), text)
    }
}

/// A help whose headings stand out, if `stream` shows that.
pub(super) fn with_headings(help: &str, stream: &impl IsTerminal) -> String {
    if shows(stream) { headed(help) } else { help.to_owned() }
}

fn headed(help: &str) -> String {
    let mut headed = String::with_capacity(help.len());
    for line in help.split_inclusive('\n') {
        let usage = line.starts_with("Usage: ").then_some("Usage:".len());
        let all = line.trim_end();
        let heading = usage.or((all.ends_with(':') && !all.starts_with(' ')).then_some(all.len()));
        let (heading, rest) = line.split_at(heading.unwrap_or(0));
        if !heading.is_empty() {
            headed.extend(["\x1b[1;4m", heading, "\x1b[0m"]);
        }
        headed.push_str(rest);
    }
    headed
}

/// Whether `stream` shows colours.
fn shows(stream: &impl IsTerminal) -> bool {
    let is_set = |name, wanted: &dyn Fn(&str) -> bool| {
        std::env::var_os(name).is_some_and(|value| value.to_str().is_none_or(wanted))
    };
    let plain =
        is_set("NO_COLOR", &|value| !value.is_empty()) || is_set("TERM", &|term| term == "dumb");
    !plain && stream.is_terminal()
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(colour) => write!(out, "\x1b[{}m{}\x1b[0m", colour as u8, self.1),
            None => self.1.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headings_of_a_help_stand_out() {
        assert_eq!(
            headed("Say it\n\nUsage: a [B]:\n\nOptions:\n  -x:\n"),
            "Say it\n\n\x1b[1;4mUsage:\x1b[0m a [B]:\n\n\x1b[1;4mOptions:\x1b[0m\n  -x:\n"
        );
        let file = tempfile::tempfile().unwrap();
        assert_eq!(with_headings("Options:\n", &file), "Options:\n");
    }

    #[test]
    fn only_what_is_to_be_seen_is_coloured() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Colour::Red.paint("denied", &file).to_string(), "denied");
        assert_eq!(Painted(Some(Colour::Red), "denied").to_string(), "\x1b[31mdenied\x1b[0m");
    }
}
