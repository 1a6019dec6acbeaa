//! The echo over a non-blocking socket, for every mode that does not block in the socket call itself.
//!
//! An [`Echo`] never waits. [`Echo::visit`] does all that is possible at once, and returns what to wait for. It receives into
//! the visiting thread's buffer, and keeps only the bytes that the client does not take at once. So an idle connection has
//! no buffer, and a connection keeps at most one. While it keeps bytes, it receives no more: backpressure reaches the client.

use std::{
    mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, Shutdown},
};

use crate::{
    admission::{acceptor::Admitted, proxy_header, refusal::Refusal},
    connection::{
        grace::Grace,
        moment::Moment,
        outbox::Outbox,
        session::{End, Session},
    },
    daemon::service::Service,
    kernel::{recv, send, shutdown},
};

/// The size of the buffer that a thread lends to the connections it visits, in bytes. A connection keeps at most this much.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// How many reads a visit makes before other connections get their turn.
const READS_PER_VISIT: usize = 16;

/// The state of a connection's echo, without its socket. Drop the socket first: the session's drop counts the connection as
/// ended.
pub(crate) struct Echo {
    session: Session,
    /// The echo that the client has not taken yet.
    outbox: Outbox,
    /// The moment of the last progress: an echo was sent, or the client took a part of the outbox; in a drain, also that bytes
    /// were received. Until the PROXY header is complete, the start of the connection. During the simulated sleep, the moment
    /// at which the sleep ends.
    last_progress: Moment,
    /// Whether the simulated sleep before the send lasts.
    is_asleep: bool,
    stage: Stage,
}

/// A connection: its socket, and the state of its echo.
pub(crate) struct Connection {
    // Before the echo: its drop counts the connection as ended, and the socket must be closed by then.
    pub(crate) socket: OwnedFd,
    pub(crate) echo: Echo,
}

/// The stages of a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The connection echoes everything that it receives.
    Open,
    /// The shutdown has begun. The connection is half-closed after its next message, or at the end of the grace period.
    Draining(Grace),
    /// All of that is echoed, and the server has half-closed the connection. It waits for the client's end.
    HalfClosed,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes. All that had arrived has been received, so new bytes make a new edge.
    Readable,
    /// Room in the socket for the outbox.
    Writable,
    /// Its next visit, after other connections had theirs: there may be more to do at once.
    Turn,
    /// The end of its simulated sleep, which is its [`Echo::deadline`].
    Sleep,
    /// Nothing: end it, and drop it.
    End(End),
}

/// What to do with bytes that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Nothing: the server has half-closed the connection.
    Discard,
    /// Send them.
    Send,
    /// Nothing yet: they are in the outbox, and the simulated sleep lasts.
    Sleep,
}

/// What the simulated sleep uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SleepOn {
    /// The visiting thread: it blocks.
    Thread,
    /// A timer of the mode: the visit returns [`Next::Sleep`].
    Timer,
}

/// What follows the outbox.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// Nothing that has been received.
    ByNothing,
    /// Bytes that the mode has received already, or it is not known.
    ByMore,
}

/// Whether a read that did not fill the buffer has emptied the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShortRead {
    /// It has: bytes that arrive later make a new edge (epoll(7), question 9).
    MeansEmpty,
    /// It may not have: a read stops at urgent data and at the end of the stream, and one of them was reported.
    MayLeaveMore,
}

impl Connection {
    pub(crate) fn new(admitted: Admitted) -> Self {
        Self { socket: admitted.socket, echo: Echo::new(admitted.session) }
    }

    /// [`Echo::visit`].
    pub(crate) fn visit(&mut self, buffer: &mut [u8], short_read: ShortRead, sleep_on: SleepOn) -> Next {
        self.echo.visit(self.socket.as_fd(), buffer, short_read, sleep_on)
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
        Self {
            session,
            outbox: Outbox::default(),
            last_progress: Moment::now(),
            is_asleep: false,
            stage: Stage::Open,
        }
    }

