//! Redis: RESP2 and RESP3, as <https://github.com/redis/redis-specifications> specifies them.

mod state;

use std::io::Write;

use memchr::memchr2;

pub(crate) use self::state::Reading;
use self::state::{Aggregate, Count, Step};
use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::protocol::template::Template;

/// Redis's protocol. A reply is one value of any type, with the attributes and push messages before it.
///
/// A value that is a `-` or `!` has [`Status::Error`]. Errors inside an array do not count, since its other elements are results.
/// Numbers and other short values are checked for wrong characters only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resp;

impl Protocol for Resp {
    type Reading = Reading;

    const NAME: &'static str = "resp";
    const SUMMARY: &'static str = "Redis: RESP2 and RESP3";
    const EXPECT: &'static str = "no-error";
    const EXAMPLE: &'static str = "GET key:{random:1..1000}";

    fn from_settings(_framing: &Framing) -> Result<Self, String> {
        Ok(Self)
    }

    /// Splits the text at white space into the words of a command, as redis-cli does. A text that begins with `*` is sent as it is.
    fn request(&self, text: &Template) -> Result<Template, String> {
        if text.starts_with(b"*") {
            return Ok(text.clone());
        }
        let words = text.words()?;
        if words.is_empty() {
            return Err("a command has at least one word, as in PING".into());
        }
        let mut parts = vec![Template::literal(format!("*{}\r\n", words.len()))];
        for word in words {
            parts.push(Template::sized(
                |length, out| write!(out, "${length}\r\n").expect("a vector takes every write"),
                word,
            ));
            parts.push(Template::literal("\r\n"));
        }
        Ok(Template::concat(parts))
    }

    fn read(&self, reading: &mut Reading, _asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            let (next, value) = step(reading, &bytes[at..]).map_err(|wrong| wrong.later(at))?;
            at += next;
            if value == Value::Ended && reading.value_ended() {
                let status = if reading.error { Status::Error } else { Status::Plain };
                reading.error = false;
                return Ok(Progress::Complete(End::new(at, status)));
            }
        }
        Ok(Progress::Partial)
    }
}

/// Whether a step has read the last byte of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    GoesOn,
    Ended,
}

/// Reads one part of a value. Returns the bytes of that part, at least one.
fn step(reading: &mut Reading, bytes: &[u8]) -> Result<(usize, Value), Malformed> {
    let byte = bytes[0];
    match reading.step {
        Step::Type => begin(reading, byte).map(|()| (1, Value::GoesOn)),
        Step::Line { kind } => return line(reading, kind, bytes),
        Step::LineEnd => newline(byte).map(|()| {
            reading.step = Step::Type;
            (1, Value::Ended)
        }),
        Step::Count { kind, count } => {
            reading.step = match byte {
                b'\r' if count.is_valid(kind) => Step::CountEnd { kind, count },
                _ => Step::Count { kind, count: count.with(kind, byte).ok_or("a length in decimal digits")? },
            };
            Ok((1, Value::GoesOn))
        }
        Step::CountEnd { kind, count } => {
            newline(byte)?;
            return counted(reading, kind, count).map(|value| (1, value)).map_err(Malformed::from);
        }
        Step::Data { left, streamed } => {
            let here = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - here as u64;
            reading.step = if left == 0 { Step::DataEnd { streamed } } else { Step::Data { left, streamed } };
            Ok((here, Value::GoesOn))
        }
        Step::DataEnd { streamed } if byte == b'\r' => {
            reading.step = Step::DataNewline { streamed };
            Ok((1, Value::GoesOn))
        }
        Step::DataEnd { .. } => Err("\\r\\n after the bytes of a string"),
        Step::DataNewline { streamed } => newline(byte).map(|()| {
            reading.step = if streamed { Step::Chunk } else { Step::Type };
            (1, if streamed { Value::GoesOn } else { Value::Ended })
        }),
        Step::Chunk if byte == b';' => {
            reading.step = Step::Count { kind: b';', count: Count::Nothing };
            Ok((1, Value::GoesOn))
        }
        Step::Chunk => Err("a chunk of a streamed string, which begins with ;"),
    }
    .map_err(Malformed::from)
}

