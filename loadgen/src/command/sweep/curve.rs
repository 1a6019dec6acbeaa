//! The load curve of a server: a point for each level. Pure.

use super::{knee::power, trouble};
use crate::result::{
    Report, Status,
    metrics::median,
    summary::{self, Unanswered},
    sweep::{CurvePoint, Point},
};

/// A point for each level of the ladder with at least one run.
pub(super) fn curve(levels: &[u64], points: &[Point], has_slo: bool) -> Vec<CurvePoint> {
    let point = |level: &u64| {
        let runs: Vec<_> =
            points.iter().filter(|point| point.level == *level).map(|point| &point.report).collect();
        (!runs.is_empty()).then(|| curve_point(*level, &runs, has_slo))
    };
    levels.iter().filter_map(point).collect()
}

fn curve_point(level: u64, runs: &[&Report], has_slo: bool) -> CurvePoint {
    let responses = summary::sum(runs.iter().map(|run| run.latency_ns.response.hdr.as_str()));
    let unanswered =
        runs.iter().map(|run| Unanswered::of_report(run)).fold(Unanswered::default(), Unanswered::and);
    let response = responses.map(|all| summary::distribution(&all, unanswered)).unwrap_or_default();
    let achieved_per_s = median(&mut runs.iter().map(|run| run.rate.achieved_per_s).collect::<Vec<_>>());
    let is_majority = |number: usize| 2 * number > runs.len();
    let troubles: Vec<_> = runs.iter().filter_map(|run| trouble::of(run)).collect();
    let keeps_up = is_majority(runs.len() - troubles.len());
    let worst = runs.iter().map(|run| &run.verdict).max_by_key(|verdict| verdict.status);
    CurvePoint {
        level,
        runs: runs.len(),
        offered_per_s: runs[0].rate.offered_per_s,
        achieved_per_s,
        mean_ns: response.mean,
        p50_ns: response.p50,
        p90_ns: response.p90,
        p99_ns: response.p99,
        p99_9_ns: response.p99_9,
        max_ns: response.max,
        failed_tail: response.failed_tail,
        power: response.mean.and_then(|mean_ns| power(achieved_per_s, mean_ns)),
        keeps_up,
        trouble: troubles.first().copied().filter(|_| !keeps_up),
        verdict: worst.map_or(Status::Valid, |verdict| verdict.status),
        reasons: worst
            .map(|verdict| verdict.reasons.iter().map(|reason| reason.code.clone()).collect())
            .unwrap_or_default(),
        holds: if has_slo { holds(runs) } else { None },
    }
}

/// Whether most of the runs with a vote hold. None if no run has a vote.
fn holds(runs: &[&Report]) -> Option<bool> {
    let known: Vec<_> = runs.iter().filter_map(|run| trouble::holds(run)).collect();
    let held = known.iter().filter(|held| **held).count();
    (!known.is_empty()).then_some(2 * held > known.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::sweep::results::tests::point, result::sweep::Trouble};

    #[test]
    fn failed_requests_of_all_runs_are_the_tail_of_a_point() {
        let mut runs = [point(2_000, 1_000_000, 1.0).report, point(2_000, 1_000_000, 1.0).report];
        let times = summary::deserialise(&runs[0].latency_ns.response.hdr).unwrap();
        let unanswered = Unanswered { count: 50, waited_ns_min: 500_000_000 };
        runs[0].latency_ns.response = summary::distribution(&times, unanswered);
        let point = curve_point(2_000, &runs.iter().collect::<Vec<_>>(), false);
        assert_eq!((point.mean_ns, point.power, point.p99_ns, point.max_ns), (None, None, None, None));
        assert!(point.p50_ns.is_some());
        let tail = point.failed_tail.unwrap();
        assert_eq!((tail.count, tail.longer_than_ns), (50, 500_000_000));
        assert_eq!(tail.percentiles, ["p99", "p99_9", "p99_99", "max"]);
    }

    #[test]
    fn the_majority_of_runs_decides_whether_a_level_keeps_up_and_holds() {
        let of = |shares: &[f64], times: &[u64]| {
            let runs: Vec<_> =
                shares.iter().zip(times).map(|(share, time)| point(2_000, *time, *share).report).collect();
            let point = curve_point(2_000, &runs.iter().collect::<Vec<_>>(), true);
            (point.keeps_up, point.trouble, point.holds)
        };
        let (fast, slow) = (1_000_000, 9_000_000);
        let behind = Some(Trouble::CannotKeepUp);
        assert_eq!(of(&[1.0], &[fast]), (true, None, Some(true)));
        assert_eq!(of(&[1.0], &[slow]), (true, None, Some(false)));
        assert_eq!(of(&[0.5], &[fast]), (false, behind, Some(false)));
        assert_eq!(of(&[0.5, 1.0], &[fast, fast]), (false, behind, Some(false)));
        assert_eq!(of(&[0.5, 1.0, 1.0], &[fast, fast, fast]), (true, None, Some(true)));
        assert_eq!(of(&[1.0, 1.0, 1.0], &[fast, slow, slow]), (true, None, Some(false)));
    }
}
