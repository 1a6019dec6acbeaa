//! How the run went over its time: what does not stay the same has no one distribution.

use super::Finding;
use crate::{
    compare::metrics::median,
    human::{duration_ns, rate},
    report::{Interval, Loop, Report, Status},
};

/// A stall lasts so long at least: what is shorter happens on any machine.
const STALL_NS_MIN: f64 = 100e6;
/// A stall is so many times longer than the usual reply takes.
const STALL_MEDIANS_MIN: f64 = 10.0;
/// In a stall, so many replies would have come at the usual rate.
const STALL_REPLIES_MIN: f64 = 20.0;
/// How far Little's law may be missed.
const CONCURRENCY_TOLERANCE: f64 = 0.1;
/// From this part of them on, the clients of an open loop have no place left to ask from.
const BUSY_CLIENTS_SHARE_MAX: f64 = 0.9;
/// For each place that a request may be outstanding in, so many replies: then both ends of the window do not matter.
const REPLIES_PER_PLACE_MIN: u64 = 20;
/// With fewer intervals, the first one is not compared with the rest.
const WARM_UP_INTERVALS_MIN: usize = 5;
/// The first interval's median lies outside of all others', by this factor.
const WARM_UP_FACTOR: f64 = 1.5;
/// With fewer intervals, halves are not compared.
const DRIFT_INTERVALS_MIN: usize = 6;
/// By which factor the halves' medians differ.
const DRIFT_FACTOR: f64 = 1.3;
/// The part of all pairs of an earlier and a later interval that are in the same order: 1/2 where nothing drifts (the
/// statistic of Mann and Whitney, 1947).
const DRIFT_ORDERED_SHARE_MIN: f64 = 0.9;
/// An interval with fewer replies says little.
const INTERVAL_REPLIES_MIN: u64 = 100;

pub(super) fn stall(report: &Report) -> Option<Finding> {
    let stall_ns = report.fairness.longest_stall_ns as f64;
    let usual_ns = report.latency_ns.response.p50.unwrap_or(0) as f64;
    let replies_ns = STALL_REPLIES_MIN * 1e9 / report.rate.achieved_per_s.max(f64::EPSILON);
    let bound = STALL_NS_MIN.max(usual_ns * STALL_MEDIANS_MIN).max(replies_ns);
    (stall_ns > bound).then(|| {
        let stall = duration_ns(stall_ns as u64);
        let (message, advice) = match report.plan.r#loop {
            Loop::Open => (
                format!("no client got a reply for {stall}: it is in the response times, and hardly in the service times"),
                "what stood still: the server (its log, garbage collection, a lock), its machine, or the network? or the \
                 generator: then its schedule lag is as long",
            ),
            Loop::Closed => (
                format!(
                    "no client got a reply for {stall}, and in a closed loop none asked: that counts as one slow request \
                     for each client, where users would have felt many"
                ),
                "repeat it with --rate, which counts each request that was due in the meantime",
            ),
        };
        Finding { status: Status::Suspect, value: stall_ns, bound, message, advice }
    })
}

/// Little's law (1961): what is under way on average is the rate times the mean time.
pub(super) fn concurrency(report: &Report) -> Option<Finding> {
    let plan = &report.plan;
    let places = f64::from(plan.connections) * plan.pipeline as f64;
    let enough = report.requests.completed >= REPLIES_PER_PLACE_MIN.saturating_mul(places as u64);
    // A client that connects has nothing under way, nor has one whose share of a number of requests is done.
    let counted = plan.requests_per_connection.or(plan.requests).is_some();
    if !enough || counted || report.connections.lost > 0 {
        return None;
    }
    match plan.r#loop {
        Loop::Closed => {
            let thinking = report.rate.achieved_per_s * plan.think_s.unwrap_or(0.0);
            let seen = report.fairness.effective_concurrency? + thinking;
            let bound = places * (1.0 - CONCURRENCY_TOLERANCE);
            (seen < bound || seen > places * (1.0 + CONCURRENCY_TOLERANCE)).then(|| Finding {
                status: Status::Suspect,
                value: seen,
                bound,
                message: format!(
                    "by rate and mean latency {} requests were under way on average, and {} should have been: some \
                     clients' requests are missing from both",
                    rate(seen),
                    rate(places)
                ),
                advice: "look for clients that were not served to the end, and at the longest silence",
            })
        }
        Loop::Open => {
            let seen = report.fairness.service_concurrency?;
            let bound = places * BUSY_CLIENTS_SHARE_MAX;
            (seen > bound).then(|| Finding {
                status: Status::Suspect,
                value: seen,
                bound,
                message: format!(
                    "{} of {} places for outstanding requests were taken on average: requests waited in the generator \
                     for a client to be free",
                    rate(seen),
                    rate(places)
                ),
                advice: "the service times leave that waiting out: use more connections (-c) or a deeper pipeline (-p)",
            })
        }
    }
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
            "the first interval is not like the rest: its median is {}, theirs are {} to {}",
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
    let finding = |(earlier, later): (f64, f64), what: &str, show: fn(f64) -> String| Finding {
        status: Status::Suspect,
        value: later / earlier,
        bound: if later > earlier { DRIFT_FACTOR } else { 1.0 / DRIFT_FACTOR },
        message: format!(
            "the run drifts: {what} is {} in its first half and {} in its second",
            show(earlier),
            show(later)
        ),
        advice: "percentiles over both depend on the run's length: find out what changes, or use a longer --warmup",
    };
    let time = |time_ns: f64| duration_ns(time_ns as u64);
    if let Some(halves) = drifting(&medians.collect::<Vec<_>>()) {
        return Some(finding(halves, "the median response", time));
    }
    // The rate of an open loop is what was asked for.
    let rates: Vec<_> = intervals.iter().map(|interval| interval.achieved_per_s).collect();
    let halves = drifting(&rates).filter(|_| report.plan.r#loop == Loop::Closed)?;
    Some(finding(halves, "the rate", |per_s| format!("{}/s", rate(per_s))))
}

