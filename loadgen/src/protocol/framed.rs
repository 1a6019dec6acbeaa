//! The exchange with a server that speaks a protocol: requests from templates or a file, and replies with an end of their own.

use std::sync::Arc;

use crate::protocol::{
    Asked, End, Progress, Protocol, Status,
    exchange::{Awaited, Exchange, Heard, Mismatch, ReplyEnd, WrongReply, excerpt},
    expect::{Expect, Text},
    requests::Requests,
    template::At,
};

/// The bytes that are kept of a reply in pieces, to show the start of an unexpected one.
const KEPT_BYTES: usize = 48;
/// What is expected of a client to which no reply is owed.
const NOTHING: &str = "no byte: no reply is owed";
const NOT_YET: &str = "no complete reply before the whole request is sent";
const TOO_LONG: &str = "the end of the reply: it is longer than --max-reply";

/// The exchange with a server that speaks a protocol.
#[derive(Clone, Debug)]
pub(crate) struct Framed<P> {
    protocol: P,
    rules: Arc<FramedRules>,
    /// The seed of the run.
    seed: u64,
    /// The clients of the run.
    clients: u32,
    /// The request that was expanded last: its client, its number and its bytes.
    expanded: Option<(u32, u64)>,
    request: Vec<u8>,
}

/// What all load threads share.
#[derive(Clone, Debug)]
pub(crate) struct FramedRules {
    /// The requests.
    pub requests: Requests,
    /// The expected replies.
    pub expect: Expect,
    /// The longest reply in bytes.
    pub reply_bytes_max: usize,
}

/// What is known of a reply that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Reading<R> {
    framing: R,
    /// The reply differs from the expected text.
    differs: bool,
    /// The start of a reply in pieces. All of it, if the whole reply is needed for the check.
    kept: Vec<u8>,
}

impl<P: Protocol> Framed<P> {
    /// The exchange of one load thread, in a run with this seed and this number of clients.
    pub(crate) fn new(protocol: P, rules: Arc<FramedRules>, seed: u64, clients: u32) -> Self {
        Self { protocol, rules, seed, clients, expanded: None, request: Vec::new() }
    }

    fn at(&self, client: u32, request: u64) -> At {
        At { client, request, seed: self.seed }
    }

    /// Expands a request, unless it is the last one: a reply in many pieces needs it for each of them.
    fn expand(&mut self, client: u32, request: u64) {
        if self.expanded.replace((client, request)) == Some((client, request)) {
            return;
        }
        self.request.clear();
        let at = self.at(client, request);
        self.rules.requests.expand(&at, self.clients, &mut self.request);
    }

    /// What the reply depends on.
    fn asked(&mut self, awaited: Awaited) -> Asked {
        let at = self.at(awaited.client, awaited.request);
        let asked = self.rules.requests.asked(&at, self.clients);
        if P::REPLY_HAS_THE_LENGTH_OF_ITS_REQUEST {
            self.expand(awaited.client, awaited.request);
            return Asked { request_bytes: self.request.len(), ..asked };
        }
        asked
    }

    /// Compares a piece with the part of `text` at `offset`. The offset in the piece at which it differs.
    fn difference(text: &[u8], offset: usize, piece: &[u8], is_upper: bool) -> Option<usize> {
        let text = text.get(offset..).unwrap_or_default();
        let same = |(expected, got): (&u8, &u8)| match is_upper {
            true => expected.to_ascii_uppercase() == *got,
            false => expected == got,
        };
        let common = text.iter().zip(piece).take_while(|pair| same(*pair)).count();
        (common < piece.len()).then_some(common)
    }

    /// Compares the next piece of a reply with what is expected.
    ///
    /// # Errors
    /// The reply of an echo differs: then it belongs to another request, or is damaged.
    fn compare(
        &mut self,
        reading: &mut Reading<P::Reading>,
        awaited: Awaited,
        piece: &[u8],
    ) -> Result<(), WrongReply> {
        let is_upper = matches!(self.rules.expect, Expect::Upper);
        if is_upper || matches!(self.rules.expect, Expect::Echo) {
            self.expand(awaited.client, awaited.request);
        }
        match &self.rules.expect {
            Expect::None | Expect::NoError | Expect::Status(_) | Expect::Regex(_) => {}
            Expect::Upper | Expect::Echo => {
                if let Some(offset) = Self::difference(&self.request, awaited.offset, piece, is_upper) {
                    return Err(WrongReply { offset, expected: None });
                }
            }
            Expect::Prefix(Text { bytes, .. }) => {
                let compared = piece.len().min(bytes.len().saturating_sub(awaited.offset));
                reading.differs |=
                    Self::difference(bytes, awaited.offset, &piece[..compared], false).is_some();
            }
            Expect::Equals(Text { bytes, .. }) => {
                if let Some(offset) = Self::difference(bytes, awaited.offset, piece, false) {
                    let is_behind = awaited.offset + offset >= bytes.len();
                    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
                    reading.differs |= !is_behind || !piece[offset..].iter().all(is_line_end);
                }
            }
        }
        Ok(())
    }

