//! Collects the requests of a file, line by line.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::RecordedMessage;
use crate::protocol::{
    message::SIZE_MAX,
    mix::{KINDS_MAX, NAME_CHARS_MAX},
    template::unescape,
};

/// The greatest `at_s`. Seconds since 1970 are below it, and as nanoseconds it fits into a `u64`.
const AT_S_MAX: f64 = 1e10;
/// The kind of requests that name none.
const KIND_DEFAULT: &str = "message";

/// Collects the requests of the lines.
#[derive(Default)]
pub(super) struct Collector {
    pub(super) messages: Vec<RecordedMessage>,
    pub(super) kinds: Vec<String>,
    /// None before the first request.
    format: Option<Format>,
    /// The time of the first request and that of the last one. None: without times.
    times_s: Option<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Json,
}

impl Collector {
    /// Takes a line that is not blank.
    ///
    /// # Errors
    /// What is wrong with the line, and what to write.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = str::from_utf8(line).map_err(|error| {
            format!(
                "byte {} is not UTF-8: write such a byte as \\xHH, or the request as {{\"base64\": ...}}",
                error.valid_up_to()
            )
        })?;
        let first = || if text.trim_start().starts_with('{') { Format::Json } else { Format::Plain };
        let (bytes, kind, at_s) = match *self.format.get_or_insert_with(first) {
            Format::Plain => (unescape(text).map_err(|error| error.to_string())?, None, None),
            Format::Json => {
                let line = Line::parse(text, self.messages.is_empty())?;
                (line.bytes()?, line.kind, line.at_s)
            }
        };
        match bytes.len() {
            0 => return Err("the request is empty: write at least one byte".to_owned()),
            length if length > SIZE_MAX => {
                return Err(format!("the request has {length} bytes: the maximum is {SIZE_MAX} (64 MiB)"));
            }
            _ => {}
        }
        let at_ns = self.time(at_s)?;
        let kind = self.kind(kind.as_deref().unwrap_or(KIND_DEFAULT))?;
        self.messages.push(RecordedMessage { kind, bytes, at_ns });
        Ok(())
    }

    /// The time since the first request.
    fn time(&mut self, at_s: Option<f64>) -> Result<Option<u64>, String> {
        if let Some(at_s) = at_s
            && !(0.0..=AT_S_MAX).contains(&at_s)
        {
            return Err(format!("at_s {at_s} is out of range: it must be from 0 to {AT_S_MAX} seconds"));
        }
        match (self.times_s, at_s) {
            (None, None) => Ok(None),
            (None, Some(at_s)) if self.messages.is_empty() => {
                self.times_s = Some((at_s, at_s));
                Ok(Some(0))
            }
            (Some((first_s, last_s)), Some(at_s)) if at_s >= last_s => {
                self.times_s = Some((first_s, at_s));
                // Each time is rounded by itself, so that the differences do not depend on the distance from zero.
                Ok(Some(nanoseconds(at_s) - nanoseconds(first_s)))
            }
            (Some((_, last_s)), Some(at_s)) => Err(format!(
                "at_s {at_s} is before {last_s}, the time of the request before: sort the requests by time"
            )),
            (None, Some(_)) | (Some(_), None) => {
                Err("some requests have at_s and others have not: give it to all of them, or to none"
                    .to_owned())
            }
        }
    }

    /// The index of a kind, which is new or known.
    fn kind(&mut self, name: &str) -> Result<usize, String> {
        if let Some(index) = self.kinds.iter().position(|kind| kind == name) {
            return Ok(index);
        }
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.contains(char::is_control) {
            return Err(format!(
                "the kind {name:?} is no name: use from 1 to {NAME_CHARS_MAX} printable characters"
            ));
        }
        if self.kinds.len() == KINDS_MAX {
            return Err(format!("the kind {name:?} is one too many: the maximum is {KINDS_MAX} kinds"));
        }
        self.kinds.push(name.to_owned());
        Ok(self.kinds.len() - 1)
    }
}

/// A line of JSON.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    message: Option<String>,
    base64: Option<String>,
    kind: Option<String>,
    at_s: Option<f64>,
}

impl Line {
    fn parse(text: &str, is_first: bool) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| {
            // The line's number within this text is always 1.
            let problem = error.to_string().replace(" at line 1 column ", " at column ");
            let hint = if is_first { "; if the lines are plain text, begin this one with \\{" } else { "" };
            format!("{problem}: write an object, as in {{\"message\": \"PING\"}}{hint}")
        })
    }

    /// The bytes of the request.
    fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.message, &self.base64) {
            (Some(message), None) => Ok(message.clone().into_bytes()),
            (None, Some(encoded)) => {
                STANDARD.decode(encoded).map_err(|error| format!("base64 cannot be decoded: {error}"))
            }
            (Some(_), Some(_)) => Err("it has both message and base64: remove one".to_owned()),
            (None, None) => Err("it has no message: add \"message\" or \"base64\"".to_owned()),
        }
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    // The whole seconds apart: their product with 10^9 may need more digits than a float has.
    seconds as u64 * 1_000_000_000 + (seconds.fract() * 1e9).round() as u64
}
