//! The connections of one load thread: the clients that wait to connect, attempts in progress, and established ones. Pure.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::load::plan::Plan;

/// Connection attempts of a thread in progress at once: enough to hide their duration, few enough for a server's accept
/// queue.
const ATTEMPTS_MAX: usize = 128;
const NEVER: u64 = u64::MAX;

/// The connections of one load thread.
#[derive(Debug)]
pub(crate) struct Connections {
    /// The places of the clients that wait to connect.
    queue: VecDeque<u32>,
    /// The time between two attempts by the connect rate; 0 without one.
    gap_ns: u64,
    /// When the connect rate allows the next attempt.
    next_ns: u64,
    /// Attempts in progress.
    attempts: usize,
    established: usize,
    /// Clients whose first attempt has not ended.
    unattempted: usize,
    /// The error of the last attempt; None if it succeeded.
    error: Option<Errno>,
}

impl Connections {
    /// Every client waits to connect.
    pub(super) fn new(plan: &Plan, clients: usize, now_ns: u64) -> Self {
        let gap_ns = |rate: u64| (1_000_000_000 * plan.threads as u64 / rate).max(1);
        Self {
            queue: (0..clients as u32).collect(),
            gap_ns: plan.connecting.rate_per_s.map_or(0, gap_ns),
            next_ns: now_ns,
            attempts: 0,
            established: 0,
            unattempted: clients,
            error: None,
        }
    }

    /// How long the connect rate delays the last of the first attempts.
    pub(crate) fn first_attempts_ns(&self) -> u64 {
        self.gap_ns.saturating_mul(self.unattempted as u64)
    }

    /// Takes the place of the next client that may connect now.
    pub(crate) fn pop(&mut self, now_ns: u64) -> Option<u32> {
        if self.is_blocked() {
            return None;
        }
        if self.gap_ns > 0 {
            if self.next_ns > now_ns {
                return None;
            }
            // The client does not catch up on missed attempts: the rate is an upper limit.
            self.next_ns = (self.next_ns + self.gap_ns).max(now_ns);
        }
        self.queue.pop_front()
    }

    /// When the next client may connect; `u64::MAX` if that needs another event first.
    #[inline]
    pub(crate) fn next_ns(&self) -> u64 {
        if self.is_blocked() { NEVER } else { self.next_ns }
    }

    #[inline]
    fn is_blocked(&self) -> bool {
        self.queue.is_empty() || self.attempts >= ATTEMPTS_MAX
    }

    /// The client at `place` waits to connect.
    pub(crate) fn push(&mut self, place: u32) {
        self.queue.push_back(place);
    }

    /// An attempt is in progress.
    pub(crate) fn attempt_begun(&mut self) {
        self.attempts += 1;
    }

    /// An attempt is no longer in progress.
    pub(crate) fn attempt_ended(&mut self) {
        self.attempts -= 1;
    }

    /// A client's first attempt has ended.
    pub(crate) fn first_attempt_ended(&mut self) {
        self.unattempted -= 1;
    }

    /// Whether each client's first attempt has ended.
    pub(crate) fn are_all_attempted(&self) -> bool {
        self.unattempted == 0
    }

    pub(super) fn established(&mut self) {
        self.established += 1;
        self.error = None;
    }

    pub(super) fn attempt_failed(&mut self, error: Errno) {
        self.error = Some(error);
    }

    /// An established connection has ended.
    pub(crate) fn closed(&mut self) {
        self.established -= 1;
    }

    /// How many connections are established.
    pub(crate) fn count(&self) -> usize {
        self.established
    }

    /// The error of the last attempt; None if it succeeded.
    pub(crate) fn last_error(&self) -> Option<Errno> {
        self.error
    }
}
