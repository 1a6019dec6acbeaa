//! One connection from its admission to its end: its counters, its log lines, and how it ended.

use std::{
    fmt,
    net::IpAddr,
    os::fd::BorrowedFd,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use rustix::io::Errno;
use tracing::Span;

use crate::{
    admission::{gate, per_ip::ClientKey, proxy_header::PartialHeader, refusal::Refusal},
    daemon::{service::Service, workers},
};

/// One connection from its admission to its end. Its drop counts the connection as ended, so it must be dropped after the
/// socket.
pub(crate) struct Session {
    service: Arc<Service>,
    /// Bytes received so far.
    received: u64,
    /// Bytes echoed so far.
    sent: u64,
    /// In a box, as most connections have none: they would double an idle connection's memory.
    details: Option<Box<Details>>,
}

/// What few configurations know of a connection.
struct Details {
    /// Only if debug logs are on.
    span: Option<Span>,
    /// Only if connections are counted by client.
    client: Option<ClientKey>,
    /// Only until the client that the header names is admitted.
    header: Option<Box<AwaitedHeader>>,
}

/// The PROXY header that a connection must begin with.
#[derive(Default)]
struct AwaitedHeader {
    partial: PartialHeader,
    /// The client's address in it, once it is complete.
    source: Option<IpAddr>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client shut its side down and got every byte.
    Closed,
    /// The shutdown began, and the client got the echo of every byte received until then.
    Drained,
    /// Nothing was received for the idle timeout.
    IdleTimeout,
    /// The client read nothing for the write timeout.
    WriteTimeout,
    /// The socket failed, mostly by a reset.
    Failed(Errno),
    /// It was turned away when its PROXY header was due.
    TurnedAway(Refusal),
}

impl Session {
    /// Begins a connection that the service's limit has counted, and its gate, if that returned a key. A connection that must
    /// begin with a PROXY header counts as served once its client is admitted.
    pub(crate) fn new(service: Arc<Service>, socket: BorrowedFd<'_>, client: Option<ClientKey>) -> Self {
        let header = service.config.proxy_protocol.then(Box::default);
        if header.is_none() {
            service.counters.accepted.fetch_add(1, Ordering::Relaxed);
        }
        let span = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            let span = tracing::debug_span!("connection", peer = %Peer(socket));
            span.in_scope(|| tracing::debug!("accepted"));
            span
        });
        let has_details = span.is_some() || client.is_some() || header.is_some();
        let details = has_details.then(|| Box::new(Details { span, client, header }));
        Self { service, received: 0, sent: 0, details }
    }

    /// The state that all connections share.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Counts one receive.
    pub(crate) fn note_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        workers::note_received(bytes);
    }

    /// Counts bytes that the socket has taken.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        workers::note_sent(bytes);
    }

    /// Corrects [`Session::note_sent`] for bytes that the socket did not take after all.
    pub(crate) fn note_unsent(&mut self, bytes: usize) {
        self.sent -= bytes as u64;
        workers::note_unsent(bytes);
    }

    /// Whether the connection's PROXY header is not complete, or its client is not admitted.
    pub(crate) fn awaits_header(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.header.is_some())
    }

    /// Takes the next bytes of the awaited PROXY header, and admits its client. Returns how many of the bytes belong to the
    /// header; `None` if it is incomplete.
    ///
    /// # Errors
    /// When the connection must end: there is no valid header, or its client is not permitted.
    pub(crate) fn receive_header(
        &mut self,
        bytes: &[u8],
        socket: BorrowedFd<'_>,
    ) -> Result<Option<usize>, End> {
        let details = self.details.as_mut().expect("a connection has details until its header is complete");
        let awaited = details.header.as_mut().expect("the caller has checked that a header is awaited");
        let received = awaited.partial.receive(bytes);
        let Some(header) = received.map_err(|_no_header| End::TurnedAway(Refusal::ProxyHeader))? else {
            return Ok(None);
        };
        awaited.source = header.source;
        if let Some(gate) = &self.service.gate {
            let client = match header.source {
                Some(source) => Some(source),
                None => gate::peer(socket).map_err(End::Failed)?.map(|peer| peer.ip()),
            };
            if let Some(client) = client {
                details.client = gate.admit(client).map_err(End::TurnedAway)?;
            }
        }
        if let Some(span) = &details.span {
            let client = header.source.map(tracing::field::display);
            span.in_scope(|| tracing::debug!(client, "received its PROXY header"));
        }
        details.header = None;
        if details.span.is_none() && details.client.is_none() {
            self.details = None;
        }
        self.service.counters.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(Some(header.bytes_of_last_piece))
    }

    /// Counts and logs how the connection ended. Its socket is still open.
    pub(crate) fn end(&self, end: End, socket: BorrowedFd<'_>) {
        let end = self
            .details
            .as_ref()
            .and_then(|details| details.header.as_ref())
            .map_or(end, |awaited| self.end_without_header(awaited, end, socket));
        let ended = &self.service.counters.ended;
        let counter = match end {
            End::Closed => Some(&ended.closed),
            End::Drained => Some(&ended.drained),
            End::IdleTimeout => Some(&ended.idle_timeout),
            End::WriteTimeout => Some(&ended.write_timeout),
            End::Failed(Errno::CONNRESET | Errno::PIPE) => Some(&ended.reset),
            End::Failed(_) => Some(&ended.failed),
            // It is counted as turned away.
            End::TurnedAway(_) => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if end == End::WriteTimeout {
            self.log_write_timeout(socket);
        }
        if let Some(span) = self.details.as_ref().and_then(|details| details.span.as_ref()) {
            span.in_scope(
                || tracing::debug!(received = self.received, sent = self.sent, end = %end, "closed"),
            );
        }
    }

    /// Counts and logs the end of a connection whose client was not admitted: it was turned away, unless the drain or a reset
    /// came before its header.
    fn end_without_header(&self, awaited: &AwaitedHeader, end: End, socket: BorrowedFd<'_>) -> End {
        let refusal = match end {
            End::Drained | End::Failed(_) => {
                self.service.counters.accepted.fetch_add(1, Ordering::Relaxed);
                return end;
            }
            End::TurnedAway(refusal) => refusal,
            _ => Refusal::ProxyHeader,
        };
        let peer = || gate::peer(socket).ok().flatten().map(|peer| peer.ip());
        self.service.refusals.add(refusal, awaited.source.or_else(peer));
        End::TurnedAway(refusal)
    }

    fn log_write_timeout(&self, socket: BorrowedFd<'_>) {
        if let Some(not_logged) = self.service.log_write_timeout.check(Instant::now()) {
            tracing::warn!(
                peer = %Peer(socket),
                received = self.received,
                sent = self.sent,
                write_timeout = common::units::format_duration(self.service.config.write_timeout),
                not_logged,
                "closed at the write timeout: the client read nothing"
            );
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let client = self.details.as_ref().and_then(|details| details.client);
        if let (Some(client), Some(gate)) = (client, &self.service.gate) {
            gate.release(client);
        }
        self.service.connections.release();
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("the client closed"),
            End::Drained => f.write_str("drained"),
            End::IdleTimeout => f.write_str("idle timeout"),
            End::WriteTimeout => f.write_str("write timeout"),
            End::Failed(error) => write!(f, "{error}"),
            End::TurnedAway(refusal) => write!(f, "turned away: {}", refusal.name()),
        }
    }
}

/// A socket's peer. Its address is looked up only when it is printed.
struct Peer<'a>(BorrowedFd<'a>);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match gate::peer(self.0) {
            Ok(Some(address)) => write!(f, "{address}"),
            Ok(None) => f.write_str("unix"),
            Err(_) => f.write_str("gone"),
        }
    }
}
