//! The reference model of a connection: which answers a server may give to a script. It has no socket and no clock.
//!
//! [`EchoCheck`](super::stream::EchoCheck) says which bytes come back. This file says how many of them must come back, and which
//! end may follow.

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::program::{Ending, HeaderKind, Script};

/// The limits and the state of the server that concern a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) idle_timeout: Option<Duration>,
    pub(super) write_timeout: Duration,
    /// Whether there are more clients than places, and the server rejects those that find none.
    pub(super) may_reject: bool,
    pub(super) drain: Option<Drain>,
}

/// A drain that begins during the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// Whether the grace period lasts longer than the program.
    pub(super) has_long_grace: bool,
}

/// How a connection ended, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The end of the stream.
    Eof,
    /// A reset by the server.
    Reset,
    /// The connection was refused.
    Refused,
    /// The client itself reset or closed it.
    ByClient,
    /// The script could not go on: no end came, or no echo.
    Stuck,
}

/// What a client saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) end: End,
    /// The number of bytes that the socket took.
    pub(super) sent: u64,
    /// The number of those whose echo was received.
    pub(super) echoed: u64,
    pub(super) moments: Moments,
}

/// What the model must know of the times, as the client measured them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    /// How many bytes the server's socket had acknowledged just before the drain began.
    pub(super) acknowledged_before_drain: Option<u64>,
    pub(super) connected_after_drain: bool,
    /// The longest time between two writes, or between a write and the end.
    pub(super) longest_silence: Duration,
    /// The longest time in which the client did not look for bytes.
    pub(super) longest_unread: Duration,
}

/// A set of answers that the model allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) end: End,
    pub(super) echoed: RangeInclusive<u64>,
}

/// Checks an answer.
///
/// # Errors
/// When the model does not allow it.
pub(super) fn check(script: &Script, service: &Service, answer: &Answer) -> Result<(), String> {
    let allowed = allowed(script, service, answer.sent, &answer.moments);
    let is_allowed = |allowed: &Allowed| allowed.end == answer.end && allowed.echoed.contains(&answer.echoed);
    if allowed.iter().any(is_allowed) {
        return Ok(());
    }
    let allowed: Vec<_> = allowed.iter().map(Allowed::to_string).collect();
    Err(format!("{answer}; the model allows: {}", allowed.join(", or ")))
}

/// The answers to a script of which `sent` bytes were sent.
pub(super) fn allowed(script: &Script, service: &Service, sent: u64, moments: &Moments) -> Vec<Allowed> {
    let any = 0..=sent;
    let all = sent..=sent;
    let is_broken = script.header.as_ref().is_some_and(|header| header.kind == HeaderKind::Broken);
    let mut allowed = Vec::new();
    let mut allow = |end, echoed: &RangeInclusive<u64>| allowed.push(Allowed { end, echoed: echoed.clone() });
    let nothing = 0..=0;
    if is_broken {
        // The server closes a connection with unread bytes, and the kernel makes a reset of that.
        allow(End::Eof, &nothing);
        allow(End::Reset, &nothing);
        if script.ending.is_by_client() {
            allow(End::ByClient, &nothing);
        }
        return allowed;
    }
    // The connection may have been in no accept queue when the listener closed.
    if moments.connected_after_drain {
        allow(End::Refused, &nothing);
        allow(End::Reset, &nothing);
    }
    if service.may_reject {
        allow(End::Eof, &nothing);
        allow(End::Reset, &nothing);
    }
    let was_idle = service.idle_timeout.is_some_and(|timeout| moments.longest_silence >= timeout / 2);
    if was_idle {
        // Bytes that arrive while the server closes the connection are lost, and cause a reset.
        allow(End::Eof, &any);
        allow(End::Reset, &any);
    }
    if moments.longest_unread >= service.write_timeout / 2 {
        allow(End::Eof, &any);
        allow(End::Reset, &any);
    }
    if let Some(drain) = service.drain {
        let at_least = match moments.acknowledged_before_drain {
            _ if drain.has_long_grace && script.sends_requests() => sent,
            Some(acknowledged) => acknowledged.min(sent),
            None => 0,
        };
        allow(End::Eof, &(at_least..=sent));
    }
    match script.ending {
        Ending::HalfClose => allow(End::Eof, &all),
        Ending::HalfCloseAndReset { .. } => {
            allow(End::ByClient, &any);
            allow(End::Eof, &all);
        }
        Ending::Reset | Ending::Close => allow(End::ByClient, &any),
        // Only a server with a reason ends such a connection, and the reasons are above.
        Ending::WaitForEnd => {}
    }
    allowed
}

impl Ending {
    /// Whether the client resets or closes the connection itself.
    pub(super) fn is_by_client(self) -> bool {
        matches!(self, Self::Reset | Self::Close | Self::HalfCloseAndReset { .. })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after the echo of {} to {} bytes", self.end, self.echoed.start(), self.echoed.end())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { end, sent, echoed, moments } = self;
        write!(f, "{end:?} after the echo of {echoed} of {sent} bytes ({moments:?})")
    }
}
