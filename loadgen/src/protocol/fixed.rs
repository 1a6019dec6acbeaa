//! Replies of one size.

use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::protocol::template::Template;

/// Every reply has the same number of bytes. A request is sent as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    /// At least 1.
    bytes: u64,
}

impl Fixed {
    /// Replies of this many bytes.
    ///
    /// # Errors
    /// When a reply would have no bytes.
    pub(crate) fn new(bytes: u64) -> Result<Self, String> {
        if bytes == 0 {
            return Err("a reply of 0 bytes has no end in the stream: give its size, 1 or more bytes".into());
        }
        Ok(Self { bytes })
    }
}

impl Protocol for Fixed {
    /// The bytes of the reply that have arrived.
    type Reading = u64;

    const NAME: &'static str = "fixed";
    const SUMMARY: &'static str = "every reply has the same number of bytes";
    const EXPECT: &'static str = "none";
    const EXAMPLE: &'static str = "hello {client}";
    const FLAGS: &'static [&'static str] = &["--reply-size"];

    fn from_settings(framing: &Framing) -> Result<Self, String> {
        let bytes = framing.reply_size.ok_or("--protocol fixed needs the size of a reply: add --reply-size N")?;
        Self::new(bytes).map_err(|error| format!("--reply-size {bytes}: {error}"))
    }

    fn request(&self, text: &Template) -> Result<Template, String> {
        Ok(text.clone())
    }

    fn read(&self, reading: &mut u64, _asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let left = self.bytes - *reading;
        let here = bytes.len() as u64;
        if here < left {
            *reading += here;
            return Ok(Progress::Partial);
        }
        *reading = 0;
        // At most the length of the piece.
        Ok(Progress::Complete(End::new(left as usize, Status::Plain)))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::chunking::{each_chunking, replies},
        *,
    };

    #[test]
    fn a_reply_ends_after_its_bytes() {
        each_chunking(&Fixed::new(3).unwrap(), b"abcdef", &[(3, Status::Plain), (3, Status::Plain)]);
        let (ends, rest) =
            replies(&Fixed::new(3).unwrap(), Asked::default(), &[b"ab", b"cdef", b"gh"]).unwrap();
        assert_eq!((ends.len(), rest), (2, 2));
    }

    #[test]
    fn a_reply_has_at_least_one_byte() {
        assert!(Fixed::new(0).unwrap_err().contains("1 or more"));
    }
}
