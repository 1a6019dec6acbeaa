//! The shutdown handle. Every thread can check it, and every mode can wait for it.

use std::{
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread,
    time::Instant,
};

use crate::{
    kernel::Event,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// A handle on the shutdown. Its descriptor becomes readable when the shutdown begins, and stays so.
#[derive(Clone, Debug)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    event: Event,
    /// Whether [`Shutdown::begin`] has been called.
    is_claimed: AtomicBool,
    begun: OnceLock<Instant>,
}

impl Shutdown {
    /// A shutdown that has not begun.
    ///
    /// # Errors
    /// When the kernel makes no eventfd.
    pub fn new() -> io::Result<Self> {
        let event = Event::new()?;
        Ok(Self {
            inner: Arc::new(Inner { event, is_claimed: AtomicBool::new(false), begun: OnceLock::new() }),
        })
    }

    /// Begins the shutdown, for a reason that is logged. Only the first call has an effect.
    pub fn begin(&self, reason: &str) {
        if !self.inner.is_claimed.swap(true, Ordering::SeqCst) {
            // Logged before any thread can see the shutdown, so that the line of the server's end comes later.
            tracing::info!(reason, "draining");
            self.inner.begun.set(Instant::now()).expect("only the first call gets here");
            self.inner.event.notify();
        }
    }

    /// Begins the shutdown when stdin ends. If stdin is a pipe, that happens when the process at its other end closes it or
    /// ends.
    ///
    /// # Errors
    /// When the thread that reads stdin cannot be started.
    pub(crate) fn begin_at_stdin_end(&self) -> io::Result<()> {
        let shutdown = self.clone();
        let watch = move || {
            let mut ignored = [0; 64];
            while matches!(io::stdin().read(&mut ignored), Ok(1..)) {}
            shutdown.begin("end of stdin");
        };
        thread::Builder::new().name("stdin".to_owned()).stack_size(128 * 1024).spawn(watch)?;
        Ok(())
    }

    /// The moment at which the shutdown began; `None` before.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.inner.begun.get().copied()
    }
}

impl AsFd for Shutdown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.event.as_fd()
    }
}
