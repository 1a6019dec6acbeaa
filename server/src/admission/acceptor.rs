//! Accepting without blocking: the limit on connections, and the lack of descriptors or threads.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::SocketFlags,
};

use crate::{
    admission::{accept_error::AcceptError, gate, listener::Listener, log_limit::LogLimit, refusal::Refusal},
    connection::session::Session,
    daemon::{config::WhenFull, service::Service},
    kernel::{accept_with, poll},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

/// How long accepting pauses when the system has run out of a resource, unless a connection ends earlier.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections one batch accepts before other connections get their turn.
const BATCH_MAX: usize = 64;

/// Accepts from its listeners, and never blocks in accept(2). The drain waits until it is dropped.
pub(crate) struct Acceptor {
    service: Arc<Service>,
    listeners: Vec<Listener>,
    /// The listener to try first: the one after the listener that last had a connection. So no listener takes every
    /// place that gets free.
    first: AtomicUsize,
    log_limit_reached: LogLimit,
    log_failed: LogLimit,
}

/// A connection that was accepted and is counted.
pub(crate) struct Admitted {
    // Before the session: its drop counts the connection as ended, and the socket must be closed by then.
    pub(crate) socket: OwnedFd,
    pub(crate) session: Session,
}

/// The result of an attempt to accept.
pub(crate) enum AcceptResult {
    /// A connection was admitted.
    Admitted(Admitted),
    /// A connection was refused, or had ended in the accept queue. There may be more.
    Refused,
    /// The accept queue is empty.
    QueueEmpty,
    /// The limit on connections is reached. Try again after the event of a release.
    LimitReached,
    /// The system has run out of descriptors or memory. Try again after a pause, or after the event of a release.
    OutOfResources,
}

/// When to accept next, after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextAccept {
    /// At an event: of a listener, or of a release.
    OnEvent,
    /// After other connections had their turn.
    Soon,
    /// At this moment, or at an event.
    At(Instant),
}

impl Acceptor {
    /// Accepts from these listeners.
    pub(crate) fn new(service: &Arc<Service>, listeners: Vec<Listener>) -> Self {
        service.connections.add_acceptor();
        Self {
            service: Arc::clone(service),
            listeners,
            first: AtomicUsize::new(0),
            log_limit_reached: LogLimit::new(1),
            log_failed: LogLimit::new(1),
        }
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    /// All listeners.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(Listener::as_fd)
    }

