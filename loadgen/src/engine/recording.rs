//! The recording of one load thread and one interval: histograms and counters.

use crate::engine::{
    failure::FailureCounts,
    latency::Latency,
    slice::{self, Slice},
};

/// Counters of requests. A request is "of the window" if it was *due* in the measured window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests of the window with a complete and expected reply.
    pub completed: u64,
    /// Requests of the window that began and failed.
    pub failed: u64,
    /// Requests of the window that were outstanding when the run ended, before their timeout.
    pub cut_off: u64,
    /// Requests of the window that were never written.
    pub unsent: u64,
    /// Replies that were complete inside the window, whenever their requests were due.
    pub replies_in_window: u64,
    /// Requests of the window whose time from due to reply or failure includes a pause of their load thread.
    pub in_pauses: u64,
    /// The shortest time from due to the end of the wait, over all requests of the window without a reply; `u64::MAX` without
    /// such requests.
    pub given_up_after_ns_min: u64,
    /// Completed requests of the window with a reply in several parts, where the last part followed the first one after the
    /// time of a delayed acknowledgement.
    pub delayed_rests: u64,
    /// Connections that failed since the window began.
    pub connections_lost: u64,
    /// TLS handshakes that resumed a session, over the whole run.
    pub resumed_handshakes: u64,
    /// Bytes of the requests of the window that were written.
    pub bytes_sent: u64,
    /// Bytes of their replies that were received.
    pub bytes_received: u64,
}

impl Counts {
    /// Requests of the window that got no reply: failed, cut off, or never sent.
    pub(crate) fn unanswered(&self) -> u64 {
        self.failed + self.cut_off + self.unsent
    }

    /// The client gives up a request without a reply. `waited_ns` is the time since the request was due.
    pub(crate) fn give_up(&mut self, waited_ns: u64) {
        self.given_up_after_ns_min = self.given_up_after_ns_min.min(waited_ns);
    }

    fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.cut_off += other.cut_off;
        self.unsent += other.unsent;
        self.replies_in_window += other.replies_in_window;
        self.in_pauses += other.in_pauses;
        self.give_up(other.given_up_after_ns_min);
        self.delayed_rests += other.delayed_rests;
        self.connections_lost += other.connections_lost;
        self.resumed_handshakes += other.resumed_handshakes;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            completed: 0,
            failed: 0,
            cut_off: 0,
            unsent: 0,
            replies_in_window: 0,
            in_pauses: 0,
            given_up_after_ns_min: u64::MAX,
            delayed_rests: 0,
            connections_lost: 0,
            resumed_handshakes: 0,
            bytes_sent: 0,
            bytes_received: 0,
        }
    }
}

/// The recording of one load thread and one interval, or the sum of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    /// From the moment a request of the window was due to its complete reply.
    pub response: Latency,
    /// From the moment a request of the window was written to its complete reply.
    pub service: Latency,
    /// How late the generator itself wrote a request of the window; open loop only.
    pub schedule_lag: Latency,
    /// From the moment a request of the window was due to the moment it was written.
    pub due_to_written: Latency,
    /// From the moment a request of the window was written to the moment the kernel had its reply ready. Only with
    /// `--kernel-timestamps`, and only for replies that share no read with another reply.
    pub written_to_ready: Latency,
    /// From the moment a reply was ready to the moment it was read.
    pub ready_to_read: Latency,
    /// From the start of a connection attempt to the connection, over the whole run.
    pub connect: Latency,
    /// From the connection to the end of its TLS handshake, over the whole run.
    pub handshake: Latency,
    /// The requests.
    pub counts: Counts,
    /// Failures of requests of the window, and of connections since the window began.
    pub failures: FailureCounts,
    /// Failures before the window: of requests that were due before it, and of connections.
    pub failures_before_window: FailureCounts,
    /// The requests of the window once more, divided by the stage in which they were due. Empty without stages.
    pub stages: Vec<Slice>,
    /// The requests of the window once more, divided by their kind. Empty with one kind.
    pub kinds: Vec<Slice>,
}

impl Recording {
    /// An empty recording with room for these numbers of stages and of kinds of requests.
    pub(crate) fn with_slices(stages: usize, kinds: usize) -> Self {
        let slices = |count| vec![Slice::default(); count];
        Self { stages: slices(stages), kinds: slices(kinds), ..Self::default() }
    }

    /// Adds another recording.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.schedule_lag.merge(&other.schedule_lag);
        self.due_to_written.merge(&other.due_to_written);
        self.written_to_ready.merge(&other.written_to_ready);
        self.ready_to_read.merge(&other.ready_to_read);
        self.connect.merge(&other.connect);
        self.handshake.merge(&other.handshake);
        self.counts.merge(&other.counts);
        self.failures.merge(&other.failures);
        self.failures_before_window.merge(&other.failures_before_window);
        slice::merge(&mut self.stages, &other.stages);
        slice::merge(&mut self.kinds, &other.kinds);
    }

    /// Empties the recording and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.response.clear();
        self.service.clear();
        self.schedule_lag.clear();
        self.due_to_written.clear();
        self.written_to_ready.clear();
        self.ready_to_read.clear();
        self.connect.clear();
        self.handshake.clear();
        self.counts = Counts::default();
        self.failures = FailureCounts::default();
        self.failures_before_window = FailureCounts::default();
        self.stages.iter_mut().chain(&mut self.kinds).for_each(Slice::clear);
    }

    /// The number of samples over [`LATENCY_NS_MAX`].
    pub(crate) fn clamped(&self) -> u64 {
        self.response.clamped()
            + self.service.clamped()
            + self.schedule_lag.clamped()
            + self.connect.clamped()
            + self.handshake.clamped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_adds_every_sample_and_a_cleared_recording_is_empty() {
        let (mut one, mut other) = (Recording::default(), Recording::default());
        one.response.record(1_000);
        other.response.record(2_000);
        other.counts.completed = 3;
        one.merge(&other);
        assert_eq!((one.response.histogram().len(), one.counts.completed), (2, 3));
        one.clear();
        assert_eq!((one.response.histogram().len(), one.counts), (0, Counts::default()));
    }
}
