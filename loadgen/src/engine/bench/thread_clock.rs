//! The run's clock as one load thread reads it. It detects the pauses of the thread.

use std::mem;

use crate::engine::{
    clock::Clock,
    pauses::{PAUSE_NS_MIN, Pause, Pauses},
    window::Window,
};

const NEVER: u64 = u64::MAX;

/// The run's clock as one load thread reads it.
#[derive(Debug)]
pub(super) struct ThreadClock {
    clock: Clock,
    /// The last reading.
    now_ns: u64,
    /// When the thread's last wait ended.
    woken_ns: u64,
    /// When the thread asked to run again. A later reading by [`PAUSE_NS_MIN`] means that the thread was paused.
    run_by_ns: u64,
    /// The pauses since the window began.
    pauses: Pauses,
    /// The sum of all pauses, also of those before the window.
    paused_ns: u64,
}

impl ThreadClock {
    pub(super) fn new(clock: Clock) -> Self {
        let now_ns = clock.now_ns();
        Self { clock, now_ns, woken_ns: 0, run_by_ns: NEVER, pauses: Pauses::default(), paused_ns: 0 }
    }

    /// Reads the clock. Returns a pause if the thread was paused since the last reading.
    #[inline]
    pub(super) fn read(&mut self) -> Option<Pause> {
        self.now_ns = self.clock.now_ns();
        let from_ns = mem::replace(&mut self.run_by_ns, self.now_ns);
        let is_paused = self.now_ns.saturating_sub(from_ns) >= PAUSE_NS_MIN;
        is_paused.then_some(Pause { from_ns, to_ns: self.now_ns })
    }

    #[cold]
    pub(super) fn note_pause(&mut self, pause: Pause, window: Window) {
        self.paused_ns += pause.length_ns();
        self.pauses.note(pause, window);
    }

    #[inline]
    pub(super) fn wait_begins(&mut self, wait_ns: Option<u64>) {
        self.run_by_ns = wait_ns.map_or(NEVER, |wait_ns| self.now_ns + wait_ns);
    }

    #[inline]
    pub(super) fn wait_ended(&mut self) {
        self.woken_ns = self.now_ns;
    }

    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    #[inline]
    pub(super) fn woken_ns(&self) -> u64 {
        self.woken_ns
    }

    #[inline]
    pub(super) fn paused_ns(&self) -> u64 {
        self.paused_ns
    }

    #[inline]
    pub(super) fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    pub(super) fn into_pauses(self) -> Pauses {
        self.pauses
    }
}
