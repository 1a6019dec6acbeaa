//! Gathers the recordings of the load threads.
//!
//! To add a recording to the sum, and to store it, takes about a millisecond of CPU time. On a CPU that also sends the load, requests
//! would be late by that much. So the thread that gathers runs only while a CPU has nothing else to do: one of the load, or one of a
//! server that loadgen has started.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use common::units::nanoseconds;

use crate::{
    engine::{
        clock::Clock, control::Control, failure::FailureCounts, notice::Notice, recording::Recording,
        scheduling, window::Window,
    },
    live::progress::Progress,
    result::{Aborted, Interval, precision::Goal, tally::Tally, watch::Watch},
    subject::cpus,
};

/// The longest time between two updates of the progress, and two checks of the server.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// An interval waits at most this long for idle time. An interval takes at least 50 ms, so this also bounds the memory of recordings that
/// wait.
const DELAY_MAX: Duration = Duration::from_millis(200);

/// What is needed to gather the notices of the load threads.
pub(super) struct Gathering<'a> {
    pub notices: &'a mut Receiver<Notice>,
    /// Channels that give empty recordings back to the threads.
    pub recycling: &'a mut Vec<Sender<Box<Recording>>>,
    pub clock: Clock,
    pub control: Arc<Control>,
    pub window: Window,
    pub watch: Watch,
    pub goal: Goal,
    pub tally: &'a mut Tally,
    pub progress: &'a mut dyn Progress,
    pub gathered: Arc<Gathered>,
    /// The CPUs whose idle time can be used. None: those of the load.
    pub cpus: Option<Vec<usize>>,
}

/// The CPU time of the thread that gathers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// What other threads leave.
    OfIdleTime,
    /// As that of any other thread.
    InTurn,
}

/// Why a thread has stopped to gather.
pub(super) enum Returned<'a> {
    /// All load threads have ended.
    LoadIsOver,
    /// It was too late. Another thread has to go on.
    HandedOver(Box<Gathering<'a>>),
}

/// How far the thread that gathers has come.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The number of intervals that all threads have reported.
    intervals: AtomicU64,
    /// Whether the thread has to hand over.
    must_hand_over: AtomicBool,
}

