//! The echo over a non-blocking socket: what every mode does that does not wait in the socket call itself.
//!
//! An [`Echo`] never waits. [`Echo::visit`] does what can be done at once and says what to wait for.
//! It owns no buffer while it has nothing to send: bytes are received into the visiting thread's buffer, and only
//! what the client does not take at once is kept, so that one connection keeps at most one buffer, whatever its
//! client does. While anything is kept, nothing more is received: the client is held by backpressure.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown},
};

use crate::{
    admission::Newcomer,
    session::{End, Session},
};

/// The size in bytes of the buffer that a thread lends to the connections it visits, and so the most that one
/// connection keeps.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// How many reads a visit makes before the thread looks after others: a client that sends without end gets no
/// more than its share.
const READS_PER_VISIT: usize = 16;

/// The state of one connection's echo, beside its socket. Drop the socket first: the session's place must not be
/// given to another while it is open.
pub(crate) struct Echo {
    session: Session,
    /// What the client has not taken yet.
    outbox: Option<Box<Outbox>>,
    /// When the last echo was sent, or something was last taken while something was kept. While it sleeps, when it
    /// wakes up.
    last_progress: Instant,
    /// Whether it is in the simulated sleep that comes before the send.
    asleep: bool,
    stage: Stage,
}

/// A connection: its socket, and the state of its echo.
pub(crate) struct Connection {
    // Before the echo, whose session holds the place.
    pub(crate) socket: OwnedFd,
    pub(crate) echo: Echo,
}

/// How far the connection's end has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Bytes come and are echoed.
    Open,
    /// The shutdown has begun: what has been received until now is echoed.
    Draining,
    /// All of that is echoed and this side is shut down: waiting for the client's end.
    HalfClosed,
}

/// Bytes to send, of which some have been sent. Never empty.
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next bytes: an edge, since everything that was there has been received.
    Readable,
    /// Room for what it keeps.
    Writable,
    /// Its turn: there may be more to do, after others had theirs.
    Turn,
    /// The end of its simulated sleep, which is its [`Echo::deadline`].
    Sleep,
    /// Nothing: it is to be ended and dropped.
    End(End),
}

/// What is to be done about bytes that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Nothing: this side is shut down.
    Discard,
    /// They are to be sent.
    Send,
    /// They are kept, to be sent after the simulated sleep.
    Sleep,
}

/// Who sleeps where the simulated work is to sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleeper {
    /// The visiting thread.
    Thread,
    /// A timer of the mode: the visit returns [`Next::Sleep`].
    Timer,
}

/// Whether a read that did not fill the buffer has emptied the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShortRead {
    /// It has: what arrives later makes a new edge (epoll(7), question 9).
    Empties,
    /// It may not have: the end of the stream or urgent data, at which a read stops short, was reported.
    MayLeaveMore,
}

impl Connection {
    pub(crate) fn new(newcomer: Newcomer) -> Self {
        Self { socket: newcomer.socket, echo: Echo::new(newcomer.session) }
    }

    /// [`Echo::visit`]s the connection.
    pub(crate) fn visit(&mut self, buffer: &mut [u8], short_read: ShortRead, sleeper: Sleeper) -> Next {
        self.echo.visit(self.socket.as_fd(), buffer, short_read, sleeper)
    }

    /// [`Echo::time_out`].
    pub(crate) fn time_out(&mut self, now: Instant) -> Option<Next> {
        self.echo.time_out(self.socket.as_fd(), now)
    }

    /// Counts and logs the end, and closes the socket.
    pub(crate) fn end(self, end: End) {
        self.echo.end(end, self.socket.as_fd());
    }
}

