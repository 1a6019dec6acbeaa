//! Whether response times became usual again after the peak of a load. Pure.
//!
//! The usual response time is the median of the p99 over the intervals of the first stage with a rate. An interval is
//! overloaded if its p99 is more than twice as long, and more than 1 ms longer. An interval with too few replies for a p99
//! counts with its longest response time.

use crate::result::{Interval, Recovery, Report, StagePlan, metrics::median};

/// How many times longer than usual the response times of an overloaded interval are.
const FACTOR: f64 = 2.0;
/// A smaller difference from the usual response time is noise.
const NOISE_NS: f64 = 1e6;

/// The recovery after the peak of a load. None if the rate never falls, or no interval before its fall was overloaded.
pub(crate) fn recovery(report: &Report) -> Option<Recovery> {
    let stages = &report.plan.stages;
    let descent_s = descent_s(stages).filter(|at_s| *at_s < report.elapsed_s)?;
    let intervals: Vec<_> = report.intervals_with_length_s().map(|(interval, _)| interval).collect();
    let usual_ns = usual_ns(stages, &intervals)?;
    let bound_ns = (usual_ns * FACTOR).max(usual_ns + NOISE_NS);
    let is_overloaded = |interval: &&Interval| level_ns(interval).is_some_and(|level_ns| level_ns > bound_ns);
    intervals.iter().find(|interval| interval.t_s < descent_s && is_overloaded(interval))?;
    let last = intervals.iter().rposition(is_overloaded).unwrap_or(0);
    let next = intervals[last + 1..].iter().find(|interval| level_ns(interval).is_some());
    let ns = |time_s: f64| (time_s * 1e9).round().max(0.0) as u64;
    Some(Recovery {
        descent_from_ns: ns(descent_s),
        usual_p99_ns: usual_ns as u64,
        bound_ns: bound_ns as u64,
        recovered_after_ns: next.map(|next| ns(next.t_s - descent_s)),
    })
}

/// When the rate falls below its highest value for the last time. None if it never does.
fn descent_s(stages: &[StagePlan]) -> Option<f64> {
    let rates = stages.iter().flat_map(|stage| [stage.from_per_s, stage.to_per_s]);
    let peak = rates.fold(0.0, f64::max);
    let last = stages.iter().rposition(|stage| stage.from_per_s.max(stage.to_per_s) >= peak)?;
    let starts_s = |index: usize| stages[..index].iter().map(|stage| stage.duration_s).sum::<f64>();
    match stages[last].to_per_s < peak {
        true => Some(starts_s(last)),
        false => (last + 1 < stages.len()).then(|| starts_s(last + 1)),
    }
}

/// The median of the levels in the first stage with a rate.
fn usual_ns(stages: &[StagePlan], intervals: &[&Interval]) -> Option<f64> {
    let mut from_s = 0.0;
    let mut first = stages.iter();
    let end_s = loop {
        let stage = first.next()?;
        if stage.from_per_s.max(stage.to_per_s) > 0.0 {
            break from_s + stage.duration_s;
        }
        from_s += stage.duration_s;
    };
    let inside = intervals.iter().filter(|interval| (from_s..end_s).contains(&interval.t_s));
    let mut levels: Vec<_> =
        inside.filter_map(|interval| level_ns(interval)).filter(|level| level.is_finite()).collect();
    (!levels.is_empty()).then(|| median(&mut levels))
}

