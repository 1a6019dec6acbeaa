//! The clock of the workers' turns.

use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock as of the kernel's last tick, in nanoseconds. It takes a third of the time of the exact clock, and a
/// worker reads it twice in each turn. Turns begin at any moment between two ticks, so their sum is right on average.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    // Neither is negative. The first tick after the boot is later than 0.
    (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64
}
