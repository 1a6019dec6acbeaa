//! Gathers the recordings of the load threads during a run.

mod kept;
mod report;
mod stages;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    mem,
    time::{SystemTime, UNIX_EPOCH},
};

use common::units::nanoseconds;

use self::kept::Kept;
use crate::{
    engine::{
        client::Served,
        failure::FailureCounts,
        notice::Ended,
        pauses::Pauses,
        probes::ThreadProbe,
        recording::Recording,
        tls::facts::TlsFacts,
        window::{Stall, Window},
    },
    load::plan::Plan,
    protocol::exchange::Mismatch,
    result::{
        Aborted, Interval, Tail,
        cost::Cost,
        counts::Counts,
        precision::Blocks,
        summary::{self, Unanswered},
    },
};

/// The recordings of the load threads so far.
#[derive(Debug)]
pub(crate) struct Tally {
    threads: usize,
    window: Window,
    window_started_at_unix_us: u64,
    late_start_ns: u64,
    /// Since when the recordings are gathered in turn with the load.
    in_turn_since_ns: Option<u64>,
    interval_ns: u64,
    total: Recording,
    /// The intervals that some thread has not reported yet, from index `first_open` on.
    open: VecDeque<OpenInterval>,
    first_open: usize,
    /// The number of intervals of each thread that has ended.
    intervals_of_ended: Vec<usize>,
    intervals: Kept,
    blocks: Blocks,
    /// The recording of the time after the window, until the tally is closed.
    tail: Recording,
    after_window: Tail,
    clients: Vec<Served>,
    /// The time that the longest stalls of all threads have in common: all threads see a server that stands still.
    longest_stall: Option<Stall>,
    /// The usage of each load thread in its part of the window, and the length of that part in seconds.
    usages: Vec<(ThreadProbe, f64)>,
    client_retransmissions: u64,
    clock_step_ns: u64,
    window_ended_ns: u64,
    ended_ns: u64,
    /// The pauses of each load thread that has ended.
    pauses: Vec<Pauses>,
    /// The number of threads that had lost the server when their window ended.
    servers_gone: usize,
    /// When the last reply to any thread was complete.
    last_reply_ns: u64,
    mismatch: Option<Mismatch>,
    unexpected: Option<Mismatch>,
    aborted: Option<Aborted>,
    /// What the threads have learned of TLS.
    tls: TlsFacts,
    /// The resources used until the start and until the end of the window.
    cost: Option<(Cost, Cost)>,
}

#[derive(Debug, Default)]
struct OpenInterval {
    recording: Recording,
    end_ns: u64,
    /// The number of threads that have reported it.
    reported: usize,
}

impl Tally {
    /// An empty tally. Its histograms take megabytes, so it is made before the load begins. `clock_step_ns` is the smallest step of
    /// the run's own clock.
    pub(crate) fn new(plan: &Plan, clock_step_ns: u64) -> Self {
        Self {
            threads: plan.threads,
            window: Window::NEVER,
            window_started_at_unix_us: 0,
            late_start_ns: 0,
            in_turn_since_ns: None,
            interval_ns: nanoseconds(plan.measuring.interval),
            total: Recording::default(),
            open: VecDeque::new(),
            first_open: 0,
            intervals_of_ended: Vec::new(),
            intervals: Kept::new(kept::BYTES_MAX),
            blocks: Blocks::default(),
            tail: Recording::default(),
            after_window: Tail::default(),
            clients: Vec::new(),
            longest_stall: None,
            usages: Vec::new(),
            client_retransmissions: 0,
            clock_step_ns,
            window_ended_ns: 0,
            ended_ns: 0,
            pauses: Vec::new(),
            servers_gone: 0,
            last_reply_ns: 0,
            mismatch: None,
            unexpected: None,
            aborted: None,
            tls: TlsFacts::default(),
            cost: None,
        }
    }

    /// Adds the recording of one thread and one interval, which ended at `end_ns`.
    pub(crate) fn add_interval(&mut self, index: usize, end_ns: u64, recording: &Recording) {
        let place = index - self.first_open;
        if self.open.len() <= place {
            self.open.resize_with(place + 1, OpenInterval::default);
        }
        let open = &mut self.open[place];
        open.recording.merge(recording);
        open.end_ns = open.end_ns.max(end_ns);
        open.reported += 1;
    }

