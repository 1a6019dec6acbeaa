//! A load thread's timers: a queue ordered by time. Entries are never cancelled; a woken client checks whether there is
//! still something to do. Each client has at most one entry of a kind, so the queue is bounded.

use std::{cmp::Reverse, collections::BinaryHeap};

/// The reason to wake a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// Its next request is due.
    Due,
    /// Its oldest outstanding request may have waited too long.
    Timeout,
    /// Its connection attempt may have taken too long.
    ConnectTimeout,
    /// It may connect again.
    Reconnect,
}

/// The timers of a load thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    queue: BinaryHeap<Reverse<(u64, u32, Wake)>>,
}

impl Timers {
    /// Wakes the client at `place` when the clock reads `at_ns`.
    #[inline]
    pub(crate) fn wake(&mut self, at_ns: u64, place: u32, why: Wake) {
        self.queue.push(Reverse((at_ns, place, why)));
    }

    /// When the next timer is due.
    #[inline]
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// Takes the next entry that is due by `now_ns`: the client's place, and the reason.
    #[inline]
    pub(crate) fn pop_due(&mut self, now_ns: u64) -> Option<(u32, Wake)> {
        self.next_ns().filter(|at_ns| *at_ns <= now_ns)?;
        self.queue.pop().map(|Reverse((_, place, why))| (place, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_in_the_order_of_their_times_and_not_before() {
        let mut timers = Timers::default();
        timers.wake(30, 1, Wake::Due);
        timers.wake(10, 2, Wake::Reconnect);
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(30), Some((2, Wake::Reconnect)));
        assert_eq!(timers.next_ns(), Some(30));
        assert_eq!(timers.pop_due(30), Some((1, Wake::Due)));
        assert_eq!(timers.next_ns(), None);
    }
}
