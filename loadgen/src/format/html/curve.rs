//! The points of the plots, from the histograms and intervals of a report. Pure.

use hdrhistogram::Histogram;

use crate::result::{Bar, FailedTail, Interval, Report, summary::SAMPLES_BEYOND};

/// Consecutive points without a gap.
pub(super) type Segment = Vec<(f64, f64)>;

/// The number of points of a curve in each decade of its axis.
const POINTS_A_DECADE: f64 = 40.0;

/// A distribution by percentile.
#[derive(Debug, PartialEq)]
pub(super) struct Percentiles {
    /// The time, in nanoseconds, at each percentile p, which is given as 1/(1-p): 2 is the median, 100 the 99th.
    pub(super) points: Segment,
    /// Where the requests without a reply begin, as 1/(1-p), if the curve reaches that far.
    pub(super) failed_from: Option<f64>,
}

/// The distribution of `times`, followed by `unanswered` requests without a reply. The points end where these requests begin,
/// or where fewer than [`SAMPLES_BEYOND`] requests lie beyond, but not before the median: the same rule as in
/// [`summary::quantile_of`](crate::result::summary::quantile_of). A time is at least 1 ns, for the logarithmic axis.
pub(super) fn by_percentile(times: &Histogram<u64>, unanswered: u64) -> Percentiles {
    let all = times.len().saturating_add(unanswered);
    let reach = (all as f64 / SAMPLES_BEYOND as f64).max(2.0);
    let failed_from = (unanswered > 0).then(|| all as f64 / unanswered as f64).filter(|from| *from <= reach);
    if times.is_empty() {
        return Percentiles { points: Vec::new(), failed_from };
    }
    let end = failed_from.unwrap_or(reach);
    let count = (end.log10() * POINTS_A_DECADE).ceil().max(1.0);
    let even = (0..=count as u32).map(|index| end.powf(f64::from(index) / count));
    // The percentiles of the table are also on the curve.
    let named = std::iter::once(2.0).chain((1..).map(|exponent| 10_f64.powi(exponent)));
    let named = named.take_while(|inverse| *inverse <= end);
    let mut inverse: Vec<_> = even.filter(|inverse| *inverse < end).chain(named).chain([end]).collect();
    inverse.sort_unstable_by(f64::total_cmp);
    inverse.dedup();
    let mut steps = times.iter_recorded();
    let (mut up_to, mut time_ns) = (0, 0);
    let points = inverse.into_iter().map(|inverse| {
        // A division is exact here; a product with a share such as 0.999 is not.
        let rank = (all - (all as f64 / inverse) as u64).clamp(1, times.len());
        while up_to < rank {
            let Some(step) = steps.next() else { break };
            up_to += step.count_at_value();
            time_ns = step.value_iterated_to();
        }
        (inverse, time_ns.max(1) as f64)
    });
    Percentiles { points: points.collect(), failed_from }
}

/// The name of a percentile p, given as 1/(1-p), with two significant digits of 1-p: `p99.93`.
pub(super) fn name(inverse: f64) -> String {
    let beyond = 100.0 / inverse;
    let digits = (1.0 - beyond.log10().floor()).clamp(1.0, 9.0) as usize;
    let text = format!("{:.digits$}", 100.0 - beyond);
    match text.contains('.') {
        true => format!("p{}", text.trim_end_matches('0').trim_end_matches('.')),
        false => format!("p{text}"),
    }
}

/// The outline of a histogram, between times in nanoseconds. The first row may begin at zero and the last row may be open:
/// both are drawn as a factor of two, for the logarithmic axis.
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

/// The offered rate over time: that of the stages until the end of the window, or the same at all times.
pub(super) fn offered(report: &Report, per_s: f64) -> Segment {
    let end_s = report.elapsed_s;
    if report.plan.stages.is_empty() {
        return vec![(0.0, per_s), (end_s, per_s)];
    }
    let mut start_s = 0.0;
    let mut course = Segment::new();
    for stage in &report.plan.stages {
        let share = ((end_s - start_s) / stage.duration_s).min(1.0);
        if share <= 0.0 {
            break;
        }
        let last_per_s = stage.from_per_s + (stage.to_per_s - stage.from_per_s) * share;
        course.extend([(start_s, stage.from_per_s), (start_s + stage.duration_s * share, last_per_s)]);
        start_s += stage.duration_s;
    }
    course
}

/// A value of each interval at the middle of its time in seconds. An interval without a value is a gap.
pub(super) fn over_time(report: &Report, of: impl Fn(&Interval) -> Option<f64>) -> Vec<Segment> {
    let all = report.intervals.iter().zip(spans(report));
    with_gaps(all.map(|(interval, (from_s, to_s))| (f64::midpoint(from_s, to_s), of(interval))))
}

