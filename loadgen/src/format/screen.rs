//! The screen of a text: its width, its colours, and the wrapping of lines.

use std::io;

use anstream::{AutoStream, ColorChoice};
use common::human::words;
use console::{Term, measure_text_width};

/// The screen that a text is printed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    /// The length of a line, in characters; at least [`Screen::COLUMNS_MIN`].
    pub columns: usize,
    /// Whether the screen shows colours (escape sequences).
    pub has_colour: bool,
}

impl Screen {
    /// A file: wide enough for every table, and without escape sequences.
    pub(crate) const FILE: Self = Self { columns: 120, has_colour: false };
    /// The least width. A narrower terminal wraps the lines itself.
    pub(crate) const COLUMNS_MIN: usize = 40;
    /// The width of a terminal that does not report one.
    const COLUMNS_UNKNOWN: usize = 80;

    /// Standard output. If it is not a terminal, lines are as long as in a file. NO_COLOR, CLICOLOR and CLICOLOR_FORCE
    /// control the colours.
    pub(crate) fn of_stdout() -> Self {
        Self::of(&Term::stdout(), AutoStream::choice(&io::stdout()))
    }

    /// Standard error, with the same rules.
    pub(crate) fn of_stderr() -> Self {
        Self::of(&Term::stderr(), AutoStream::choice(&io::stderr()))
    }

    fn of(term: &Term, choice: ColorChoice) -> Self {
        let columns = match (term.is_term(), term.size_checked()) {
            (false, _) => Self::FILE.columns,
            (true, None | Some((_, 0))) => Self::COLUMNS_UNKNOWN,
            (true, Some((_, columns))) => usize::from(columns).max(Self::COLUMNS_MIN),
        };
        Self { columns, has_colour: choice != ColorChoice::Never }
    }
}

/// The width of a text, in characters. Escape sequences take none.
pub(crate) fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// Wraps a text between its words into lines of at most `room` characters. A longer word stays whole, so that it can be
/// copied.
pub(crate) fn wrap(text: &str, room: usize) -> Vec<String> {
    let (mut lines, mut row, mut is_first) = (Vec::new(), String::new(), true);
    for word in words(text) {
        if !is_first && width(&row) + 1 + width(&word) > room {
            lines.push(std::mem::take(&mut row));
            is_first = true;
        }
        if !std::mem::replace(&mut is_first, false) {
            row.push(' ');
        }
        row.push_str(&word);
    }
    lines.push(row);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_between_its_words_and_a_long_word_stays_whole() {
        for (text, room, lines) in [
            ("", 5, &[""][..]),
            ("one two three", 7, &["one two", "three"]),
            ("one two three", 13, &["one two three"]),
            ("a /very/long/path b", 6, &["a", "/very/long/path", "b"]),
            ("  two  spaces", 99, &["  two  spaces"]),
            ("µµµ µµµ", 7, &["µµµ µµµ"]),
            ("took 5.00 s", 9, &["took", "5.00 s"]),
        ] {
            assert_eq!(wrap(text, room), lines, "{text}");
        }
    }
}
