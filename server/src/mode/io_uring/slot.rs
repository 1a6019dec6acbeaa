//! A connection of the io-uring mode: its echo, and its pending requests.

use std::{os::fd::AsFd, time::Instant};

use crate::connection::{
    deadlines::{ArmedAt, Timed},
    echo::{Connection, Followed, Next, Received, SleepOn},
    session::End,
};

pub(super) struct Slot {
    pub(super) connection: Connection,
    /// Bytes that were received while earlier ones had to be sent or the simulated sleep lasted.
    pub(super) inbox: Option<Box<Inbox>>,
    pub(super) armed_at: ArmedAt,
    /// The round of its last send.
    pub(super) sent_in: u32,
    pub(super) receive: Receive,
    /// Whether each receive is a single request, and not multishot: its client was slow, or the simulated work sleeps.
    pub(super) receives_once: bool,
    /// Whether a request watches for writability.
    pub(super) watches_writable: bool,
    pub(super) is_queued: bool,
    /// Whether the client has half-closed the connection.
    pub(super) at_end: bool,
    /// How it ends, once none of its requests is pending.
    pub(super) ending: Option<End>,
}

/// Received bytes. Never empty. A box of it takes one word in a slot.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) bytes: Vec<u8>,
}

/// The state of a connection's receive request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Receive {
    /// No request is pending.
    Idle,
    /// A request is pending.
    Pending,
    /// A request is pending and will complete because it was cancelled.
    Cancelled,
}

impl Slot {
    /// A new connection, without a request.
    pub(super) fn new(connection: Connection, sent_in: u32, receives_once: bool) -> Self {
        Self {
            connection,
            inbox: None,
            armed_at: ArmedAt::default(),
            sent_in,
            receive: Receive::Idle,
            receives_once,
            watches_writable: false,
            is_queued: false,
            at_end: false,
            ending: None,
        }
    }

    /// Whether the echo can take no bytes now. A draining echo takes more while its outbox waits for the next step: the
    /// pieces of a message stay together.
    pub(super) fn must_use_inbox(&self) -> bool {
        let echo = &self.connection.echo;
        self.has_pending_bytes() && (self.inbox.is_some() || !echo.is_draining() || echo.is_asleep())
    }

    /// Whether earlier bytes must be sent before new ones.
    fn has_pending_bytes(&self) -> bool {
        self.inbox.is_some() || self.connection.echo.has_unsent()
    }

    /// Sends the kept bytes and then those of the inbox. Returns `None` when all are sent.
    pub(super) fn send_pending(&mut self) -> Option<Next> {
        let Connection { socket, echo } = &mut self.connection;
        let followed = if self.inbox.is_some() { Followed::ByMore } else { Followed::ByNothing };
        if let Some(next) = echo.flush(socket.as_fd(), followed) {
            return Some(next);
        }
        let Inbox { mut bytes } = *self.inbox.take()?;
        match echo.receive(&mut bytes, SleepOn::Timer) {
            Received::Discard => None,
            Received::Send => echo.send_or_keep(socket.as_fd(), &bytes),
            Received::Sleep => Some(Next::Sleep),
        }
    }
}

impl Timed for Slot {
    fn deadline(&self) -> Option<Instant> {
        self.connection.echo.deadline()
    }

    fn armed_at(&mut self) -> &mut ArmedAt {
        &mut self.armed_at
    }
}
