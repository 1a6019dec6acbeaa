//! The last lines that a server printed. They often hold the reason of a failure.

use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

/// The number of lines that are kept.
const LINES_MAX: usize = 10;
/// The number of bytes that are kept of a line.
const LINE_BYTES_MAX: usize = 400;

/// The last lines of one or several outputs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Tail {
    /// Reads an output to its end, keeps its last lines, and passes every line to `listen`.
    pub(crate) fn follow(&self, mut output: impl Read, listen: &mut dyn FnMut(&str)) {
        let (mut part, mut line) = ([0; 4096], Vec::new());
        // A read error ends the output.
        while let Ok(length @ 1..) = output.read(&mut part) {
            for byte in &part[..length] {
                match byte {
                    b'\n' => self.end_line(&mut line, listen),
                    _ if line.len() < LINE_BYTES_MAX => line.push(*byte),
                    _ => {}
                }
            }
        }
        if !line.is_empty() {
            self.end_line(&mut line, listen);
        }
    }

    /// The kept lines, in their order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn end_line(&self, line: &mut Vec<u8>, listen: &mut dyn FnMut(&str)) {
        let text = printable(&String::from_utf8_lossy(line));
        line.clear();
        listen(&text);
        let mut lines = self.lock();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(text);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes escape sequences and control characters from a line: it may be printed on a terminal, which must not interpret
/// them.
fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                // A control sequence ends with its first byte from 0x40 on (ECMA-48, 5.4).
                characters.by_ref().find(|character| ('@'..='~').contains(character));
            }
        } else if character == '\t' {
            text.push(' ');
        } else if !character.is_control() {
            text.push(character);
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(output: &str) -> (Vec<String>, usize) {
        let (tail, mut passed) = (Tail::default(), 0);
        tail.follow(output.as_bytes(), &mut |_| passed += 1);
        (tail.lines(), passed)
    }

    #[test]
    fn the_last_lines_are_kept_and_all_lines_are_passed_on() {
        let output: String = (0..25).map(|number| format!("line {number}\n")).collect();
        let (lines, passed) = tail_of(&output);
        assert_eq!((lines.len(), passed), (LINES_MAX, 25));
        assert_eq!((lines[0].as_str(), lines[9].as_str()), ("line 15", "line 24"));
    }

    #[test]
    fn the_last_line_needs_no_newline_and_a_long_line_is_cut() {
        assert_eq!(tail_of("one\ntwo").0, ["one", "two"]);
        assert_eq!(tail_of(&"x".repeat(100_000)).0, ["x".repeat(LINE_BYTES_MAX)]);
        assert_eq!(tail_of("").0, Vec::<String>::new());
    }

    #[test]
    fn escape_sequences_and_control_characters_are_removed() {
        assert_eq!(tail_of("\u{1b}[31mred\u{1b}[0m\ta\u{7}b\r\n").0, ["red ab"]);
        assert_eq!(tail_of("\u{1b}[").0, [""]);
    }
}
