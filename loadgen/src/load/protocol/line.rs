//! Replies that end with a delimiter.

use memchr::memmem;

use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::load::template::{Template, unescape};

/// The longest delimiter in bytes.
const DELIMITER_BYTES_MAX: usize = 16;

/// A protocol whose requests and replies end with a delimiter.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    delimiter: Vec<u8>,
}

/// The last bytes of a reply so far: an end of a delimiter that is cut may follow them.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: [u8; 2 * DELIMITER_BYTES_MAX],
    length: usize,
}

impl Protocol for Line {
    type Reading = Tail;

    const NAME: &'static str = "line";
    const SUMMARY: &'static str = "a reply ends with a delimiter, by default the end of the line";
    const EXPECT: &'static str = "none";
    const EXAMPLE: &'static str = "hello {client}";
    const FLAGS: &'static [&'static str] = &["--delimiter"];

    fn new(framing: &Framing) -> Result<Self, String> {
        let text = framing.delimiter.as_deref().unwrap_or("\\n");
        let delimiter = unescape(text).map_err(|error| format!("--delimiter '{text}': {error}"))?;
        if !(1..=DELIMITER_BYTES_MAX).contains(&delimiter.len()) {
            return Err(format!(
                "--delimiter '{text}' has {} bytes: it must have from 1 to {DELIMITER_BYTES_MAX}",
                delimiter.len()
            ));
        }
        Ok(Self { delimiter })
    }

    fn request(&self, text: &Template) -> Result<Template, String> {
        if text.ends_with(&self.delimiter) {
            return Ok(text.clone());
        }
        Ok(Template::concat([text.clone(), Template::literal(&self.delimiter[..])]))
    }

    fn read(&self, tail: &mut Tail, _asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let found = match tail.length {
            0 => memmem::find(bytes, &self.delimiter).map(|at| at + self.delimiter.len()),
            _ => self.find_after(tail, bytes),
        };
        match found {
            Some(length) => {
                tail.length = 0;
                Ok(Progress::Complete(End { length, status: Status::Plain, closes: false }))
            }
            None => {
                tail.push(bytes, self.delimiter.len() - 1);
                Ok(Progress::Partial)
            }
        }
    }
}

impl Line {
    /// The number of bytes up to the end of the first delimiter, which may begin in the tail.
    fn find_after(&self, tail: &Tail, bytes: &[u8]) -> Option<usize> {
        let (kept, needed) = (tail.length, self.delimiter.len() - 1);
        let mut joined = [0; 3 * DELIMITER_BYTES_MAX];
        let next = bytes.len().min(needed);
        joined[..kept].copy_from_slice(&tail.bytes[..kept]);
        joined[kept..kept + next].copy_from_slice(&bytes[..next]);
        match memmem::find(&joined[..kept + next], &self.delimiter) {
            Some(at) => Some(at + self.delimiter.len() - kept),
            None => memmem::find(bytes, &self.delimiter).map(|at| at + self.delimiter.len()),
        }
    }
}

impl Tail {
    /// Keeps the last `most` bytes.
    fn push(&mut self, bytes: &[u8], most: usize) {
        let fresh = &bytes[bytes.len().saturating_sub(most)..];
        self.bytes[self.length..self.length + fresh.len()].copy_from_slice(fresh);
        let length = self.length + fresh.len();
        let surplus = length.saturating_sub(most);
        self.bytes.copy_within(surplus..length, 0);
        self.length = length - surplus;
    }
}
