//! How the conductor tells the load threads that the load begins, and that it ends early.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::event::{EventfdFlags, eventfd};

use crate::engine::window::Window;

const NOT_YET: u64 = u64::MAX;

/// When the load begins, and when it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadStart {
    /// When the load begins, by the run's clock.
    pub at_ns: u64,
    /// The measured window.
    pub window: Window,
}

/// Shared by the conductor, the load threads and the signal handler's thread.
#[derive(Debug)]
pub(crate) struct Control {
    start: OnceLock<LoadStart>,
    stop_ns: AtomicU64,
    wakers: Vec<OwnedFd>,
}

impl Control {
    /// A control for this number of load threads.
    ///
    /// # Errors
    /// When there are not enough file descriptors.
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        let waker = |_| Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let wakers = (0..threads).map(waker).collect::<io::Result<_>>()?;
        Ok(Self { start: OnceLock::new(), stop_ns: AtomicU64::new(NOT_YET), wakers })
    }

    /// Starts the load. Only the first call has an effect.
    pub(crate) fn start(&self, start: LoadStart) {
        let _only_the_first_counts = self.start.set(start);
        self.wake_all();
    }

    /// Stops the load: the clients begin no request that is due at `at_ns` or later.
    pub(crate) fn stop(&self, at_ns: u64) {
        self.stop_ns.fetch_min(at_ns, Ordering::AcqRel);
        self.wake_all();
    }

    /// The start of the load, once it is known.
    pub(crate) fn load_start(&self) -> Option<LoadStart> {
        self.start.get().copied()
    }

    /// When the load was stopped. None if it was not.
    pub(crate) fn stop_ns(&self) -> Option<u64> {
        Some(self.stop_ns.load(Ordering::Acquire)).filter(|at_ns| *at_ns != NOT_YET)
    }

    /// The file that becomes readable when the control has changed. An edge-triggered poller does not have to read it.
    pub(crate) fn waker(&self, thread: usize) -> BorrowedFd<'_> {
        self.wakers[thread].as_fd()
    }

    fn wake_all(&self) {
        for waker in &self.wakers {
            // The write fails only if 2^64 - 2 wake-ups are unread. Then the thread is already awake.
            let _full = rustix::io::write(waker, &1_u64.to_ne_bytes());
        }
    }
}
