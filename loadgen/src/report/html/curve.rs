//! What the plots show, from the report's own histograms and intervals. Pure.

use hdrhistogram::Histogram;

use crate::{
    report::{Bar, Interval, Report},
    summary::SAMPLES_BEYOND,
};

/// Points that follow each other without a gap.
pub(super) type Segment = Vec<(f64, f64)>;

/// Points of a curve for each decade of its axis.
const POINTS_A_DECADE: f64 = 40.0;

/// The time, in nanoseconds, at each percentile p, which is given as 1/(1-p): 2 is the median, 100 the 99th. It ends
/// where fewer samples than [`SAMPLES_BEYOND`] lie beyond it, and not before the median, like
/// [`summary::percentile`]; so it is empty without a sample. A time is at least 1 ns, as logarithms have no zero.
pub(super) fn by_percentile(histogram: &Histogram<u64>) -> Segment {
    if histogram.is_empty() {
        return Vec::new();
    }
    let reach = (histogram.len() as f64 / SAMPLES_BEYOND as f64).max(2.0);
    let count = (reach.log10() * POINTS_A_DECADE).ceil();
    let even = (0..=count as u32).map(|index| reach.powf(f64::from(index) / count));
    // Those that the table names are on the curve, too.
    let named = std::iter::once(2.0).chain((1..).map(|exponent| 10_f64.powi(exponent)));
    let mut inverse: Vec<_> = even.chain(named.take_while(|inverse| *inverse <= reach)).collect();
    inverse.sort_unstable_by(f64::total_cmp);
    inverse.dedup();
    let time_ns = |inverse: f64| histogram.value_at_quantile(1.0 - 1.0 / inverse).max(1) as f64;
    inverse.into_iter().map(|inverse| (inverse, time_ns(inverse))).collect()
}

/// The replies of each client, from the one that got the fewest to the one that got the most; the first number of a
/// point is the share of the clients up to it, from 0 to 1.
pub(super) fn by_client(replies: &Histogram<u64>) -> Segment {
    let clients = replies.len() as f64;
    let mut before = 0;
    let steps = replies.iter_recorded().flat_map(|step| {
        let from = before;
        before += step.count_at_value();
        let replies = replies.median_equivalent(step.value_iterated_to()) as f64;
        [(from as f64 / clients, replies), (before as f64 / clients, replies)]
    });
    steps.collect()
}

/// The outline of a histogram, between times in nanoseconds. The first row may begin at zero, which a logarithmic axis has
/// not, and the last may have no end: both are drawn as wide as a factor of two.
pub(super) fn outline(bars: &[Bar]) -> Segment {
    let steps = bars.iter().flat_map(|bar| {
        let to_ns = match bar.to_ns {
            u64::MAX => bar.from_ns.saturating_mul(2),
            to_ns => to_ns,
        };
        let from_ns = if bar.from_ns == 0 { to_ns / 2 } else { bar.from_ns };
        [from_ns, to_ns].map(|time_ns| (time_ns.max(1) as f64, bar.count as f64))
    });
    let steps: Vec<_> = steps.collect();
    let ends = |point: Option<&(f64, f64)>| point.map(|(time_ns, _)| (*time_ns, 0.0));
    let (first, last) = (ends(steps.first()), ends(steps.last()));
    first.into_iter().chain(steps).chain(last).collect()
}

/// A number of each interval at the middle of its time in seconds, with a gap where an interval has none.
pub(super) fn over_time(report: &Report, of: impl Fn(&Interval) -> Option<f64>) -> Vec<Segment> {
    let all = report.intervals.iter().zip(spans(report));
    with_gaps(all.map(|(interval, (from_s, to_s))| (f64::midpoint(from_s, to_s), of(interval))))
}

