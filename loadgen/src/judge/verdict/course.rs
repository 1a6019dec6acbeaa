//! Whether the run was steady: no stall, no warm-up inside the window, no drift.

use common::human::{duration_ns, rate};

use super::Finding;
use crate::result::{Interval, Loop, Report, Status, metrics::median};

/// Shorter stalls happen on any machine.
const STALL_NS_MIN: f64 = 100e6;
/// How many times longer than the median response a stall is.
const STALL_MEDIANS_MIN: f64 = 10.0;
/// How many replies the usual rate would have given during a stall.
const STALL_REPLIES_MIN: f64 = 20.0;
/// With fewer intervals, the first one is not compared with the others.
const WARM_UP_INTERVALS_MIN: usize = 5;
/// The factor by which the first interval's median lies outside the range of the others.
const WARM_UP_FACTOR: f64 = 1.5;
/// With fewer intervals, the halves of the run are not compared.
const DRIFT_INTERVALS_MIN: usize = 6;
/// The factor by which the medians of the halves differ.
const DRIFT_FACTOR: f64 = 1.3;
/// The share of all pairs of an earlier and a later interval that are in the same order: 1/2 without drift (the
/// statistic of Mann and Whitney, 1947).
const DRIFT_ORDERED_SHARE_MIN: f64 = 0.9;
/// The median of an interval with fewer replies is too uncertain.
const INTERVAL_REPLIES_MIN: u64 = 100;

pub(super) fn stall(report: &Report) -> Option<Finding> {
    // A server that went away has its own reason.
    if report.server_gone_at_ns.is_some() {
        return None;
    }
    let stall_ns = report.fairness.longest_stall_ns as f64;
    let usual_ns = report.latency_ns.of_completed().p50.unwrap_or(0) as f64;
    let replies_ns = STALL_REPLIES_MIN * 1e9 / usual_per_s(report).max(f64::EPSILON);
    let bound = STALL_NS_MIN.max(usual_ns * STALL_MEDIANS_MIN).max(replies_ns);
    (stall_ns > bound).then(|| {
        let stall = duration_ns(stall_ns as u64);
        let (message, advice) = match report.plan.r#loop {
            Loop::Open => (
                format!("no client got a reply for {stall}: the response times contain this stall, the service times hardly do"),
                "find out what stopped: the server (its log, garbage collection, a lock), its machine, or the network",
            ),
            Loop::Closed => (
                format!(
                    "no client got a reply for {stall}: in a closed loop this counts as only one slow request for each \
                     client, as a client sends nothing while it waits"
                ),
                "repeat the run with --rate, which counts each request that is due during a stall",
            ),
        };
        Finding { status: Status::Suspect, value: stall_ns, bound, message, advice }
    })
}

/// The replies per second to expect at the time of the longest stall. With stages, the rate at that time may be far below
/// the mean.
fn usual_per_s(report: &Report) -> f64 {
    let achieved = report.rate.achieved_per_s;
    let Some(at_ns) = report.fairness.longest_stall_at_ns.filter(|_| !report.plan.stages.is_empty()) else {
        return achieved;
    };
    let ends = [at_ns, at_ns.saturating_add(report.fairness.longest_stall_ns)];
    let planned = ends.map(|at_ns| report.plan.rate_at(at_ns as f64 / 1e9).unwrap_or(achieved));
    planned[0].max(planned[1]).min(achieved)
}

pub(super) fn warm_up(report: &Report) -> Option<Finding> {
    let intervals = whole_intervals(report);
    if intervals.len() < WARM_UP_INTERVALS_MIN {
        return None;
    }
    let medians: Vec<_> =
        intervals.iter().filter_map(|interval| interval.p50).map(|p50| p50 as f64).collect();
    let (first, rest) = medians.split_first()?;
    let (low, high) = rest.iter().fold((f64::MAX, 0_f64), |(low, high), p50| (low.min(*p50), high.max(*p50)));
    let bound = if *first > high { high * WARM_UP_FACTOR } else { low / WARM_UP_FACTOR };
    (*first > high * WARM_UP_FACTOR || *first < low / WARM_UP_FACTOR).then(|| Finding {
        status: Status::Suspect,
        value: *first,
        bound,
        message: format!(
            "the first interval differs from the others: its median is {}, theirs are {} to {}",
            duration_ns(*first as u64),
            duration_ns(low as u64),
            duration_ns(high as u64)
        ),
        advice: "use a longer --warmup",
    })
}