impl Echo {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, outbox: None, last_progress: Instant::now(), asleep: false, stage: Stage::Open }
    }

    /// Receives and echoes until there is nothing more to do at once, or others should have their turn.
    pub(crate) fn visit(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        short_read: ShortRead,
        sleeper: Sleeper,
    ) -> Next {
        let work = self.session.service().config.work;
        let reads = if work.holds_the_thread() { 1 } else { READS_PER_VISIT };
        for _ in 0..reads {
            if let Some(next) = self.flush(socket) {
                return next;
            }
            let received = match recv(socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Next::End(self.client_done()),
                Ok((received, _)) => received,
                Err(Errno::AGAIN) => return self.nothing_more(socket),
                Err(Errno::INTR) => continue,
                Err(error) => return Next::End(End::Failed(error)),
            };
            let bytes = &mut buffer[..received];
            match self.receive(bytes, sleeper) {
                Received::Discard => {}
                Received::Send => {
                    if let Some(next) = self.send_or_keep(socket, bytes) {
                        return next;
                    }
                }
                Received::Sleep => return Next::Sleep,
            }
            if received < buffer.len() && short_read == ShortRead::Empties {
                return self.nothing_more(socket);
            }
        }
        Next::Turn
    }

    /// Takes in what was received: it becomes what is to be sent, and the work for it is done.
    pub(crate) fn receive(&mut self, bytes: &mut [u8], sleeper: Sleeper) -> Received {
        if self.stage == Stage::HalfClosed {
            return Received::Discard;
        }
        self.session.received += bytes.len() as u64;
        bytes.make_ascii_uppercase();
        match self.session.service().config.work.start() {
            Some(duration) if sleeper == Sleeper::Timer => {
                self.keep(bytes);
                self.asleep = true;
                self.last_progress = Instant::now() + duration;
                return Received::Sleep;
            }
            Some(duration) => std::thread::sleep(duration),
            None => {}
        }
        Received::Send
    }

    /// From now on, only what has been received already is echoed. A visit must follow the first call, which
    /// returns true.
    pub(crate) fn drain(&mut self) -> bool {
        let is_first = self.stage == Stage::Open;
        if is_first {
            self.stage = Stage::Draining;
        }
        is_first
    }

    /// Whether the server has been told to stop.
    pub(crate) fn shutdown_has_begun(&self) -> bool {
        self.session.service().shutdown.begun().is_some()
    }

    /// When it wakes up from its simulated sleep, or is to be ended unless there is progress until then.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.asleep {
            return Some(self.last_progress);
        }
        let config = &self.session.service().config;
        match (&self.outbox, self.stage) {
            (Some(_), _) => Some(self.last_progress + config.write_timeout),
            (None, Stage::Open) => config.idle_timeout.map(|timeout| self.last_progress + timeout),
            (None, _) => None,
        }
    }

    /// What follows when the [`Echo::deadline`] has passed: the end, or another visit. None if it has not passed, or
    /// the client did do something meanwhile.
    pub(crate) fn time_out(&mut self, socket: BorrowedFd<'_>, now: Instant) -> Option<Next> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        if self.asleep {
            self.asleep = false;
            return Some(Next::Turn);
        }
        if self.outbox.is_some() {
            // A socket is reported writable only when a third of its buffer is free. A slow client may have taken
            // less than that, and then the socket takes as much.
            let progress_before = self.last_progress;
            return match self.flush(socket) {
                Some(Next::Writable) if self.last_progress == progress_before => {
                    Some(Next::End(End::WriteTimeout))
                }
                Some(Next::Writable) => None,
                Some(next) => Some(next),
                None => Some(Next::Turn),
            };
        }
        // A thread that was busy for long may not have come to its events yet.
        if has_bytes(socket) {
            self.last_progress = now;
            return None;
        }
        Some(Next::End(End::IdleTimeout))
    }

    /// Counts and logs the end.
    pub(crate) fn end(&self, end: End, socket: BorrowedFd<'_>) {
        self.session.end(end, socket);
    }

    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.outbox.is_some()
    }

    /// Whether the end of what was received before the shutdown has not been found yet.
    pub(crate) fn is_draining(&self) -> bool {
        self.stage == Stage::Draining
    }

    /// Counts bytes that somebody else sends.
    pub(crate) fn note_sent(&mut self, count: usize) {
        self.session.sent += count as u64;
        self.note_echoed();
    }

    /// Keeps the last of the bytes that were counted as sent, before anything else that is kept: the client did not
    /// take them.
    pub(crate) fn keep_unsent(&mut self, bytes: &[u8]) {
        self.session.sent -= bytes.len() as u64;
        self.last_progress = Instant::now();
        let after = self.outbox.take();
        self.keep(bytes);
        if let Some(after) = after {
            self.keep(&after.bytes[after.sent..]);
        }
    }

    /// Sends what is kept: `None` when all of it is sent.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> Option<Next> {
        if self.asleep {
            return Some(Next::Sleep);
        }
        while let Some(outbox) = &mut self.outbox {
            match send(socket, &outbox.bytes[outbox.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    outbox.sent += sent;
                    self.session.sent += sent as u64;
                    if outbox.sent == outbox.bytes.len() {
                        self.outbox = None;
                    }
                    self.last_progress = Instant::now();
                }
                Err(Errno::AGAIN) => return Some(Next::Writable),
                Err(Errno::INTR) => {}
                Err(error) => return Some(Next::End(End::Failed(error))),
            }
        }
        None
    }

    /// Sends straight from the thread's buffer, and keeps what the client does not take.
    pub(crate) fn send_or_keep(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Option<Next> {
        let sent = loop {
            match send(socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => break sent,
                Err(Errno::AGAIN) => break 0,
                Err(Errno::INTR) => {}
                Err(error) => return Some(Next::End(End::Failed(error))),
            }
        };
        self.session.sent += sent as u64;
        if sent == bytes.len() {
            self.note_echoed();
            return None;
        }
        self.last_progress = Instant::now();
        self.keep(&bytes[sent..]);
        Some(Next::Writable)
    }

    /// Keeps bytes, after what is kept already.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        debug_assert!(!bytes.is_empty());
        match &mut self.outbox {
            Some(outbox) => outbox.bytes.extend_from_slice(bytes),
            None => self.outbox = Some(Box::new(Outbox { bytes: bytes.to_vec(), sent: 0 })),
        }
    }

    /// The clock is read only where somebody asks since when the client has been idle. It is not while the server
    /// works for it.
    fn note_echoed(&mut self) {
        if self.session.service().config.idle_timeout.is_some() {
            self.last_progress = Instant::now();
        }
    }

    /// Nothing is kept. If nothing is there to receive either, that is the end of what the drain waits for.
    ///
    /// False if there is something to receive, after which this is to be asked again.
    pub(crate) fn finish_drain(&mut self, socket: BorrowedFd<'_>) -> bool {
        let is_empty = self.stage != Stage::Draining || !has_bytes(socket);
        if is_empty {
            self.nothing_more(socket);
        }
        is_empty
    }

    /// Nothing is kept and nothing is there to receive.
    fn nothing_more(&mut self, socket: BorrowedFd<'_>) -> Next {
        if self.stage == Stage::Draining {
            self.stage = Stage::HalfClosed;
            // The client may be gone already; the next read will tell.
            _ = shutdown(socket, Shutdown::Write);
        }
        Next::Readable
    }

    /// The client has shut its side down, and nothing is kept for it.
    pub(crate) fn client_done(&self) -> End {
        match self.stage {
            Stage::Open => End::Closed,
            Stage::Draining | Stage::HalfClosed => End::Drained,
        }
    }
}

/// Whether there is something to receive. FIONREAD would also count a unix socket's urgent byte, which is never received.
fn has_bytes(socket: BorrowedFd<'_>) -> bool {
    matches!(recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
}
