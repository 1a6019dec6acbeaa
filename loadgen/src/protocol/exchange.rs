//! What clients say, and what they expect to hear. Pure.
//!
//! A load thread is compiled once for each kind of exchange, so nothing is looked up for a single request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The length of the excerpt of a wrong reply.
const EXCERPT_BYTES: usize = 48;

/// The requests of a load, and the check of their replies. Each load thread has its own.
pub(crate) trait Exchange: Clone + fmt::Debug + Send + 'static {
    /// What a client knows of a reply that is not complete. The default is the state before its first byte.
    type Reading: Default + fmt::Debug + Send;

    /// Request `number` of `client`; at least one byte.
    fn request(&mut self, client: u32, number: u64) -> &[u8];

    /// The kind of request `number` of `client`, from 0.
    fn kind(&self, client: u32, number: u64) -> usize;

    /// Reads on in a reply. `bytes` follow those of the earlier calls for this reply, and are not empty. Bytes after the end of
    /// the reply are not looked at.
    ///
    /// # Errors
    /// When the reply cannot go on like this. The connection has no further use.
    fn read(
        &mut self,
        reading: &mut Self::Reading,
        awaited: Awaited,
        bytes: &[u8],
    ) -> Result<Heard, WrongReply>;

    /// The server has closed the connection. The end of the reply, if that completes it; its length is 0.
    fn end_of_stream(&mut self, reading: &mut Self::Reading, awaited: Awaited) -> Option<ReplyEnd>;

    /// Describes a wrong reply, from the piece in which it was found.
    fn describe(&mut self, awaited: Awaited, wrong: WrongReply, bytes: &[u8]) -> Mismatch;

    /// Describes a complete reply with this last piece, which is not the expected one.
    fn describe_unexpected(&mut self, reading: &Self::Reading, awaited: Awaited, bytes: &[u8]) -> Mismatch;
}

/// Something that is done with whatever exchange a load has.
pub(crate) trait Visitor {
    /// Its result.
    type Output;

    /// Does it with this exchange.
    fn visit<X: Exchange>(self, exchange: X) -> Self::Output;
}

/// The reply that bytes belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    /// The client's number in the run.
    pub client: u32,
    /// The number of the client's request, from 0.
    pub request: u64,
    /// Bytes of the reply that have arrived before.
    pub offset: usize,
    /// Bytes of the request that are written; `usize::MAX` if all of them are.
    pub written: usize,
}

/// How far a reply has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Every byte belongs to the reply, and it goes on.
    Partial,
    /// The reply is complete.
    Complete(ReplyEnd),
}

/// The end of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyEnd {
    /// The bytes of the last piece that belong to the reply.
    pub length: usize,
    /// Whether it is the expected reply.
    pub is_expected: bool,
    /// The server closes the connection after it.
    pub closes: bool,
}

/// A reply that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongReply {
    /// The offset of the first wrong byte in the last piece.
    pub offset: usize,
    /// What was expected there, where the protocol says it. None: the bytes that the reply should have.
    pub expected: Option<&'static str>,
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
    /// What was expected from there on: bytes, with non-printing ones escaped, or a description.
    pub expected: String,
    /// The received bytes from there on, non-printing bytes escaped.
    pub got: String,
}

/// The start of some bytes, non-printing bytes escaped.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(EXCERPT_BYTES)].escape_ascii().to_string()
}
