//! Builds requests and checks replies.
//!
//! The default message holds the numbers of its client and of its request in lower-case hexadecimal, and a filler in
//! mixed case. So a reply that is swapped, stale, cut or not in upper case is found.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The largest message in bytes: 64 MiB.
pub(crate) const SIZE_MAX: usize = 64 << 20;

/// Eight digits for the client, eight for the request.
const HEADER_BYTES: usize = 16;
const FILLER: &[u8] = b"The Quick Brown Fox jumps over the lazy Dog. Sphinx of Black Quartz, judge my Vow! ";
/// The length of the excerpt of a wrong reply.
const EXCERPT_BYTES: usize = 48;

/// The expected reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expect {
    /// The request with its ASCII letters in upper case.
    Upper,
    /// The request, unchanged.
    Echo,
    /// Any bytes, of the same length as the request.
    None,
}

/// The first reply that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mismatch {
    /// The client's number.
    pub client: u32,
    /// The number of the client's request, from 0.
    pub request: u64,
    /// The offset of the first wrong byte in the reply, from 0.
    pub offset: usize,
    /// The expected bytes from there on, non-printing bytes escaped.
    pub expected: String,
    /// The received bytes from there on, non-printing bytes escaped.
    pub got: String,
}

/// A template of a request and of its expected reply. Both are patched in place; each load thread has its own.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    request: Vec<u8>,
    reply: Vec<u8>,
    /// The digits of the header that fit into the message. None: it has no header.
    digits: Option<Range<usize>>,
    expect: Expect,
}

impl Messages {
    /// The default message of `size` bytes, from 1 to [`SIZE_MAX`]. A message that is shorter than the header keeps the end
    /// of the header, so that successive requests differ.
    pub(crate) fn numbered(size: usize, expect: Expect) -> Self {
        let digits = HEADER_BYTES.saturating_sub(size)..HEADER_BYTES;
        let filler = FILLER.iter().copied().cycle().take(size - digits.len());
        let mut request: Vec<u8> = std::iter::repeat_n(b'0', digits.len()).chain(filler).collect();
        if size >= HEADER_BYTES + 2 {
            request[size - 1] = b'\n';
        }
        Self { reply: request.to_ascii_uppercase(), request, digits: Some(digits), expect }.with_expectation()
    }

    /// The same bytes for each request. `bytes` is not empty.
    pub(crate) fn fixed(bytes: &[u8], expect: Expect) -> Self {
        Self { request: bytes.to_vec(), reply: bytes.to_ascii_uppercase(), digits: None, expect }
            .with_expectation()
    }

    /// The same requests with other expected replies.
    pub(crate) fn expecting(&self, expect: Expect) -> Self {
        Self { reply: self.request.to_ascii_uppercase(), expect, ..self.clone() }.with_expectation()
    }

    /// The expected reply.
    pub(crate) fn expect(&self) -> Expect {
        self.expect
    }

    /// The length of a request, and of its reply, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.request.len()
    }

    /// Request `number` of `client`.
    #[inline]
    pub(crate) fn request(&mut self, client: u32, number: u64) -> &[u8] {
        if let Some(digits) = &self.digits {
            patch(&mut self.request, digits, client, number, b"0123456789abcdef");
        }
        &self.request
    }

    /// Checks the part of a reply that begins at `offset`. The part must end within the reply.
    ///
    /// # Errors
    /// The offset of the first wrong byte in the reply.
    #[inline]
    pub(crate) fn check(
        &mut self,
        client: u32,
        number: u64,
        offset: usize,
        part: &[u8],
    ) -> Result<(), usize> {
        if self.expect == Expect::None {
            return Ok(());
        }
        self.expected(client, number);
        let expected = &self.reply[offset..offset + part.len()];
        if expected == part {
            return Ok(());
        }
        let first = expected.iter().zip(part).position(|(one, other)| one != other);
        Err(offset + first.expect("the two differ and have the same length"))
    }

    /// Describes a mismatch. `got` begins at `offset` of the reply.
    pub(crate) fn describe(&mut self, client: u32, request: u64, offset: usize, got: &[u8]) -> Mismatch {
        let excerpt = |bytes: &[u8]| bytes[..bytes.len().min(EXCERPT_BYTES)].escape_ascii().to_string();
        let expected = excerpt(self.expected(client, request).get(offset..).unwrap_or_default());
        Mismatch { client, request, offset, expected, got: excerpt(got) }
    }

    /// Describes bytes that arrived without a request.
    pub(crate) fn describe_unsolicited(&self, client: u32, request: u64, got: &[u8]) -> Mismatch {
        let got = got[..got.len().min(EXCERPT_BYTES)].escape_ascii().to_string();
        Mismatch { client, request, offset: 0, expected: String::new(), got }
    }

    fn expected(&mut self, client: u32, number: u64) -> &[u8] {
        if let Some(digits) = &self.digits {
            let alphabet =
                if self.expect == Expect::Upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
            patch(&mut self.reply, digits, client, number, alphabet);
        }
        &self.reply
    }

    fn with_expectation(mut self) -> Self {
        if self.expect == Expect::Echo {
            self.reply.clone_from(&self.request);
        }
        self
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
        let mut messages = Messages::numbered(32, Expect::Upper);
        assert_eq!(messages.request(0xab, 0x1_0000_00cd), b"000000ab000000cdThe Quick Brown\n");
    }

    #[test]
    fn a_short_message_keeps_the_low_digits_of_the_request() {
        for (size, expected) in [(1, "d"), (4, "00cd"), (9, "b000000cd"), (17, "000000ab000000cdT")] {
            assert_eq!(Messages::numbered(size, Expect::Upper).request(0xab, 0xcd), expected.as_bytes());
        }
    }

    #[test]
    fn a_correct_reply_passes_in_parts_of_any_size() {
        for (expect, upper) in [(Expect::Upper, true), (Expect::Echo, false)] {
            let mut messages = Messages::numbered(100, expect);
            let mut reply = messages.request(7, 0xfe).to_vec();
            if upper {
                reply.make_ascii_uppercase();
            }
            for length in 1..=100 {
                for (index, part) in reply.chunks(length).enumerate() {
                    assert_eq!(messages.check(7, 0xfe, index * length, part), Ok(()));
                }
            }
        }
    }

    #[test]
    fn a_mismatch_is_reported_at_the_first_wrong_byte() {
        let mut messages = Messages::numbered(64, Expect::Upper);
        let right = messages.request(1, 2).to_ascii_uppercase();
        let stale = messages.request(1, 1).to_ascii_uppercase();
        let swapped = messages.request(2, 2).to_ascii_uppercase();
        let plain = messages.request(1, 2).to_vec();
        let cut = [&right[1..], b"x"].concat();
        for (reply, offset) in [(stale, 15), (swapped, 7), (plain, 17), (cut, 6)] {
            assert_eq!(messages.check(1, 2, 0, &reply), Err(offset), "{}", reply.escape_ascii());
        }
        assert_eq!(messages.describe(1, 2, 62, b"\0\n").expected, "P\\n");
    }

    #[test]
    fn without_an_expectation_every_reply_passes() {
        assert_eq!(Messages::numbered(8, Expect::None).check(0, 0, 0, b"whatever"), Ok(()));
        let mut fixed = Messages::fixed(b"Hello", Expect::Upper);
        assert_eq!(fixed.request(1, 2), b"Hello");
        assert_eq!(fixed.check(1, 2, 0, b"HELLO"), Ok(()));
    }
}
