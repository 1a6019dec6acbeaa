//! How the conductor tells the load threads what happens: the load's beginning, and its end before the time.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::event::{EventfdFlags, eventfd};

const NOT_YET: u64 = u64::MAX;

/// Shared by the conductor, the load threads and the signal handler's thread.
#[derive(Debug)]
pub struct Control {
    start_ns: AtomicU64,
    stop_ns: AtomicU64,
    wakers: Vec<OwnedFd>,
}

impl Control {
    /// For so many load threads.
    ///
    /// # Errors
    /// When there are not enough file descriptors.
    pub fn new(threads: usize) -> io::Result<Self> {
        let waker = |_| Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let wakers = (0..threads).map(waker).collect::<io::Result<_>>()?;
        Ok(Self { start_ns: AtomicU64::new(NOT_YET), stop_ns: AtomicU64::new(NOT_YET), wakers })
    }

    /// The load begins when the run's clock shows `at_ns`.
    pub fn start(&self, at_ns: u64) {
        self.start_ns.store(at_ns, Ordering::Release);
        self.wake_all();
    }

    /// No request that is due from `at_ns` on is begun any more.
    pub fn stop(&self, at_ns: u64) {
        self.stop_ns.fetch_min(at_ns, Ordering::AcqRel);
        self.wake_all();
    }

    /// When the load begins, once that is known.
    pub fn start_ns(&self) -> Option<u64> {
        Some(self.start_ns.load(Ordering::Acquire)).filter(|at_ns| *at_ns != NOT_YET)
    }

    /// When the load was stopped, if it was.
    pub fn stop_ns(&self) -> Option<u64> {
        Some(self.stop_ns.load(Ordering::Acquire)).filter(|at_ns| *at_ns != NOT_YET)
    }

    /// What gets readable when there is news for a thread. Watched edge-triggered, it need not be read.
    pub fn waker(&self, thread: usize) -> BorrowedFd<'_> {
        self.wakers[thread].as_fd()
    }

    fn wake_all(&self) {
        for waker in &self.wakers {
            // It fails only when 2^64 - 2 wake-ups are unread, and then the thread is woken already.
            let _full = rustix::io::write(waker, &1_u64.to_ne_bytes());
        }
    }
}
