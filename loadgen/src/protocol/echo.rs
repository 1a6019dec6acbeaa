//! Replies as long as their requests.

use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::protocol::template::Template;

/// An echo: each reply is as long as its request.
#[derive(Clone, Debug)]
pub(crate) struct Echo;

impl Protocol for Echo {
    /// The bytes that have arrived.
    type Reading = usize;

    const NAME: &'static str = "echo";
    const SUMMARY: &'static str = "a reply has the length of its request";
    const EXPECT: &'static str = "upper";
    const EXAMPLE: &'static str = "hello {client}";
    const REPLY_HAS_THE_LENGTH_OF_ITS_REQUEST: bool = true;

    fn from_settings(_framing: &Framing) -> Result<Self, String> {
        Ok(Self)
    }

    fn request(&self, text: &Template) -> Result<Template, String> {
        Ok(text.clone())
    }

    fn read(&self, arrived: &mut usize, asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let missing = asked.request_bytes - *arrived;
        if bytes.len() < missing {
            *arrived += bytes.len();
            return Ok(Progress::Partial);
        }
        *arrived = 0;
        Ok(Progress::Complete(End::new(missing, Status::Plain)))
    }
}
