//! Accepting, which the first thread does for all of them.

use std::{collections::VecDeque, mem, os::fd::OwnedFd, sync::atomic::Ordering::SeqCst, time::Instant};

use rustix::{io::Errno, net::SocketFlags};

use super::{
    FREED, Loop,
    ring::{Kernel, Request},
};
use crate::{
    admission::acceptor::{AcceptResult, Acceptor, Admitted, NextAccept},
    daemon::config::WhenFull,
};

/// The acceptor, and its requests to the ring.
pub(super) struct RingAcceptor {
    acceptor: Acceptor,
    /// The pending request of each listener.
    requests: Vec<ListenerRequest>,
    /// Sockets that the kernel accepted when the limit was reached.
    waiting: VecDeque<OwnedFd>,
    /// Whether the ring watches the event of a release.
    watches_freed: bool,
    next_accept: NextAccept,
    is_draining: bool,
}

/// What a listener's pending request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListenerRequest {
    /// No request is pending.
    None,
    /// Accepts every connection until it is cancelled (multishot).
    Accept,
    /// The same, after its cancellation; its last completion is still to come.
    Cancelled,
    /// Reports that a connection waits. Used near the limit, where a multishot accept would accept too many.
    Watch,
}

impl<K: Kernel> Loop<K> {
    /// Makes a request for each listener that has none.
    pub(super) fn request_connections(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        let connections = &self.shared.service.connections;
        if !mem::replace(&mut acceptor.watches_freed, true) {
            self.ring.watch(connections.freed_event(), FREED);
        }
        // During a pause and at the limit, new connections wait in the accept queue.
        if acceptor.next_accept != NextAccept::OnEvent || !acceptor.is_below_limit() {
            return;
        }
        let may_accept_all = acceptor.may_accept_all();
        for (listener, request) in acceptor.requests.iter_mut().enumerate() {
            if *request == ListenerRequest::None {
                let socket = acceptor.acceptor.listener(listener);
                if may_accept_all {
                    *request = ListenerRequest::Accept;
                    self.ring.accept(socket, listener);
                } else {
                    *request = ListenerRequest::Watch;
                    self.ring.watch_listener(socket, listener);
                }
            }
        }
    }

    /// Handles a completion of a multishot accept.
    pub(super) fn handle_accepted(&mut self, listener: usize, result: Result<OwnedFd, Errno>, more: bool) {
        let acceptor = self.acceptor.as_mut().expect("only this thread accepts");
        if !more {
            acceptor.requests[listener] = ListenerRequest::None;
        }
        let accepted = match result {
            Ok(socket) => match acceptor.acceptor.admit(socket) {
                Ok(accepted) => accepted,
                Err(socket) => {
                    acceptor.waiting.push_back(socket);
                    AcceptResult::LimitReached
                }
            },
            Err(Errno::CANCELED) => return,
            Err(error) => acceptor.acceptor.failed(error),
        };
        match accepted {
            AcceptResult::Admitted(admitted) => self.assign(admitted),
            AcceptResult::OutOfResources => acceptor.next_accept = Acceptor::after_pause(),
            AcceptResult::Refused | AcceptResult::QueueEmpty | AcceptResult::LimitReached => {}
        }
    }