impl Gathered {
    /// Tells the thread to hand over if an interval has waited too long.
    pub(super) fn hand_over_if_late(&self, now_ns: u64, window: Window, interval_ns: u64) {
        if is_late(self.intervals.load(Ordering::Relaxed), now_ns, window, interval_ns) {
            self.must_hand_over.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether the first interval that is not gathered yet should be.
fn is_late(gathered: u64, now_ns: u64, window: Window, interval_ns: u64) -> bool {
    let end_of = |intervals: u64| window.start_ns.saturating_add(interval_ns.saturating_mul(intervals));
    let are_all_gathered = end_of(gathered) >= window.end_ns;
    let delay_ns = nanoseconds(DELAY_MAX);
    !are_all_gathered && now_ns > end_of(gathered + 1).min(window.end_ns).saturating_add(delay_ns)
}

impl<'a> Gathering<'a> {
    /// Starts a thread that gathers, and that says why at its end: the load is over, or it has to hand over.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn spawn<'scope>(
        mut self,
        scope: &'scope thread::Scope<'scope, '_>,
        share: Share,
    ) -> io::Result<Receiver<Returned<'a>>>
    where
        'a: 'scope,
    {
        let (sender, returned) = mpsc::channel();
        thread::Builder::new().name("gather".to_owned()).spawn_scoped(scope, move || {
            // Where the kernel does not allow it, this thread has its share of the CPU as any other.
            let may_hand_over = share == Share::OfIdleTime && scheduling::run_in_idle_time().is_ok();
            if may_hand_over && let Some(cpus) = &self.cpus {
                // If this fails, the CPUs of the load have idle time, too.
                let _stays = cpus::keep_to(cpus);
            }
            let outcome = match self.gather(may_hand_over) {
                true => Returned::LoadIsOver,
                false => Returned::HandedOver(Box::new(self)),
            };
            let _is_awaited = sender.send(outcome);
        })?;
        Ok(returned)
    }

    /// Gathers until the load is over (true), or until it has to hand over (false).
    fn gather(&mut self, may_hand_over: bool) -> bool {
        loop {
            if may_hand_over && self.gathered.must_hand_over.load(Ordering::Relaxed) {
                return false;
            }
            if let Some(stop_ns) = self.control.stop_ns() {
                self.window = self.window.ending_by(stop_ns);
            }
            self.progress.tick(self.clock.now_ns(), self.window);
            match self.notices.recv_timeout(TICK) {
                Ok(notice) => self.add(notice),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
            }
            let aborted = self.show_finished_intervals();
            let is_reached = self.goal.is_reached(self.tally.blocks());
            // An end that has already come, or been ordered, needs no condition.
            if self.clock.now_ns() >= self.window.end_ns || self.control.stop_ns().is_some() {
                continue;
            }
            if let Some(aborted) = aborted {
                self.control.stop(self.clock.now_ns());
                self.progress.say(&format!("the load ends early: {}", aborted.message));
                self.tally.set_aborted(aborted);
            } else if is_reached {
                self.control.stop(self.clock.now_ns());
                self.progress.say("the load ends: the precision of --until is reached");
            }
        }
    }

    fn add(&mut self, notice: Notice) {
        match notice {
            Notice::Interval { index, end_ns, recording } => {
                self.tally.add_interval(index, end_ns, &recording);
                self.recycle(recording);
            }
            Notice::Ended(ended) => self.tally.add_ended(*ended),
            // Further replies would be wrong too. The report describes the first one.
            Notice::WrongProtocol => self.control.stop(self.clock.now_ns()),
            // A slow thread: the load began without some of its clients.
            Notice::Ready(_) => {}
        }
    }

    /// Gives a recording back for reuse, to the threads in turn.
    fn recycle(&mut self, mut recording: Box<Recording>) {
        recording.clear();
        if let Some(next) = self.recycling.pop() {
            let _ended = next.send(recording);
            self.recycling.insert(0, next);
        }
    }

    /// Shows the intervals that all threads have reported since the last call. Returns the first condition that they meet.
    fn show_finished_intervals(&mut self) -> Option<Aborted> {
        let finished: Vec<(Interval, FailureCounts)> = self.tally.finished_intervals();
        let mut aborted = None;
        for (interval, failures) in &finished {
            self.progress.interval(interval, failures);
            aborted = aborted.or(self.watch.interval(interval, failures));
        }
        if !finished.is_empty() {
            self.gathered.intervals.fetch_add(finished.len() as u64, Ordering::Relaxed);
            self.progress.total(self.tally.total());
        }
        aborted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const WINDOW: Window = Window { start_ns: SECOND_NS, end_ns: 10 * SECOND_NS + 500_000_000 };

    #[test]
    fn an_interval_waits_for_a_short_time() {
        let is_late = |gathered, now_ns| is_late(gathered, now_ns, WINDOW, SECOND_NS);
        assert!(!is_late(0, 0));
        let latest_ns = 2 * SECOND_NS + nanoseconds(DELAY_MAX);
        assert!(!is_late(0, latest_ns));
        assert!(is_late(0, latest_ns + 1));
        assert!(!is_late(1, latest_ns + 1));
        // The last interval is shorter.
        assert!(!is_late(9, WINDOW.end_ns + nanoseconds(DELAY_MAX)));
        assert!(is_late(9, WINDOW.end_ns + nanoseconds(DELAY_MAX) + 1));
        // Then the threads only await replies.
        assert!(!is_late(10, WINDOW.end_ns + 60 * SECOND_NS));
    }

    #[test]
    fn nothing_is_late_in_a_run_with_one_endless_interval() {
        let endless = Window { start_ns: SECOND_NS, end_ns: u64::MAX };
        assert!(!is_late(0, u64::MAX - 1, endless, u64::MAX));
        assert!(!is_late(0, u64::MAX - 1, Window::NEVER, SECOND_NS));
    }
}
