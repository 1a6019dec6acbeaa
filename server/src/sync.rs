//! What threads share state and wait with. It is the standard library's, except in the checks of `schedules.rs`: there, a model
//! checker decides after each call which thread runs next.

#[cfg(not(all(test, shuttle)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, atomic},
    thread, thread_local,
};

#[cfg(all(test, shuttle))]
pub(crate) use self::detached as thread;
#[cfg(all(test, shuttle))]
pub(crate) use self::once_lock::OnceLock;
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, atomic},
    thread_local,
};

/// Threads that nobody joins. As in a process, they may wait for ever when the main thread ends: only shuttle's tasks can do so.
#[cfg(all(test, shuttle))]
pub(crate) mod detached {
    pub(crate) use shuttle::thread::yield_now;

    /// Lets other threads run first.
    pub(crate) fn sleep(_time: std::time::Duration) {
        yield_now();
    }

    #[derive(Default)]
    pub(crate) struct Builder;

    impl Builder {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn name(self, _name: String) -> Self {
            self
        }

        pub(crate) fn stack_size(self, _bytes: usize) -> Self {
            self
        }

        pub(crate) fn spawn(self, call: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
            drop(shuttle::future::spawn(async { call() }));
            Ok(())
        }
    }
}

/// shuttle has no `OnceLock`.
#[cfg(all(test, shuttle))]
mod once_lock {
    use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};

    #[derive(Debug)]
    pub(crate) struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        is_set: AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self { value: std::sync::OnceLock::new(), is_set: AtomicBool::new(false) }
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            let result = self.value.set(value);
            self.is_set.store(true, SeqCst);
            result
        }

        pub(crate) fn get(&self) -> Option<&T> {
            self.is_set.load(SeqCst).then(|| self.value.get()).flatten()
        }
    }
}
