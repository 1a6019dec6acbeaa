//! The published values of a run: plain data.

use hdrhistogram::Histogram;

use crate::engine::{
    failure::FailureCounts,
    latency::{LATENCY_NS_MAX, Latency},
    recording::{Counts, Recording},
    window::Window,
};

/// The upper bounds of the buckets in nanoseconds, inclusive: six per decade from 10 us to 10 s. So an interpolated quantile
/// is wrong by less than two thirds. One more bucket holds longer times.
pub(super) const BOUNDS_NS: [u64; 37] = [
    10_000,
    15_000,
    20_000,
    30_000,
    50_000,
    70_000,
    100_000,
    150_000,
    200_000,
    300_000,
    500_000,
    700_000,
    1_000_000,
    1_500_000,
    2_000_000,
    3_000_000,
    5_000_000,
    7_000_000,
    10_000_000,
    15_000_000,
    20_000_000,
    30_000_000,
    50_000_000,
    70_000_000,
    100_000_000,
    150_000_000,
    200_000_000,
    300_000_000,
    500_000_000,
    700_000_000,
    1_000_000_000,
    1_500_000_000,
    2_000_000_000,
    3_000_000_000,
    5_000_000_000,
    7_000_000_000,
    10_000_000_000,
];

/// The published values.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// The current phase.
    pub(super) phase: Phase,
    /// The sums up to the end of the last interval.
    pub(super) totals: Totals,
}

/// The phase of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// loadgen waits for the server, or the clients connect.
    #[default]
    Connecting,
    /// The load before the measured window.
    WarmUp,
    /// The measured window.
    Measuring,
    /// The wait for replies after the window.
    Grace,
    /// The load has ended.
    Ended,
}

/// The sums so far. They never decrease.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// The counts of requests.
    pub(super) counts: Counts,
    /// The failures of the whole run.
    pub(super) failures: FailureCounts,
    /// See [`Recording::response`]. Requests without a reply are in the last bucket, and not in the sum.
    pub(super) response: Distribution,
    /// See [`Recording::service`].
    pub(super) service: Distribution,
    /// See [`Recording::schedule_lag`].
    pub(super) schedule_lag: Distribution,
    /// See [`Recording::connect`].
    pub(super) connect: Distribution,
    /// See [`Recording::handshake`].
    pub(super) handshake: Distribution,
}

/// A histogram in the buckets of [`BOUNDS_NS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Distribution {
    /// The samples of each bucket, not cumulative. The last bucket holds times above all bounds.
    pub(super) counts: [u64; BOUNDS_NS.len() + 1],
    /// The sum of all samples, within the precision of the histogram. An integer, so that rounding cannot decrease it.
    pub(super) sum_ns: u128,
}

impl Phase {
    /// Every phase in order, with its name.
    pub(super) const ALL: [(Phase, &'static str); 5] = [
        (Phase::Connecting, "connecting"),
        (Phase::WarmUp, "warm_up"),
        (Phase::Measuring, "measuring"),
        (Phase::Grace, "grace"),
        (Phase::Ended, "ended"),
    ];

    /// The phase of a load that has begun.
    pub(super) fn at(now_ns: u64, window: Window) -> Self {
        if now_ns < window.start_ns {
            Phase::WarmUp
        } else if now_ns < window.end_ns {
            Phase::Measuring
        } else {
            Phase::Grace
        }
    }
}

impl Totals {
    /// The sums of a recording.
    pub(super) fn of(recording: &Recording) -> Self {
        let distribution = |latency: &Latency| Distribution::of(latency.histogram());
        let mut failures = recording.failures;
        failures.merge(&recording.failures_before_window);
        let mut response = distribution(&recording.response);
        // A request without a reply counts as slower than all others.
        response.counts[BOUNDS_NS.len()] += recording.counts.unanswered();
        Self {
            counts: recording.counts,
            failures,
            response,
            service: distribution(&recording.service),
            schedule_lag: distribution(&recording.schedule_lag),
            connect: distribution(&recording.connect),
            handshake: distribution(&recording.handshake),
        }
    }
}

impl Distribution {
    /// The samples of a histogram. Times that the histogram does not distinguish are in the bucket of the shortest one.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let mut distribution = Self::default();
        for step in histogram.iter_recorded() {
            let (time_ns, count) = (step.value_iterated_to(), step.count_at_value());
            let shortest_ns = histogram.lowest_equivalent(time_ns);
            distribution.counts[BOUNDS_NS.partition_point(|bound_ns| *bound_ns < shortest_ns)] += count;
            // The last step of a histogram may exceed its range.
            let middle_ns = histogram.median_equivalent(time_ns).min(LATENCY_NS_MAX);
            distribution.sum_ns += u128::from(middle_ns) * u128::from(count);
        }
        distribution
    }

