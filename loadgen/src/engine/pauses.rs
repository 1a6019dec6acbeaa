//! Pauses of a load thread: times in which it should have run and did not. Pure.
//!
//! A thread that is stopped, preempted, throttled or waits for a page delays requests and replies itself. A pause is
//! measured directly: from the moment at which the thread asked to run again to the moment at which it ran.

use crate::engine::window::Window;

/// Shorter delays are ordinary scheduling; the schedule lag shows them.
pub(crate) const PAUSE_NS_MIN: u64 = 5_000_000;
/// A load thread asks to run again after this time at the latest. So it detects each pause, and measures its length with at
/// most this error.
pub(crate) const HEARTBEAT_NS: u64 = 4_000_000;
/// The number of longest pauses that are kept, for each load thread.
pub(crate) const KEPT_MAX: usize = 16;

/// A time in which a load thread should have run and did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pause {
    /// When the thread should have run.
    pub from_ns: u64,
    /// When it ran.
    pub to_ns: u64,
}

/// The pauses of one load thread since the window began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pauses {
    /// Their number.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// The longest ones, at most [`KEPT_MAX`], the longest first.
    pub longest: Vec<Pause>,
    /// The latest one, also if it ended before the window began.
    pub last: Pause,
}

impl Pause {
    /// Its length.
    pub(crate) fn length_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }
}

impl Pauses {
    /// Counts a pause, or the part of it that lies after the window's start.
    pub(crate) fn note(&mut self, pause: Pause, window: Window) {
        self.last = pause;
        let pause = Pause { from_ns: pause.from_ns.max(window.start_ns), ..pause };
        if pause.length_ns() == 0 {
            return;
        }
        self.count += 1;
        self.total_ns += pause.length_ns();
        let place = self.longest.partition_point(|known| known.length_ns() >= pause.length_ns());
        self.longest.insert(place, pause);
        self.longest.truncate(KEPT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pauses_are_kept_and_all_are_counted() {
        let window = Window { start_ns: 100, end_ns: 10_000 };
        let mut pauses = Pauses::default();
        for length_ns in 1..=20 {
            pauses.note(Pause { from_ns: 1_000, to_ns: 1_000 + length_ns }, window);
        }
        assert_eq!((pauses.count, pauses.total_ns, pauses.longest.len()), (20, 210, KEPT_MAX));
        assert_eq!(pauses.longest[0].length_ns(), 20);
        assert_eq!(pauses.longest[KEPT_MAX - 1].length_ns(), 5);
    }

    #[test]
    fn only_the_part_of_a_pause_after_the_start_of_the_window_counts() {
        let window = Window { start_ns: 100, end_ns: 10_000 };
        let mut pauses = Pauses::default();
        pauses.note(Pause { from_ns: 10, to_ns: 90 }, window);
        assert_eq!((pauses.count, pauses.last.to_ns), (0, 90));
        pauses.note(Pause { from_ns: 90, to_ns: 130 }, window);
        assert_eq!(pauses.longest, [Pause { from_ns: 100, to_ns: 130 }]);
    }
}
