//! The one clock of a run: nanoseconds since the run's beginning.

use std::time::{Duration, Instant};

/// A monotonic clock that every thread of a run shares. A reading costs one vDSO call and fits 584 years into
/// a `u64`.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    pub fn start() -> Self {
        Self { epoch: Instant::now() }
    }

    /// Nanoseconds since the clock was started.
    #[inline]
    pub fn now_ns(self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// How long it is until the clock reads `at_ns`; zero when that is past.
    pub fn until(self, at_ns: u64) -> Duration {
        Duration::from_nanos(at_ns.saturating_sub(self.now_ns()))
    }
}

/// A duration in nanoseconds, at most `u64::MAX`.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