    /// At the end of a round: accepts a batch if a listener or a release was reported, and makes new requests.
    pub(super) fn accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if acceptor.is_draining {
            return self.finish_accepting();
        }
        if acceptor.next_accept == NextAccept::Soon {
            let mut admitted = Vec::new();
            acceptor.next_accept = acceptor.accept_batch(&mut admitted);
            admitted.into_iter().for_each(|admitted| self.assign(admitted));
        }
        let Some(acceptor) = &mut self.acceptor else { return };
        if !acceptor.may_accept_all() {
            for (listener, request) in acceptor.requests.iter_mut().enumerate() {
                if *request == ListenerRequest::Accept {
                    *request = ListenerRequest::Cancelled;
                    self.ring.cancel(Request::Accept(listener));
                }
            }
        }
        self.request_connections();
    }

    /// Begins the drain: cancels every request.
    pub(super) fn cancel_accepting(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.is_draining = true;
        for (listener, request) in acceptor.requests.iter_mut().enumerate() {
            match request {
                ListenerRequest::Accept => {
                    *request = ListenerRequest::Cancelled;
                    self.ring.cancel(Request::Accept(listener));
                }
                ListenerRequest::Watch => self.ring.cancel(Request::WatchListener(listener)),
                ListenerRequest::None | ListenerRequest::Cancelled => {}
            }
        }
    }

    /// Accepts for the last time, once no request is pending.
    fn finish_accepting(&mut self) {
        let is_idle = |acceptor: &mut RingAcceptor| {
            acceptor.requests.iter().all(|request| *request == ListenerRequest::None)
        };
        if let Some(acceptor) = self.acceptor.take_if(is_idle) {
            let RingAcceptor { acceptor, waiting, .. } = acceptor;
            for socket in waiting {
                if let Ok(AcceptResult::Admitted(admitted)) = acceptor.admit(socket) {
                    self.assign(admitted);
                }
            }
            let last = acceptor.accept_last(SocketFlags::NONBLOCK);
            last.into_iter().for_each(|admitted| self.assign(admitted));
        }
    }

    /// Assigns a connection to the thread with the fewest connections.
    fn assign(&mut self, admitted: Admitted) {
        let thread = self.shared.least_loaded();
        let handle = &self.shared.handles[thread];
        handle.worker.connections.fetch_add(1, SeqCst);
        if thread == self.number {
            return self.add(admitted);
        }
        if handle.assigned.give(admitted) {
            self.ring.message(handle.ring, thread);
        }
    }
}

impl RingAcceptor {
    pub(super) fn new(acceptor: Acceptor) -> Self {
        Self {
            requests: vec![ListenerRequest::None; acceptor.listener_count()],
            acceptor,
            waiting: VecDeque::new(),
            watches_freed: false,
            next_accept: NextAccept::OnEvent,
            is_draining: false,
        }
    }

    /// Whether the next round accepts a batch.
    pub(super) fn is_busy(&self) -> bool {
        self.next_accept == NextAccept::Soon
    }

    /// The end of a pause in accepting.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        match self.next_accept {
            NextAccept::At(moment) => Some(moment),
            NextAccept::OnEvent | NextAccept::Soon => None,
        }
    }

    /// Connections wait at this listener.
    pub(super) fn note_readable(&mut self, listener: usize) {
        self.requests[listener] = ListenerRequest::None;
        self.next_accept = NextAccept::Soon;
    }

    /// A connection has ended.
    pub(super) fn note_freed(&mut self) {
        self.watches_freed = false;
        self.next_accept = NextAccept::Soon;
    }

    /// Ends a pause that is over.
    pub(super) fn end_pause(&mut self, now: Instant) {
        if self.paused_until().is_some_and(|until| until <= now) {
            self.next_accept = NextAccept::Soon;
        }
    }

    /// Whether a multishot accept may run. The kernel accepts without regard to the limit, so there must be room for
    /// every connection that can be in the accept queues.
    fn may_accept_all(&self) -> bool {
        let service = self.acceptor.service();
        // Linux admits one more connection to a queue than its backlog.
        let queued_max = (service.config.backlog as usize + 1) * self.requests.len();
        service.config.when_full == WhenFull::Reject
            || self.waiting.is_empty() && service.connections.available() > queued_max
    }

    /// Whether a connection can be accepted, be it to refuse it.
    fn is_below_limit(&self) -> bool {
        let service = self.acceptor.service();
        let is_below = || service.connections.available() > 0;
        // A release before the request is not reported, so the limit is checked once more.
        service.config.when_full == WhenFull::Reject || is_below() || {
            service.connections.request_freed_event();
            is_below()
        }
    }

    fn accept_batch(&mut self, admitted: &mut Vec<Admitted>) -> NextAccept {
        while let Some(socket) = self.waiting.pop_front() {
            match self.acceptor.admit(socket) {
                Ok(AcceptResult::Admitted(connection)) => admitted.push(connection),
                Ok(_) => {}
                Err(socket) => {
                    self.waiting.push_front(socket);
                    return NextAccept::OnEvent;
                }
            }
        }
        self.acceptor.accept_batch(|| false, |connection| admitted.push(connection))
    }
}
