//! Who may come in: the limit on connections, what happens when it is reached, and what happens when the system
//! has no more descriptors or threads to give.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SocketFlags, accept_with},
};

use crate::{config::WhenFull, listen::Listener, service::Service, session::Session, throttle::Throttle};

/// How long accepting rests when the system has run out of something, unless a connection ends before.
pub(crate) const REST: Duration = Duration::from_millis(100);

/// Lets newcomers of its listeners in, without ever blocking. The drain waits for it: it must be dropped once
/// it has accepted for the last time.
pub(crate) struct Acceptor {
    service: Arc<Service>,
    listeners: Vec<Listener>,
    /// Which listener is looked at first: the one after the listener that last gave somebody, so that none takes every
    /// place that gets free.
    first: AtomicUsize,
    exhausted: AtomicBool,
    log_turned_away: Throttle,
    log_full: Throttle,
    log_failed: Throttle,
}

/// A connection that has been given a place.
pub(crate) struct Newcomer {
    // Before the session, whose place must not be given to another before the socket is closed.
    pub(crate) socket: OwnedFd,
    pub(crate) session: Session,
    /// Whether it came to a unix socket.
    pub(crate) is_unix: bool,
}

/// What came of an attempt to accept.
pub(crate) enum Accepted {
    /// Somebody came in.
    Newcomer(Newcomer),
    /// Somebody was turned away, or went by himself: there may be more.
    TurnedAway,
    /// Nobody is there.
    Nobody,
    /// The server is full: come again when there is room.
    Full,
    /// The system is out of something: come again after [`REST`], or when there is room.
    Exhausted,
}

impl Acceptor {
    /// Accepts from these listeners.
    pub(crate) fn new(service: &Arc<Service>, listeners: Vec<Listener>) -> Self {
        service.places.add_acceptor();
        Self {
            service: Arc::clone(service),
            listeners,
            first: AtomicUsize::new(0),
            exhausted: AtomicBool::new(false),
            log_turned_away: Throttle::new(1),
            log_full: Throttle::new(1),
            log_failed: Throttle::new(1),
        }
    }

