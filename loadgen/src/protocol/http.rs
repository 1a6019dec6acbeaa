//! HTTP/1.1 with persistent connections (RFC 9112).

mod chunked;
mod head;
mod request;

use self::{
    chunked::Chunked,
    head::{Body, Head},
};
use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::protocol::template::Template;

/// HTTP/1.1. Interim replies (1xx) belong to the final reply after them.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    /// The value of the header `Host`.
    host: String,
}

/// What is known of an incomplete reply.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    step: Step,
    /// The begin of a head that is cut. The buffer is reused.
    cut: Vec<u8>,
    /// The status code, once the head is complete.
    status: u16,
    /// The server closes the connection after the reply.
    closes: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Step {
    #[default]
    Head,
    /// This many bytes of the body are missing, at least one.
    Sized(u64),
    Chunked(Chunked),
    /// The body goes on until the server closes the connection.
    UntilClose,
}

impl Http {
    /// HTTP with this value of the header `Host`, as in `localhost:8080`.
    ///
    /// # Errors
    /// When it cannot be a host.
    pub(crate) fn new(host: &str) -> Result<Self, String> {
        let is_host =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'\\');
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(format!("{host:?} is no host: write a name or an address, as in localhost:8080"));
        }
        Ok(Self { host: host.to_owned() })
    }
}

impl Protocol for Http {
    type Reading = Reading;

    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "HTTP/1.1 with persistent connections";
    const EXPECT: &'static str = "2xx";
    const EXAMPLE: &'static str = "GET /";

    fn from_settings(framing: &Framing) -> Result<Self, String> {
        Self::new(&framing.host)
    }

    /// `GET /path` becomes a complete request. Lines after it are headers, and an empty line separates them from the body. A text
    /// with ` HTTP/1.` in its first line is sent as it is.
    fn request(&self, text: &Template) -> Result<Template, String> {
        request::request(&self.host, text)
    }

    fn asked(&self, request: &[u8]) -> Asked {
        Asked { head_only: request.starts_with(b"HEAD "), ..Asked::default() }
    }

    fn read(&self, reading: &mut Reading, asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let used = match &mut reading.step {
                Step::Head => {
                    let head = head::read(&mut reading.cut, rest);
                    let Some((used, head)) = head.map_err(|wrong| wrong.later(at))? else { break };
                    if reading.begin_body(&head, asked) {
                        return Ok(reading.complete(at + used));
                    }
                    used
                }
                Step::Sized(left) => {
                    let here = rest.len() as u64;
                    if here >= *left {
                        let used = *left as usize;
                        return Ok(reading.complete(at + used));
                    }
                    *left -= here;
                    break;
                }
                Step::Chunked(chunked) => {
                    let (used, ended) = chunked.read(rest).map_err(|wrong| wrong.later(at))?;
                    if ended {
                        return Ok(reading.complete(at + used));
                    }
                    used
                }
                Step::UntilClose => break,
            };
            at += used;
        }
        Ok(Progress::Partial)
    }

    fn end_of_stream(&self, reading: &Reading) -> Option<Status> {
        matches!(reading.step, Step::UntilClose).then_some(Status::Http(reading.status))
    }
}

impl Reading {
    /// What follows this head. True if the reply ends with it.
    fn begin_body(&mut self, head: &Head, asked: Asked) -> bool {
        if head.is_interim() {
            return false;
        }
        self.status = head.status;
        let body = if asked.head_only { Body::Sized(0) } else { head.body };
        self.closes = head.closes || body == Body::UntilClose;
        self.step = match body {
            Body::Sized(0) => return true,
            Body::Sized(left) => Step::Sized(left),
            Body::Chunked => Step::Chunked(Chunked::default()),
            Body::UntilClose => Step::UntilClose,
        };
        false
    }

    /// The reply is complete. The next one begins with its head.
    fn complete(&mut self, length: usize) -> Progress {
        self.step = Step::Head;
        Progress::Complete(End { length, status: Status::Http(self.status), closes: self.closes })
    }
}

#[cfg(test)]
mod tests;