/// The medians of both halves, if they differ by more than chance would make them.
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

/// Those that have enough replies, without the last one: it holds what came after the window, or is shorter.
fn whole_intervals(report: &Report) -> Vec<&Interval> {
    let intervals = report.intervals.iter().take(report.intervals.len().saturating_sub(1));
    let intervals: Vec<_> = intervals.collect();
    let enough = intervals.iter().all(|interval| interval.completed >= INTERVAL_REPLIES_MIN);
    if enough { intervals } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::codes;

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
                })
                .collect();
        }
    }

    #[test]
    fn a_stall_is_long_beside_the_clock_on_the_wall_the_usual_reply_and_the_rate() {
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
        // Twenty replies take two seconds at ten a second.
        assert_eq!(codes(stall(900, 1, 10.0)), [""; 0]);
    }

    #[test]
    fn littles_law_ties_rate_latency_and_clients_together() {
        let closed = |seen: f64, think_s: f64| {
            move |report: &mut Report| {
                report.plan.r#loop = Loop::Closed;
                report.plan.think_s = Some(think_s);
                report.rate.offered_per_s = None;
                report.fairness.effective_concurrency = Some(seen);
            }
        };
        assert_eq!(codes(closed(46.0, 0.0)), [""; 0]);
        assert_eq!(codes(closed(44.0, 0.0)), ["concurrency"]);
        assert_eq!(codes(closed(56.0, 0.0)), ["concurrency"]);
        // 999.5 a second, each after 40 ms of thinking.
        assert_eq!(codes(closed(10.0, 0.04)), [""; 0]);
        let open = |seen: f64| move |report: &mut Report| report.fairness.service_concurrency = Some(seen);
        assert_eq!(codes(open(45.0)), [""; 0]);
        assert_eq!(codes(open(45.1)), ["concurrency"]);
        let few = |report: &mut Report| {
            closed(1.0, 0.0)(report);
            report.requests.completed = 999;
        };
        assert_eq!(codes(few), [""; 0]);
    }

    #[test]
    fn a_first_interval_outside_of_the_rest_is_a_warm_up_too_short() {
        assert_eq!(codes(with_medians(&[150, 90, 100, 95, 100, 98])), [""; 0]);
        assert_eq!(codes(with_medians(&[151, 90, 100, 95, 100, 98])), ["warm_up"]);
        assert_eq!(codes(with_medians(&[59, 90, 100, 95, 100, 98])), ["warm_up"]);
        // Where the rest differs as much, the first is one of them.
        assert_eq!(codes(with_medians(&[151, 90, 140, 95, 100, 98])), [""; 0]);
        assert_eq!(codes(with_medians(&[500, 90, 100, 95])), [""; 0]);
    }

    #[test]
    fn halves_that_are_ordered_and_apart_are_a_drift() {
        assert_eq!(codes(with_medians(&[100, 110, 120, 130, 140, 150])), [""; 0], "12/10 is not apart");
        assert_eq!(codes(with_medians(&[100, 110, 120, 150, 160, 170])), ["drift"]);
        assert_eq!(codes(with_medians(&[170, 160, 150, 120, 110, 100])), ["drift"]);
        assert_eq!(codes(with_medians(&[100, 160, 100, 150, 90, 170])), [""; 0], "it goes up and down");
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
    fn an_interval_with_few_replies_says_nothing() {
        let few = |report: &mut Report| {
            with_medians(&[500, 90, 100, 95, 100, 98])(report);
            report.intervals[3].completed = 99;
        };
        assert_eq!(codes(few), [""; 0]);
    }
}
