//! The part of a recording that belongs to some of the requests: those of a stage, or of another division of the load.

use crate::engine::{
    failure::{Failure, FailureCounts},
    latency::Latency,
};

/// The outcomes of some of the requests that were due in the window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slice {
    /// From the moment a request was due to its complete reply.
    pub response: Latency,
    /// The requests.
    pub counts: SliceCounts,
    /// Failures of these requests, and of connections.
    pub failures: FailureCounts,
}

/// Counters of the requests of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceCounts {
    /// With a complete and expected reply.
    pub completed: u64,
    /// Begun and failed.
    pub failed: u64,
    /// Outstanding when the run ended, before their timeout.
    pub cut_off: u64,
    /// Never written.
    pub unsent: u64,
    /// Replies that were complete inside the window. A division by time counts a reply where it arrives.
    pub replies_in_window: u64,
    /// The shortest time from due to the end of the wait, over all requests without a reply; `u64::MAX` without such
    /// requests.
    pub given_up_after_ns_min: u64,
}

impl Slice {
    /// A request has got its reply.
    #[inline]
    pub(crate) fn completed(&mut self, response_ns: u64) {
        self.counts.completed += 1;
        self.response.record(response_ns);
    }

    /// A request has failed. `waited_ns` is the time since it was due.
    pub(crate) fn failed(&mut self, waited_ns: u64) {
        self.counts.failed += 1;
        self.counts.give_up(waited_ns);
    }

    /// The end of the run has cut off a request. `waited_ns` is the time since it was due.
    pub(crate) fn cut_off(&mut self, waited_ns: u64) {
        self.counts.cut_off += 1;
        self.counts.give_up(waited_ns);
    }

    /// `count` requests were never sent. The last of them was due `waited_ns` ago.
    pub(crate) fn unsent(&mut self, count: u64, waited_ns: u64) {
        if count > 0 {
            self.counts.unsent += count;
            self.counts.give_up(waited_ns);
            self.failures.add(Failure::Unsent, count);
        }
    }

    /// Adds another slice of the same requests.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.response.merge(&other.response);
        self.failures.merge(&other.failures);
        let (counts, others) = (&mut self.counts, &other.counts);
        counts.completed += others.completed;
        counts.failed += others.failed;
        counts.cut_off += others.cut_off;
        counts.unsent += others.unsent;
        counts.replies_in_window += others.replies_in_window;
        counts.give_up(others.given_up_after_ns_min);
    }

    /// Empties the slice and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.response.clear();
        self.counts = SliceCounts::default();
        self.failures = FailureCounts::default();
    }
}

impl SliceCounts {
    /// The requests that were due, as far as they have begun or are known as unsent.
    pub(crate) fn due(&self) -> u64 {
        self.completed + self.unanswered()
    }

    /// The requests that got no reply: failed, cut off, or never sent.
    pub(crate) fn unanswered(&self) -> u64 {
        self.failed + self.cut_off + self.unsent
    }

    fn give_up(&mut self, waited_ns: u64) {
        self.given_up_after_ns_min = self.given_up_after_ns_min.min(waited_ns);
    }
}

impl Default for SliceCounts {
    fn default() -> Self {
        Self {
            completed: 0,
            failed: 0,
            cut_off: 0,
            unsent: 0,
            replies_in_window: 0,
            given_up_after_ns_min: u64::MAX,
        }
    }
}

/// Adds slices one by one. The shorter list grows.
pub(crate) fn merge(slices: &mut Vec<Slice>, others: &[Slice]) {
    if slices.len() < others.len() {
        slices.resize_with(others.len(), Slice::default);
    }
    for (slice, other) in slices.iter_mut().zip(others) {
        slice.merge(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_added_one_by_one_and_a_cleared_slice_is_empty() {
        let mut slices = vec![Slice::default()];
        slices[0].completed(1_000);
        let mut others = vec![Slice::default(), Slice::default()];
        others[0].failed(500);
        others[1].unsent(3, 200);
        others[1].cut_off(100);
        merge(&mut slices, &others);
        let [first, second] = [&slices[0].counts, &slices[1].counts];
        assert_eq!((first.due(), first.unanswered(), first.given_up_after_ns_min), (2, 1, 500));
        assert_eq!((second.due(), second.unsent, second.given_up_after_ns_min), (4, 3, 100));
        assert_eq!(slices[1].failures.get(Failure::Unsent), 3);
        slices[0].clear();
        assert_eq!((slices[0].response.histogram().len(), slices[0].counts), (0, SliceCounts::default()));
    }
}
