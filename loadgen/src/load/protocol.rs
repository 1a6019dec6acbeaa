//! The protocols: how each makes requests, and finds the ends of replies in a byte stream. Pure.
//!
//! A protocol is one file, and one row in the table at the end of this module.

use std::fmt;

use crate::load::template::Template;

/// A protocol in which a server answers requests in order.
pub(crate) trait Protocol: Clone + fmt::Debug + Send + Sync + 'static {
    /// What is known of a reply that is not complete. The default is the state before its first byte.
    type Reading: Default + fmt::Debug;

    /// Makes the request with this text, which may have fields: adds what the protocol needs around it.
    ///
    /// # Errors
    /// What is wrong with the text, and what to write.
    fn request(&self, text: &Template) -> Result<Template, String>;

    /// What the reply to this request depends on. `request` is expanded.
    fn asked(&self, _request: &[u8]) -> Asked {
        Asked::default()
    }

    /// Reads on in the reply to a request. `bytes` follow those of the earlier calls for this reply, and are not empty. It looks
    /// at no byte after the reply's end, and keeps its state in `reading`, so that a reply may arrive in pieces of any size.
    ///
    /// # Errors
    /// When no reply can begin or go on like this.
    fn read(&self, reading: &mut Self::Reading, asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed>;

    /// The server has closed the connection. The status of the reply, if that completes it.
    fn end_of_stream(&self, _reading: &Self::Reading) -> Option<Status> {
        None
    }
}

/// What a reply depends on, besides its own bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The reply has a head and no body (HTTP's HEAD).
    pub head_only: bool,
}

/// How far a reply has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Every byte belongs to the reply, and it goes on.
    Partial,
    /// The reply ends.
    Complete(End),
}

/// The end of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The bytes of the last piece that belong to the reply, at least 1.
    pub length: usize,
    /// What the protocol says about the reply.
    pub status: Status,
    /// The server closes the connection after this reply (HTTP's `Connection: close`).
    pub closes: bool,
}

/// What a protocol says about a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// A reply, without further distinction.
    Plain,
    /// A reply that reports an error (RESP's error types; memcached's ERROR, CLIENT_ERROR and SERVER_ERROR).
    Error,
    /// The status code of an HTTP reply, from 100 to 999.
    Http(u16),
}

/// Bytes that are no reply of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The offset of the first wrong byte in the last piece.
    pub offset: usize,
    /// What was expected there, as in "a length in decimal digits".
    pub expected: &'static str,
}