    /// The number of samples.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self { counts: [0; BOUNDS_NS.len() + 1], sum_ns: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(times_ns: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        times_ns.into_iter().for_each(|time_ns| latency.record(time_ns));
        latency
    }

    /// Times from 1 ns to more than the longest bound, many in each decade, unsorted.
    fn many() -> impl Iterator<Item = u64> {
        (0..20_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 60))
    }

    #[test]
    fn the_bounds_rise_by_less_than_two_thirds_from_10_us_to_10_s() {
        assert_eq!((BOUNDS_NS[0], BOUNDS_NS[36]), (10_000, 10_000_000_000));
        for pair in BOUNDS_NS.windows(2) {
            assert!(pair[0] < pair[1] && pair[1] * 3 <= pair[0] * 5, "{pair:?}");
        }
    }

    #[test]
    fn a_sample_is_counted_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let last = BOUNDS_NS.len();
        for (time_ns, bucket) in [
            (0, 0),
            (1, 0),
            (9_999, 0),
            (10_000, 0),
            (10_016, 1),
            (15_000, 1),
            (15_020, 2),
            (99_000, 6),
            (100_000, 6),
            (101_000, 7),
            (1_000_000, 12),
            (10_000_000_000, last - 1),
            (10_020_000_000, last),
            (LATENCY_NS_MAX, last),
            (u64::MAX, last),
        ] {
            let counts = Distribution::of(latency([time_ns]).histogram()).counts;
            assert_eq!(counts.iter().position(|count| *count == 1), Some(bucket), "{time_ns}");
            assert_eq!(counts.iter().sum::<u64>(), 1, "{time_ns}");
        }
    }

    #[test]
    fn the_buckets_match_the_counts_of_the_histogram() {
        let latency = latency(many());
        let distribution = Distribution::of(latency.histogram());
        let mut cumulative = 0;
        for (bound_ns, count) in BOUNDS_NS.iter().zip(distribution.counts) {
            cumulative += count;
            assert_eq!(cumulative, latency.histogram().count_between(0, *bound_ns), "{bound_ns}");
        }
        assert_eq!(distribution.count(), 20_000);
    }

    #[test]
    fn the_sum_is_within_the_precision() {
        let exact: u128 = many().map(|time_ns| u128::from(time_ns.min(LATENCY_NS_MAX))).sum();
        let sum = Distribution::of(latency(many()).histogram()).sum_ns;
        assert!(exact.abs_diff(sum) <= exact / 1_000, "{sum} instead of {exact}");
    }

    #[test]
    fn an_empty_histogram_has_empty_buckets() {
        assert_eq!(Distribution::of(latency([]).histogram()), Distribution::default());
    }

    #[test]
    fn more_samples_never_decrease_a_bucket_or_the_sum() {
        let mut total = Recording::default();
        let mut before = Distribution::default();
        for part in many().collect::<Vec<_>>().chunks(500) {
            total.response.merge(&latency(part.iter().copied()));
            let now = Totals::of(&total).response;
            assert!(before.counts.iter().zip(now.counts).all(|(before, now)| *before <= now));
            assert!(before.sum_ns <= now.sum_ns);
            before = now;
        }
    }

    #[test]
    fn the_phase_follows_the_window() {
        let window = Window { start_ns: 10, end_ns: 20 };
        for (now_ns, phase) in [
            (0, Phase::WarmUp),
            (9, Phase::WarmUp),
            (10, Phase::Measuring),
            (19, Phase::Measuring),
            (20, Phase::Grace),
        ] {
            assert_eq!(Phase::at(now_ns, window), phase, "{now_ns}");
        }
        for (index, (phase, _)) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
        }
    }
}