    /// What it accepts for.
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// How many listeners it has.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// The listener with this index.
    pub(crate) fn listener(&self, index: usize) -> BorrowedFd<'_> {
        self.listeners[index].as_fd()
    }

    /// The listeners' indices, beginning with the one whose turn it is.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let (count, first) = (self.listeners.len(), self.first.load(SeqCst));
        (0..count).map(move |offset| (first + offset) % count)
    }

    /// Accepts one newcomer of the listener with this index; `flags` are for its socket.
    pub(crate) fn accept(&self, listener: usize, flags: SocketFlags) -> Accepted {
        let service = &self.service;
        let has_place = service.places.take();
        if !has_place && service.config.when_full == WhenFull::Wait {
            if self.log_full.pass(Instant::now()).is_some() {
                tracing::warn!(max_connections = service.places.max(), "full: newcomers wait in the backlog");
            }
            return Accepted::Full;
        }
        let accepted = accept_with(&self.listeners[listener], flags | SocketFlags::CLOEXEC);
        if accepted.is_ok() {
            // An attempt that finds no room or nobody was no turn: such attempts come in a rhythm that would always leave
            // the same listener out.
            self.first.store(listener + 1, SeqCst);
        }
        match accepted {
            Ok(socket) if has_place => Accepted::Newcomer(self.newcomer(listener, socket)),
            Ok(_closed_here) => {
                self.turn_away("full");
                Accepted::TurnedAway
            }
            Err(error) => {
                match has_place {
                    // Not announced, or this acceptor would wake itself for ever while there is no descriptor.
                    true if is_exhaustion(error) => service.places.leave(),
                    true => service.places.give_back(),
                    false => {}
                }
                self.failed(error)
            }
        }
    }

    /// Gives a place to somebody whom the kernel has accepted already. Where there is none and newcomers are to wait,
    /// the socket comes back.
    pub(crate) fn admit(&self, listener: usize, socket: OwnedFd) -> Result<Accepted, OwnedFd> {
        if self.service.places.take() {
            return Ok(Accepted::Newcomer(self.newcomer(listener, socket)));
        }
        match self.service.config.when_full {
            WhenFull::Wait => Err(socket),
            WhenFull::Reject => {
                drop(socket);
                self.turn_away("full");
                Ok(Accepted::TurnedAway)
            }
        }
    }

    fn newcomer(&self, listener: usize, socket: OwnedFd) -> Newcomer {
        let session = Session::new(Arc::clone(&self.service), socket.as_fd());
        Newcomer { socket, session, is_unix: self.listeners[listener].is_unix() }
    }

    /// What follows from an accept that failed.
    pub(crate) fn failed(&self, error: Errno) -> Accepted {
        if error == Errno::AGAIN {
            self.recovered();
            return Accepted::Nobody;
        }
        if is_exhaustion(error) {
            self.exhausted(error, "cannot accept: raise the open-files limit, or lower --max-connections");
            return Accepted::Exhausted;
        }
        // A newcomer's own trouble, passed on by accept(2), says nothing about the next one.
        if let Some(not_logged) = self.log_failed.pass(Instant::now()) {
            tracing::warn!(%error, not_logged, "a newcomer was lost");
        }
        Accepted::TurnedAway
    }

    /// Accepts until the shutdown begins, and then for the last time. Blocks its thread while nobody comes.
    pub(crate) fn run(self, flags: SocketFlags, mut take_in: impl FnMut(&Self, Newcomer)) {
        while self.service.shutdown.begun().is_none() {
            match self.accept_any(flags) {
                Accepted::Newcomer(newcomer) => take_in(&self, newcomer),
                Accepted::TurnedAway => {}
                Accepted::Nobody => self.wait(&self.listeners, None),
                Accepted::Full => self.wait(&[], None),
                Accepted::Exhausted => self.rest(),
            }
        }
        for newcomer in self.accept_last(flags) {
            take_in(&self, newcomer);
        }
    }

    /// Accepts for the last time: those who are in the backlog have connected, so they are served as far as there is
    /// room.
    pub(crate) fn accept_last(&self, flags: SocketFlags) -> Vec<Newcomer> {
        let mut last = Vec::new();
        for listener in 0..self.listeners.len() {
            // More than a backlog are newcomers who keep coming.
            for _ in 0..self.service.config.backlog {
                match self.accept(listener, flags) {
                    Accepted::Newcomer(newcomer) => last.push(newcomer),
                    Accepted::TurnedAway => {}
                    Accepted::Nobody | Accepted::Full | Accepted::Exhausted => break,
                }
            }
        }
        last
    }

    /// Blocks until there may be room, the shutdown has begun, or [`REST`] is over.
    pub(crate) fn rest(&self) {
        self.wait(&[], Some(REST));
    }

    /// Accepts from the first listener that has somebody.
    fn accept_any(&self, flags: SocketFlags) -> Accepted {
        self.in_turn()
            .map(|listener| self.accept(listener, flags))
            .find(|accepted| !matches!(accepted, Accepted::Nobody))
            .unwrap_or(Accepted::Nobody)
    }

    fn wait(&self, listeners: &[Listener], at_most: Option<Duration>) {
        let service = &self.service;
        let room = service.places.room();
        let own = [PollFd::new(&service.shutdown, PollFlags::IN), PollFd::new(&room, PollFlags::IN)];
        let theirs = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN));
        let mut polled: Vec<_> = theirs.chain(own).collect();
        let at_most = at_most.map(|time| Timespec::try_from(time).expect("a rest is short"));
        match poll(&mut polled, at_most.as_ref()) {
            Ok(_) | Err(Errno::INTR) => service.places.reset_room(),
            Err(error) => unreachable!("poll takes valid descriptors: {error}"),
        }
    }

    /// Counts and logs, at a bounded rate, somebody who is turned away.
    pub(crate) fn turn_away(&self, reason: &str) {
        self.service.counters.turned_away.fetch_add(1, SeqCst);
        if let Some(not_logged) = self.log_turned_away.pass(Instant::now()) {
            tracing::warn!(reason, not_logged, "turned away");
        }
    }

    /// Says once that the system is out of something, until all who waited have come in.
    pub(crate) fn exhausted(&self, error: impl std::fmt::Display, what: &str) {
        self.service.places.want_room();
        if !self.exhausted.swap(true, SeqCst) {
            tracing::warn!(%error, connections = self.service.places.taken(), "{what}; waiting for room");
        }
    }

    /// Nobody waits any more.
    fn recovered(&self) {
        if self.exhausted.load(SeqCst) && self.exhausted.swap(false, SeqCst) {
            tracing::info!("there is room again: all who waited have come in");
        }
    }
}

/// Whether the system is out of something that newcomers need.
fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.listeners.clear();
        self.service.places.remove_acceptor();
    }
}
