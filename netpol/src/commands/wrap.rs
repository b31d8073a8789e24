//! Sentences no longer than the terminal is wide; elsewhere they stand on one line each, for `grep`.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// A terminal that is not even so wide does not say how wide it is.
const NARROWEST: usize = 20;

/// `text` as it stands on `stream`: on a terminal its lines go on in the next before they end at its edge.
pub(super) fn wrapped(text: &str, stream: &(impl IsTerminal + AsFd)) -> String {
    let size = if stream.is_terminal() { tcgetwinsize(stream).ok() } else { None };
    match size.map(|size| usize::from(size.ws_col)) {
        Some(width) if width >= NARROWEST => folded(text, width),
        _ => text.to_owned(),
    }
}

/// `text` in lines of at most `width` characters, if its words are not longer. A line goes on two columns to
/// the right of where it began.
fn folded(text: &str, width: usize) -> String {
    let mut folded = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let words = line.trim_start_matches(' ');
        let indent = line.len() - words.len();
        folded.push_str(&line[..indent]);
        let mut column = indent;
        for (number, word) in words.split(' ').enumerate() {
            let length = shown(word);
            if number > 0 && column + 1 + length > width {
                column = indent + 2;
                folded.push('\n');
                folded.extend(std::iter::repeat_n(' ', column));
            } else if number > 0 {
                folded.push(' ');
                column += 1;
            }
            folded.push_str(word);
            column += length;
        }
        folded.push_str(end);
    }
    folded
}

/// The text of a help with each example in one line, as it can be copied: clap has all lines go on in the next.
pub(super) fn with_whole_examples(help: &str) -> String {
    let mut whole = String::with_capacity(help.len());
    let mut is_example = false;
    for line in help.split_inclusive('\n') {
        if is_example && !line.trim().is_empty() {
            whole.truncate(whole.trim_end().len());
            whole.push(' ');
            whole.push_str(line);
            continue;
        }
        is_example = line.starts_with("Example: ");
        whole.push_str(line);
    }
    whole
}

/// How many columns `word` takes: colours (ECMA-48, SGR) take none.
fn shown(word: &str) -> usize {
    let mut is_colour = false;
    let is_shown = |char: &char| {
        let was_colour = is_colour;
        is_colour = *char == '\x1b' || is_colour && *char != 'm';
        !was_colour && !is_colour
    };
    word.chars().filter(is_shown).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_in_the_next_and_words_stay_whole() {
        let text = "It selects all\n  From pods that have a label\n\nshort\n";
        assert_eq!(
            folded(text, 14),
            "It selects all\n  From pods\n    that have\n    a label\n\nshort\n"
        );
        assert_eq!(folded(text, 80), text);
        assert_eq!(folded("a/very-long-name b", 5), "a/very-long-name\n  b");
    }

    #[test]
    fn an_example_is_one_line() {
        let help =
            "Say this\nand that\n\nExample: netpol why a\nb:80 manifests/\nmore\n\nUsage: x\ny\n";
        assert_eq!(
            with_whole_examples(help),
            "Say this\nand that\n\nExample: netpol why a b:80 manifests/ more\n\nUsage: x\ny\n"
        );
        assert_eq!(with_whole_examples("Example: a\nb"), "Example: a b");
    }

    #[test]
    fn colours_take_no_room() {
        assert_eq!(folded("is \x1b[31mdenied\x1b[0m now", 13), "is \x1b[31mdenied\x1b[0m now");
        assert_eq!(folded("is \x1b[31mdenied\x1b[0m now", 12), "is \x1b[31mdenied\x1b[0m\n  now");
    }

    #[test]
    fn what_is_no_terminal_gets_lines_as_they_are() {
        let file = tempfile::tempfile().unwrap();
        let long = "word ".repeat(100);
        assert_eq!(wrapped(&long, &file), long);
    }
}
