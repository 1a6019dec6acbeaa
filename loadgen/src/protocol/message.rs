//! The exchange with an echo: builds requests and checks replies.
//!
//! The default message holds the numbers of its client and of its request in lower-case hexadecimal, and a filler in
//! mixed case. So a reply that is swapped, stale, cut or not in upper case is found.

use std::ops::Range;

use crate::protocol::{
    exchange::{Awaited, Exchange, Heard, Mismatch, ReplyEnd, WrongReply, excerpt},
    expect::Expect,
};

/// The largest message in bytes: 64 MiB.
pub(crate) const SIZE_MAX: usize = 64 << 20;

/// Eight digits for the client, eight for the request.
const HEADER_BYTES: usize = 16;
/// What is expected behind the last reply that is owed: no byte, as an excerpt.
const NOTHING: &str = "";
const FILLER: &[u8] = b"The Quick Brown Fox jumps over the lazy Dog. Sphinx of Black Quartz, judge my Vow! ";

/// A template of a request and of its expected reply. Both are patched in place; each load thread has its own.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    request: Vec<u8>,
    reply: Vec<u8>,
    /// The digits of the header that fit into the message. None: it has no header.
    digits: Option<Range<usize>>,
    compare: Compare,
}

/// How replies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Upper,
    Echo,
    Nothing,
}

impl Messages {
    /// The default message of `size` bytes, from 1 to [`SIZE_MAX`]. A message that is shorter than the header keeps the end
    /// of the header, so that successive requests differ.
    pub(crate) fn numbered(size: usize, expect: &Expect) -> Self {
        let digits = HEADER_BYTES.saturating_sub(size)..HEADER_BYTES;
        let filler = FILLER.iter().copied().cycle().take(size - digits.len());
        let mut request: Vec<u8> = std::iter::repeat_n(b'0', digits.len()).chain(filler).collect();
        if size >= HEADER_BYTES + 2 {
            request[size - 1] = b'\n';
        }
        Self {
            reply: request.to_ascii_uppercase(),
            request,
            digits: Some(digits),
            compare: Compare::of(expect),
        }
        .with_expectation()
    }

    /// The same bytes for each request. `bytes` is not empty.
    pub(crate) fn fixed(bytes: &[u8], expect: &Expect) -> Self {
        Self {
            request: bytes.to_vec(),
            reply: bytes.to_ascii_uppercase(),
            digits: None,
            compare: Compare::of(expect),
        }
        .with_expectation()
    }

    /// The same requests with other expected replies.
    pub(crate) fn expecting(&self, expect: &Expect) -> Self {
        Self { reply: self.request.to_ascii_uppercase(), compare: Compare::of(expect), ..self.clone() }
            .with_expectation()
    }

    /// Checks the part of a reply that begins at `offset`. The part must end within the reply.
    ///
    /// # Errors
    /// The offset of the first wrong byte in the part.
    #[inline]
    fn check(&mut self, client: u32, number: u64, offset: usize, part: &[u8]) -> Result<(), usize> {
        if self.compare == Compare::Nothing {
            return Ok(());
        }
        self.expected(client, number);
        let expected = &self.reply[offset..offset + part.len()];
        if expected == part {
            return Ok(());
        }
        let first = expected.iter().zip(part).position(|(one, other)| one != other);
        Err(first.expect("the two differ and have the same length"))
    }

    fn expected(&mut self, client: u32, number: u64) -> &[u8] {
        if let Some(digits) = &self.digits {
            let alphabet =
                if self.compare == Compare::Upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
            patch(&mut self.reply, digits, client, number, alphabet);
        }
        &self.reply
    }

    fn with_expectation(mut self) -> Self {
        if self.compare == Compare::Echo {
            self.reply.clone_from(&self.request);
        }
        self
    }
}

impl Exchange for Messages {
    type Reading = ();

    #[inline]
    fn request(&mut self, client: u32, number: u64) -> &[u8] {
        if let Some(digits) = &self.digits {
            patch(&mut self.request, digits, client, number, b"0123456789abcdef");
        }
        &self.request
    }

    #[inline]
    fn kind(&self, _client: u32, _number: u64) -> usize {
        0
    }

    /// A reply has the length of its request, and is never longer than the written part of it.
    #[inline]
    fn read(&mut self, _reading: &mut (), awaited: Awaited, bytes: &[u8]) -> Result<Heard, WrongReply> {
        let Awaited { client, request, offset, written } = awaited;
        let size = self.request.len();
        let possible = written.min(size) - offset;
        let length = bytes.len().min(possible);
        self.check(client, request, offset, &bytes[..length])
            .map_err(|offset| WrongReply { offset, expected: None })?;
        if offset + length == size {
            Ok(Heard::Complete(ReplyEnd { length, is_expected: true, closes: false }))
        } else if length < bytes.len() {
            Err(WrongReply { offset: length, expected: Some(NOTHING) })
        } else {
            Ok(Heard::Partial)
        }
    }

    fn end_of_stream(&mut self, _reading: &mut (), _awaited: Awaited) -> Option<ReplyEnd> {
        None
    }

