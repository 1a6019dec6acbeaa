//! The places that connections take: how many there are, and who is told when one is free.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use rustix::event::{EventfdFlags, eventfd};

/// The places that connections take. Who finds none waits for [`Places::room`].
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    taken: AtomicUsize,
    /// Acceptors that may still let somebody in.
    acceptors: AtomicUsize,
    /// Whether an acceptor waits for room.
    wanted: AtomicBool,
    room: OwnedFd,
    empty: (Mutex<()>, Condvar),
}

impl Places {
    pub(crate) fn new(max: usize) -> io::Result<Self> {
        Ok(Self {
            max,
            taken: AtomicUsize::new(0),
            acceptors: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            room: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            empty: Default::default(),
        })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }

    /// How many are free.
    pub(crate) fn left(&self) -> usize {
        self.max.saturating_sub(self.taken())
    }

    /// How many there are.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Notes an acceptor, who may let somebody in until he leaves.
    pub(crate) fn add_acceptor(&self) {
        self.acceptors.fetch_add(1, SeqCst);
    }

    /// An acceptor leaves.
    pub(crate) fn remove_acceptor(&self) {
        self.acceptors.fetch_sub(1, SeqCst);
        self.announce_if_empty();
    }

    /// Takes a place, if there is one. If there is none, [`Places::room`] becomes readable when there may be.
    pub(crate) fn take(&self) -> bool {
        let take = || {
            self.taken.fetch_update(SeqCst, SeqCst, |taken| (taken < self.max).then_some(taken + 1)).is_ok()
        };
        // One that was given back before the wish was known would not be announced: look once more.
        take() || {
            self.want_room();
            take()
        }
    }

    /// Asks for the next place that is given back to be announced.
    pub(crate) fn want_room(&self) {
        self.wanted.store(true, SeqCst);
    }

    /// Gives a place back, and announces it if that was asked for.
    pub(crate) fn give_back(&self) {
        self.leave();
        if self.wanted.load(SeqCst) && self.wanted.swap(false, SeqCst) {
            // The counter cannot overflow: every announcement was asked for by an acceptor.
            _ = rustix::io::write(&self.room, &1_u64.to_ne_bytes());
        }
    }

    /// Gives a place back without announcing it.
    pub(crate) fn leave(&self) {
        if self.taken.fetch_sub(1, SeqCst) == 1 {
            self.announce_if_empty();
        }
    }

    /// Readable (edge: newly written) when a place was given back that somebody waited for.
    pub(crate) fn room(&self) -> BorrowedFd<'_> {
        self.room.as_fd()
    }

    /// Takes the announcement, for those who wait for a level and not for an edge.
    pub(crate) fn reset_room(&self) {
        _ = rustix::io::read(&self.room, &mut [0; 8]);
    }

    fn announce_if_empty(&self) {
        if self.is_empty() {
            let _lock = self.empty.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.empty.1.notify_all();
        }
    }

    fn is_empty(&self) -> bool {
        // In this order: an acceptor takes a place before it can end.
        self.acceptors.load(SeqCst) == 0 && self.taken() == 0
    }

    /// Blocks until no acceptor and no connection is left, at most until the deadline.
    pub(crate) fn wait_until_empty(&self, deadline: Instant) {
        let (lock, emptied) = &self.empty;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        drop(emptied.wait_timeout_while(guard, left, |()| !self.is_empty()));
    }
}