/// The points, with a gap where a value is not known.
pub(super) fn with_gaps(points: impl Iterator<Item = (f64, Option<f64>)>) -> Vec<Segment> {
    let mut segments = vec![Segment::new()];
    for (at, value) in points {
        match (value, segments.last_mut()) {
            (Some(value), Some(segment)) => segment.push((at, value)),
            _ => segments.push(Segment::new()),
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// When requests failed: the beginnings and ends of the intervals, in seconds, and how many did.
pub(super) fn failures(report: &Report) -> Vec<((f64, f64), u64)> {
    let all = report.intervals.iter().zip(spans(report));
    all.filter(|(interval, _)| interval.failed > 0).map(|(interval, span)| (span, interval.failed)).collect()
}

/// The beginning and the end of each interval.
fn spans(report: &Report) -> Vec<(f64, f64)> {
    let begins = report.intervals.iter().map(|interval| interval.t_s);
    let ends = begins.clone().skip(1).chain([report.elapsed_s]);
    begins.zip(ends).map(|(from_s, to_s)| (from_s, to_s.max(from_s))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary;
    use crate::{recording, report::tests::example};

    fn histogram(times_ns: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut samples = recording::Latency::default();
        times_ns.into_iter().for_each(|time_ns| samples.record(time_ns));
        samples.histogram().clone()
    }

    #[test]
    fn a_curve_ends_where_the_table_does() {
        for (count, reach) in
            [(1, 2.0), (19, 2.0), (100, 10.0), (999, 99.9), (1_000, 100.0), (100_000, 10_000.0)]
        {
            let histogram = histogram(1..=count);
            let curve = by_percentile(&histogram);
            let (last, _) = *curve.last().unwrap();
            assert!((last - reach).abs() < 1e-6, "{count}: {last}");
            for (inverse, per_10_000) in [(2.0, 5_000), (10.0, 9_000), (100.0, 9_900), (1_000.0, 9_990)] {
                let on_curve =
                    curve.iter().find(|(at, _)| *at == inverse).map(|(_, time_ns)| *time_ns as u64);
                assert_eq!(on_curve, summary::percentile(&histogram, per_10_000), "{count} {inverse}");
            }
        }
        assert!(by_percentile(&histogram([])).is_empty());
    }

    #[test]
    fn a_curve_only_rises_and_never_touches_zero() {
        let curve = by_percentile(&histogram([0, 0, 0, 5, 5, 1_000_000]));
        assert!(curve.is_sorted() && curve.iter().all(|(_, time_ns)| *time_ns >= 1.0), "{curve:?}");
    }

    #[test]
    fn clients_stand_in_the_order_of_their_replies() {
        let steps = by_client(&histogram([7, 0, 7, 0]));
        assert_eq!(steps, [(0.0, 0.0), (0.5, 0.0), (0.5, 7.0), (1.0, 7.0)]);
    }

    #[test]
    fn an_outline_stands_on_the_ground() {
        let bar = |from_ns, to_ns, count| Bar { from_ns, to_ns, count, share: 0.0, cumulative_share: 0.0 };
        let outline = outline(&[bar(0, 10, 1), bar(10, 20, 5), bar(20, u64::MAX, 2)]);
        let steps = [(5, 0), (5, 1), (10, 1), (10, 5), (20, 5), (20, 2), (40, 2), (40, 0)];
        assert_eq!(outline, steps.map(|(time_ns, count)| (f64::from(time_ns), f64::from(count))));
        assert!(super::outline(&[]).is_empty());
    }

    #[test]
    fn an_interval_without_a_reply_is_a_gap() {
        let mut report = example();
        report.elapsed_s = 3.5;
        let interval = |(t_s, p50, failed)| Interval {
            t_s,
            completed: 0,
            failed,
            achieved_per_s: 0.0,
            p50,
            p90: None,
            p99: None,
            p99_9: None,
            max: None,
            hdr: String::new(),
        };
        report.intervals =
            [(0.0, Some(5), 0), (1.0, None, 3), (2.0, Some(6), 0), (3.0, Some(7), 0)].map(interval).into();
        let p50 = over_time(&report, |interval| interval.p50.map(|time_ns| time_ns as f64));
        assert_eq!(p50, [vec![(0.5, 5.0)], vec![(2.5, 6.0), (3.25, 7.0)]]);
        assert_eq!(failures(&report), [((1.0, 2.0), 3)]);
        report.intervals.clear();
        assert!(over_time(&report, |_| Some(1.0)).is_empty());
    }
}