/// The intervals in which a percentile, by its name in the result, falls among the failed requests: the middle of the
/// interval in seconds, and the time in nanoseconds that the percentile exceeds.
pub(super) fn failed_over_time(report: &Report, percentile: &str) -> Segment {
    let all = report.intervals.iter().zip(spans(report));
    let failed = all.filter_map(|(interval, (from_s, to_s))| {
        let longer_than_ns = longer_than_ns(interval.failed_tail.as_ref(), percentile)?;
        Some((f64::midpoint(from_s, to_s), longer_than_ns.max(1) as f64))
    });
    failed.collect()
}

/// The time in nanoseconds that a percentile exceeds, if it falls among these failed requests.
pub(super) fn longer_than_ns(tail: Option<&FailedTail>, percentile: &str) -> Option<u64> {
    let tail = tail?;
    tail.percentiles.iter().any(|known| known == percentile).then_some(tail.longer_than_ns)
}

/// The known pauses of the load threads in the window: starts and ends in seconds.
pub(super) fn pauses(report: &Report) -> Vec<(f64, f64)> {
    let longest = report.generator.pauses.longest.iter().filter(|pause| pause.t_s < report.elapsed_s);
    let span = |t_s: f64, length_ns: u64| (t_s, (t_s + length_ns as f64 / 1e9).min(report.elapsed_s));
    longest.map(|pause| span(pause.t_s, pause.length_ns)).collect()
}

/// The points, with a gap for each unknown value.
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

/// The intervals with failed requests: starts and ends in seconds, and the number of failed requests.
pub(super) fn failures(report: &Report) -> Vec<((f64, f64), u64)> {
    let all = report.intervals.iter().zip(spans(report));
    all.filter(|(interval, _)| interval.failed > 0).map(|(interval, span)| (span, interval.failed)).collect()
}

