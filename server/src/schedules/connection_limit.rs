//! [`ConnectionLimit`]: no place is given twice, and no freed place or end of the drain is missed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};
use shuttle::thread;

use super::{check, check_all};
use crate::{admission::connection_limit::ConnectionLimit, kernel::poll};

/// The limit, and the check of it.
struct Places {
    limit: ConnectionLimit,
    /// Connections that hold a place. The model checker does not switch threads at this counter.
    held: AtomicUsize,
}

impl Places {
    fn new(max: usize) -> Arc<Self> {
        let limit = ConnectionLimit::new(max).expect("the kernel makes an eventfd");
        limit.add_acceptor();
        Arc::new(Self { limit, held: AtomicUsize::new(0) })
    }

    /// Acquires a place, and waits for one if there is none, as [`Acceptor::run`] does.
    ///
    /// [`Acceptor::run`]: crate::admission::acceptor::Acceptor::run
    fn take(&self) {
        while !self.limit.acquire() {
            let event = self.limit.freed_event();
            poll(&mut [PollFd::new(&event, PollFlags::IN)], None).expect("the event can be polled");
            self.limit.reset_freed_event();
        }
        self.hold();
    }

    fn hold(&self) {
        assert!(self.held.fetch_add(1, Relaxed) < self.limit.max(), "a place was given twice");
    }

    fn give_back(&self) {
        self.held.fetch_sub(1, Relaxed);
        self.limit.release();
    }
}

#[test]
fn a_freed_place_wakes_the_acceptor_in_every_schedule() {
    check_all(|| {
        let shared = Places::new(1);
        shared.take();
        let connection = Arc::clone(&shared);
        thread::spawn(move || connection.give_back());
        // Without a wake-up it would wait for ever.
        shared.take();
    });
}

#[test]
fn the_last_end_wakes_the_drain_in_every_schedule() {
    check_all(|| {
        let shared = Places::new(1);
        shared.take();
        shared.limit.remove_acceptor();
        let connection = Arc::clone(&shared);
        thread::spawn(move || connection.give_back());
        assert!(shared.limit.wait_until_drained(later()));
        assert_eq!(shared.limit.open(), 0, "the drain ended too early");
    });
}

#[test]
fn the_end_of_the_acceptor_wakes_the_drain_in_every_schedule() {
    check_all(|| {
        let shared = Places::new(1);
        let acceptor = Arc::clone(&shared);
        thread::spawn(move || acceptor.limit.remove_acceptor());
        assert!(shared.limit.wait_until_drained(later()));
    });
}

#[test]
fn an_acceptor_hands_the_drain_over_to_its_connection_in_every_schedule() {
    check_all(|| {
        let shared = Places::new(1);
        let acceptor = Arc::clone(&shared);
        thread::spawn(move || {
            acceptor.take();
            acceptor.limit.remove_acceptor();
        });
        // First there is the acceptor, then the connection.
        assert!(!shared.limit.wait_until_drained(Instant::now()), "the drain ended too early");
    });
}

#[test]
fn no_place_is_given_twice() {
    check(|| {
        let shared = Places::new(2);
        for _ in 0..5 {
            shared.take();
            let connection = Arc::clone(&shared);
            thread::spawn(move || connection.give_back());
        }
        shared.limit.remove_acceptor();
        assert!(shared.limit.wait_until_drained(later()));
        assert_eq!(shared.limit.open(), 0);
    });
}

/// Several acceptors and connections that end at any time; the drain waits for all of them.
#[test]
fn the_drain_waits_for_every_acceptor_and_connection() {
    check(|| {
        let shared = Places::new(1);
        shared.limit.add_acceptor();
        for _ in 0..2 {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                if shared.limit.acquire() {
                    shared.hold();
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.give_back());
                }
                shared.limit.remove_acceptor();
            });
        }
        assert!(shared.limit.wait_until_drained(later()));
        assert_eq!((shared.limit.open(), shared.held.load(Relaxed)), (0, 0), "the drain ended too early");
    });
}

/// A moment that no check reaches.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
