//! memcached's text protocol, as its `doc/protocol.txt` specifies it, with the meta commands.

mod request;

use memchr::memchr;

use super::{Asked, End, Framing, Malformed, Progress, Protocol, Status};
use crate::protocol::template::Template;

/// The longest line of a reply in bytes, with its end. A key has at most 250 bytes, and memcached's own lines are short.
const LINE_MAX: usize = 16 << 10;

/// memcached's text protocol. `ERROR`, `CLIENT_ERROR` and `SERVER_ERROR` have [`Status::Error`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Memcached;

/// What is known of an incomplete reply.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The begin of a line that is cut. The buffer is reused.
    line: Vec<u8>,
    /// The bytes of a data block that are missing, with its `\r\n`.
    block: u64,
    /// What may follow.
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Any line.
    #[default]
    First,
    /// The next item of a list, or its end.
    Items,
    /// The data block is the last part.
    LastBlock,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// The reply ends here.
    Last(Status),
    /// An item of a list that `END` or `EN` ends.
    Item,
    /// An item with a data block of this many bytes.
    ItemBlock(u64),
    /// The data block of this many bytes is the rest of the reply.
    LastBlock(u64),
}

impl Protocol for Memcached {
    type Reading = Reading;

    const NAME: &'static str = "memcached";
    const SUMMARY: &'static str = "memcached's text protocol, with its meta commands";
    const EXPECT: &'static str = "no-error";
    const EXAMPLE: &'static str = "get key:{random:1..1000}";

    fn from_settings(_framing: &Framing) -> Result<Self, String> {
        Ok(Self)
    }

    /// Adds `\r\n` unless the text ends with it. The text is one command, and has a reply.
    fn request(&self, text: &Template) -> Result<Template, String> {
        request::request(text)
    }

    fn read(&self, reading: &mut Reading, _asked: Asked, bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if reading.block > 0 {
                let used = reading.read_block(rest).map_err(|wrong| wrong.later(at))?;
                at += used;
                if reading.block == 0 && reading.state == State::LastBlock {
                    return Ok(reading.complete(at, Status::Plain));
                }
                continue;
            }
            let Some(end) = memchr(b'\n', rest) else {
                reading.keep(rest)?;
                break;
            };
            let line = reading.line(&rest[..=end]).map_err(|wrong| wrong.later(at))?;
            at += end + 1;
            if let Line::Last(status) = line {
                return Ok(reading.complete(at, status));
            }
        }
        Ok(Progress::Partial)
    }
}

impl Reading {
    /// The reply is complete. The next one begins with any line.
    fn complete(&mut self, length: usize, status: Status) -> Progress {
        self.state = State::First;
        Progress::Complete(End::new(length, status))
    }

    /// Reads on in a data block, and checks that `\r\n` follows its bytes.
    fn read_block(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let data = self.block.saturating_sub(2);
        let here = usize::try_from(data).map_or(bytes.len(), |data| data.min(bytes.len()));
        self.block -= here as u64;
        let mut used = here;
        while self.block > 0 && used < bytes.len() {
            let expected = if self.block == 2 { b'\r' } else { b'\n' };
            if bytes[used] != expected {
                return Err(Malformed { offset: used, expected: "\\r\\n after a data block" });
            }
            self.block -= 1;
            used += 1;
        }
        Ok(used)
    }

    /// Keeps the begin of a line until the rest arrives.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.line.len() + bytes.len() >= LINE_MAX {
            return Err(TOO_LONG);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads the rest of a line, which ends with `\n`.
    fn line(&mut self, bytes: &[u8]) -> Result<Line, Malformed> {
        if self.line.len() + bytes.len() > LINE_MAX {
            return Err(TOO_LONG);
        }
        let line = if self.line.is_empty() {
            parse(bytes, self.state)
        } else {
            self.line.extend_from_slice(bytes);
            let line = parse(&self.line, self.state);
            self.line.clear();
            line
        }
        .map_err(Malformed::from)?;
        match line {
            Line::Last(_) => {}
            Line::Item => self.state = State::Items,
            Line::ItemBlock(block) => (self.state, self.block) = (State::Items, block),
            Line::LastBlock(block) => (self.state, self.block) = (State::LastBlock, block),
        }
        Ok(line)
    }
}

const TOO_LONG: Malformed = Malformed { offset: 0, expected: "a line of at most 16 KiB" };

/// What this line is, which ends with `\n`.
fn parse(line: &[u8], state: State) -> Result<Line, &'static str> {
    let line = line.strip_suffix(b"\r\n").ok_or("\\r\\n at the end of a line")?;
    let mut words = line.split(|byte| *byte == b' ');
    let first = words.next().unwrap_or_default();
    match (first, state) {
        (b"VALUE", _) => return Ok(Line::ItemBlock(block(words.nth(2))?)),
        (b"STAT" | b"ITEM" | b"PREFIX" | b"mg", _) => return Ok(Line::Item),
        (b"END" | b"EN", _) => return Ok(Line::Last(Status::Plain)),
        (b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR", _) => return Ok(Line::Last(Status::Error)),
        _ if first.starts_with(b"key=") => return Ok(Line::Item),
        _ if state != State::First => return Err("the next item, END or an error"),
        (b"VA", _) => return Ok(Line::LastBlock(block(words.next())?)),
        _ => {}
    }
    let known = matches!(
        first,
        b"STORED" | b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND" | b"DELETED" | b"TOUCHED" | b"OK" | b"VERSION"
            | b"HD" | b"NF" | b"NS" | b"EX" | b"ME" | b"MN" | b"RESET"
            // slabs reassign, lru_crawler, cache_memlimit
            | b"NOTSTARTED" | b"MEMLIMIT_TOO_SMALL" | b"MEMLIMIT_ADJUST_FAILED"
            | b"BUSY" | b"BADCLASS" | b"NOSPARE" | b"NOTFULL" | b"UNSAFE" | b"SAME"
    );
    // incr, decr
    let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    if known || is_number { Ok(Line::Last(Status::Plain)) } else { Err("a reply of memcached") }
}

/// The bytes of a data block and its `\r\n`.
fn block(length: Option<&[u8]>) -> Result<u64, &'static str> {
    // memcached's length is a 32-bit number.
    let length =
        length.and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse::<u32>().ok());
    length.map(|length| u64::from(length) + 2).ok_or("the length of a data block in decimal digits")
}

#[cfg(test)]
mod tests;
