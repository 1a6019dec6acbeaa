//! The limit on open connections, and the event that reports a connection's end to waiting acceptors.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use crate::{
    kernel::{self, Event},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

/// Counts open connections up to a maximum. An acceptor that reaches the maximum waits for
/// [`ConnectionLimit::freed_event`].
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    max: usize,
    open: AtomicUsize,
    /// Acceptors that may still admit connections.
    acceptors: AtomicUsize,
    /// Whether an acceptor waits for the next release.
    wanted: AtomicBool,
    freed: Event,
    drained: (Mutex<()>, Condvar),
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize) -> io::Result<Self> {
        Ok(Self {
            max,
            open: AtomicUsize::new(0),
            acceptors: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            freed: Event::new()?,
            drained: Default::default(),
        })
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// How many more connections can be admitted now.
    pub(crate) fn available(&self) -> usize {
        self.max.saturating_sub(self.open())
    }

    /// The most open connections.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Registers an acceptor. The drain waits until it is removed.
    pub(crate) fn add_acceptor(&self) {
        self.acceptors.fetch_add(1, SeqCst);
    }

    /// Removes an acceptor that admits no more connections.
    pub(crate) fn remove_acceptor(&self) {
        kernel::note_closed();
        self.acceptors.fetch_sub(1, SeqCst);
        self.notify_if_drained();
    }

    /// Counts one more connection, unless the limit is reached. At the limit, it requests the
    /// [`ConnectionLimit::freed_event`].
    pub(crate) fn acquire(&self) -> bool {
        let acquire =
            || self.open.fetch_update(SeqCst, SeqCst, |open| (open < self.max).then_some(open + 1)).is_ok();
        // A release before the request is not reported, so the limit is checked once more.
        acquire() || {
            self.request_freed_event();
            acquire()
        }
    }

    /// Requests that the next release makes the [`ConnectionLimit::freed_event`] readable.
    pub(crate) fn request_freed_event(&self) {
        self.wanted.store(true, SeqCst);
    }

    /// Counts one connection less, and reports it if an acceptor has requested that.
    pub(crate) fn release(&self) {
        self.release_unreported();
        if self.wanted.load(SeqCst) && self.wanted.swap(false, SeqCst) {
            self.freed.notify();
        }
    }

    /// Counts one connection less without reporting it.
    pub(crate) fn release_unreported(&self) {
        kernel::note_closed();
        if self.open.fetch_sub(1, SeqCst) == 1 {
            self.notify_if_drained();
        }
    }

    /// Makes the acceptors look at their queues, as after a release.
    pub(crate) fn wake_acceptors(&self) {
        self.freed.notify();
    }

    /// A descriptor that becomes readable after a requested release. Each event is a new edge.
    pub(crate) fn freed_event(&self) -> BorrowedFd<'_> {
        self.freed.as_fd()
    }

    /// Makes the event unreadable again, for level-triggered waits.
    pub(crate) fn reset_freed_event(&self) {
        self.freed.reset();
    }

    fn notify_if_drained(&self) {
        if self.is_drained() {
            let _lock = self.drained.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.drained.1.notify_all();
        }
    }

    fn is_drained(&self) -> bool {
        // In this order: an acceptor acquires before it is removed.
        self.acceptors.load(SeqCst) == 0 && self.open() == 0
    }

    /// Blocks until there is no acceptor and no connection, or until the deadline. Returns whether the former is so.
    pub(crate) fn wait_until_drained(&self, deadline: Instant) -> bool {
        let (lock, drained) = &self.drained;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        // After the deadline there is nothing to wait for; the model checker's waits do not end by time.
        if !left.is_zero() {
            drop(drained.wait_timeout_while(guard, left, |()| !self.is_drained()));
        }
        self.is_drained()
    }
}
