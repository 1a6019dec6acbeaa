//! How long a client is owed a reply and gets none, without the pauses of its thread. Pure.

use crate::engine::window::Window;

/// The value for a client that is owed no reply.
const NEVER: u64 = u64::MAX;

/// The longest time in the window in which a client was owed a reply and got none.
#[derive(Debug)]
pub(super) struct Silence {
    /// When the client began to be owed a reply, minus the thread's earlier pauses; [`NEVER`] if no reply is owed.
    since_ns: u64,
    last_reply_ns: u64,
    longest_ns: u64,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self { since_ns: NEVER, last_reply_ns: 0, longest_ns: 0 }
    }

    pub(super) fn longest_ns(&self) -> u64 {
        self.longest_ns
    }

    /// A reply is owed from `at_ns` on. `paused_ns` is the sum of the thread's pauses so far.
    #[inline]
    pub(super) fn reply_owed(&mut self, at_ns: u64, paused_ns: u64) {
        if self.since_ns == NEVER {
            self.since_ns = at_ns.max(self.last_reply_ns).saturating_sub(paused_ns);
        }
    }

    /// A reply has arrived. `is_owed`: the client is owed another one.
    #[inline]
    pub(super) fn replied(&mut self, now_ns: u64, is_owed: bool, paused_ns: u64, window: Window) {
        self.ended(now_ns, paused_ns, window);
        self.since_ns = if is_owed { now_ns - paused_ns } else { NEVER };
        self.last_reply_ns = now_ns;
    }

    /// The silence up to `at_ns` counts.
    #[inline]
    pub(super) fn ended(&mut self, at_ns: u64, paused_ns: u64, window: Window) {
        // While the thread was paused, it could not have read a reply.
        let silence_ns = window.overlap_ns(self.since_ns.saturating_add(paused_ns), at_ns);
        self.longest_ns = self.longest_ns.max(silence_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start_ns: 100, end_ns: 1_000 };

    #[test]
    fn only_the_time_in_the_window_without_pauses_counts() {
        let mut silence = Silence::new();
        silence.reply_owed(50, 0);
        silence.replied(130, false, 0, WINDOW);
        assert_eq!(silence.longest_ns(), 30);
        silence.replied(500, false, 0, WINDOW);
        assert_eq!(silence.longest_ns(), 30);
        silence.reply_owed(600, 0);
        silence.ended(800, 40, WINDOW);
        assert_eq!(silence.longest_ns(), 160);
    }
}
