//! What one load thread saw in one interval: histograms and counters, and how they are merged.

use hdrhistogram::Histogram;

use crate::failure::FailureCounts;

/// The shortest time that a histogram tells apart, in nanoseconds.
pub const LATENCY_NS_MIN: u64 = 1;
/// The longest time that a histogram holds, in nanoseconds: one hour. What is longer is counted there.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// A histogram's precision: three significant digits, so an error of at most 0.1%.
const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of times in nanoseconds that drops no sample.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    clamped: u64,
}

impl Latency {
    /// Counts one time. What exceeds [`LATENCY_NS_MAX`] is counted at that end and as clamped.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        if latency_ns > LATENCY_NS_MAX {
            self.clamped += 1;
        }
        self.histogram.saturating_record(latency_ns);
    }

    /// The samples.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// How many samples were longer than [`LATENCY_NS_MAX`].
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    /// Adds another histogram's samples.
    pub fn merge(&mut self, other: &Self) {
        // Adding walks through every bucket, and some histograms of a run stay empty.
        if other.histogram.is_empty() {
            return;
        }
        self.clamped += other.clamped;
        self.histogram.add(&other.histogram).expect("both have the same bounds, which are constants");
    }

    fn clear(&mut self) {
        self.clamped = 0;
        // An empty one need not be wiped: the lag of a closed loop, the connects of a quiet interval.
        if !self.histogram.is_empty() {
            self.histogram.reset();
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the histogram supports");
        Self { histogram, clamped: 0 }
    }
}

/// Counters of requests. What "of the window" means: the request was *due* in the measured window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of the window whose reply was complete and as expected.
    pub completed: u64,
    /// Requests of the window that were written, at least in part, and failed.
    pub failed: u64,
    /// Requests of the window that were never written.
    pub unsent: u64,
    /// Replies that were complete inside the window, whenever their requests were due.
    pub replies_in_window: u64,
    /// Completed requests of the window whose reply's rest came as much later than its first part as a delayed
    /// acknowledgement takes.
    pub delayed_rests: u64,
    /// Connections that a failure took, over the whole run.
    pub connections_lost: u64,
    /// Bytes of the failed requests that were written.
    pub failed_bytes_sent: u64,
    /// Bytes of the failed requests' replies that were received.
    pub failed_bytes_received: u64,
}

impl Counts {
    fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.unsent += other.unsent;
        self.replies_in_window += other.replies_in_window;
        self.delayed_rests += other.delayed_rests;
        self.connections_lost += other.connections_lost;
        self.failed_bytes_sent += other.failed_bytes_sent;
        self.failed_bytes_received += other.failed_bytes_received;
    }
}

/// What one load thread saw in one interval, or several of these merged.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// From the moment a request of the window was due to its complete reply.
    pub response: Latency,
    /// From the moment a request of the window was written to its complete reply.
    pub service: Latency,
    /// How late the generator itself wrote a request of the window; open loop only.
    pub schedule_lag: Latency,
    /// From the moment a request of the window was due to the moment it was written.
    pub due_to_written: Latency,
    /// From the moment a request of the window was written to the moment the kernel had its reply ready. Only where the
    /// kernel was asked, and only of replies whose last read held nothing of others.
    pub written_to_ready: Latency,
    /// From then to the moment it was read.
    pub ready_to_read: Latency,
    /// How long connections took to be established, over the whole run.
    pub connect: Latency,
    /// The requests.
    pub counts: Counts,
    /// The failures, over the whole run.
    pub failures: FailureCounts,
}

impl Recording {
    /// Adds what another recording saw.
    pub fn merge(&mut self, other: &Self) {
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.schedule_lag.merge(&other.schedule_lag);
        self.due_to_written.merge(&other.due_to_written);
        self.written_to_ready.merge(&other.written_to_ready);
        self.ready_to_read.merge(&other.ready_to_read);
        self.connect.merge(&other.connect);
        self.counts.merge(&other.counts);
        self.failures.merge(&other.failures);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.response.clear();
        self.service.clear();
        self.schedule_lag.clear();
        self.due_to_written.clear();
        self.written_to_ready.clear();
        self.ready_to_read.clear();
        self.connect.clear();
        self.counts = Counts::default();
        self.failures = FailureCounts::default();
    }

    /// How many samples were longer than the histograms hold.
    pub fn clamped(&self) -> u64 {
        self.response.clamped()
            + self.service.clamped()
            + self.schedule_lag.clamped()
            + self.connect.clamped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_range_is_counted_at_its_end() {
        let mut latency = Latency::default();
        latency.record(0);
        latency.record(LATENCY_NS_MAX);
        latency.record(u64::MAX);
        assert_eq!((latency.histogram().len(), latency.clamped()), (3, 1));
    }

    #[test]
    fn a_merge_adds_every_sample_and_a_cleared_recording_is_new() {
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