pub(super) fn drift(report: &Report) -> Option<Finding> {
    let intervals = whole_intervals(report);
    if intervals.len() < DRIFT_INTERVALS_MIN {
        return None;
    }
    let medians = intervals.iter().filter_map(|interval| interval.p50).map(|p50| p50 as f64);
    let finding = |(earlier, later): (f64, f64), quantity: &str, show: fn(f64) -> String| Finding {
        status: Status::Suspect,
        value: later / earlier,
        bound: if later > earlier { DRIFT_FACTOR } else { 1.0 / DRIFT_FACTOR },
        message: format!(
            "the run drifts: {quantity} is {} in its first half and {} in its second",
            show(earlier),
            show(later)
        ),
        advice: "percentiles of the whole run depend on its length: find out what changes, or use a longer --warmup",
    };
    let time = |time_ns: f64| duration_ns(time_ns as u64);
    if let Some(halves) = drifting(&medians.collect::<Vec<_>>()) {
        return Some(finding(halves, "the median response time", time));
    }
    // The rate of an open loop is given by the plan.
    let rates: Vec<_> = intervals.iter().map(|interval| interval.achieved_per_s).collect();
    let halves = drifting(&rates).filter(|_| report.plan.r#loop == Loop::Closed)?;
    Some(finding(halves, "the rate", |per_s| format!("{}/s", rate(per_s))))
}

/// The medians of both halves, if they differ by more than chance explains.
fn drifting(values: &[f64]) -> Option<(f64, f64)> {
    let (earlier, later) = values.split_at(values.len() / 2);
    let pairs = || earlier.iter().flat_map(|one| later.iter().map(move |other| (one, other)));
    let rising = pairs().filter(|(one, other)| one < other).count() as f64;
    let falling = pairs().filter(|(one, other)| one > other).count() as f64;
    let ordered = rising.max(falling) / (earlier.len() * later.len()).max(1) as f64;
    let [earlier, later] = [earlier, later].map(|half| median(&mut half.to_vec()));
    let apart = earlier.max(later) > earlier.min(later) * DRIFT_FACTOR;
    (apart && ordered >= DRIFT_ORDERED_SHARE_MIN).then_some((earlier, later))
}

/// The intervals without the last one, which may be shorter. Empty if one of them has too few replies, or if the rate changes
/// from stage to stage: then the intervals differ by plan.
fn whole_intervals(report: &Report) -> Vec<&Interval> {
    if report.plan.has_changing_rate() {
        return Vec::new();
    }
    let intervals = report.intervals.iter().take(report.intervals.len().saturating_sub(1));
    let intervals: Vec<_> = intervals.collect();
    let enough = intervals.iter().all(|interval| interval.completed >= INTERVAL_REPLIES_MIN);
    if enough { intervals } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::verdict::tests::codes, result::StagePlan};

    fn with_medians(medians_us: &[u64]) -> impl Fn(&mut Report) {
        move |report| {
            report.intervals = medians_us
                .iter()
                .chain([&0])
                .enumerate()
                .map(|(index, p50_us)| Interval {
                    t_s: index as f64,
                    completed: 1_000,
                    failed: 0,
                    achieved_per_s: 1_000.0,
                    p50: Some(p50_us * 1_000),
                    p90: None,
                    p99: None,
                    p99_9: None,
                    max: None,
                    hdr: String::new(),
                    failed_tail: None,
                })
                .collect();
        }
    }

    #[test]
    fn a_stall_is_long_in_itself_and_compared_with_the_median_and_the_rate() {
        let stall = |stall_ms: u64, p50_ms: u64, per_s: f64| {
            move |report: &mut Report| {
                report.fairness.longest_stall_ns = stall_ms * 1_000_000;
                report.latency_ns.response.p50 = Some(p50_ms * 1_000_000);
                report.rate.achieved_per_s = per_s;
                report.rate.offered_per_s = None;
            }
        };
        assert_eq!(codes(stall(100, 1, 1_000.0)), [""; 0]);
        assert_eq!(codes(stall(101, 1, 1_000.0)), ["stall"]);
        assert_eq!(codes(stall(200, 20, 1_000.0)), [""; 0]);
        assert_eq!(codes(stall(201, 20, 1_000.0)), ["stall"]);
        // At 10/s, 20 replies take 2 s.
        assert_eq!(codes(stall(900, 1, 10.0)), [""; 0]);
    }

    #[test]
    fn a_first_interval_outside_the_range_of_the_others_means_a_warm_up_too_short() {
        assert_eq!(codes(with_medians(&[150, 90, 100, 95, 100, 98])), [""; 0]);
        assert_eq!(codes(with_medians(&[151, 90, 100, 95, 100, 98])), ["warm_up"]);
        assert_eq!(codes(with_medians(&[59, 90, 100, 95, 100, 98])), ["warm_up"]);
        // The others differ as much among themselves.
        assert_eq!(codes(with_medians(&[151, 90, 140, 95, 100, 98])), [""; 0]);
        assert_eq!(codes(with_medians(&[500, 90, 100, 95])), [""; 0]);
    }

    #[test]
    fn halves_that_are_ordered_and_far_apart_are_a_drift() {
        assert_eq!(
            codes(with_medians(&[100, 110, 120, 130, 140, 150])),
            [""; 0],
            "a factor of 1.27 is too small"
        );
        assert_eq!(codes(with_medians(&[100, 110, 120, 150, 160, 170])), ["drift"]);
        assert_eq!(codes(with_medians(&[170, 160, 150, 120, 110, 100])), ["drift"]);
        assert_eq!(
            codes(with_medians(&[100, 160, 100, 150, 90, 170])),
            [""; 0],
            "the intervals are not ordered"
        );
        let rates = |report: &mut Report| {
            with_medians(&[100; 6])(report);
            report.plan.r#loop = Loop::Closed;
            report.rate.offered_per_s = None;
            report.fairness.effective_concurrency = Some(50.0);
            (0..3).for_each(|index| report.intervals[index].achieved_per_s = 1_400.0);
        };
        assert_eq!(codes(rates), ["drift"]);
    }

    #[test]
    fn the_reasons_name_what_differs() {
        let of = |change: &dyn Fn(&mut Report), find: fn(&Report) -> Option<Finding>| {
            let mut report = crate::result::tests::example();
            change(&mut report);
            let finding = find(&report).unwrap();
            (finding.status, finding.value, finding.bound, finding.message)
        };
        let suspect = |value, bound, message: &str| (Status::Suspect, value, bound, message.to_owned());
        assert_eq!(
            of(&with_medians(&[200, 90, 100, 95, 100, 98]), warm_up),
            suspect(
                200e3,
                150e3,
                "the first interval differs from the others: its median is 200 µs, theirs are 90.0 µs to 100 µs"
            )
        );
        assert_eq!(
            of(&with_medians(&[45, 90, 100, 95, 100, 98]), warm_up),
            suspect(
                45e3,
                60e3,
                "the first interval differs from the others: its median is 45.0 µs, theirs are 90.0 µs to 100 µs"
            )
        );
        assert_eq!(
            of(&with_medians(&[100, 110, 120, 210, 220, 230]), drift),
            suspect(
                2.0,
                1.3,
                "the run drifts: the median response time is 110 µs in its first half and 220 µs in its second"
            )
        );
        assert_eq!(
            of(&with_medians(&[230, 220, 210, 120, 110, 100]), drift),
            suspect(
                0.5,
                1.0 / 1.3,
                "the run drifts: the median response time is 220 µs in its first half and 110 µs in its second"
            )
        );
        let rates = |report: &mut Report| {
            with_medians(&[100; 6])(report);
            report.plan.r#loop = Loop::Closed;
            (0..3).for_each(|index| report.intervals[index].achieved_per_s = 2_000.0);
        };
        let message = "the run drifts: the rate is 2,000/s in its first half and 1,000/s in its second";
        assert_eq!(of(&rates, drift), suspect(0.5, 1.0 / 1.3, message));
    }

    #[test]
    fn intervals_that_differ_by_plan_are_not_compared() {
        let staged = |to_per_s| {
            move |report: &mut Report| {
                with_medians(&[100, 110, 120, 150, 160, 170])(report);
                report.plan.stages =
                    vec![StagePlan { stage: String::new(), from_per_s: 1_000.0, to_per_s, duration_s: 6.0 }];
            }
        };
        assert_eq!(codes(staged(1_000.0)), ["drift"]);
        assert_eq!(codes(staged(2_000.0)), [""; 0]);
    }

    #[test]
    fn a_stall_is_compared_with_the_rate_of_its_stage() {
        let stall_at = |at_s: f64| {
            move |report: &mut Report| {
                let stage = |per_s| StagePlan {
                    stage: String::new(),
                    from_per_s: per_s,
                    to_per_s: per_s,
                    duration_s: 1.0,
                };
                report.plan.stages = vec![stage(1_990.0), stage(10.0)];
                report.fairness.longest_stall_ns = 150_000_000;
                report.fairness.longest_stall_at_ns = Some((at_s * 1e9) as u64);
            }
        };
        assert_eq!(codes(stall_at(0.5)), ["stall"]);
        assert_eq!(codes(stall_at(1.5)), [""; 0]);
    }

    #[test]
    fn an_interval_with_few_replies_disables_the_rules_on_intervals() {
        let few = |report: &mut Report| {
            with_medians(&[500, 90, 100, 95, 100, 98])(report);
            report.intervals[3].completed = 99;
        };
        assert_eq!(codes(few), [""; 0]);
    }
}
