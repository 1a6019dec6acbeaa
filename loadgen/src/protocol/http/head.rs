//! The head of a reply: its status, its headers, and what they say about the body.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response};
use memchr::memrchr;

use super::super::Malformed;

/// The longest head in bytes.
pub(super) const HEAD_MAX: usize = 64 << 10;
/// The most headers of a head.
const HEADERS_MAX: usize = 128;
/// A cut head is parsed again after each piece until it has this many bytes. So other protocols are found early.
const PARSED_AT_ONCE: usize = 64;

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// From 100 to 999.
    pub status: u16,
    /// The server closes the connection after the reply.
    pub closes: bool,
    /// The body, unless the request was for the head only.
    pub body: Body,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes.
    Sized(u64),
    /// Chunks.
    Chunked,
    /// All bytes until the server closes the connection.
    UntilClose,
}

impl Head {
    /// Another head follows.
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }
}

/// Reads a head whose begin may be in `cut`. Returns the bytes of this piece that belong to it, or `None` if it goes on.
///
/// A head that is not cut is parsed in place. A cut one is parsed when a line of it is complete, so the work for a head that
/// arrives byte by byte grows with its lines and not with its bytes.
pub(super) fn read(cut: &mut Vec<u8>, bytes: &[u8]) -> Result<Option<(usize, Head)>, Malformed> {
    let earlier = cut.len();
    if earlier == 0 {
        let head = parse(bytes)?;
        if head.is_none() {
            keep(cut, bytes)?;
        }
        return Ok(head);
    }
    let room = (HEAD_MAX + 1).saturating_sub(earlier);
    cut.extend_from_slice(&bytes[..bytes.len().min(room)]);
    let has_line = memrchr(b'\n', &cut[earlier..]).is_some();
    let head = if has_line || cut.len() < PARSED_AT_ONCE { parse(cut)? } else { None };
    match head {
        Some((length, head)) => {
            cut.clear();
            // An earlier piece had no complete head, so the end is in this one.
            Ok(Some((length - earlier, head)))
        }
        None if cut.len() > HEAD_MAX => Err(too_long()),
        None => Ok(None),
    }
}

fn keep(cut: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() > HEAD_MAX {
        return Err(too_long());
    }
    cut.extend_from_slice(bytes);
    Ok(())
}

fn too_long() -> Malformed {
    "a head of at most 64 KiB".into()
}

/// Parses the head at the begin of these bytes. `None` if it goes on.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut headers);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) if length > HEAD_MAX => return Err(too_long()),
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(explain(error).into()),
    };
    let status = response.code.unwrap_or_default();
    let is_1_0 = response.version == Some(0);
    Ok(Some((length, interpret(status, is_1_0, response.headers)?)))
}

/// What httparse expected. It does not tell the offset.
fn explain(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "the name of a header",
        httparse::Error::HeaderValue => "the value of a header",
        httparse::Error::NewLine => "the end of a line",
        httparse::Error::Status => "a status code of three digits",
        httparse::Error::Token => "a token",
        httparse::Error::TooManyHeaders => "a head of at most 128 headers",
        httparse::Error::Version => "a status line, which begins with HTTP/1.1 or HTTP/1.0",
    }
}

/// The length of the body by the rules of RFC 9112, section 6.3:
///
/// * Replies with 1xx, 204 and 304 have no body.
/// * `Transfer-Encoding` overrides `Content-Length`. A body whose last coding is not `chunked` ends with the connection.
/// * Several equal values of `Content-Length` count as one. Different values are an error.
/// * Without either header, the body ends with the connection.
///
/// A reply of HTTP/1.0 with `Transfer-Encoding` has faulty framing, so the connection is not used again (section 6.1).
fn interpret(status: u16, is_1_0: bool, headers: &[Header<'_>]) -> Result<Head, &'static str> {
    let (mut length, mut chunked, mut close, mut keep_alive) = (None, None, false, false);
    for header in headers {
        match header.name.len() {
            10 if header.name.eq_ignore_ascii_case("connection") => {
                for option in list(header.value) {
                    close |= option.eq_ignore_ascii_case(b"close");
                    keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                length = Some(content_length(length, header.value)?);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                chunked =
                    Some(list(header.value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")));
            }
            _ => {}
        }
    }
    let body = match (status, chunked, length) {
        (..100, _, _) => return Err("a status code from 100 to 999"),
        (101, _, _) => return Err("no change to another protocol (101)"),
        (..200 | 204 | 304, _, _) => Body::Sized(0),
        (_, Some(true), _) => Body::Chunked,
        (_, None, Some(length)) => Body::Sized(length),
        (_, Some(false), _) | (_, None, None) => Body::UntilClose,
    };
    let closes = close || is_1_0 && (!keep_alive || chunked.is_some());
    Ok(Head { status, closes, body })
}

/// The elements of a header's value.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// One more header `Content-Length`.
fn content_length(earlier: Option<u64>, value: &[u8]) -> Result<u64, &'static str> {
    let mut length = earlier;
    let mut elements = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements.try_for_each(|element| {
        let new = number(element).ok_or("the value of Content-Length in decimal digits")?;
        if length.is_some_and(|length| length != new) {
            return Err("one value of Content-Length");
        }
        length = Some(new);
        Ok(())
    })?;
    length.ok_or("the value of Content-Length in decimal digits")
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