    /// Adds the last report of a thread.
    pub(crate) fn add_ended(&mut self, ended: Ended) {
        self.tail.merge(&ended.tail);
        self.intervals_of_ended.push(ended.intervals);
        self.clients.extend(ended.clients);
        let stall = ended.longest_stall;
        self.longest_stall = Some(self.longest_stall.map_or(stall, |known| known.common(stall)));
        let window_s = ended.window_ended_ns.saturating_sub(self.window.start_ns) as f64 / 1e9;
        self.usages.push((ended.usage, window_s));
        self.client_retransmissions += ended.retransmissions;
        self.window_ended_ns = self.window_ended_ns.max(ended.window_ended_ns);
        self.ended_ns = self.ended_ns.max(ended.ended_ns);
        self.pauses.push(ended.pauses);
        self.servers_gone += usize::from(ended.server_is_gone);
        self.last_reply_ns = self.last_reply_ns.max(ended.last_reply_ns);
        self.mismatch = self.mismatch.take().or(ended.mismatch);
        self.unexpected = self.unexpected.take().or(ended.unexpected);
        self.tls.merge(ended.tls);
    }

    /// The load begins, with this window, which starts at the wall-clock time `at`.
    pub(crate) fn begin(&mut self, window: Window, at: SystemTime) {
        self.window = window;
        self.window_ended_ns = window.start_ns;
        self.ended_ns = window.start_ns;
        let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.window_started_at_unix_us = since_1970.as_micros() as u64;
    }

    /// Sets how much later than planned the load began.
    pub(crate) fn set_late_start(&mut self, late_ns: u64) {
        self.late_start_ns = late_ns;
    }

    /// The response times of the finished intervals.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The CPUs leave no time to gather recordings. From now on that takes its share of the load's time.
    pub(crate) fn gathered_in_turn_from(&mut self, now_ns: u64) {
        self.in_turn_since_ns = Some(now_ns);
    }

    /// A condition has ended the load early.
    pub(crate) fn set_aborted(&mut self, aborted: Aborted) {
        self.aborted = Some(aborted);
    }

    /// Sets the resources used until the start and until the end of the window.
    pub(crate) fn set_cost(&mut self, before: Cost, after: Cost) {
        self.cost = Some((before, after));
    }

    /// Returns each interval once, as soon as every thread has reported it, with the failures in it.
    pub(crate) fn finished_intervals(&mut self) -> Vec<(Interval, FailureCounts)> {
        let mut finished = Vec::new();
        while let Some(open) = self.open.front() {
            let ended_before =
                self.intervals_of_ended.iter().filter(|intervals| **intervals <= self.first_open).count();
            if open.reported + ended_before < self.threads {
                break;
            }
            let Some(OpenInterval { recording, end_ns, .. }) = self.open.pop_front() else { break };
            let interval = self.interval(&recording, end_ns);
            self.total.merge(&recording);
            self.blocks.add(&Counts::of_latency(&recording.response), recording.counts.unanswered());
            self.first_open += 1;
            self.intervals.push(interval.clone());
            finished.push((interval, recording.failures));
        }
        finished
    }

    /// Every thread has ended: adds the tail to the total.
    pub(crate) fn close(&mut self) {
        self.finished_intervals();
        let counts = self.tail.counts;
        self.after_window = Tail {
            length_s: self.ended_ns.saturating_sub(self.window_ended_ns) as f64 / 1e9,
            completed: counts.completed,
            failed: counts.failed + counts.unsent,
        };
        self.total.merge(&mem::take(&mut self.tail));
    }

    /// The sum of all finished intervals. Of a closed tally: of the whole run.
    pub(crate) fn total(&self) -> &Recording {
        &self.total
    }

    fn interval(&self, recording: &Recording, end_ns: u64) -> Interval {
        let offset_ns = self.interval_ns.saturating_mul(self.first_open as u64);
        let length_ns = end_ns.saturating_sub(self.window.start_ns.saturating_add(offset_ns));
        let counts = &recording.counts;
        let achieved_per_s = per(counts.replies_in_window as f64, length_ns as f64 / 1e9).unwrap_or(0.0);
        let unanswered = Unanswered::of(counts);
        summary::interval(offset_ns as f64 / 1e9, achieved_per_s, recording.response.histogram(), unanswered)
    }
}

/// A quotient. None if the divisor is 0.
pub(crate) fn per(amount: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| amount / whole)
}
