//! The protocols: how each makes requests, and finds the ends of replies in a byte stream. Pure.
//!
//! A protocol is one file, and one row in the table at the end of this module.
#![cfg_attr(not(test), expect(dead_code, reason = "no option of the command line selects a protocol yet"))]

#[cfg(test)]
mod chunking;
mod fixed;
mod http;
mod length;
mod line;
mod memcached;
mod resp;

use std::fmt;

pub(crate) use self::{
    fixed::Fixed,
    http::Http,
    length::{ByteOrder, Length},
    line::Line,
    memcached::Memcached,
    resp::Resp,
};

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
    /// After [`Progress::Complete`], `reading` is as before the first byte of a reply, and keeps its buffers for the next one.
    ///
    /// # Errors
    /// When no reply can begin or go on like this. `reading` is of no further use then.
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

impl End {
    /// The end of a reply after which the connection stays open.
    fn new(length: usize, status: Status) -> Self {
        Self { length, status, closes: false }
    }
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

impl Malformed {
    /// The same in a piece that has this many bytes before it.
    fn later(self, bytes: usize) -> Self {
        Self { offset: bytes + self.offset, ..self }
    }
}

impl From<&'static str> for Malformed {
    /// The first byte is wrong.
    fn from(expected: &'static str) -> Self {
        Self { offset: 0, expected }
    }
}

/// Defines [`AnyProtocol`] and [`PROTOCOLS`] from one row for each protocol.
macro_rules! protocols {
    ($($protocol:ident, $name:literal, $summary:literal;)*) => {
        /// One of the protocols.
        #[derive(Clone, Debug)]
        pub(crate) enum AnyProtocol {
            $(#[doc = $summary] $protocol($protocol),)*
        }

        /// The protocols, in the order of the help text.
        pub(crate) const PROTOCOLS: &[Row] = &[$(Row { name: $name, summary: $summary },)*];

        impl AnyProtocol {
            /// The name on the command line.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$protocol(_) => $name,)*
                }
            }

            /// Calls the visitor with the protocol. A load thread does so once, and runs code that is generated for the protocol.
            pub(crate) fn visit<V: Visitor>(&self, visitor: V) -> V::Output {
                match self {
                    $(Self::$protocol(protocol) => visitor.visit(protocol.clone()),)*
                }
            }
        }
    };
}

/// The row of a protocol in [`PROTOCOLS`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The name on the command line.
    pub name: &'static str,
    /// What the protocol is, in one line.
    pub summary: &'static str,
}

/// A computation that is generated for each protocol.
pub(crate) trait Visitor {
    /// What the computation returns.
    type Output;

    /// Computes with this protocol.
    fn visit<P: Protocol>(self, protocol: P) -> Self::Output;
}

protocols! {
    Line, "line", "requests and replies end with a delimiter";
    Length, "length", "a length field precedes each request and reply";
    Fixed, "fixed", "every reply has the same number of bytes";
    Resp, "resp", "Redis, RESP2 and RESP3";
    Memcached, "memcached", "memcached's text protocol, with its meta commands";
    Http, "http", "HTTP/1.1 with persistent connections";
}

#[cfg(test)]
mod tests {
    use super::*;

    struct RequestOf<'a>(&'a Template);

    impl Visitor for RequestOf<'_> {
        type Output = Result<Template, String>;

        fn visit<P: Protocol>(self, protocol: P) -> Self::Output {
            protocol.request(self.0)
        }
    }

    #[test]
    fn each_protocol_is_found_by_its_row() {
        let protocols = [
            AnyProtocol::Line(Line::default()),
            AnyProtocol::Length(Length::default()),
            AnyProtocol::Fixed(Fixed::new(1).unwrap()),
            AnyProtocol::Resp(Resp::default()),
            AnyProtocol::Memcached(Memcached::default()),
            AnyProtocol::Http(Http::new("h").unwrap()),
        ];
        let names: Vec<_> = PROTOCOLS.iter().map(|row| row.name).collect();
        assert_eq!(names, protocols.each_ref().map(AnyProtocol::name));
        let text = Template::literal("GET /");
        let requests = protocols.map(|protocol| protocol.visit(RequestOf(&text)).unwrap());
        let requests = requests.each_ref().map(|request| request.as_literal().unwrap());
        assert_eq!(requests[0], b"GET /\n");
        assert_eq!(requests[1], b"\0\0\0\x05GET /");
        assert_eq!(requests[2], b"GET /");
        assert_eq!(requests[3], b"*2\r\n$3\r\nGET\r\n$1\r\n/\r\n");
        assert_eq!(requests[4], b"GET /\r\n");
        assert_eq!(requests[5], b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
}