    /// Receives and echoes until nothing more is possible at once, or other connections should get their turn.
    pub(crate) fn visit(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        short_read: ShortRead,
        sleep_on: SleepOn,
    ) -> Next {
        let work = self.session.service().config.work;
        let reads = if work.holds_the_thread() { 1 } else { READS_PER_VISIT };
        let mut is_past_urgent_data = false;
        for _ in 0..reads {
            if let Some(next) = self.flush(socket, Followed::ByNothing) {
                return next;
            }
            let received = match recv(socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Next::End(self.end_of_stream()),
                Ok((received, _)) => received,
                Err(Errno::AGAIN) => return self.wait_readable(socket),
                Err(Errno::INTR) => continue,
                Err(error) => return Next::End(End::Failed(error)),
            };
            let bytes = &mut buffer[..received];
            if self.awaits_header() {
                return self.receive_header(socket, bytes, sleep_on);
            }
            match self.receive(bytes, sleep_on) {
                Received::Discard => {}
                Received::Send => {
                    if let Some(next) = self.send_or_keep(socket, bytes) {
                        return next;
                    }
                }
                Received::Sleep => return Next::Sleep,
            }
            if received < buffer.len() && short_read == ShortRead::MeansEmpty {
                // The event of urgent data may not be seen yet, and a half-close would lose the bytes that the read left. A
                // socket has one urgent mark, so one more read passes it.
                if self.is_draining() && !mem::replace(&mut is_past_urgent_data, true) {
                    continue;
                }
                return self.wait_readable(socket);
            }
        }
        Next::Turn
    }

    /// Whether received bytes belong to [`Echo::receive_header`].
    pub(crate) fn awaits_header(&self) -> bool {
        self.session.awaits_header()
    }

    /// Takes received bytes of the PROXY header. Bytes that follow it go to the outbox, as their echo.
    pub(crate) fn receive_header(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &mut [u8],
        sleep_on: SleepOn,
    ) -> Next {
        if self.stage == Stage::HalfClosed {
            return Next::Turn;
        }
        let header_bytes = match self.session.receive_header(bytes, socket) {
            Ok(None) => return Next::Turn,
            Ok(Some(header_bytes)) => header_bytes,
            Err(end) => return Next::End(end),
        };
        self.last_progress = Moment::now();
        let bytes = &mut bytes[header_bytes..];
        if !bytes.is_empty() {
            match self.receive(bytes, sleep_on) {
                Received::Discard => {}
                Received::Send => self.keep(bytes),
                Received::Sleep => return Next::Sleep,
            }
        }
        Next::Turn
    }

    /// Turns received bytes into their echo, and does the simulated work.
    pub(crate) fn receive(&mut self, bytes: &mut [u8], sleep_on: SleepOn) -> Received {
        if self.stage == Stage::HalfClosed {
            return Received::Discard;
        }
        if let Stage::Draining(grace) = &mut self.stage {
            // Unsent bytes belong to the same message.
            let unsent = self.outbox.unsent().map_or(0, <[u8]>::len);
            *grace = Grace::received(unsent + bytes.len());
            // The last bytes may be older than a pause that ends a message in pieces.
            self.last_progress = Moment::now();
        }
        self.session.note_received(bytes.len());
        bytes.make_ascii_uppercase();
        match self.session.service().config.work.start() {
            Some(duration) if sleep_on == SleepOn::Timer => {
                self.keep(bytes);
                self.is_asleep = true;
                self.last_progress = (Instant::now() + duration).into();
                return Received::Sleep;
            }
            Some(duration) => std::thread::sleep(duration),
            None => {}
        }
        Received::Send
    }

    /// Begins the drain. The first call returns true; a visit must follow it.
    pub(crate) fn drain(&mut self) -> bool {
        let is_first = self.stage == Stage::Open;
        if is_first {
            self.stage = Stage::Draining(Grace::Waiting);
        }
        is_first
    }

    /// The state that all connections share.
    pub(crate) fn service(&self) -> &Service {
        self.session.service()
    }

    /// Whether the server's shutdown has begun.
    pub(crate) fn shutdown_has_begun(&self) -> bool {
        self.session.service().shutdown.begun().is_some()
    }

