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
        let is_set = |name, wanted: &dyn Fn(&str) -> bool| {
            std::env::var_os(name).is_some_and(|value| value.to_str().is_none_or(wanted))
        };
        let plain = is_set("NO_COLOR", &|value| !value.is_empty())
            || is_set("TERM", &|term| term == "dumb");
        Painted((!plain && stream.is_terminal()).then_some(self), text)
    }
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
    fn only_what_is_to_be_seen_is_coloured() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Colour::Red.paint("denied", &file).to_string(), "denied");
        assert_eq!(Painted(Some(Colour::Red), "denied").to_string(), "\x1b[31mdenied\x1b[0m");
    }
}
