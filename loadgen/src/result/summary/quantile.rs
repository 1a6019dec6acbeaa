//! Quantiles of times with unanswered requests behind them. Pure.

use hdrhistogram::Histogram;

use crate::{
    engine::{latency::LATENCY_NS_MAX, recording::Counts},
    result::{FailedTail, Interval, Outcomes, Report},
};

/// The samples that must lie beyond a percentile, so that a single outlier does not decide it.
pub(crate) const SAMPLES_BEYOND: u64 = 10;
/// A percentile in hundredths of a percent. None with too few samples.
#[cfg(test)]
pub(crate) fn percentile(histogram: &Histogram<u64>, per_10_000: u64) -> Option<u64> {
    match quantile_of(histogram, Unanswered::default(), per_10_000 * 100) {
        Quantile::Time(time_ns) => Some(time_ns),
        Quantile::Withheld | Quantile::Unanswered => None,
    }
}

/// The number of samples that a quantile in millionths needs. The maximum has no sample beyond it.
pub(crate) fn samples_needed(per_million: u64) -> u64 {
    match 1_000_000_u64.saturating_sub(per_million) {
        0 => u64::MAX,
        500_000.. => 1,
        beyond => (SAMPLES_BEYOND * 1_000_000).div_ceil(beyond),
    }
}

/// Requests without a reply, which are slower than every request with one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// Their number.
    pub count: u64,
    /// The shortest wait for one of them, in nanoseconds. Undefined without unanswered requests.
    pub waited_ns_min: u64,
}

/// A quantile of a distribution with unanswered requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantile {
    /// There are too few samples.
    Withheld,
    /// A time, in nanoseconds.
    Time(u64),
    /// It falls among the unanswered requests.
    Unanswered,
}

impl Unanswered {
    /// The unanswered requests of a recording.
    pub(crate) fn of(counts: &Counts) -> Self {
        Self { count: counts.unanswered(), waited_ns_min: counts.given_up_after_ns_min }
    }

    /// The unanswered requests of a result. An older result has only their count, and not in its distribution.
    pub(crate) fn of_report(report: &Report) -> Self {
        let counted = report.requests.failed.saturating_add(report.requests.cut_off);
        Self::of_tail(report.latency_ns.response.failed_tail.as_ref(), counted)
    }

    /// The unanswered requests of an interval.
    pub(crate) fn of_interval(interval: &Interval) -> Self {
        Self::of_tail(interval.failed_tail.as_ref(), interval.failed)
    }

    /// The unanswered requests of a part of the requests.
    pub(crate) fn of_outcomes(outcomes: &Outcomes) -> Self {
        let counted = outcomes.failed.saturating_add(outcomes.cut_off);
        Self::of_tail(outcomes.response_ns.failed_tail.as_ref(), counted)
    }

    fn of_tail(tail: Option<&FailedTail>, counted: u64) -> Self {
        tail.map_or(Self { count: counted, waited_ns_min: 0 }, |tail| Self {
            count: tail.count,
            waited_ns_min: tail.longer_than_ns,
        })
    }

    /// The sum of both.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self.count, other.count) {
            (0, _) => other,
            (_, 0) => self,
            _ => Self {
                count: self.count.saturating_add(other.count),
                waited_ns_min: self.waited_ns_min.min(other.waited_ns_min),
            },
        }
    }
}

/// A quantile of the samples with a time and the unanswered requests behind them. At least [`SAMPLES_BEYOND`] samples must lie
/// beyond it; the median needs only one sample. `per_million` is from 0 to 1,000,000, which is the maximum.
pub(crate) fn quantile_of(times: &Histogram<u64>, unanswered: Unanswered, per_million: u64) -> Quantile {
    let all = times.len().saturating_add(unanswered.count);
    let is_max = per_million >= 1_000_000;
    let rank = (u128::from(all) * u128::from(per_million.min(1_000_000))).div_ceil(1_000_000).max(1);
    let is_unanswered = unanswered.count > 0 && rank > u128::from(times.len());
    let is_enough = all > 0 && (is_max || all >= samples_needed(per_million));
    // Enough unanswered requests lie beyond the quantile, even if there are too few samples in total.
    if is_unanswered && (is_enough || unanswered.count >= SAMPLES_BEYOND) {
        return Quantile::Unanswered;
    }
    if !is_enough {
        return Quantile::Withheld;
    }
    if is_max {
        return Quantile::Time(clamp(times.max()));
    }
    let mut below = 0;
    let step = times.iter_recorded().find(|step| {
        below += u128::from(step.count_at_value());
        below >= rank
    });
    step.map_or(Quantile::Withheld, |step| Quantile::Time(clamp(step.value_iterated_to())))
}

/// The longest sample. None without a sample.
pub(crate) fn max(histogram: &Histogram<u64>) -> Option<u64> {
    (!histogram.is_empty()).then(|| clamp(histogram.max()))
}

/// A histogram's upper ends may exceed the range by its precision.
pub(super) fn clamp(value_ns: u64) -> u64 {
    value_ns.min(LATENCY_NS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::latency::Latency as Samples;

    #[test]
    fn a_percentile_needs_ten_samples_beyond_it() {
        for (count, per_10_000, is_known) in [
            (0, 5_000, false),
            (1, 5_000, true),
            (99, 9_000, false),
            (100, 9_000, true),
            (999, 9_900, false),
            (1_000, 9_900, true),
            (9_999, 9_990, false),
            (10_000, 9_990, true),
            (99_999, 9_999, false),
            (100_000, 9_999, true),
        ] {
            let samples = Samples::from_iter((0..count).map(|_| 5));
            assert_eq!(
                percentile(samples.histogram(), per_10_000).is_some(),
                is_known,
                "{count} {per_10_000}"
            );
        }
    }

    #[test]
    fn a_quantile_equals_that_of_a_sorted_list_with_the_failed_requests_at_its_end() {
        for (replied, failed) in [(1, 0), (1, 1), (7, 3), (100, 100), (0, 5), (5_000, 37)] {
            let times = Samples::from_iter((0..replied).map(|number| number % 1_000));
            let mut sorted: Vec<_> = (0..replied).map(|number| Some(number % 1_000)).collect();
            sorted.sort_unstable();
            sorted.extend((0..failed).map(|_| None));
            let unanswered = Unanswered { count: failed, waited_ns_min: 0 };
            for per_million in [1, 333_333, 500_000, 900_000, 990_000, 995_000, 1_000_000] {
                let all = sorted.len() as u64;
                let rank = (all * per_million).div_ceil(1_000_000).max(1);
                let is_enough = per_million == 1_000_000 || all >= samples_needed(per_million);
                let expected = match sorted[rank as usize - 1] {
                    Some(time_ns) if is_enough => Quantile::Time(time_ns),
                    None if is_enough || failed >= SAMPLES_BEYOND => Quantile::Unanswered,
                    _ => Quantile::Withheld,
                };
                let seen = quantile_of(times.histogram(), unanswered, per_million);
                assert_eq!(seen, expected, "{replied} {failed} {per_million}");
            }
        }
    }
}
