//! Whether the load fits the window: enough requests of each client, and a free client for each request.

use common::human::{duration_ns, plural, rate};

use super::Finding;
use crate::result::{Loop, Report, Status};

/// How many replies each client could get in the window, one request after the other.
const REPLIES_PER_CLIENT_MIN: f64 = 10.0;
/// The tolerated deviation from Little's law.
const CONCURRENCY_TOLERANCE: f64 = 0.1;
/// With a larger share of busy clients, requests of an open loop wait for a free client.
const BUSY_CLIENTS_SHARE_MAX: f64 = 0.9;
/// How many replies the rule needs for each possible outstanding request, so that the ends of the window do not matter.
const REPLIES_PER_OUTSTANDING_MIN: u64 = 20;

/// In a short window, the requests at its edges distort the numbers.
pub(super) fn too_short(report: &Report) -> Option<Finding> {
    let usual_ns = report.latency_ns.service.p50? as f64;
    let window_ns = report.elapsed_s * 1e9;
    let outstanding_max = f64::from(report.plan.connections) * report.plan.pipeline as f64;
    let mut replies = window_ns / usual_ns.max(1.0);
    // With --requests, the plan limits the replies of each client of a closed loop.
    if report.plan.r#loop == Loop::Closed && report.plan.requests.is_some() {
        replies = replies.min(report.requests.all() as f64 / outstanding_max);
    }
    (replies < REPLIES_PER_CLIENT_MIN).then(|| {
        let needed_ns = usual_ns * REPLIES_PER_CLIENT_MIN;
        let [window, usual, needed] =
            [window_ns, usual_ns, needed_ns].map(|time_ns| duration_ns(time_ns as u64));
        let needed = match report.plan.requests {
            None => needed,
            Some(_) => {
                format!(
                    "{needed}, or about {}",
                    plural((outstanding_max * REPLIES_PER_CLIENT_MIN) as u64, "request")
                )
            }
        };
        Finding {
            status: Status::Suspect,
            value: replies,
            bound: REPLIES_PER_CLIENT_MIN,
            message: format!(
                "the window of {window} is too short: {} replies of a client, of {usual} each, need {needed}",
                REPLIES_PER_CLIENT_MIN as u64
            ),
            advice: "use a longer --duration or more --requests",
        }
    })
}

/// Little's law (1961): the average number of outstanding requests is the rate times the mean time.
pub(super) fn concurrency(report: &Report) -> Option<Finding> {
    let plan = &report.plan;
    let outstanding_max = f64::from(plan.connections) * plan.pipeline as f64;
    let enough =
        report.requests.completed >= REPLIES_PER_OUTSTANDING_MIN.saturating_mul(outstanding_max as u64);
    // A client that connects, or that has sent its share of --requests, has no outstanding request.
    let counted = plan.requests_per_connection.or(plan.requests).is_some();
    if !enough || counted || report.connections.lost > 0 {
        return None;
    }
    match plan.r#loop {
        Loop::Closed => missing_requests(report, outstanding_max),
        Loop::Open => busy_clients(report, outstanding_max),
    }
}

/// In a closed loop, the clients keep as many requests outstanding as they may.
fn missing_requests(report: &Report, outstanding_max: f64) -> Option<Finding> {
    let thinking = report.rate.achieved_per_s * report.plan.think_s.unwrap_or(0.0);
    let seen = report.fairness.effective_concurrency? + thinking;
    let bound = outstanding_max * (1.0 - CONCURRENCY_TOLERANCE);
    (seen < bound || seen > outstanding_max * (1.0 + CONCURRENCY_TOLERANCE)).then(|| Finding {
        status: Status::Suspect,
        value: seen,
        bound,
        message: format!(
            "rate and mean latency imply {} outstanding requests on average, but the clients keep {}: requests of some \
             clients are missing from both",
            rate(seen),
            rate(outstanding_max)
        ),
        advice: "look for clients that were not served until the end; see the longest silence",
    })
}

/// In an open loop, a client should be free when a request is due.
fn busy_clients(report: &Report, outstanding_max: f64) -> Option<Finding> {
    // If the rate or the times change during the run, the law may give more than is possible.
    let seen = report.fairness.service_concurrency?.min(outstanding_max);
    let bound = outstanding_max * BUSY_CLIENTS_SHARE_MAX;
    (seen > bound).then(|| Finding {
        status: Status::Suspect,
        value: seen,
        bound,
        message: format!(
            "{} of {} possible requests were outstanding on average: requests waited in the generator for a free client",
            rate(seen),
            rate(outstanding_max)
        ),
        advice: "the service times do not contain this wait: use more connections (-c) or a deeper pipeline (-p)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::tests::codes;

    #[test]
    fn a_window_of_fewer_than_ten_requests_one_after_the_other_is_too_short() {
        let window = |service_ms: u64, change: fn(&mut Report)| {
            move |report: &mut Report| {
                report.latency_ns.service.p50 = Some(service_ms * 1_000_000);
                change(report);
            }
        };
        // The window takes 2 s.
        assert_eq!(codes(window(200, |_| ())), [""; 0]);
        assert_eq!(codes(window(201, |_| ())), ["too_short"]);
        // 2,000 requests are 9 for each of 201 clients.
        fn closed(report: &mut Report) {
            report.plan.r#loop = Loop::Closed;
            report.rate.offered_per_s = None;
            report.plan.requests = Some(2_000);
            report.plan.connections = 201;
        }
        assert_eq!(codes(window(1, closed)), ["too_short"]);
        // Or for each of the four that 51 clients may have outstanding.
        let pipelined: fn(&mut Report) = |report| {
            closed(report);
            (report.plan.connections, report.plan.pipeline) = (51, 4);
        };
        assert_eq!(codes(window(1, pipelined)), ["too_short"]);
        let message = |report: &Report| too_short(report).unwrap().message;
        let mut report = crate::result::tests::example();
        window(1, closed)(&mut report);
        assert!(message(&report).contains("or about 2,010 requests"), "{}", message(&report));
    }

    #[test]
    fn rate_latency_and_clients_must_agree_with_littles_law() {
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
        assert_eq!(codes(closed(54.0, 0.0)), [""; 0]);
        assert_eq!(codes(closed(56.0, 0.0)), ["concurrency"]);
        // A client that reconnects has no request outstanding meanwhile.
        let lost = |report: &mut Report| {
            closed(44.0, 0.0)(report);
            report.connections.lost = 1;
        };
        assert_eq!(codes(lost), ["reconnects"]);
        // 999.5/s with 40 ms of think time: 40 clients think.
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
}
