//! The requests of the window: how many may still begin, how many are outstanding, and since when no reply arrived. Pure.

use crate::engine::window::{Stall, Window};

/// The requests of the window, of one load thread.
#[derive(Debug)]
pub(super) struct WindowRequests {
    /// How many may still begin.
    budget: u64,
    /// How many have begun and have no outcome.
    outstanding: u64,
    /// When the wait for the next reply began.
    waiting_since_ns: u64,
    longest_stall: Stall,
    /// When the last reply was complete; 0 before the first one.
    last_reply_ns: u64,
}

impl WindowRequests {
    pub(super) fn new(budget: u64) -> Self {
        Self {
            budget,
            outstanding: 0,
            waiting_since_ns: 0,
            longest_stall: Stall::default(),
            last_reply_ns: 0,
        }
    }

    #[inline]
    pub(super) fn has_budget(&self) -> bool {
        self.budget > 0
    }

    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    pub(super) fn longest_stall(&self) -> Stall {
        self.longest_stall
    }

    pub(super) fn last_reply_ns(&self) -> u64 {
        self.last_reply_ns
    }

    /// A request has begun.
    #[inline]
    pub(super) fn begun(&mut self, now_ns: u64) {
        if self.outstanding == 0 {
            self.waiting_since_ns = now_ns;
        }
        self.outstanding += 1;
        self.budget -= 1;
    }

    /// A request has its outcome.
    #[inline]
    pub(super) fn ended(&mut self) {
        self.outstanding -= 1;
    }

    /// `count` requests never begin.
    pub(super) fn unsent(&mut self, count: u64) {
        self.budget -= count;
    }

    /// A reply has arrived, whenever its request was due.
    #[inline]
    pub(super) fn replied(&mut self, now_ns: u64, window: Window) {
        self.stall_ended(now_ns, window);
        self.last_reply_ns = now_ns;
    }

    /// A reply has arrived, or outstanding requests get none.
    #[inline]
    pub(super) fn stall_ended(&mut self, now_ns: u64, window: Window) {
        if self.outstanding > 0 {
            let from_ns = self.waiting_since_ns.max(window.start_ns);
            let stall = Stall { from_ns, to_ns: now_ns.min(window.end_ns) };
            if stall.length_ns() > self.longest_stall.length_ns() {
                self.longest_stall = stall;
            }
        }
        self.waiting_since_ns = now_ns;
    }

    /// The thread was paused: the current stall begins later by the pause.
    #[cold]
    pub(super) fn delay(&mut self, pause_ns: u64, now_ns: u64) {
        self.waiting_since_ns = (self.waiting_since_ns + pause_ns).min(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start_ns: 100, end_ns: 1_000 };

    #[test]
    fn a_pause_of_the_thread_is_no_part_of_a_stall() {
        let mut requests = WindowRequests::new(10);
        requests.begun(100);
        requests.delay(50, 160);
        requests.replied(200, WINDOW);
        assert_eq!(requests.longest_stall(), Stall { from_ns: 150, to_ns: 200 });
    }

    #[test]
    fn a_thread_without_outstanding_requests_has_no_stall() {
        let mut requests = WindowRequests::new(10);
        requests.begun(100);
        requests.replied(110, WINDOW);
        requests.ended();
        requests.stall_ended(900, WINDOW);
        requests.begun(950);
        requests.stall_ended(2_000, WINDOW);
        assert_eq!(requests.longest_stall(), Stall { from_ns: 950, to_ns: 1_000 });
        assert_eq!((requests.budget(), requests.outstanding(), requests.last_reply_ns()), (8, 1, 110));
    }
}
