//! Whether the server served every client.

use common::human::{count, duration_ns, plural};

use super::Finding;
use crate::{
    load::schedule::Arrival,
    result::{Report, Status},
};

/// With a lower Jain's index, the server favours some clients.
const JAIN_MIN: f64 = 0.9;
/// With fewer requests for each client, chance alone makes the clients uneven.
const REQUESTS_PER_CLIENT_MIN: u64 = 10;
/// In a window that is shorter than this many median responses, one hiccup of the machine makes the clients uneven.
const UNFAIR_MEDIANS_MIN: f64 = 100.0;
/// The share of the window that a client may wait for a reply.
const SILENCE_SHARE_MAX: f64 = 0.5;
/// A shorter silence can be a hiccup of the machine.
const SILENCE_S_MIN: f64 = 0.1;
/// How many times longer than the median response a silence is: a server that is slow to all clients starves none.
const SILENCE_MEDIANS_MIN: f64 = 10.0;

pub(super) fn starved(report: &Report) -> Option<Finding> {
    let (starved, clients) = (report.fairness.starved, report.fairness.clients);
    (starved > 0).then(|| Finding {
        status: Status::Invalid,
        value: starved as f64,
        bound: 0.0,
        message: format!("{} of {} got no reply", count(starved), plural(clients, "client")),
        advice: "the percentiles cover only the other clients: give the server a worker for each connection, or \
                 use fewer -c",
    })
}

/// With Poisson arrivals, chance makes the clients uneven: with `m` requests for each client on average, a perfectly fair
/// server has an index of `m / (m + 1)`, as the variance is `m`.
pub(super) fn unfair(report: &Report) -> Option<Finding> {
    let jain = report.fairness.jain?;
    let requests = report.requests.all();
    let clients = report.fairness.clients.max(1);
    let usual_s = report.latency_ns.of_completed().p50.unwrap_or(0) as f64 / 1e9;
    if requests < REQUESTS_PER_CLIENT_MIN.saturating_mul(clients)
        || report.elapsed_s < usual_s * UNFAIR_MEDIANS_MIN
    {
        return None;
    }
    let each = requests as f64 / clients as f64;
    let fair = if report.plan.arrival == Some(Arrival::Poisson) { each / (each + 1.0) } else { 1.0 };
    let bound = JAIN_MIN * fair;
    (jain < bound).then(|| Finding {
        status: Status::Suspect,
        value: jain,
        bound,
        message: format!(
            "the server favoured some clients: Jain's index is {jain:.3} (minimum: {bound:.2})"
        ),
        advice: "the percentiles are mostly those of the favoured clients: compare the fewest and the most replies of a client",
    })
}

pub(super) fn silence(report: &Report) -> Option<Finding> {
    // A server that went away has its own reason.
    if report.server_gone_at_ns.is_some() {
        return None;
    }
    let silence_s = report.fairness.longest_silence_ns as f64 / 1e9;
    let usual_s = report.latency_ns.of_completed().p50.unwrap_or(0) as f64 / 1e9;
    let bound = (report.elapsed_s * SILENCE_SHARE_MAX).max(usual_s * SILENCE_MEDIANS_MIN).max(SILENCE_S_MIN);
    (silence_s > bound).then(|| {
        let [silence, window] =
            [silence_s, report.elapsed_s].map(|time_s| duration_ns((time_s * 1e9) as u64));
        Finding {
            status: Status::Invalid,
            value: silence_s * 1e9,
            bound: bound * 1e9,
            message: format!("a client waited {silence} for a reply, in a window of {window}"),
            advice: "some requests took most of the window: find out which clients the server does not serve, and why",
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::tests::codes;

    #[test]
    fn each_rule_applies_beyond_its_bound() {
        assert_eq!(codes(|report| report.fairness.starved = 1), ["starved"]);
        // 40 requests for each client, at random.
        let bound = 0.9 * 40.0 / 41.0;
        assert_eq!(codes(|report| report.fairness.jain = Some(bound)), [""; 0]);
        assert_eq!(codes(|report| report.fairness.jain = Some(bound - 0.001)), ["unfair"]);
        let constant = |report: &mut Report| {
            report.plan.arrival = Some(Arrival::Constant);
            report.fairness.jain = Some(0.899);
        };
        assert_eq!(codes(constant), ["unfair"]);
        assert_eq!(codes(|report| report.fairness.longest_silence_ns = 1_000_000_000), [""; 0]);
        assert_eq!(codes(|report| report.fairness.longest_silence_ns = 1_000_000_001), ["silence"]);
    }

    #[test]
    fn fairness_needs_requests_and_time() {
        let is_unfair = |requests: u64, elapsed_s: f64| {
            let mut report = crate::result::tests::example();
            report.fairness.jain = Some(0.2);
            report.requests = crate::result::Requests { completed: requests, ..Default::default() };
            report.latency_ns.response.p50 = Some(125_000_000);
            report.elapsed_s = elapsed_s;
            unfair(&report).is_some()
        };
        let requests = REQUESTS_PER_CLIENT_MIN * crate::result::tests::example().fairness.clients;
        let elapsed_s = 0.125 * UNFAIR_MEDIANS_MIN;
        assert!(is_unfair(requests, elapsed_s));
        assert!(!is_unfair(requests - 1, elapsed_s));
        assert!(!is_unfair(requests, elapsed_s - 0.001));
    }

    #[test]
    fn a_server_that_is_slow_to_all_clients_or_gets_few_requests_is_not_unfair() {
        assert_eq!(
            codes(|report| {
                report.fairness.longest_silence_ns = 1_500_000_000;
                report.latency_ns.response.p50 = Some(1_000_000_000);
            }),
            [""; 0]
        );
        assert_eq!(
            codes(|report| {
                report.plan.requests = Some(10);
                report.fairness.asked = 10;
                report.fairness.served = 10;
                report.fairness.jain = Some(0.2);
                report.requests.completed = 10;
                report.rate.achieved_per_s = 5.0;
            }),
            [""; 0]
        );
    }
}
