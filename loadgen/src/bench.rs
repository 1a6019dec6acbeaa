//! What the clients of one load thread share: clock, buffers, timers, the measured window and the recording.

use std::{collections::VecDeque, os::fd::OwnedFd};

use rustix::io::Errno;

use crate::{
    clock::{Clock, nanoseconds},
    message::{Messages, Mismatch},
    plan::Plan,
    recording::Recording,
    schedule::Load,
    socket::Target,
    timers::Timers,
};

/// A socket is read and written in parts of at most so many bytes.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// The measured window. A request belongs to it when it is *due* in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first nanosecond of it.
    pub start_ns: u64,
    /// The first nanosecond after it; `u64::MAX` while it has no end.
    pub end_ns: u64,
}

impl Window {
    /// Before the load's beginning: nothing belongs to it.
    pub const NEVER: Window = Window { start_ns: u64::MAX, end_ns: u64::MAX };

    /// Whether a moment lies in it.
    #[inline]
    pub fn contains(&self, at_ns: u64) -> bool {
        self.start_ns <= at_ns && at_ns < self.end_ns
    }

    /// How much of the time from `since_ns` to `until_ns` lies in it.
    #[inline]
    pub fn overlap_ns(&self, since_ns: u64, until_ns: u64) -> u64 {
        until_ns.min(self.end_ns).saturating_sub(since_ns.max(self.start_ns))
    }
}

/// A time for which replies were owed and none came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// When it began.
    pub from_ns: u64,
    /// When it was over.
    pub to_ns: u64,
}

impl Stall {
    /// How long it was.
    #[inline]
    pub fn length_ns(&self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }

    /// What both have in common.
    pub fn common(self, other: Self) -> Self {
        Self { from_ns: self.from_ns.max(other.from_ns), to_ns: self.to_ns.min(other.to_ns) }
    }
}

/// What the plan says to each client, in the units of the clock.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Outstanding requests of one client at most.
    pub pipeline: u64,
    /// Replies on one connection at most.
    pub requests_per_connection: u64,
    /// From a request's writing to its reply.
    pub timeout_ns: u64,
    /// For a connection attempt.
    pub connect_timeout_ns: u64,
    /// Whether the generator can be late: in a closed loop nothing says when it should have written.
    pub open_loop: bool,
    /// Whether the kernel is asked when replies were ready.
    pub kernel_timestamps: bool,
    /// For the jitter of reconnects.
    pub seed: u64,
}

impl Rules {
    /// The rules of a plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            pipeline: plan.pipeline as u64,
            requests_per_connection: plan.requests_per_connection.unwrap_or(u64::MAX),
            timeout_ns: nanoseconds(plan.timeout),
            connect_timeout_ns: nanoseconds(plan.connect_timeout),
            open_loop: matches!(plan.load, Load::Open { .. }),
            kernel_timestamps: plan.kernel_timestamps,
            seed: plan.seed,
        }
    }
}

/// What the clients of one load thread share.
#[derive(Debug)]
pub struct Bench {
    /// The run's clock.
    pub clock: Clock,
    /// What the clock showed when it was last read.
    pub now_ns: u64,
    /// When the thread's last wait ended: what it handles since then was there by then.
    pub woken_ns: u64,
    /// Where the sockets are registered.
    pub epoll: OwnedFd,
    /// The plan, as clients need it.
    pub rules: Rules,
    /// Where clients connect to.
    pub targets: Vec<Target>,
    /// The message, patched for one client after the other.
    pub messages: Messages,
    /// What was received.
    pub received: Vec<u8>,
    /// What the kernel says besides of what was received.
    pub control: Vec<u8>,
    /// Several requests that are written at once.
    pub batch: Vec<u8>,
    /// Who wants to be woken when.
    pub timers: Timers,
    /// The measured window.
    pub window: Window,
    /// How many requests of the window may still be begun.
    pub budget: u64,
    /// Requests of the window that were begun and have not ended.
    pub pending: u64,
    /// Since when replies are owed and none has come.
    pub waiting_since_ns: u64,
    /// The longest such time in the window.
    pub longest_stall: Stall,
    /// Clients that wait for their turn to connect, by their place.
    pub to_connect: VecDeque<u32>,
    /// Connection attempts that are under way.
    pub connecting: usize,
    /// Connections that are up.
    pub connected: usize,
    /// Clients whose first attempt to connect has not ended.
    pub unattempted: usize,
    /// The last error that a connection attempt ended with.
    pub connect_error: Option<Errno>,
    /// What this thread saw in the current interval.
    pub recording: Box<Recording>,
    /// The first wrong reply.
    pub mismatch: Option<Mismatch>,
}

impl Bench {
    /// Reads the clock.
    #[inline]
    pub fn read_clock(&mut self) -> u64 {
        self.now_ns = self.clock.now_ns();
        self.now_ns
    }

    /// Whether a request that is due at `due_ns` may be begun at all.
    #[inline]
    pub fn admits(&self, due_ns: u64) -> bool {
        due_ns < self.window.end_ns && self.budget > 0
    }

    /// A request was begun.
    #[inline]
    pub fn begin(&mut self, due_ns: u64) {
        if self.window.contains(due_ns) {
            if self.pending == 0 {
                self.waiting_since_ns = self.now_ns;
            }
            self.pending += 1;
            self.budget -= 1;
        }
    }

    /// A reply has come, or none will come any more.
    #[inline]
    pub fn note_stall(&mut self, now_ns: u64) {
        if self.pending > 0 {
            let from_ns = self.waiting_since_ns.max(self.window.start_ns);
            let stall = Stall { from_ns, to_ns: now_ns.min(self.window.end_ns) };
            if stall.length_ns() > self.longest_stall.length_ns() {
                self.longest_stall = stall;
            }
        }
        self.waiting_since_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_contains_its_first_nanosecond_and_not_the_one_after_its_last() {
        let window = Window { start_ns: 10, end_ns: 20 };
        assert!(window.contains(10) && window.contains(19) && !window.contains(20) && !window.contains(9));
        assert_eq!(
            [window.overlap_ns(0, 12), window.overlap_ns(15, 99), window.overlap_ns(30, 40)],
            [2, 5, 0]
        );
        assert!(!Window::NEVER.contains(5));
    }

    #[test]
    fn stalls_at_different_moments_have_nothing_in_common() {
        let stall = |from_ns, to_ns| Stall { from_ns, to_ns };
        assert_eq!(stall(5, 20).common(stall(10, 30)), stall(10, 20));
        assert_eq!(stall(5, 10).common(stall(20, 30)).length_ns(), 0);
    }
}