    /// The end of the simulated sleep, or else of the timeout that applies now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.is_asleep {
            return Some(self.last_progress.into());
        }
        let config = &self.session.service().config;
        let last_progress = Instant::from(self.last_progress);
        if self.awaits_header() {
            return match self.stage {
                Stage::Open => Some(self.header_deadline()),
                Stage::Draining(_) => Some(self.header_deadline().min(self.grace_end())),
                Stage::HalfClosed => None,
            };
        }
        match (self.outbox.is_empty(), self.stage) {
            (false, _) => Some(last_progress + config.write_timeout),
            (true, Stage::Open) => Some(last_progress + config.idle_timeout?),
            (true, Stage::Draining(grace)) => grace.ends_at(self.grace_end(), last_progress),
            (true, Stage::HalfClosed) => None,
        }
    }

    /// What to do once the [`Echo::deadline`] has passed: end the connection, or visit it. `None` if the deadline has not
    /// passed, or if the client has made progress.
    pub(crate) fn time_out(&mut self, socket: BorrowedFd<'_>, now: Instant) -> Option<Next> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        if self.is_asleep {
            self.is_asleep = false;
            return Some(Next::Turn);
        }
        if self.has_unsent() {
            // The kernel reports a socket as writable only when a third of its buffer is free. A slow client may have
            // taken less than that. Then a send succeeds, and counts as progress.
            let progress_before = self.last_progress;
            return match self.flush(socket, Followed::ByMore) {
                Some(Next::Writable) if self.last_progress == progress_before => {
                    Some(Next::End(End::WriteTimeout))
                }
                Some(Next::Writable) => None,
                Some(next) => Some(next),
                None => Some(Next::Turn),
            };
        }
        if self.awaits_header() && self.header_deadline() <= now {
            return Some(match has_bytes(socket) {
                true => Next::Turn,
                false => Next::End(End::TurnedAway(Refusal::ProxyHeader)),
            });
        }
        if self.is_draining() {
            return Some(Next::Turn);
        }
        // A thread that was busy for long may not have handled the event of these bytes yet.
        if has_bytes(socket) {
            self.last_progress = now.into();
            return None;
        }
        Some(Next::End(End::IdleTimeout))
    }

    /// Counts and logs the end.
    pub(crate) fn end(&self, end: End, socket: BorrowedFd<'_>) {
        self.session.end(end, socket);
    }

    /// Whether the outbox holds bytes.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether the drain has begun and the connection is not half-closed yet.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining(_))
    }

    /// Whether the simulated sleep lasts.
    pub(crate) fn is_asleep(&self) -> bool {
        self.is_asleep
    }

    /// Counts bytes that the mode sends itself.
    pub(crate) fn note_sent(&mut self, count: usize) {
        self.session.note_sent(count);
        self.note_echoed();
    }

    /// Corrects [`Echo::note_sent`] for bytes that the client did not take.
    pub(crate) fn note_unsent(&mut self, count: usize) {
        self.session.note_unsent(count);
    }

    /// Keeps bytes that were counted as sent but that the client did not take. They precede all other bytes of the outbox.
    pub(crate) fn keep_unsent(&mut self, bytes: &[u8]) {
        self.note_unsent(bytes.len());
        self.last_progress = Moment::now();
        self.outbox.push_front(bytes);
    }

    /// Sends the outbox. Returns `None` when all of it is sent.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>, followed: Followed) -> Option<Next> {
        if self.is_asleep {
            return Some(Next::Sleep);
        }
        let is_last =
            !self.outbox.is_empty() && followed == Followed::ByNothing && self.is_last_reply(socket);
        while let Some(unsent) = self.outbox.unsent() {
            match send(socket, unsent, send_flags(is_last)) {
                Ok(sent) => {
                    self.outbox.note_sent(sent);
                    self.session.note_sent(sent);
                    self.last_progress = Moment::now();
                }
                Err(Errno::AGAIN) => return Some(Next::Writable),
                Err(Errno::INTR) => {}
                Err(error) => return Some(Next::End(End::Failed(error))),
            }
        }
        if is_last {
            self.half_close(socket);
        }
        None
    }

    /// Sends bytes without a copy, and keeps those that the client does not take. Returns `None` when all are sent.
    pub(crate) fn send_or_keep(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Option<Next> {
        let is_last = self.is_last_reply(socket);
        let sent = loop {
            match send(socket, bytes, send_flags(is_last)) {
                Ok(sent) => break sent,
                Err(Errno::AGAIN) => break 0,
                Err(Errno::INTR) => {}
                Err(error) => return Some(Next::End(End::Failed(error))),
            }
        };
        self.session.note_sent(sent);
        if sent == bytes.len() {
            self.note_echoed();
            if is_last {
                self.half_close(socket);
            }
            return None;
        }
        self.last_progress = Moment::now();
        self.keep(&bytes[sent..]);
        Some(Next::Writable)
    }

    /// Keeps bytes, after all other bytes of the outbox.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.outbox.push(bytes);
    }

    /// Notes the progress, but only if a timeout needs it: reading the clock takes time in every echo.
    fn note_echoed(&mut self) {
        if self.session.service().config.idle_timeout.is_some() || self.is_draining() {
            self.last_progress = Moment::now();
        }
    }

    /// Half-closes a draining connection if its grace period is over. The outbox is empty. Returns false if the socket is not
    /// empty: receive its bytes, and call this again.
    pub(crate) fn finish_drain(&mut self, socket: BorrowedFd<'_>) -> bool {
        if !self.grace_is_over() {
            return true;
        }
        let is_empty = !has_bytes(socket);
        if is_empty {
            self.half_close(socket);
        }
        is_empty
    }

    /// The outbox is empty, and the last read has emptied the socket.
    fn wait_readable(&mut self, socket: BorrowedFd<'_>) -> Next {
        if self.grace_is_over() {
            // Bytes may have arrived since. But a client that sends without end must not extend the grace period.
            if Instant::now() < self.grace_end() && has_bytes(socket) {
                return Next::Turn;
            }
            self.half_close(socket);
        }
        Next::Readable
    }

    /// Whether the connection drains and should be half-closed as soon as nothing is left to receive and to send.
    fn grace_is_over(&self) -> bool {
        match self.stage {
            Stage::Draining(grace) => {
                grace.is_over(Instant::now(), self.grace_end(), self.last_progress.into())
            }
            Stage::Open | Stage::HalfClosed => false,
        }
    }

    /// Whether the next send completes the last reply of a draining connection.
    fn is_last_reply(&self, socket: BorrowedFd<'_>) -> bool {
        self.grace_is_over() && !has_bytes(socket)
    }

    fn grace_end(&self) -> Instant {
        self.session.service().grace_end().expect("the drain has begun")
    }

    /// The end of the time for the PROXY header.
    fn header_deadline(&self) -> Instant {
        let idle_timeout = self.session.service().config.idle_timeout;
        Instant::from(self.last_progress) + proxy_header::timeout(idle_timeout)
    }

    fn half_close(&mut self, socket: BorrowedFd<'_>) {
        self.stage = Stage::HalfClosed;
        // If the client is gone already, the next read reports that.
        _ = shutdown(socket, Shutdown::Write);
    }

    /// How a connection ends whose client has half-closed it. The outbox is empty.
    pub(crate) fn end_of_stream(&self) -> End {
        match self.stage {
            Stage::Open => End::Closed,
            Stage::Draining(_) | Stage::HalfClosed => End::Drained,
        }
    }
}

/// Flags of a send. The last one waits for the half-close, so that both arrive in one segment (tcp(7), MSG_MORE).
pub(crate) fn send_flags(is_last: bool) -> SendFlags {
    if is_last { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL }
}

/// Whether the socket has bytes to receive. FIONREAD would also count the urgent byte of a unix socket, which is never
/// received.
pub(crate) fn has_bytes(socket: BorrowedFd<'_>) -> bool {
    matches!(recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((1.., _)))
}

#[cfg(test)]
mod tests;