    /// Keeps what a later piece needs.
    fn keep(&self, reading: &mut Reading<P::Reading>, piece: &[u8]) {
        let most = match self.rules.expect {
            Expect::Regex(_) => self.rules.reply_bytes_max,
            _ => KEPT_BYTES,
        };
        let room = most.saturating_sub(reading.kept.len());
        reading.kept.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// Whether a complete reply, with this last piece, is the expected one.
    fn is_expected(
        &self,
        reading: &mut Reading<P::Reading>,
        length: usize,
        status: Status,
        piece: &[u8],
    ) -> bool {
        if reading.differs || !self.rules.expect.admits(status) {
            return false;
        }
        match &self.rules.expect {
            Expect::Prefix(Text { bytes, .. }) | Expect::Equals(Text { bytes, .. }) => length >= bytes.len(),
            Expect::Regex(regex) if reading.kept.is_empty() => regex.is_match(piece),
            Expect::Regex(regex) => {
                let before = reading.kept.len();
                reading.kept.extend_from_slice(piece);
                let is_match = regex.is_match(&reading.kept);
                reading.kept.truncate(before);
                is_match
            }
            // The comparison has expanded the request.
            Expect::Upper | Expect::Echo => length == self.request.len(),
            _ => true,
        }
    }
}

impl<P: Protocol> Exchange for Framed<P> {
    type Reading = Reading<P::Reading>;

    #[inline]
    fn request(&mut self, client: u32, number: u64) -> &[u8] {
        self.expand(client, number);
        &self.request
    }

    #[inline]
    fn kind(&self, client: u32, number: u64) -> usize {
        self.rules.requests.kind(&self.at(client, number), self.clients)
    }

    #[inline]
    fn read(
        &mut self,
        reading: &mut Self::Reading,
        awaited: Awaited,
        bytes: &[u8],
    ) -> Result<Heard, WrongReply> {
        if awaited.written == 0 {
            return Err(WrongReply { offset: 0, expected: Some(NOTHING) });
        }
        if awaited.offset == 0 {
            reading.differs = false;
            reading.kept.clear();
        }
        let asked = self.asked(awaited);
        let progress = self.protocol.read(&mut reading.framing, asked, bytes).map_err(|malformed| {
            WrongReply { offset: malformed.offset, expected: Some(malformed.expected) }
        })?;
        let length = match progress {
            Progress::Partial => bytes.len(),
            Progress::Complete(End { length, .. }) => length,
        };
        let whole = awaited.offset.saturating_add(length);
        if whole > self.rules.reply_bytes_max && !P::REPLY_HAS_THE_LENGTH_OF_ITS_REQUEST {
            let offset = self.rules.reply_bytes_max.saturating_sub(awaited.offset).min(bytes.len());
            return Err(WrongReply { offset, expected: Some(TOO_LONG) });
        }
        self.compare(reading, awaited, &bytes[..length])?;
        match progress {
            Progress::Partial => {
                self.keep(reading, bytes);
                Ok(Heard::Partial)
            }
            Progress::Complete(_) if awaited.written != usize::MAX => {
                Err(WrongReply { offset: 0, expected: Some(NOT_YET) })
            }
            Progress::Complete(End { status, closes, .. }) => {
                let is_expected = self.is_expected(reading, whole, status, &bytes[..length]);
                Ok(Heard::Complete(ReplyEnd { length, is_expected, closes }))
            }
        }
    }

    fn end_of_stream(&mut self, reading: &mut Self::Reading, awaited: Awaited) -> Option<ReplyEnd> {
        let status = self.protocol.end_of_stream(&reading.framing)?;
        let is_expected = self.is_expected(reading, awaited.offset, status, &[]);
        Some(ReplyEnd { length: 0, is_expected, closes: true })
    }

    fn describe(&mut self, awaited: Awaited, wrong: WrongReply, bytes: &[u8]) -> Mismatch {
        let Awaited { client, request, offset, .. } = awaited;
        let at = offset + wrong.offset;
        let expected = match wrong.expected {
            Some(description) => description.to_owned(),
            None => {
                self.expand(client, request);
                let rest = self.request.get(at..).unwrap_or_default();
                match self.rules.expect {
                    Expect::Upper => excerpt(&rest.to_ascii_uppercase()),
                    _ => excerpt(rest),
                }
            }
        };
        let got = excerpt(bytes.get(wrong.offset..).unwrap_or_default());
        Mismatch { client, request, offset: at, expected, got }
    }

    fn describe_unexpected(&mut self, reading: &Self::Reading, awaited: Awaited, bytes: &[u8]) -> Mismatch {
        let got = match reading.kept.is_empty() {
            true => excerpt(bytes),
            false => excerpt(&[&reading.kept[..], bytes].concat()),
        };
        let Awaited { client, request, .. } = awaited;
        Mismatch { client, request, offset: 0, expected: self.rules.expect.to_string(), got }
    }
}
