//! The last lines of what a server printed: the reason stands there when it does not do what it should.

use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

/// So many lines are kept.
const LINES_MAX: usize = 10;
/// So many bytes of a line are kept.
const LINE_BYTES_MAX: usize = 400;

/// The last lines of one or several outputs.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Tail {
    /// Reads an output to its end, keeps its last lines, and gives every line to `listen`.
    pub fn follow(&self, mut output: impl Read, listen: &mut dyn FnMut(&str)) {
        let (mut part, mut line) = ([0; 4096], Vec::new());
        // What cannot be read is over.
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

    /// The lines that are kept, in their order.
    pub fn lines(&self) -> Vec<String> {
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

/// The line will be shown on a terminal, which must not take orders from it: colours and everything else that begins
/// with an escape are left out, and what remains of the control characters.
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
        let (tail, mut heard) = (Tail::default(), 0);
        tail.follow(output.as_bytes(), &mut |_| heard += 1);
        (tail.lines(), heard)
    }

    #[test]
    fn the_last_lines_are_kept_and_all_are_heard() {
        let output: String = (0..25).map(|number| format!("line {number}\n")).collect();
        let (lines, heard) = tail_of(&output);
        assert_eq!((lines.len(), heard), (LINES_MAX, 25));
        assert_eq!((lines[0].as_str(), lines[9].as_str()), ("line 15", "line 24"));
    }

    #[test]
    fn a_last_line_needs_no_end_and_a_long_one_is_cut() {
        assert_eq!(tail_of("one\ntwo").0, ["one", "two"]);
        assert_eq!(tail_of(&"x".repeat(100_000)).0, ["x".repeat(LINE_BYTES_MAX)]);
        assert_eq!(tail_of("").0, Vec::<String>::new());
    }

    #[test]
    fn nothing_that_a_terminal_would_obey_is_kept() {
        assert_eq!(tail_of("\u{1b}[31mred\u{1b}[0m\ta\u{7}b\r\n").0, ["red ab"]);
        assert_eq!(tail_of("\u{1b}[").0, [""]);
    }
}
