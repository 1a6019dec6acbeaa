//! Makes the numbers of a report from histograms. Pure.

mod bars;
#[cfg(test)]
mod exact;
mod hdr;
mod quantile;

use hdrhistogram::Histogram;

use self::quantile::clamp;
#[cfg(test)]
pub(crate) use self::quantile::percentile;
pub(crate) use self::{
    bars::bars,
    hdr::{deserialise, serialise, sum},
    quantile::{Quantile, SAMPLES_BEYOND, Unanswered, max, quantile_of, samples_needed},
};
use crate::{
    engine::{failure::Failure, latency::Latency as Samples, slice::Slice},
    result::{FailedTail, Interval, Latency, Outcomes, Report},
};

/// The report's numbers of a distribution of completed requests.
pub(crate) fn latency(samples: &Samples) -> Latency {
    distribution(samples.histogram(), Unanswered::default())
}

/// The report's numbers of a distribution with unanswered requests behind the times.
pub(crate) fn distribution(times: &Histogram<u64>, unanswered: Unanswered) -> Latency {
    let is_known = !times.is_empty() && unanswered.count == 0;
    let mut percentiles = Percentiles::new(times, unanswered);
    Latency {
        count: times.len().saturating_add(unanswered.count),
        min: (!times.is_empty()).then(|| times.min()),
        mean: is_known.then(|| times.mean()),
        stdev: is_known.then(|| times.stdev()),
        p50: percentiles.get("p50", 500_000),
        p90: percentiles.get("p90", 900_000),
        p99: percentiles.get("p99", 990_000),
        p99_9: percentiles.get("p99_9", 999_000),
        p99_99: percentiles.get("p99_99", 999_900),
        max: percentiles.get("max", 1_000_000),
        hdr: serialise(times),
        failed_tail: percentiles.failed_tail(),
    }
}

/// The outcomes of some of the requests, which were due in a time of this length.
pub(crate) fn outcomes(slice: &Slice, length_s: f64) -> Outcomes {
    let counts = &slice.counts;
    let kinds = Failure::ALL.iter().map(|(kind, name, _)| ((*name).to_owned(), slice.failures.get(*kind)));
    let unanswered = Unanswered { count: counts.unanswered(), waited_ns_min: counts.given_up_after_ns_min };
    Outcomes {
        achieved_per_s: if length_s > 0.0 { counts.replies_in_window as f64 / length_s } else { 0.0 },
        due: counts.due(),
        completed: counts.completed,
        failed: counts.failed + counts.unsent,
        unsent: counts.unsent,
        cut_off: counts.cut_off,
        errors: kinds.filter(|(_, count)| *count > 0).collect(),
        response_ns: distribution(slice.response.histogram(), unanswered),
    }
}

/// A part of the window: the response times of requests that got their reply in it, and the requests that failed in it.
/// `achieved_per_s` are its replies per second.
pub(crate) fn interval(
    t_s: f64,
    achieved_per_s: f64,
    response: &Histogram<u64>,
    unanswered: Unanswered,
) -> Interval {
    let mut percentiles = Percentiles::new(response, unanswered);
    Interval {
        t_s,
        completed: response.len(),
        failed: unanswered.count,
        achieved_per_s,
        p50: percentiles.get("p50", 500_000),
        p90: percentiles.get("p90", 900_000),
        p99: percentiles.get("p99", 990_000),
        p99_9: percentiles.get("p99_9", 999_000),
        max: percentiles.get("max", 1_000_000),
        hdr: serialise(response),
        failed_tail: percentiles.failed_tail(),
    }
}

/// The tail of a run in the form of an interval without a rate: the requests of the window with an outcome after it. Its times
/// are those that are in no interval; if an interval lacks its times, so does the tail. None in an older result, which has its
/// tail in the last interval.
pub(crate) fn tail(report: &Report) -> Option<Interval> {
    if report.requests.due == 0 || report.intervals.is_empty() {
        return None;
    }
    let longer_than_ns = report.latency_ns.response.failed_tail.as_ref().map(|tail| tail.longer_than_ns);
    // Only the end of the run cuts off a request.
    let unanswered = Unanswered {
        count: report.tail.failed.saturating_add(report.requests.cut_off),
        waited_ns_min: longer_than_ns.unwrap_or_default(),
    };
    let none = Samples::default().histogram().clone();
    let times = times_of_tail(report).filter(|times| times.len() == report.tail.completed);
    let tail = match &times {
        Some(times) => interval(report.elapsed_s, 0.0, times, unanswered),
        None => Interval { hdr: String::new(), ..interval(report.elapsed_s, 0.0, &none, unanswered) },
    };
    Some(Interval { completed: report.tail.completed, failed: report.tail.failed, ..tail })
}

