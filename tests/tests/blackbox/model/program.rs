//! Random programs as plain data: what the clients of a server do, and what happens to the server meanwhile.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What happens to one server and to some of its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Program {
    pub(super) server: Circumstance,
    pub(super) clients: Vec<Script>,
}

/// What happens to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Circumstance {
    /// Nothing: it serves.
    Serves,
    /// It gets SIGTERM this long after the start of the program.
    Drains { after_us: u32, grace: GracePeriod },
    /// It has this many places for connections (`--max-connections`), and rejects others or lets them wait.
    IsFull { places: u16, rejects: bool },
    /// It has this many file descriptors.
    RunsOutOfDescriptors { descriptors: u16 },
}

/// The grace period of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum GracePeriod {
    /// It ends during the program.
    Ms(u16),
    /// It is longer than any program.
    Long,
}

/// What one client does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Script {
    /// SO_RCVBUF.
    pub(super) receive_buffer: Option<u32>,
    /// SO_SNDBUF.
    pub(super) send_buffer: Option<u32>,
    pub(super) connects_after_us: u32,
    /// The PROXY header that precedes its bytes.
    pub(super) header: Option<Header>,
    pub(super) steps: Vec<Step>,
    pub(super) ending: Ending,
    /// Whether it ignores the server's half-close, and goes on to send.
    pub(super) ignores_the_end: bool,
}

/// A PROXY header, sent in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Header {
    pub(super) kind: HeaderKind,
    /// The lengths of the first pieces. The rest is one piece, together with the first write.
    pub(super) pieces: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HeaderKind {
    Version1,
    Version2,
    /// No server accepts it.
    Broken,
}

/// One step of a client. A client reads all the time, unless a step says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    /// Writes as many bytes, so many times.
    Write { times: u16, bytes: u32 },
    /// Writes one urgent byte (MSG_OOB).
    WriteUrgent,
    /// Does not write for this long.
    Pause { us: u32 },
    /// Does not read for this long from now on, while the next steps go on.
    StopReading { ms: u16 },
    /// From now on, reads at most as many bytes at once, with these pauses between two reads.
    ReadSlowly { bytes: u32, every_ms: u16 },
    /// Waits until all that it has written has come back.
    AwaitEcho,
}

/// How a client ends, after its last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ending {
    /// Half-closes, and reads to the end.
    HalfClose,
    /// Half-closes, and resets the connection this long afterwards.
    HalfCloseAndReset { after_us: u32 },
    /// Resets the connection (SO_LINGER with 0 seconds).
    Reset,
    /// Closes the socket, whatever is unread.
    Close,
    /// Writes no more, and waits for the server's end.
    WaitForEnd,
}

impl Program {
    /// Whether the server ends with it.
    pub(super) fn needs_its_own_server(&self) -> bool {
        self.server != Circumstance::Serves
    }
}

impl Script {
    /// Whether it sends one short request at a time, and reads everything before the next one.
    pub(super) fn sends_requests(&self) -> bool {
        /// A longer read may be a piece of a message.
        const REQUEST_BYTES_MAX: u32 = 1399;
        /// Linux sends more than half of the peer's largest window at once, and so without the half-close that follows.
        const RECEIVE_BUFFER_MIN: u32 = 16_384;
        if self.receive_buffer.is_some_and(|bytes| bytes < RECEIVE_BUFFER_MIN) {
            return false;
        }
        let mut awaits = false;
        let steps_are_requests = self.steps.iter().all(|step| match *step {
            Step::Write { times: 1, bytes: 1..=REQUEST_BYTES_MAX } => !std::mem::replace(&mut awaits, true),
            Step::AwaitEcho => {
                awaits = false;
                true
            }
            Step::Pause { .. } => true,
            _ => false,
        });
        steps_are_requests && !self.ignores_the_end
    }
}

impl Step {
    /// The number of bytes that it writes.
    pub(super) fn bytes(&self) -> u64 {
        match *self {
            Self::Write { times, bytes } => u64::from(times) * u64::from(bytes),
            Self::WriteUrgent => 1,
            _ => 0,
        }
    }
}

impl Header {
    /// The bytes of the header.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self.kind {
            HeaderKind::Version1 => b"PROXY TCP4 192.0.2.1 192.0.2.2 51000 443\r\n".to_vec(),
            HeaderKind::Version2 => {
                let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
                bytes.extend([192, 0, 2, 1, 192, 0, 2, 2, 199, 56, 1, 187]);
                bytes
            }
            HeaderKind::Broken => b"GET / HTTP/1.1\r\n".to_vec(),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server {
            Circumstance::Serves => writeln!(f, "the server serves")?,
            Circumstance::Drains { after_us, grace } => {
                let grace = match grace {
                    GracePeriod::Ms(ms) => format!("{ms} ms"),
                    GracePeriod::Long => "long".to_owned(),
                };
                writeln!(f, "the server gets SIGTERM after {after_us} us (grace period: {grace})")?;
            }
            Circumstance::IsFull { places, rejects } => {
                let others = if rejects { "rejects others" } else { "lets others wait" };
                writeln!(f, "the server has {places} places, and {others}")?;
            }
            Circumstance::RunsOutOfDescriptors { descriptors } => {
                writeln!(f, "the server has {descriptors} descriptors")?;
            }
        }
        for (number, client) in self.clients.iter().enumerate() {
            write!(f, "client {number}: {client}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connects after {} us", self.connects_after_us)?;
        for (name, bytes) in [("SO_RCVBUF", self.receive_buffer), ("SO_SNDBUF", self.send_buffer)] {
            if let Some(bytes) = bytes {
                write!(f, ", {name} {bytes}")?;
            }
        }
        if self.ignores_the_end {
            write!(f, ", ignores the server's half-close")?;
        }
        writeln!(f)?;
        if let Some(Header { kind, pieces }) = &self.header {
            writeln!(f, "  sends a PROXY header ({kind:?}) in pieces of {pieces:?} bytes and the rest")?;
        }
        for step in &self.steps {
            match step {
                Step::Write { times, bytes } => writeln!(f, "  writes {times} x {bytes} bytes")?,
                Step::WriteUrgent => writeln!(f, "  writes 1 urgent byte")?,
                Step::Pause { us } => writeln!(f, "  pauses {us} us")?,
                Step::StopReading { ms } => writeln!(f, "  reads nothing for {ms} ms from now on")?,
                Step::ReadSlowly { bytes, every_ms } => {
                    writeln!(f, "  reads at most {bytes} bytes every {every_ms} ms from now on")?;
                }
                Step::AwaitEcho => writeln!(f, "  waits for the echo of all that it has written")?,
            }
        }
        match self.ending {
            Ending::HalfClose => writeln!(f, "  half-closes, and reads to the end"),
            Ending::HalfCloseAndReset { after_us } => {
                writeln!(f, "  half-closes, and resets after {after_us} us")
            }
            Ending::Reset => writeln!(f, "  resets"),
            Ending::Close => writeln!(f, "  closes"),
            Ending::WaitForEnd => writeln!(f, "  waits for the server's end"),
        }
    }
}
