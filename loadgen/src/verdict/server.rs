//! What the server did wrong, or did not do for everybody.

use super::{ACHIEVED_SHARE_MIN, Finding, generator};
use crate::{
    failure::Failure,
    human::{count, duration_ns, rate},
    report::{Loop, Report, Status},
    schedule::Arrival,
};

/// More failures than this part of all requests, and the latencies of the others say little.
const FAILED_SHARE_MAX: f64 = 0.001;
/// Jain's index under which some clients are served at others' cost.
const JAIN_MIN: f64 = 0.9;
/// With fewer requests for each client, chance alone makes them uneven.
const REQUESTS_PER_CLIENT_MIN: u64 = 10;
/// In a window of fewer usual replies, one hiccup of the machine makes them uneven.
const UNFAIR_MEDIANS_MIN: f64 = 100.0;
/// Under this part the load was another one than was asked for.
const ACHIEVED_SHARE_INVALID: f64 = 0.9;
/// The part of the window from which on a silence is no mere delay.
const SILENCE_SHARE_MAX: f64 = 0.5;
/// In a window that is hardly longer, a silence is a hiccup of the machine.
const SILENCE_S_MIN: f64 = 0.1;
/// A server that is slow to everybody starves nobody: a silence is so many times longer than the usual reply takes.
const SILENCE_MEDIANS_MIN: f64 = 10.0;

pub(super) fn mismatch(report: &Report) -> Option<Finding> {
    let wrong = report.errors.get(Failure::Mismatch.name()).copied().unwrap_or(0);
    (wrong > 0).then(|| {
        let replies = if wrong == 1 { "reply was" } else { "replies were" };
        Finding {
            status: Status::Invalid,
            value: wrong as f64,
            bound: 0.0,
            message: format!("{} {replies} not what the request asked for", count(wrong)),
            advice: "is this an echo in upper case? see --expect, and the first wrong reply below",
        }
    })
}

/// Where replies came, but only to requests that were due before the window, the load was too much for somebody: that is
/// another rule's.
pub(super) fn no_replies(report: &Report) -> Option<Finding> {
    let none = report.requests.completed == 0 && report.rate.achieved_per_s == 0.0;
    none.then(|| Finding {
        status: Status::Invalid,
        value: 0.0,
        bound: 1.0,
        message: "no request of the measured window got its reply".to_owned(),
        advice: "see the errors below; a longer --duration or a shorter --warmup gives slow servers the time",
    })
}

/// Every error of the run counts, not only the requests of the window that failed: clients that could not connect
/// again had no request to fail.
pub(super) fn errors(report: &Report) -> Option<Finding> {
    // What was never sent in an open loop is the rate that was not reached, and told so.
    let unsent = match report.plan.r#loop {
        Loop::Open => report.errors.get(Failure::Unsent.name()).copied().unwrap_or(0),
        Loop::Closed => 0,
    };
    let errors = report.errors.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let errors = errors.max(report.requests.failed).saturating_sub(unsent);
    let requests = report.requests.completed.saturating_add(report.requests.failed);
    let share = errors as f64 / requests.max(1) as f64;
    (share > FAILED_SHARE_MAX).then(|| Finding {
        status: Status::Invalid,
        value: share,
        bound: FAILED_SHARE_MAX,
        message: format!(
            "{} errors beside {} requests ({:.1}%; at most {:.1}% may be)",
            count(errors),
            count(requests),
            share * 100.0,
            FAILED_SHARE_MAX * 100.0
        ),
        advice: "the latencies are those of the requests that went well: mend what the errors below name first",
    })
}

pub(super) fn starved(report: &Report) -> Option<Finding> {
    let (starved, clients) = (report.fairness.starved, report.fairness.clients);
    (starved > 0).then(|| {
        let noun = if starved == 1 { "client" } else { "clients" };
        Finding {
            status: Status::Invalid,
            value: starved as f64,
            bound: 0.0,
            message: format!("{} {noun} of {} got no reply at all", count(starved), count(clients)),
            advice: "the percentiles are of the others alone: give the server a worker for each connection, or \
                     use fewer -c",
        }
    })
}

/// In a Poisson load, clients are asked unevenly by chance: with `m` requests each on average, a perfectly fair server
/// has an index of `m / (m + 1)`, as their variance is `m`.
pub(super) fn unfair(report: &Report) -> Option<Finding> {
    let jain = report.fairness.jain?;
    let requests = report.requests.completed.saturating_add(report.requests.failed);
    let clients = report.fairness.clients.max(1);
    let usual_s = report.latency_ns.response.p50.unwrap_or(0) as f64 / 1e9;
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
            "some clients were served at others' cost: Jain's index is {jain:.3}, under {bound:.2}"
        ),
        advice: "the percentiles are mostly those of the favoured clients: look at the fewest and the most replies",
    })
}

