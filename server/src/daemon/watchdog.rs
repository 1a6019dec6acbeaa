//! The service manager's watchdog (sd_watchdog_enabled(3)): it restarts a process that has not reported for `WATCHDOG_USEC`.
//!
//! The reports come from the ends of the workers' turns, so a process whose workers all hang does not report. A worker that
//! ends its turn reports only if no other worker hangs. An idle worker waits at most until [`Watchdog::due`].

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, eventfd};

use crate::daemon::coarse_clock::now_ns;

/// An idle worker wakes this much later than the report is due: the coarse clock may be a tick behind.
const SLACK: Duration = Duration::from_millis(10);

/// The watchdog's time within these bounds: a shorter one is below the resolution of the coarse clock, and with a longer one,
/// reports are only more frequent than they need to be.
const TIME_MIN: Duration = Duration::from_millis(40);
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// When a report is due, and what keeps it back.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// The time between two reports: a quarter of the watchdog's time.
    interval: Duration,
    /// A turn that lasts this long keeps the reports back: half of the watchdog's time.
    turn_max: Duration,
    /// When the next report is due, on the clock of [`now_ns`].
    next_ns: AtomicU64,
    /// Both clocks at one moment.
    origin: (Instant, u64),
    /// An eventfd: a report waits to be sent.
    reported: OwnedFd,
}

impl Watchdog {
    /// `None` if the service manager does not watch this process.
    ///
    /// # Errors
    /// When the kernel makes no eventfd.
    pub(crate) fn of_this_process() -> io::Result<Option<Self>> {
        let time = sd_notify::watchdog_enabled().filter(|time| !time.is_zero());
        time.map(|time| Self::new(time.clamp(TIME_MIN, TIME_MAX))).transpose()
    }

    fn new(time: Duration) -> io::Result<Self> {
        Ok(Self {
            interval: time / 4,
            turn_max: time / 2,
            next_ns: AtomicU64::new(0),
            origin: (Instant::now(), now_ns()),
            reported: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// When an idle worker has to wake up to report.
    pub(crate) fn due(&self) -> Instant {
        let (origin, origin_ns) = self.origin;
        let after = self.next_ns.load(Relaxed).saturating_sub(origin_ns);
        origin + Duration::from_nanos(after) + SLACK
    }

    /// Whether a report is due. The next one is due after the interval.
    pub(crate) fn take_due(&self, now_ns: u64) -> bool {
        let next_ns = self.next_ns.load(Relaxed);
        let following_ns = now_ns + self.interval.as_nanos() as u64;
        now_ns >= next_ns && self.next_ns.compare_exchange(next_ns, following_ns, Relaxed, Relaxed).is_ok()
    }

    /// Reports, unless a worker's present turn has lasted too long. The notifier's thread sends the report: a worker must not
    /// wait for the service manager.
    pub(crate) fn report(&self, longest_turn: Duration) {
        if longest_turn >= self.turn_max {
            let longest_turn = Duration::from_millis(longest_turn.as_millis() as u64);
            tracing::warn!(
                turn = common::units::format_duration(longest_turn),
                "a worker hangs: no report to the watchdog of the service manager"
            );
            return;
        }
        // A write to a full counter fails, but then a report waits already.
        _ = rustix::io::write(&self.reported, &1_u64.to_ne_bytes());
    }

    /// Takes the report that waits, if there is one.
    pub(crate) fn take_report(&self) -> bool {
        rustix::io::read(&self.reported, &mut [0; 8]).is_ok()
    }
}

impl AsFd for Watchdog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reported.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_due_once_in_each_interval() {
        let watchdog = Watchdog::new(Duration::from_secs(4)).unwrap();
        let begin_ns = now_ns();
        assert!(watchdog.take_due(begin_ns));
        assert!(!watchdog.take_due(begin_ns) && !watchdog.take_due(begin_ns + 999_999_999));
        assert!(watchdog.due() > Instant::now() + Duration::from_millis(900));
        assert!(watchdog.take_due(begin_ns + 1_000_000_000));
    }

    #[test]
    fn a_long_turn_keeps_the_report_back() {
        let watchdog = Watchdog::new(Duration::from_secs(4)).unwrap();
        watchdog.report(Duration::from_secs(2));
        assert!(!watchdog.take_report());
        watchdog.report(Duration::from_millis(1999));
        assert!(watchdog.take_report() && !watchdog.take_report());
    }
}