/// Reads the first byte of a value.
fn begin(reading: &mut Reading, kind: u8) -> Result<(), &'static str> {
    reading.step = match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Step::Line { kind },
        b'$' | b'!' | b'=' | b'*' | b'~' | b'%' | b'|' => Step::Count { kind, count: Count::Nothing },
        b'>' if reading.depth() == 0 => Step::Count { kind, count: Count::Nothing },
        b'>' => return Err("no push message inside a value"),
        b'.' if reading.end_is_allowed() => Step::Line { kind },
        b'.' => return Err("a value, and no end of a streamed aggregate"),
        _ => return Err("the type of a RESP value, one of + - : $ * _ # , ( ! = % ~ | >"),
    };
    if reading.depth() == 0 && matches!(kind, b'-' | b'!') {
        reading.error = true;
    }
    Ok(())
}

/// Reads on in a value that is one line.
fn line(reading: &mut Reading, kind: u8, bytes: &[u8]) -> Result<(usize, Value), Malformed> {
    let end = memchr2(b'\r', b'\n', bytes);
    let text = &bytes[..end.unwrap_or(bytes.len())];
    let (allowed, expected): (fn(&u8) -> bool, _) = match kind {
        b':' | b'(' => (|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-'), "a whole number"),
        // Old servers print a NaN as their C library does, as in nan(char-sequence).
        b',' => (
            |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'(' | b')'),
            "a number",
        ),
        b'#' => (|byte| matches!(byte, b't' | b'f'), "t or f"),
        b'_' | b'.' => (|_| false, "the end of the line"),
        _ => (|_| true, "text"),
    };
    if let Some(offset) = text.iter().position(|byte| !allowed(byte)) {
        return Err(Malformed { offset, expected });
    }
    let Some(end) = end else { return Ok((bytes.len(), Value::GoesOn)) };
    if bytes[end] == b'\n' {
        return Err(Malformed { offset: end, expected: "\\r\\n at the end of a line" });
    }
    if kind == b'.' {
        reading.end_aggregate();
    }
    reading.step = Step::LineEnd;
    Ok((end + 1, Value::GoesOn))
}

fn newline(byte: u8) -> Result<(), &'static str> {
    if byte == b'\n' { Ok(()) } else { Err("\\n after \\r") }
}

/// The length of a string or the number of an aggregate's elements is complete.
fn counted(reading: &mut Reading, kind: u8, count: Count) -> Result<Value, &'static str> {
    reading.step = Step::Type;
    let (aggregate, elements) = match (kind, count) {
        // The null string and the null array of RESP2.
        (_, Count::MinusOne) => return Ok(Value::Ended),
        (b'$', Count::Unknown) => {
            reading.step = Step::Chunk;
            return Ok(Value::GoesOn);
        }
        (b';', Count::Known(0)) => return Ok(Value::Ended),
        (b'$' | b'!' | b'=' | b';', Count::Known(left)) => {
            let streamed = kind == b';';
            reading.step = if left == 0 { Step::DataEnd { streamed } } else { Step::Data { left, streamed } };
            return Ok(Value::GoesOn);
        }
        (b'%', Count::Known(pairs)) => (Aggregate::Value, pairs.checked_mul(2)),
        (b'|', Count::Known(pairs)) => (Aggregate::Aside, pairs.checked_mul(2)),
        (b'>', Count::Known(elements)) => (Aggregate::Aside, Some(elements)),
        (_, Count::Known(elements)) => (Aggregate::Value, Some(elements)),
        (b'%', _) => (Aggregate::StreamedMap { odd: false }, Some(0)),
        _ => (Aggregate::Streamed, Some(0)),
    };
    let elements = elements.ok_or("fewer than 2^63 pairs")?;
    match aggregate {
        Aggregate::Value if elements == 0 => Ok(Value::Ended),
        Aggregate::Aside if elements == 0 => {
            reading.aside_ended(kind == b'|');
            Ok(Value::GoesOn)
        }
        _ => {
            reading.enter(aggregate, elements, kind == b'|')?;
            Ok(Value::GoesOn)
        }
    }
}

#[cfg(test)]
mod tests;