/// The start and the end of each interval, in seconds.
pub(super) fn spans(report: &Report) -> Vec<(f64, f64)> {
    let begins = report.intervals.iter().map(|interval| interval.t_s);
    let ends = begins.clone().skip(1).chain([report.elapsed_s]);
    begins.zip(ends).map(|(from_s, to_s)| (from_s, to_s.max(from_s))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::latency,
        result::{
            Pause, StagePlan,
            summary::{self, Quantile, Unanswered},
            tests::example,
        },
    };

    fn histogram(times_ns: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut samples = latency::Latency::default();
        times_ns.into_iter().for_each(|time_ns| samples.record(time_ns));
        samples.histogram().clone()
    }

    #[test]
    fn the_offered_rate_follows_the_stages_until_the_end_of_the_window() {
        let mut report = example();
        assert_eq!(offered(&report, 5.0), [(0.0, 5.0), (2.0, 5.0)]);
        let stage = |from_per_s: f64, to_per_s: f64, duration_s: f64| StagePlan {
            stage: String::new(),
            from_per_s,
            to_per_s,
            duration_s,
        };
        report.plan.stages = vec![stage(0.0, 10.0, 1.0), stage(20.0, 0.0, 2.0), stage(7.0, 7.0, 1.0)];
        // The run ended in the middle of the second stage.
        assert_eq!(offered(&report, 5.0), [(0.0, 0.0), (1.0, 10.0), (1.0, 20.0), (2.0, 10.0)]);
    }

    #[test]
    fn a_curve_ends_at_the_last_percentile_of_the_table() {
        for (count, reach) in
            [(1, 2.0), (19, 2.0), (100, 10.0), (999, 99.9), (1_000, 100.0), (100_000, 10_000.0)]
        {
            let histogram = histogram(1..=count);
            let curve = by_percentile(&histogram, 0).points;
            let (last, _) = *curve.last().unwrap();
            assert!((last - reach).abs() < 1e-6, "{count}: {last}");
            for (inverse, per_10_000) in [(2.0, 5_000), (10.0, 9_000), (100.0, 9_900), (1_000.0, 9_990)] {
                let on_curve =
                    curve.iter().find(|(at, _)| *at == inverse).map(|(_, time_ns)| *time_ns as u64);
                assert_eq!(on_curve, summary::percentile(&histogram, per_10_000), "{count} {inverse}");
            }
        }
        assert!(by_percentile(&histogram([]), 0).points.is_empty());
    }

    #[test]
    fn a_curve_counts_requests_without_a_reply_and_ends_where_they_begin() {
        for (replied, unanswered) in
            [(3_900, 100), (9_990, 10), (1_000, 9), (500, 1_500), (1, 1), (3, 1), (99_937, 63), (1, 9_999)]
        {
            let histogram = histogram((1..=replied).map(|number| number * 1_000));
            let Percentiles { points, failed_from } = by_percentile(&histogram, unanswered);
            let unanswered = Unanswered { count: unanswered, waited_ns_min: 0 };
            let mut is_failed = false;
            for (inverse, per_million) in [(2.0, 500_000), (10.0, 900_000), (100.0, 990_000), (1e3, 999_000)]
            {
                let on_curve =
                    points.iter().find(|(at, _)| *at == inverse).map(|(_, time_ns)| *time_ns as u64);
                let known = match summary::quantile_of(&histogram, unanswered, per_million) {
                    Quantile::Time(time_ns) => Some(time_ns),
                    Quantile::Withheld => None,
                    Quantile::Unanswered => {
                        is_failed = true;
                        assert!(failed_from.is_some_and(|from| from < inverse), "{replied} {inverse}");
                        None
                    }
                };
                assert_eq!(on_curve, known, "{replied} {unanswered:?} {inverse}");
            }
            assert!(failed_from.is_some() || !is_failed);
            let (last, time_ns) = *points.last().unwrap();
            if let Some(from) = failed_from {
                // The last request with a reply is the last point.
                assert_eq!((last, time_ns as u64), (from, histogram.max()), "{replied} {unanswered:?}");
            }
            assert!(points.is_sorted());
        }
        assert_eq!(
            by_percentile(&histogram([1_000; 4_000]), 9).failed_from,
            None,
            "too few requests without a reply"
        );
        let nothing = by_percentile(&histogram([]), 100);
        assert_eq!(nothing, Percentiles { points: Vec::new(), failed_from: Some(1.0) });
    }

    #[test]
    fn the_name_of_a_percentile_has_two_digits_of_the_share_beyond_it() {
        for (inverse, named) in [
            (1.0, "p0"),
            (2.0, "p50"),
            (40.0, "p97.5"),
            (10_000.0 / 7.0, "p99.93"),
            (300.0, "p99.67"),
            (100.0, "p99"),
            (1e6, "p99.9999"),
            (1.25, "p20"),
        ] {
            assert_eq!(name(inverse), named);
        }
    }

    #[test]
    fn a_curve_only_rises_and_never_touches_zero() {
        let curve = by_percentile(&histogram([0, 0, 0, 5, 5, 1_000_000]), 0).points;
        assert!(curve.is_sorted() && curve.iter().all(|(_, time_ns)| *time_ns >= 1.0), "{curve:?}");
    }

    #[test]
    fn an_outline_begins_and_ends_at_zero() {
        let bar = |from_ns, to_ns, count| Bar { from_ns, to_ns, count, share: 0.0, cumulative_share: 0.0 };
        let outline = outline(&[bar(0, 10, 1), bar(10, 20, 5), bar(20, u64::MAX, 2)]);
        let steps = [(5, 0), (5, 1), (10, 1), (10, 5), (20, 5), (20, 2), (40, 2), (40, 0)];
        assert_eq!(outline, steps.map(|(time_ns, count)| (f64::from(time_ns), f64::from(count))));
        assert!(super::outline(&[]).is_empty());
    }

    #[test]
    fn a_pause_is_cut_at_the_end_of_the_window() {
        let mut report = example();
        let pause = |t_s, length_ns| Pause { t_s, length_ns };
        report.generator.pauses.longest =
            vec![pause(1.5, 2_000_000_000), pause(2.5, 1_000), pause(0.5, 250_000_000)];
        assert_eq!(pauses(&report), [(1.5, 2.0), (0.5, 0.75)]);
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
            failed_tail: None,
        };
        report.intervals =
            [(0.0, Some(5), 0), (1.0, None, 3), (2.0, Some(6), 0), (3.0, Some(7), 0)].map(interval).into();
        let p50 = over_time(&report, |interval| interval.p50.map(|time_ns| time_ns as f64));
        assert_eq!(p50, [vec![(0.5, 5.0)], vec![(2.5, 6.0), (3.25, 7.0)]]);
        assert_eq!(failures(&report), [((1.0, 2.0), 3)]);
        assert!(failed_over_time(&report, "p50").is_empty(), "an older result does not contain it");
        report.intervals[1].failed_tail =
            Some(FailedTail { count: 3, longer_than_ns: 9, percentiles: vec!["p50".to_owned()] });
        assert_eq!(failed_over_time(&report, "p50"), [(1.5, 9.0)]);
        assert!(failed_over_time(&report, "p99").is_empty());
        report.intervals.clear();
        assert!(over_time(&report, |_| Some(1.0)).is_empty());
    }
}