/// The p99 of an interval, or its longest time; infinite among failed requests. None without an outcome.
fn level_ns(interval: &Interval) -> Option<f64> {
    let is_failed = |name| interval.failed_tail.as_ref().is_some_and(|tail| tail.holds(name));
    match (interval.p99, interval.max) {
        (Some(p99), _) => Some(p99 as f64),
        (None, _) if is_failed("p99") => Some(f64::INFINITY),
        (None, Some(max)) => Some(max as f64),
        (None, None) => is_failed("max").then_some(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{
        summary::{self, Unanswered},
        tests::example,
    };

    /// A run with these stages (from, to, seconds) and the p99 of each interval of a second, in milliseconds.
    fn run(stages: &[(f64, f64, f64)], p99_ms: &[u64]) -> Report {
        let mut report = example();
        let stage = |(from_per_s, to_per_s, duration_s): &(f64, f64, f64)| StagePlan {
            stage: String::new(),
            from_per_s: *from_per_s,
            to_per_s: *to_per_s,
            duration_s: *duration_s,
        };
        report.plan.stages = stages.iter().map(stage).collect();
        report.elapsed_s = p99_ms.len() as f64;
        let none = crate::engine::latency::Latency::default();
        let interval = summary::interval(0.0, 0.0, none.histogram(), Unanswered::default());
        let of = |(index, p99_ms): (usize, &u64)| Interval {
            t_s: index as f64,
            p99: Some(p99_ms * 1_000_000),
            ..interval.clone()
        };
        report.intervals = p99_ms.iter().enumerate().map(of).collect();
        report
    }

    #[test]
    fn a_service_recovers_when_no_later_interval_is_overloaded() {
        let peak = [(10.0, 10.0, 3.0), (100.0, 100.0, 3.0), (100.0, 10.0, 2.0), (10.0, 10.0, 4.0)];
        for (p99_ms, after_s) in [
            (&[10, 10, 12, 50, 90, 95, 90, 60, 10, 11, 10, 12][..], Some(Some(2))),
            (&[10, 10, 12, 50, 90, 95, 10, 10, 10, 11, 10, 12], Some(Some(0))),
            (&[10, 10, 12, 50, 90, 95, 90, 10, 60, 11, 10, 12], Some(Some(3))),
            (&[10, 10, 12, 50, 90, 95, 90, 10, 60, 11, 10, 21], Some(None)),
            // Twice as long as usual is no overload.
            (&[10, 10, 12, 20, 20, 15, 90, 10, 10, 10, 10, 10], None),
            // Nor is a millisecond.
            (&[0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0], None),
            (&[0, 0, 0, 2, 1, 1, 1, 0, 0, 0, 0, 0], Some(Some(0))),
            // The run has ended before the descent.
            (&[10, 10, 12, 50, 90, 95], None),
        ] {
            let seen = recovery(&run(&peak, p99_ms));
            let after = seen.map(|seen| seen.recovered_after_ns.map(|after_ns| after_ns / 1_000_000_000));
            assert_eq!(after, after_s, "{p99_ms:?}");
        }
        let seen = recovery(&run(&peak, &[10, 10, 12, 50, 50, 50, 10, 10, 10, 10, 10, 10])).unwrap();
        assert_eq!(
            (seen.descent_from_ns, seen.usual_p99_ns, seen.bound_ns),
            (6_000_000_000, 10_000_000, 20_000_000)
        );
    }

    #[test]
    fn the_usual_time_is_that_of_the_first_stage_with_a_rate() {
        let stages = [(0.0, 0.0, 2.0), (10.0, 10.0, 3.0), (100.0, 100.0, 3.0), (10.0, 10.0, 3.0)];
        let seen = recovery(&run(&stages, &[500, 500, 10, 10, 12, 50, 90, 60, 10, 10, 10])).unwrap();
        assert_eq!((seen.usual_p99_ns, seen.descent_from_ns), (10_000_000, 8_000_000_000));
    }

    #[test]
    fn the_descent_begins_where_the_rate_leaves_its_peak_for_the_last_time() {
        let at = |stages: &[(f64, f64, f64)]| descent_s(&run(stages, &[]).plan.stages);
        assert_eq!(at(&[(0.0, 9.0, 3.0), (9.0, 9.0, 2.0), (9.0, 1.0, 5.0)]), Some(5.0));
        assert_eq!(at(&[(0.0, 9.0, 3.0), (1.0, 1.0, 2.0)]), Some(3.0));
        assert_eq!(at(&[(9.0, 9.0, 1.0), (1.0, 1.0, 2.0), (9.0, 2.0, 2.0)]), Some(3.0));
        assert_eq!(at(&[(1.0, 9.0, 1.0), (9.0, 9.0, 2.0)]), None);
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn an_interval_among_failed_requests_is_overloaded_and_one_without_an_outcome_is_unknown() {
        let mut report = run(&[(9.0, 9.0, 2.0), (1.0, 1.0, 3.0)], &[10, 90, 10, 10, 10]);
        report
            .plan
            .stages
            .insert(0, StagePlan { from_per_s: 5.0, to_per_s: 5.0, ..report.plan.stages[1].clone() });
        report.plan.stages[0].duration_s = 1.0;
        report.plan.stages[1].duration_s = 1.0;
        let after = |report: &Report| recovery(report).unwrap().recovered_after_ns;
        assert_eq!(after(&report), Some(0));
        let failed = crate::result::FailedTail {
            count: 99,
            longer_than_ns: 1,
            percentiles: vec!["p99".to_owned(), "max".to_owned()],
        };
        (report.intervals[3].p99, report.intervals[3].failed_tail) = (None, Some(failed));
        assert_eq!(after(&report), Some(2_000_000_000));
        (report.intervals[4].p99, report.intervals[4].max) = (None, None);
        assert_eq!(after(&report), None);
        // Of a few failed requests, the p99 may be withheld, and all count with the longest time.
        let few =
            crate::result::FailedTail { count: 1, longer_than_ns: 1, percentiles: vec!["max".to_owned()] };
        report.intervals[4].max = Some(90_000_000);
        report.intervals[4].failed_tail = Some(few.clone());
        assert_eq!(level_ns(&report.intervals[4]), Some(90e6));
        report.intervals[4].max = None;
        assert_eq!(level_ns(&report.intervals[4]), Some(f64::INFINITY));
        report.intervals[4].max = Some(90_000_000);
        report.intervals[4].failed_tail.as_mut().unwrap().percentiles.push("p99".to_owned());
        assert_eq!(level_ns(&report.intervals[4]), Some(f64::INFINITY));
    }
}
