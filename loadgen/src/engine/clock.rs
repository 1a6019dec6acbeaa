//! The clock of a run: nanoseconds since the run began.

use std::time::{Duration, Instant};

/// A monotonic clock that all threads of a run share. A reading costs one vDSO call. A `u64` holds 584 years.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    pub(crate) fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    /// Nanoseconds since the clock was started.
    #[inline]
    pub(crate) fn now_ns(self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// The time until the clock reads `at_ns`; zero if that is past.
    pub(crate) fn until(self, at_ns: u64) -> Duration {
        Duration::from_nanos(at_ns.saturating_sub(self.now_ns()))
    }
}
