//! What threads share state and wait with. It is the standard library's, except in the checks of `schedules.rs`: there, a model
//! checker decides after each call which thread runs next.

#[cfg(not(all(test, shuttle)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, atomic},
    thread, thread_local,
};

#[cfg(all(test, shuttle))]
pub(crate) use self::once_lock::OnceLock;
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, atomic},
    thread, thread_local,
};

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
