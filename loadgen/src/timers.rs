//! A load thread's timers: a queue by moment. Entries are never removed; who is woken looks whether there is
//! still something to do. Each client has at most one entry of a kind, so the queue is bounded.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Why a client wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// Its next request is due.
    Due,
    /// Its oldest outstanding request may have waited too long.
    Timeout,
    /// Its connection attempt may have taken too long.
    ConnectTimeout,
    /// It may connect again.
    Reconnect,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    queue: BinaryHeap<Reverse<(u64, u32, Wake)>>,
}

impl Timers {
    /// Wakes the client at `place` when the clock reads `at_ns`.
    #[inline]
    pub fn wake(&mut self, at_ns: u64, place: u32, why: Wake) {
        self.queue.push(Reverse((at_ns, place, why)));
    }

    /// The next moment.
    #[inline]
    pub fn next_ns(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at_ns, ..))| *at_ns)
    }

    /// Takes the next entry that is due by `now_ns`: the client's place, and why.
    #[inline]
    pub fn pop_due(&mut self, now_ns: u64) -> Option<(u32, Wake)> {
        self.next_ns().filter(|at_ns| *at_ns <= now_ns)?;
        self.queue.pop().map(|Reverse((_, place, why))| (place, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_their_moments_and_not_before() {
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