    /// The listener with this index.
    pub(crate) fn listener(&self, index: usize) -> BorrowedFd<'_> {
        self.listeners[index].as_fd()
    }

    /// Accepts one connection of the listener with this index; `flags` are for its socket.
    fn accept(&self, listener: usize, flags: SocketFlags) -> AcceptResult {
        let service = &self.service;
        let is_counted = service.connections.acquire();
        if !is_counted && service.config.when_full == WhenFull::Wait {
            if self.log_limit_reached.check(Instant::now()).is_some() {
                let max_connections = service.connections.max();
                tracing::warn!(max_connections, "full: new connections wait in the accept queue");
            }
            return AcceptResult::LimitReached;
        }
        let accepted = accept_with(&self.listeners[listener], flags | SocketFlags::CLOEXEC);
        if accepted.is_ok() {
            // Only a success counts as a turn. Failed attempts come in a rhythm that would always skip the same
            // listener.
            self.first.store(listener + 1, SeqCst);
        }
        match accepted {
            Ok(socket) if is_counted => self.check(socket),
            Ok(_closed_after_it_is_counted) => {
                self.refuse(Refusal::Full);
                AcceptResult::Refused
            }
            Err(error) => {
                match is_counted {
                    // Unreported, or this acceptor would wake itself for as long as there is no descriptor.
                    true if AcceptError::from(error).is_exhaustion() => {
                        service.connections.release_unreported()
                    }
                    true => service.connections.release(),
                    false => {}
                }
                self.failed(error)
            }
        }
    }

    /// Admits a socket that the kernel has accepted already. At the limit and with `--when-full wait`, it returns the
    /// socket.
    pub(crate) fn admit(&self, socket: OwnedFd) -> Result<AcceptResult, OwnedFd> {
        if self.service.connections.acquire() {
            return Ok(self.check(socket));
        }
        match self.service.config.when_full {
            WhenFull::Wait => Err(socket),
            WhenFull::Reject => {
                // Counted first: who sees the connection end finds it in the metrics.
                self.refuse(Refusal::Full);
                drop(socket);
                Ok(AcceptResult::Refused)
            }
        }
    }

    /// Admits a connection that is counted, if its client's address is permitted.
    fn check(&self, socket: OwnedFd) -> AcceptResult {
        let service = &self.service;
        let client = match &service.gate {
            // The header names the client, and the session checks it.
            _ if service.config.proxy_protocol => None,
            None => None,
            Some(gate) => match gate::peer(socket.as_fd()) {
                Ok(None) => None,
                Ok(Some(peer)) => match gate.admit(peer.ip()) {
                    Ok(client) => client,
                    Err(refusal) => {
                        service.refusals.add(refusal, Some(peer.ip()));
                        drop(socket);
                        service.connections.release();
                        return AcceptResult::Refused;
                    }
                },
                Err(error) => {
                    drop(socket);
                    service.connections.release();
                    return self.failed(error);
                }
            },
        };
        let session = Session::new(Arc::clone(service), socket.as_fd(), client);
        AcceptResult::Admitted(Admitted { socket, session })
    }

    /// Handles an error of accept(2).
    pub(crate) fn failed(&self, error: Errno) -> AcceptResult {
        if error == Errno::AGAIN {
            self.recovered();
            return AcceptResult::QueueEmpty;
        }
        let kind = AcceptError::from(error);
        self.service.accept_errors.add(kind);
        if kind.is_exhaustion() {
            self.out_of_resources(
                error,
                "cannot accept: raise the open-files limit, or lower --max-connections",
            );
            return AcceptResult::OutOfResources;
        }
        if let Some(not_logged) = self.log_failed.check(Instant::now()) {
            tracing::warn!(%error, not_logged, "a connection failed before it was accepted");
        }
        AcceptResult::Refused
    }

    /// Accepts from every listener until the accept queues are empty, the limit is reached, the batch is full, or
    /// `is_done` says so before an attempt.
    pub(crate) fn accept_batch(
        &self,
        mut is_done: impl FnMut() -> bool,
        mut admit: impl FnMut(Admitted),
    ) -> NextAccept {
        let mut attempts = 0;
        for listener in self.in_turn() {
            loop {
                if is_done() {
                    return NextAccept::OnEvent;
                }
                if attempts == BATCH_MAX {
                    return NextAccept::Soon;
                }
                attempts += 1;
                match self.accept(listener, SocketFlags::NONBLOCK) {
                    AcceptResult::Admitted(admitted) => admit(admitted),
                    AcceptResult::Refused => {}
                    AcceptResult::QueueEmpty => break,
                    AcceptResult::LimitReached => return NextAccept::OnEvent,
                    AcceptResult::OutOfResources => return Self::after_pause(),
                }
            }
        }
        NextAccept::OnEvent
    }

    /// When to accept next, after the system has run out of a resource.
    pub(crate) fn after_pause() -> NextAccept {
        NextAccept::At(Instant::now() + PAUSE)
    }

    /// Accepts until the shutdown begins, and then for the last time. Blocks its thread while the queues are empty.
    pub(crate) fn run(self, flags: SocketFlags, mut admit: impl FnMut(&Self, Admitted)) {
        while self.service.shutdown.begun().is_none() {
            match self.accept_any(flags) {
                AcceptResult::Admitted(admitted) => admit(&self, admitted),
                AcceptResult::Refused => {}
                AcceptResult::QueueEmpty => self.wait(&self.listeners, None),
                AcceptResult::LimitReached => self.wait(&[], None),
                AcceptResult::OutOfResources => self.pause(),
            }
        }
        for admitted in self.accept_last(flags) {
            admit(&self, admitted);
        }
    }

    /// Accepts for the last time. Clients in the accept queue have connected, so they are served, up to the limit.
    pub(crate) fn accept_last(&self, flags: SocketFlags) -> Vec<Admitted> {
        let mut last = Vec::new();
        for listener in 0..self.listeners.len() {
            // Bounded, since new clients may connect faster than this loop accepts.
            for _ in 0..self.service.config.backlog {
                match self.accept(listener, flags) {
                    AcceptResult::Admitted(admitted) => last.push(admitted),
                    AcceptResult::Refused => {}
                    AcceptResult::QueueEmpty | AcceptResult::LimitReached | AcceptResult::OutOfResources => {
                        break;
                    }
                }
            }
        }
        last
    }

    /// Blocks until a connection has ended, the shutdown has begun, or the pause is over.
    pub(crate) fn pause(&self) {
        self.wait(&[], Some(PAUSE));
    }

    /// Accepts from the first listener whose queue is not empty.
    fn accept_any(&self, flags: SocketFlags) -> AcceptResult {
        self.in_turn()
            .map(|listener| self.accept(listener, flags))
            .find(|result| !matches!(result, AcceptResult::QueueEmpty))
            .unwrap_or(AcceptResult::QueueEmpty)
    }

    /// The listeners' indices, beginning with the one whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, first) = (self.listeners.len(), self.first.load(SeqCst));
        (0..count).map(move |offset| (first + offset) % count)
    }

    fn wait(&self, listeners: &[Listener], at_most: Option<Duration>) {
        let service = &self.service;
        let freed = service.connections.freed_event();
        let events = [PollFd::new(&service.shutdown, PollFlags::IN), PollFd::new(&freed, PollFlags::IN)];
        let sockets = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN));
        let mut polled: Vec<_> = sockets.chain(events).collect();
        let until_watchdog = service.watchdog_due().map(|due| due.saturating_duration_since(Instant::now()));
        let at_most = at_most.into_iter().chain(until_watchdog).min();
        let at_most = at_most.map(|time| Timespec::try_from(time).expect("a pause is short"));
        match poll(&mut polled, at_most.as_ref()) {
            Ok(_) | Err(Errno::INTR) => service.connections.reset_freed_event(),
            Err(error) => unreachable!("poll takes valid descriptors: {error}"),
        }
        service.workers.note_wait();
    }

    /// Counts a refused connection, and logs it at a bounded rate.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.service.refusals.add(refusal, None);
    }

    /// Logs that the system has run out of a resource, once until every waiting client has been accepted.
    pub(crate) fn out_of_resources(&self, error: impl std::fmt::Display, what: &str) {
        self.service.connections.request_freed_event();
        if self.service.accept_errors.pause() {
            let connections = self.service.connections.open();
            tracing::warn!(%error, connections, "{what}; waiting until a connection ends");
        }
    }

    /// The accept queue is empty.
    fn recovered(&self) {
        if self.service.accept_errors.resume() {
            tracing::info!("accepting again: every waiting connection has been accepted");
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.service.accept_errors.resume();
        self.listeners.clear();
        self.service.connections.remove_acceptor();
    }
}
