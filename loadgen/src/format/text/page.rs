//! The page of a text report: paragraphs with labels, colours, and the last line.

use std::io;

use anstyle::{AnsiColor, Color, Style};

use crate::{
    format::{
        screen::{Screen, width, wrap},
        words::status_word,
    },
    result::Status,
};

/// The width of the labels, in characters.
pub(super) const LABEL: usize = 11;
/// The length of a line of prose, in characters. Longer lines are hard to read.
const PROSE: usize = 100;

/// The colour of a good outcome.
pub(super) const GOOD: Style = bold(AnsiColor::Green);
/// The colour of a doubtful outcome.
pub(super) const ODD: Style = bold(AnsiColor::Yellow);
/// The colour of a bad outcome.
pub(super) const BAD: Style = bold(AnsiColor::Red);
/// The colour of bars.
pub(super) const BAR: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Cyan)));
/// The colour of rules.
pub(super) const FAINT: Style = Style::new().dimmed();

/// A report while it is written. The text contains escape sequences; [`Page::print`] removes them if the screen shows no
/// colours.
pub(super) struct Page {
    text: Vec<u8>,
    screen: Screen,
}

impl Page {
    pub(super) fn new(screen: Screen) -> Self {
        Self { text: Vec::new(), screen }
    }

    /// The length of a line, in characters.
    pub(super) fn columns(&self) -> usize {
        self.screen.columns
    }

    pub(super) fn print(self, out: &mut dyn io::Write) -> io::Result<()> {
        match self.screen.has_colour {
            true => out.write_all(&self.text),
            false => out.write_all(&anstream::adapter::strip_bytes(&self.text).into_vec()),
        }
    }
}

impl io::Write for Page {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints a paragraph with a label.
pub(super) fn line(out: &mut Page, label: &str, text: &str) -> io::Result<()> {
    use io::Write;
    let style = label_style(label);
    let mut label = format!("{style}{label}{style:#}{:1$}", "", LABEL.saturating_sub(width(label)));
    for row in wrap(text, out.columns().min(PROSE) - LABEL) {
        writeln!(out, "{}", format!("{label}{row}").trim_end())?;
        label = " ".repeat(LABEL);
    }
    Ok(())
}

/// Prints paragraphs with one label, at the first of them.
pub(super) fn labelled(out: &mut Page, label: &str, texts: &[String]) -> io::Result<()> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    texts.iter().zip(labels).try_for_each(|(text, label)| line(out, label, text))
}

/// Ends a report with its verdict in one line, since the top of a long report has scrolled away. `verdicts` are ordered from
/// the most detailed to the shortest; the first one that fits is printed, or the last one.
pub(super) fn last_line(out: &mut Page, verdicts: &[String]) -> io::Result<()> {
    use io::Write;
    let room = out.columns() - LABEL;
    let fitting = verdicts.iter().find(|verdict| width(verdict) <= room);
    let verdict = fitting.or(verdicts.last()).map_or("", String::as_str);
    writeln!(out, "\n{:LABEL$}{verdict}", "verdict")
}

/// Prints the output of a server, without escape sequences.
pub(super) fn quote(out: &mut Page, lines: &[String]) -> io::Result<()> {
    let room = out.columns() - LABEL - 2;
    for text in lines {
        let text = anstream::adapter::strip_str(text).to_string();
        for row in wrap(&text, room) {
            line(out, "", &format!("| {row}"))?;
        }
    }
    Ok(())
}

/// Adds a style to a text.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Colours a cell of a table that begins with a verdict.
pub(super) fn tint(cell: &str) -> String {
    let starts_with = |words: &[&str]| words.iter().any(|word| cell.starts_with(word));
    let style = match () {
        () if starts_with(&["valid", "met"]) => GOOD,
        () if starts_with(&["SUSPECT", "suspect", "no round", "the generator's limit"]) => ODD,
        () if starts_with(BAD_CELLS) => BAD,
        () => return cell.to_owned(),
    };
    paint(style, cell)
}

const BAD_CELLS: &[&str] = &[
    "INVALID",
    "invalid",
    "MARKED",
    "FAILED",
    "MISSED",
    "REGRESSION",
    "misses",
    "ERRORS",
    "STARVES",
    "CANNOT KEEP UP",
    "✗",
];

/// The coloured name of a status.
pub(super) fn status(status: Status) -> String {
    paint(status_style(status), status_word(status))
}

pub(super) fn status_style(status: Status) -> Style {
    match status {
        Status::Valid => GOOD,
        Status::Suspect => ODD,
        Status::Invalid => BAD,
    }
}

fn label_style(label: &str) -> Style {
    match label {
        "SUSPECT" | "WARNING" => ODD,
        "INVALID" | "FAILED" | "MARKED" | "SLO MISSED" => BAD,
        _ => Style::new(),
    }
}

const fn bold(colour: AnsiColor) -> Style {
    Style::new().bold().fg_color(Some(Color::Ansi(colour)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room_and_are_removed_for_a_screen_without_colours() {
        let bad = paint(BAD, "INVALID");
        assert_eq!(width(&bad), 7);
        for (has_colour, expected) in [(true, bad.as_str()), (false, "INVALID")] {
            let mut page = Page::new(Screen { columns: 80, has_colour });
            line(&mut page, "verdict", &bad).unwrap();
            let mut text = Vec::new();
            page.print(&mut text).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), format!("verdict    {expected}\n"));
        }
    }

    #[test]
    fn the_last_line_is_the_longest_that_fits() {
        let verdicts = ["a".repeat(60), "b".repeat(30), "c".repeat(50)];
        for (columns, letter) in [(80, 'a'), (60, 'b'), (40, 'c')] {
            let mut page = Page::new(Screen { columns, has_colour: false });
            last_line(&mut page, &verdicts).unwrap();
            let mut text = Vec::new();
            page.print(&mut text).unwrap();
            assert!(String::from_utf8(text).unwrap().trim_end().ends_with(letter), "{columns}");
        }
    }

    #[test]
    fn the_output_of_a_server_cannot_change_the_terminal() {
        let mut page = Page::new(Screen { columns: 60, has_colour: true });
        quote(&mut page, &["\u{1b}[31mred\u{1b}[0m".to_owned(), "word ".repeat(20)]).unwrap();
        let mut text = Vec::new();
        page.print(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.lines().all(|line| line.trim_start().starts_with("| ") && width(line) <= 60), "{text}");
    }
}
