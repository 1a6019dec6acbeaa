//! Replies that end with a delimiter.

use memchr::memmem::Finder;

use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::protocol::template::{unescape, Template};

/// The longest delimiter in bytes.
const DELIMITER_MAX: usize = 16;

/// A reply ends with the first delimiter in it. A request ends with the delimiter, too.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Finds the delimiter of 1 to [`DELIMITER_MAX`] bytes.
    delimiter: Box<Finder<'static>>,
}

/// The last bytes of an incomplete reply, which may be the begin of a delimiter.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: [u8; DELIMITER_MAX],
    /// Fewer than the delimiter has.
    length: usize,
}

impl Line {
    /// Replies that end with this delimiter.
    ///
    /// # Errors
    /// When the delimiter is empty or too long.
    pub(crate) fn new(delimiter: &[u8]) -> Result<Self, String> {
        if !(1..=DELIMITER_MAX).contains(&delimiter.len()) {
            return Err(format!(
                "a delimiter has 1 to {DELIMITER_MAX} bytes, and this one has {}",
                delimiter.len()
            ));
        }
        Ok(Self { delimiter: Box::new(Finder::new(delimiter).into_owned()) })
    }

    /// The end of a delimiter that begins before this piece.
    fn end_of_cut(&self, tail: &Tail, bytes: &[u8]) -> Option<usize> {
        let mut around = [0; 2 * DELIMITER_MAX];
        let here = bytes.len().min(self.delimiter.needle().len() - 1);
        around[..tail.length].copy_from_slice(&tail.bytes[..tail.length]);
        around[tail.length..][..here].copy_from_slice(&bytes[..here]);
        let found = self.delimiter.find(&around[..tail.length + here])?;
        Some(found + self.delimiter.needle().len() - tail.length)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self { delimiter: Box::new(Finder::new(b"\n")) }
    }
}

impl Protocol for Line {
    type Reading = Tail;

    const NAME: &'static str = "line";
    const SUMMARY: &'static str = "requests and replies end with a delimiter, by default the end of a line";
    const EXPECT: &'static str = "none";
    const EXAMPLE: &'static str = "hello {client}";
    const FLAGS: &'static [&'static str] = &["--delimiter"];

    fn from_settings(framing: &Framing) -> Result<Self, String> {
        let Some(text) = &framing.delimiter else { return Ok(Self::default()) };
        let delimiter = unescape(text).map_err(|error| format!("--delimiter '{text}': {error}"))?;
        Self::new(&delimiter).map_err(|error| format!("--delimiter '{text}': {error}"))
    }

    fn request(&self, text: &Template) -> Result<Template, String> {
        let delimiter = self.delimiter.needle();
        let request = match text.ends_with(delimiter) {
            true => text.clone(),
            false => Template::concat([text.clone(), Template::literal(delimiter)]),
        };
        match request.split_once(delimiter) {
            Some((_, after)) if after.as_literal() != Some(b"") => {
                Err("the delimiter is in the middle of the text, so the server would reply more than once: use a message for \
                     each request"
                    .to_owned())
            }
            _ => Ok(request),
        }
    }

    fn read(&self, reading: &mut Tail, _asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let cut = if reading.length > 0 { self.end_of_cut(reading, bytes) } else { None };
        let end = cut.or_else(|| Some(self.delimiter.find(bytes)? + self.delimiter.needle().len()));
        if let Some(length) = end {
            reading.length = 0;
            return Ok(Progress::Complete(End::new(length, Status::Plain)));
        }
        reading.keep(self.delimiter.needle().len() - 1, bytes);
        Ok(Progress::Partial)
    }
}

impl Tail {
    /// Keeps the last `size` bytes of the tail and the piece after it.
    fn keep(&mut self, size: usize, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(size)..];
        let old = self.length.min(size - new.len());
        self.bytes.copy_within(self.length - old..self.length, 0);
        self.bytes[old..][..new.len()].copy_from_slice(new);
        self.length = old + new.len();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::chunking::each_chunking, *};

    #[test]
    fn a_reply_ends_with_the_delimiter() {
        each_chunking(
            &Line::default(),
            b"one\n\ntwo\n",
            &[(4, Status::Plain), (1, Status::Plain), (4, Status::Plain)],
        );
    }

    #[test]
    fn a_delimiter_may_repeat_its_own_begin() {
        let line = Line::new(b"aab").unwrap();
        each_chunking(&line, b"aaaabaabab", &[(5, Status::Plain), (3, Status::Plain)]);
        let line = Line::new(b"\r\n.\r\n").unwrap();
        each_chunking(&line, b"x\r\n\r\n.\r\n.\r\n", &[(8, Status::Plain)]);
    }

    #[test]
    fn a_request_gets_the_delimiter_once() {
        let line = Line::new(b"\r\n").unwrap();
        for text in ["PING", "PING\r\n"] {
            let request = line.request(&Template::literal(text)).unwrap();
            assert_eq!(request.as_literal(), Some(b"PING\r\n".as_slice()));
        }
    }

    #[test]
    fn a_request_with_a_delimiter_in_its_middle_is_refused() {
        let refused = |text: &str| Line::default().request(&Template::parse(text).unwrap());
        for text in ["a\\nb", "a\\nb\\n", "\\n{client}", "{client}\\n{request}\\n"] {
            assert!(refused(text).unwrap_err().contains("more than once"), "{text}");
        }
        assert!(refused("{client}\\n").is_ok());
    }

    #[test]
    fn a_delimiter_has_1_to_16_bytes() {
        assert!(Line::new(b"").unwrap_err().contains("1 to 16 bytes, and this one has 0"));
        assert!(Line::new(&[b'x'; 17]).unwrap_err().contains("17"));
        assert!(Line::new(&[b'x'; 16]).is_ok());
    }
}