pub(super) fn silence(report: &Report) -> Option<Finding> {
    let silence_s = report.fairness.longest_silence_ns as f64 / 1e9;
    let usual_s = report.latency_ns.response.p50.unwrap_or(0) as f64 / 1e9;
    let bound = (report.elapsed_s * SILENCE_SHARE_MAX).max(usual_s * SILENCE_MEDIANS_MIN).max(SILENCE_S_MIN);
    (silence_s > bound).then(|| {
        let [silence, window] =
            [silence_s, report.elapsed_s].map(|time_s| duration_ns((time_s * 1e9) as u64));
        Finding {
            status: Status::Invalid,
            value: silence_s * 1e9,
            bound: bound * 1e9,
            message: format!("a client waited {silence} of {window} for a reply"),
            advice: "some requests took most of the run: find out whom the server lets wait",
        }
    })
}

pub(super) fn ended(report: &Report) -> Option<Finding> {
    report.server_ended_early.then(|| Finding {
        status: Status::Invalid,
        value: 1.0,
        bound: 0.0,
        message: "the server of this run was gone before the end".to_owned(),
        advice: "see what it said above, and why it ended",
    })
}

pub(super) fn cannot_keep_up(report: &Report) -> Option<Finding> {
    // Who could not ask more does not know whether the server could answer more.
    if report.plan.r#loop == Loop::Closed || generator::is_bottleneck(report) {
        return None;
    }
    let (offered, achieved) = (report.rate.offered_per_s?, report.rate.achieved_per_s);
    // What the server failed at is told by the errors: it was not too much for it.
    let failed = report.requests.sent.saturating_sub(report.requests.completed);
    let handled = achieved + failed as f64 / report.elapsed_s.max(f64::EPSILON);
    // By chance fewer may have been due than on average.
    let due = (report.requests.completed as f64 + report.requests.failed as f64)
        / report.elapsed_s.max(f64::EPSILON);
    // What takes longer than the warm-up is replied to after the window, however well the server keeps up: the shortest
    // reply tells, which no queue makes longer.
    let shortest_s = report.latency_ns.service.min.unwrap_or(0) as f64 / 1e9;
    let too_late = (shortest_s - report.plan.warmup_s).max(0.0) / report.elapsed_s.max(f64::EPSILON);
    let offered = offered.min(due) * (1.0 - too_late).max(0.0);
    let bound = offered * ACHIEVED_SHARE_MIN;
    (handled < bound).then(|| Finding {
        status: if handled < offered * ACHIEVED_SHARE_INVALID { Status::Invalid } else { Status::Suspect },
        value: achieved,
        bound,
        message: format!("it cannot keep up: {}/s of {}/s offered", rate(achieved), rate(offered)),
        advice: "the response times grow with the length of the run: lower --rate",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::codes;

    #[test]
    fn each_rule_applies_on_its_side_of_the_line() {
        let failed = |failed| {
            move |report: &mut Report| {
                report.requests.completed = 100_000 - failed;
                report.requests.failed = failed;
                report.rate.achieved_per_s = 50_000.0;
            }
        };
        assert_eq!(codes(failed(100)), [""; 0]);
        assert_eq!(codes(failed(101)), ["errors"]);
        let nothing = |report: &mut Report| {
            report.requests.completed = 0;
            report.rate.achieved_per_s = 0.0;
        };
        assert!(codes(nothing).contains(&"no_replies".to_owned()));
        let unsent = |report: &mut Report| {
            report.requests.failed = 1_000;
            report.errors.insert("unsent".to_owned(), 1_000);
            report.rate.achieved_per_s = 980.0;
        };
        assert_eq!(codes(unsent), [""; 0]);
        let wrong = |report: &mut Report| {
            report.errors.insert("mismatch".to_owned(), 1);
        };
        assert_eq!(codes(wrong), ["mismatch"]);
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
        assert_eq!(codes(|report| report.rate.achieved_per_s = 980.0), [""; 0]);
        assert_eq!(codes(|report| report.rate.achieved_per_s = 979.9), ["cannot_keep_up"]);
        // Each reply takes 1.2 s of a warm-up of one and a window of two.
        let slow = |achieved_per_s| {
            move |report: &mut Report| {
                report.latency_ns.service.min = Some(1_200_000_000);
                report.rate.achieved_per_s = achieved_per_s;
            }
        };
        assert_eq!(codes(slow(890.0)), [""; 0]);
        assert_eq!(codes(slow(880.0)), ["cannot_keep_up"]);
    }

    #[test]
    fn who_is_slow_to_everybody_or_is_asked_too_little_is_not_blamed() {
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