fn times_of_tail(report: &Report) -> Option<Histogram<u64>> {
    let mut times = deserialise(&report.latency_ns.of_completed().hdr)?;
    times.subtract(sum(report.intervals.iter().map(|interval| interval.hdr.as_str()))?).ok()?;
    Some(times)
}

/// Reads percentiles, and keeps the names of those that fall among the unanswered requests.
struct Percentiles<'a> {
    times: &'a Histogram<u64>,
    unanswered: Unanswered,
    failed: Vec<String>,
}

impl<'a> Percentiles<'a> {
    fn new(times: &'a Histogram<u64>, unanswered: Unanswered) -> Self {
        Self { times, unanswered, failed: Vec::new() }
    }

    fn get(&mut self, name: &str, per_million: u64) -> Option<u64> {
        match quantile_of(self.times, self.unanswered, per_million) {
            Quantile::Time(time_ns) => Some(time_ns),
            Quantile::Withheld => None,
            Quantile::Unanswered => {
                self.failed.push(name.to_owned());
                None
            }
        }
    }

    fn failed_tail(self) -> Option<FailedTail> {
        let Unanswered { count, waited_ns_min } = self.unanswered;
        (count > 0).then(|| FailedTail {
            count,
            longer_than_ns: max(self.times).unwrap_or(0).max(clamp(waited_ns_min)),
            percentiles: self.failed,
        })
    }
}

/// The number of replies per client, as a serialised histogram with one sample per client.
pub(crate) fn replies(clients: impl Iterator<Item = u64>) -> String {
    serialise(Samples::from_iter(clients).histogram())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_reply_is_slower_than_every_other() {
        let times = Samples::from_iter((1..=9_990).map(|number| number * 1_000));
        let unanswered = Unanswered { count: 10, waited_ns_min: 500_000_000 };
        let of = |per_million| quantile_of(times.histogram(), unanswered, per_million);
        assert!(matches!(of(500_000), Quantile::Time(time_ns) if time_ns.abs_diff(5_000_000) < 5_000));
        assert!(matches!(of(999_000), Quantile::Time(time_ns) if time_ns.abs_diff(9_990_000) < 10_000));
        // Too few samples for a time, and enough failures to know that the percentile falls among them.
        assert_eq!([of(999_001), of(1_000_000)], [Quantile::Unanswered; 2]);
        let fewer = Unanswered { count: 9, ..unanswered };
        assert_eq!(quantile_of(times.histogram(), fewer, 999_900), Quantile::Withheld);
        let latency = distribution(times.histogram(), unanswered);
        assert_eq!((latency.count, latency.mean, latency.max), (10_000, None, None));
        let tail = latency.failed_tail.unwrap();
        assert_eq!((tail.count, tail.longer_than_ns), (10, 500_000_000));
        assert_eq!(tail.percentiles, ["p99_99", "max"]);
        // With one more failure, the percentile falls among them.
        let more = Unanswered { count: 11, waited_ns_min: 1 };
        let latency = distribution(times.histogram(), more);
        assert_eq!(latency.p99_9, None);
        let tail = latency.failed_tail.unwrap();
        assert_eq!(tail.percentiles, ["p99_9", "p99_99", "max"]);
        // Some requests failed early. By definition, they are slower than the slowest reply.
        assert!(tail.longer_than_ns.abs_diff(9_990_000) < 10_000);
    }

    #[test]
    fn the_outcomes_of_a_slice_name_the_failures_that_it_has() {
        let mut slice = Slice::default();
        (0..4).for_each(|_| slice.completed(1_000));
        slice.counts.replies_in_window = 4;
        (slice.counts.failed, slice.counts.unsent, slice.counts.cut_off) = (2, 3, 5);
        slice.failures.add(Failure::Timeout, 2);
        slice.failures.add(Failure::Unsent, 3);
        let seen = outcomes(&slice, 2.0);
        assert_eq!((seen.due, seen.completed, seen.failed, seen.achieved_per_s), (14, 4, 5, 2.0));
        let errors: Vec<_> = seen.errors.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(errors, [("timeout", 2), ("unsent", 3)]);
        assert_eq!((seen.response_ns.count, outcomes(&slice, 0.0).achieved_per_s), (14, 0.0));
    }

    #[test]
    fn the_serialised_histogram_holds_every_sample() {
        let samples = Samples::from_iter((1..=1000).map(|number| number * 1_000));
        let summary = latency(&samples);
        assert_eq!(deserialise(&summary.hdr).as_ref(), Some(samples.histogram()));
        assert_eq!((summary.count, summary.min), (1000, Some(1_000)));
        assert!((summary.mean.unwrap() - 500_500.0).abs() < 500.0);
    }

    #[test]
    fn without_samples_every_number_is_none() {
        let summary = latency(&Samples::from_iter([]));
        assert_eq!((summary.min, summary.mean, summary.p50, summary.max), (None, None, None, None));
        assert!(bars(Samples::from_iter([]).histogram()).is_empty());
    }
}
