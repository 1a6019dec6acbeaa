//! The protocols: how each makes requests, and finds the ends of replies in a byte stream. Pure.
//!
//! A protocol is one file, and one row in the table at the end of this module.

pub(crate) mod dialogue;
pub(crate) mod exchange;
pub(crate) mod expect;
pub(crate) mod framed;
mod framing;
pub(crate) mod message;
pub(crate) mod mix;
pub(crate) mod random;
pub(crate) mod recorded;
pub(crate) mod requests;
pub(crate) mod template;

use std::fmt;

pub(crate) use self::framing::Framing;

use crate::protocol::template::Template;

/// A protocol in which a server answers requests in order.
pub(crate) trait Protocol: Clone + fmt::Debug + Send + Sync + 'static {
    /// Its name on the command line.
    const NAME: &'static str;
    /// What its replies are, in a few words.
    const SUMMARY: &'static str;
    /// The reply that is expected by default, as in `--expect`.
    const EXPECT: &'static str;
    /// A text of `--message`, as an example.
    const EXAMPLE: &'static str;
    /// The flags of [`Framing`] that it takes.
    const FLAGS: &'static [&'static str] = &[];

    /// What is known of a reply that is not complete. The default is the state before its first byte.
    type Reading: Default + fmt::Debug + Send;

    /// [`Asked::request_bytes`] is set: the reply is as long as its request.
    const REPLY_HAS_THE_LENGTH_OF_ITS_REQUEST: bool = false;

    /// The protocol with these settings.
    ///
    /// # Errors
    /// A wrong setting, and what is possible.
    fn from_settings(framing: &Framing) -> Result<Self, String>;

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
    /// The bytes of the request, if the protocol asks for it; else 0.
    pub request_bytes: usize,
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

/// Something that is done with whatever protocol a load has.
pub(crate) trait ProtocolVisitor {
    /// Its result.
    type Output;

    /// Does it with this protocol.
    fn visit<P: Protocol>(self, protocol: P) -> Self::Output;
}

/// A row of the table of protocols.
#[derive(Debug)]
pub(crate) struct Row {
    /// [`Protocol::NAME`].
    pub name: &'static str,
    /// [`Protocol::SUMMARY`].
    pub summary: &'static str,
    /// [`Protocol::EXPECT`].
    pub expect: &'static str,
    /// [`Protocol::EXAMPLE`].
    pub example: &'static str,
    /// [`Protocol::FLAGS`].
    flags: &'static [&'static str],
    make: fn(&Framing) -> Result<AnyProtocol, String>,
}

impl Row {
    /// The protocol with these settings.
    ///
    /// # Errors
    /// A wrong setting, or one of another protocol.
    pub(crate) fn make(&self, framing: &Framing) -> Result<AnyProtocol, String> {
        let Some(foreign) = framing.given().find(|flag| !self.flags.contains(flag)) else {
            return (self.make)(framing);
        };
        let owner =
            PROTOCOLS.iter().find(|row| row.flags.contains(&foreign)).map_or("another", |row| row.name);
        Err(format!("{foreign} is a setting of --protocol {owner}: remove it, or use that protocol"))
    }
}

/// The row with this name, which is one of the table.
pub(crate) fn row(name: &str) -> &'static Row {
    PROTOCOLS.iter().find(|row| row.name == name).expect("the name is one of the table")
}

macro_rules! protocols {
    ($($module:ident: $Protocol:ident,)*) => {
        $(pub(crate) mod $module;)*

        /// A protocol of the table.
        #[derive(Clone, Debug)]
        pub(crate) enum AnyProtocol {
            $(#[doc = concat!("See [`", stringify!($module), "`].")] $Protocol($module::$Protocol),)*
        }

        impl AnyProtocol {
            /// Calls the visitor with the protocol.
            pub(crate) fn accept<V: ProtocolVisitor>(&self, visitor: V) -> V::Output {
                match self {
                    $(Self::$Protocol(protocol) => visitor.visit(protocol.clone()),)*
                }
            }
        }

        /// The protocols.
        pub(crate) static PROTOCOLS: &[Row] = &[
            $(Row {
                name: $module::$Protocol::NAME,
                summary: $module::$Protocol::SUMMARY,
                expect: $module::$Protocol::EXPECT,
                example: $module::$Protocol::EXAMPLE,
                flags: $module::$Protocol::FLAGS,
                make: |framing| $module::$Protocol::from_settings(framing).map(AnyProtocol::$Protocol),
            },)*
        ];
    };
}

// The table. A row is the name of the file, and the type in it.
protocols! {
    echo: Echo,
    line: Line,
    length: Length,
    fixed: Fixed,
    resp: Resp,
    memcached: Memcached,
    http: Http,
}

#[cfg(test)]
pub(crate) mod cases;
#[cfg(test)]
mod chunking;
#[cfg(test)]
mod wrong_byte;

#[cfg(test)]
mod tests {
    use super::*;

    struct RequestOf<'a>(&'a Template);

    impl ProtocolVisitor for RequestOf<'_> {
        type Output = Result<Template, String>;

        fn visit<P: Protocol>(self, protocol: P) -> Self::Output {
            protocol.request(self.0)
        }
    }

    fn settings() -> Framing {
        Framing { host: "h".to_owned(), ..Framing::default() }
    }

    #[test]
    fn each_protocol_makes_its_request() {
        let text = Template::literal("GET /");
        let of_fixed = Framing { reply_size: Some(1), ..settings() };
        for (name, request) in [
            ("echo", &b"GET /"[..]),
            ("line", b"GET /\n"),
            ("length", b"\0\0\0\x05GET /"),
            ("fixed", b"GET /"),
            ("resp", b"*2\r\n$3\r\nGET\r\n$1\r\n/\r\n"),
            ("memcached", b"GET /\r\n"),
            ("http", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ] {
            let row = row(name);
            let settings = if name == "fixed" { of_fixed.clone() } else { settings() };
            let made = row.make(&settings).unwrap().accept(RequestOf(&text)).unwrap();
            assert_eq!(made.as_literal(), Some(request), "{name}");
            assert!((10..80).contains(&row.summary.len()), "{row:?}");
            assert!(row.expect.parse::<crate::protocol::expect::Expect>().is_ok(), "{row:?}");
            assert!(Template::parse(row.example).is_ok(), "{row:?}");
        }
        assert_eq!(PROTOCOLS.len(), 7);
    }

    #[test]
    fn a_setting_of_another_protocol_is_refused() {
        let framing = Framing { delimiter: Some("x".to_owned()), ..settings() };
        let error = row("resp").make(&framing).unwrap_err();
        assert_eq!(error, "--delimiter is a setting of --protocol line: remove it, or use that protocol");
        assert!(row("line").make(&framing).is_ok());
        assert!(row("fixed").make(&settings()).unwrap_err().contains("--reply-size"));
    }
}
