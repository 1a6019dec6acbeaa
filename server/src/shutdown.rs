//! The shutdown handle: begun once, seen by every thread, and something that every kind of waiting can wait for.

use std::{
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, OnceLock},
    thread,
    time::Instant,
};

use rustix::event::{EventfdFlags, eventfd};

/// A handle on the shutdown. Its descriptor becomes readable when the shutdown begins, and stays so.
#[derive(Clone, Debug)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    begun: OnceLock<Instant>,
}

impl Shutdown {
    /// A shutdown that has not begun.
    ///
    /// # Errors
    /// When the kernel gives no event descriptor.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { inner: Arc::new(Inner { event, begun: OnceLock::new() }) })
    }

    /// Begins the shutdown, for a reason that is logged. Only the first call has an effect.
    pub fn begin(&self, reason: &str) {
        if self.inner.begun.set(Instant::now()).is_ok() {
            tracing::info!(reason, "draining");
            rustix::io::write(&self.inner.event, &1_u64.to_ne_bytes())
                .expect("an event whose counter is 0 takes a 1 without blocking");
        }
    }

    /// Begins the shutdown when stdin ends, which it does when the process at its other end goes, however it
    /// goes.
    ///
    /// # Errors
    /// When no thread can be had to watch.
    pub fn begin_at_stdin_end(&self) -> io::Result<()> {
        let shutdown = self.clone();
        let watch = move || {
            let mut ignored = [0; 64];
            while matches!(io::stdin().read(&mut ignored), Ok(1..)) {}
            shutdown.begin("end of stdin");
        };
        thread::Builder::new().name("stdin".to_owned()).stack_size(128 * 1024).spawn(watch)?;
        Ok(())
    }

    /// When the shutdown began, if it has.
    pub fn begun(&self) -> Option<Instant> {
        self.inner.begun.get().copied()
    }
}

impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.event.as_fd()
    }
}