    fn describe(&mut self, awaited: Awaited, wrong: WrongReply, bytes: &[u8]) -> Mismatch {
        let Awaited { client, request, offset, .. } = awaited;
        let (at, got) = (offset + wrong.offset, excerpt(&bytes[wrong.offset..]));
        let expected = match wrong.expected {
            None => excerpt(self.expected(client, request).get(at..).unwrap_or_default()),
            Some(description) => description.to_owned(),
        };
        Mismatch { client, request, offset: at, expected, got }
    }

    fn describe_unexpected(&mut self, (): &(), awaited: Awaited, bytes: &[u8]) -> Mismatch {
        self.describe(awaited, WrongReply { offset: 0, expected: None }, bytes)
    }
}

impl Compare {
    /// The comparison for one of the three expectations that compare a reply with its request.
    fn of(expect: &Expect) -> Self {
        match expect {
            Expect::Upper => Self::Upper,
            Expect::Echo => Self::Echo,
            _ => Self::Nothing,
        }
    }
}

/// Writes the `digits` of the header to the start of the message.
#[inline]
fn patch(message: &mut [u8], digits: &Range<usize>, client: u32, number: u64, alphabet: &[u8; 16]) {
    let value = u64::from(client) << 32 | number & 0xffff_ffff;
    let mut header = [0; HEADER_BYTES];
    for (index, digit) in header.iter_mut().enumerate() {
        *digit = alphabet[(value >> (60 - 4 * index) & 0xf) as usize];
    }
    message[..digits.len()].copy_from_slice(&header[digits.clone()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_both_numbers_a_mixed_case_filler_and_a_newline() {
        let mut messages = Messages::numbered(32, &Expect::Upper);
        assert_eq!(messages.request(0xab, 0x1_0000_00cd), b"000000ab000000cdThe Quick Brown\n");
    }

    #[test]
    fn a_short_message_keeps_the_low_digits_of_the_request() {
        for (size, expected) in [(1, "d"), (4, "00cd"), (9, "b000000cd"), (17, "000000ab000000cdT")] {
            assert_eq!(Messages::numbered(size, &Expect::Upper).request(0xab, 0xcd), expected.as_bytes());
        }
    }

    #[test]
    fn a_correct_reply_passes_in_parts_of_any_size() {
        for (expect, upper) in [(&Expect::Upper, true), (&Expect::Echo, false)] {
            let mut messages = Messages::numbered(100, expect);
            let mut reply = messages.request(7, 0xfe).to_vec();
            if upper {
                reply.make_ascii_uppercase();
            }
            for length in 1..=100 {
                for (index, part) in reply.chunks(length).enumerate() {
                    let awaited =
                        Awaited { client: 7, request: 0xfe, offset: index * length, written: usize::MAX };
                    let heard = messages.read(&mut (), awaited, part).unwrap();
                    let is_last = (index + 1) * length >= 100;
                    assert_eq!(matches!(heard, Heard::Complete(_)), is_last);
                }
            }
        }
    }

    #[test]
    fn a_mismatch_is_reported_at_the_first_wrong_byte() {
        let mut messages = Messages::numbered(64, &Expect::Upper);
        let right = messages.request(1, 2).to_ascii_uppercase();
        let stale = messages.request(1, 1).to_ascii_uppercase();
        let swapped = messages.request(2, 2).to_ascii_uppercase();
        let plain = messages.request(1, 2).to_vec();
        let cut = [&right[1..], b"x"].concat();
        for (reply, offset) in [(stale, 15), (swapped, 7), (plain, 17), (cut, 6)] {
            assert_eq!(messages.check(1, 2, 0, &reply), Err(offset), "{}", reply.escape_ascii());
        }
        let awaited = Awaited { client: 1, request: 2, offset: 60, written: usize::MAX };
        let wrong = WrongReply { offset: 2, expected: None };
        let described = messages.describe(awaited, wrong, b"JUS\n");
        assert_eq!((described.offset, described.expected.as_str()), (62, "P\\n"));
    }

    #[test]
    fn a_byte_that_was_not_asked_for_is_wrong() {
        let mut messages = Messages::numbered(20, &Expect::Upper);
        let right = messages.request(0, 0).to_ascii_uppercase();
        for (written, offset) in [(0, 0), (12, 12)] {
            let awaited = Awaited { client: 0, request: 0, offset: 0, written };
            let wrong = messages.read(&mut (), awaited, &right).unwrap_err();
            assert_eq!((wrong.offset, wrong.expected), (offset, Some("")));
        }
    }

    #[test]
    fn without_an_expectation_every_reply_passes() {
        assert_eq!(Messages::numbered(8, &Expect::None).check(0, 0, 0, b"whatever"), Ok(()));
        let mut fixed = Messages::fixed(b"Hello", &Expect::Upper);
        assert_eq!(fixed.request(1, 2), b"Hello");
        assert_eq!(fixed.check(1, 2, 0, b"HELLO"), Ok(()));
    }
}
