//! One connection's stay: the place it takes, what it is logged as, and how it ended.

use std::{
    fmt,
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use rustix::io::Errno;
use tracing::Span;

use crate::service::Service;

/// A connection's stay in the server. It takes one of the places from its admission until it is dropped, so it
/// must be dropped after its socket.
pub(crate) struct Session {
    service: Arc<Service>,
    /// Bytes received so far.
    pub(crate) received: u64,
    /// Bytes echoed so far.
    pub(crate) sent: u64,
    /// Present only where someone looks at it: a span of its own would be a third of an idle connection.
    span: Option<Box<Span>>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client shut its side down and got every byte.
    Closed,
    /// The shutdown began, and the client got every byte that was received until then.
    Drained,
    /// Nothing was received for the idle timeout.
    IdleTimeout,
    /// The client took nothing for the write timeout.
    WriteTimeout,
    /// A reset, mostly.
    Failed(Errno),
}

impl Session {
    /// Begins the stay of a connection that has been given one of the service's places.
    pub(crate) fn new(service: Arc<Service>, socket: BorrowedFd<'_>) -> Self {
        service.counters.served.fetch_add(1, Ordering::Relaxed);
        let span = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            let span = tracing::debug_span!("connection", peer = %Peer(socket));
            span.in_scope(|| tracing::debug!("accepted"));
            Box::new(span)
        });
        Self { service, received: 0, sent: 0, span }
    }

    /// What the session's connection is part of.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Counts and logs how the connection ended. Its socket is still open.
    pub(crate) fn end(&self, end: End, socket: BorrowedFd<'_>) {
        let counters = &self.service.counters;
        counters.bytes_received.fetch_add(self.received, Ordering::Relaxed);
        counters.bytes_sent.fetch_add(self.sent, Ordering::Relaxed);
        match end {
            End::Closed => {}
            End::Drained => _ = counters.drained.fetch_add(1, Ordering::Relaxed),
            End::IdleTimeout => _ = counters.idle_timeouts.fetch_add(1, Ordering::Relaxed),
            End::Failed(_) => _ = counters.failed.fetch_add(1, Ordering::Relaxed),
            End::WriteTimeout => {
                counters.write_timeouts.fetch_add(1, Ordering::Relaxed);
                self.log_cut_off(socket);
            }
        }
        if let Some(span) = &self.span {
            span.in_scope(
                || tracing::debug!(received = self.received, sent = self.sent, end = %end, "closed"),
            );
        }
    }

    fn log_cut_off(&self, socket: BorrowedFd<'_>) {
        if let Some(not_logged) = self.service.log_cut_off.pass(Instant::now()) {
            tracing::warn!(
                peer = %Peer(socket),
                received = self.received,
                sent = self.sent,
                write_timeout = common::units::format_duration(self.service.config.write_timeout),
                not_logged,
                "cut off: the client took nothing for the write timeout"
            );
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.service.places.give_back();
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
        }
    }
}

/// A socket's other end, looked up only when it is printed.
struct Peer<'a>(BorrowedFd<'a>);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rustix::net::getpeername(self.0) {
            Ok(Some(address)) => match SocketAddr::try_from(address) {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("unix"),
            },
            Ok(None) => f.write_str("unix"),
            Err(_) => f.write_str("gone"),
        }
    }
}
