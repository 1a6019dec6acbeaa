//! The results in a stream of bytes, such as the logs of several generators. Other lines may stand before, between and after
//! them.
//!
//! A result is one line that begins with `{`, or all lines from a line `{` to a line `}`, as `--format json` prints it: all
//! lines between them are indented. So the next result is found even after a result that is cut off.

use std::io::{self, BufRead};

use memchr::{memchr, memmem};

use crate::{
    format::json::{self, ReadError},
    result::Document,
};

/// The maximum size of one result, in bytes. A day at intervals of one second takes about a third of it.
const RESULT_BYTES_MAX: usize = 1 << 30;
/// The bytes that are kept of a line that is no result.
const FOREIGN_BYTES_MAX: usize = 4 << 10;
/// The characters of such a line that are shown.
const SHOWN_CHARS_MAX: usize = 60;
/// The first bytes of an object, among which the field `schema` of a result is.
const HEAD_BYTES: usize = 200;

/// A result in a stream.
#[derive(Debug)]
pub(crate) struct Found {
    /// The number of its first line, from 1.
    pub line: u64,
    /// The result. An error if it says that it is a result, but cannot be read.
    pub document: Result<Document, ReadError>,
}

/// The lines that are no result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Their number, without empty lines.
    pub count: u64,
    /// The number of the first of them, and its beginning with escaped control characters.
    pub first: Option<(u64, String)>,
    /// In one of them, a result begins after other text: the prefix of a tool that shows logs.
    pub has_prefix: bool,
}

/// The results in a stream, in their order.
#[derive(Debug)]
pub(crate) struct Results<R> {
    input: R,
    /// The number of lines that have been read.
    lines: u64,
    /// The next line was read too early, because it showed the end of a result.
    pending: Option<Line>,
    foreign: Foreign,
}

/// A line without its end.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// Bytes were left out.
    is_cut: bool,
}

impl<R: BufRead> Results<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, lines: 0, pending: None, foreign: Foreign::default() }
    }

    /// The other lines that have been read.
    pub(crate) fn foreign(&self) -> &Foreign {
        &self.foreign
    }

    /// The next result. None at the end of the stream.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        while let Some(line) = self.line(false)? {
            let number = self.lines;
            let found = match line.bytes.as_slice() {
                b"{" => self.indented(line, number)?,
                bytes if bytes.trim_ascii_start().starts_with(b"{") => self.classify(&line, number, 1),
                _ => {
                    self.count(&line, number, 1);
                    None
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reads a result whose first line is `{`.
    fn indented(&mut self, mut object: Line, number: u64) -> io::Result<Option<Found>> {
        let mut inner_lines = 1;
        while let Some(line) = self.line(true)? {
            match line.bytes.as_slice() {
                // The next result begins, so this one was cut off.
                [b'{', ..] => {
                    self.lines -= 1;
                    self.pending = Some(line);
                    break;
                }
                [] | [b' ' | b'\t' | b'}', ..] => {
                    inner_lines += 1;
                    let is_end = line.bytes == b"}";
                    object.is_cut |= line.is_cut || object.bytes.len() + line.bytes.len() > RESULT_BYTES_MAX;
                    if !object.is_cut {
                        object.bytes.push(b'\n');
                        object.bytes.extend_from_slice(&line.bytes);
                    }
                    if is_end {
                        break;
                    }
                }
                // A line of another stream, such as that of standard error in the log of a container.
                _ => self.count(&line, self.lines, 1),
            }
        }
        Ok(self.classify(&object, number, inner_lines))
    }

    /// A result, or a broken one, or an object of another program, which counts as so many other lines.
    fn classify(&mut self, object: &Line, number: u64, lines: u64) -> Option<Found> {
        let document = match object.is_cut {
            true => Err(ReadError::TooLarge(RESULT_BYTES_MAX as u64)),
            false => str::from_utf8(&object.bytes).map_err(|_| ReadError::NotJson).and_then(json::read),
        };
        let is_foreign = match &document {
            Ok(_) | Err(ReadError::Schema(_) | ReadError::NoField(_) | ReadError::BadField) => false,
            Err(ReadError::Empty | ReadError::NoResult) => true,
            Err(ReadError::Truncated | ReadError::NotJson | ReadError::TooLarge(_)) => {
                !is_claimed(&object.bytes)
            }
        };
        if is_foreign {
            self.count(object, number, lines);
            return None;
        }
        Some(Found { line: number, document })
    }

    /// Counts lines that are no result.
    fn count(&mut self, line: &Line, number: u64, lines: u64) {
        let text = line.bytes.trim_ascii();
        if text.is_empty() {
            return;
        }
        self.foreign.count += lines;
        self.foreign.first.get_or_insert_with(|| (number, shown(text)));
        self.foreign.has_prefix |= !text.starts_with(b"{")
            && (text.ends_with(b" {") || memmem::find(text, br#"{"schema":"#).is_some());
    }

    /// The next line. Only the beginning is kept of a line that cannot belong to a result.
    fn line(&mut self, is_inside: bool) -> io::Result<Option<Line>> {
        if let Some(line) = self.pending.take() {
            self.lines += 1;
            return Ok(Some(line));
        }
        let mut line = Line::default();
        let mut is_empty = true;
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            is_empty = false;
            let end = memchr(b'\n', chunk);
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let is_object =
                line.bytes.iter().chain(text).find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
            let bytes_max = if is_inside || is_object { RESULT_BYTES_MAX } else { FOREIGN_BYTES_MAX };
            let room = bytes_max.saturating_sub(line.bytes.len());
            line.is_cut |= text.len() > room;
            line.bytes.extend_from_slice(&text[..text.len().min(room)]);
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if is_empty {
            return Ok(None);
        }
        if line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        self.lines += 1;
        Ok(Some(line))
    }
}

/// Whether an object says that it is a result, near its beginning. All results of loadgen begin so.
fn is_claimed(object: &[u8]) -> bool {
    let head = &object[..object.len().min(HEAD_BYTES)];
    let Some(at) = memmem::find(head, br#""schema""#) else { return false };
    let rest = head[at + br#""schema""#.len()..].trim_ascii_start();
    let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    // It may be cut off right here.
    rest.is_empty() || value.is_some_and(|value| value.first().is_none_or(u8::is_ascii_digit))
}

/// The beginning of a line, without control characters.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown = String::new();
    for char in text.chars().take(SHOWN_CHARS_MAX) {
        match char {
            '"' | '\'' => shown.push(char),
            char => shown.extend(char.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
