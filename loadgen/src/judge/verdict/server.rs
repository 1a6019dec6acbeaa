//! Whether the server ran until the end and kept up with the load.

use common::human::{duration_ns, rate};

use super::{ACHIEVED_SHARE_MIN, Finding, generator, machine};
use crate::result::{Loop, Report, Status};

/// With a smaller share of the offered rate, the load was not the planned one.
const ACHIEVED_SHARE_INVALID: f64 = 0.9;
pub(super) fn gone(report: &Report) -> Option<Finding> {
    let gone_at_ns = report.server_gone_at_ns?;
    let at = match gone_at_ns {
        0 => "before the window".to_owned(),
        gone_at_ns => format!("{} into the window", duration_ns(gone_at_ns)),
    };
    Some(Finding {
        status: Status::Invalid,
        value: gone_at_ns as f64,
        bound: report.elapsed_s * 1e9,
        message: format!(
            "the server went away: its last reply arrived {at}; then all connections were lost, and new ones failed"
        ),
        advice: "the numbers cover only the time before: find out why the server ended (exit code, log, dmesg)",
    })
}

pub(super) fn ended(report: &Report) -> Option<Finding> {
    report.server_ended_early.then(|| Finding {
        status: Status::Invalid,
        value: 1.0,
        bound: 0.0,
        message: "the server ended before the run did".to_owned(),
        advice: "read what the server printed above, and find out why it ended",
    })
}

pub(super) fn cannot_keep_up(report: &Report) -> Option<Finding> {
    // A generator at its limit cannot tell whether the server is at its own.
    if report.plan.r#loop == Loop::Closed
        || report.server_gone_at_ns.is_some()
        || generator::is_bottleneck(report)
        || machine::is_throttled(report)
    {
        return None;
    }
    let (rate_per_s, achieved) = (report.rate.offered_per_s?, report.rate.achieved_per_s);
    // The rule `errors` finds requests that failed after they were sent.
    let failed = report.requests.failed.saturating_sub(report.requests.unsent);
    let handled = achieved + failed as f64 / report.elapsed_s.max(f64::EPSILON);
    // By chance, fewer requests may have been due than on average.
    let due = report.requests.all() as f64 / report.elapsed_s.max(f64::EPSILON);
    // Replies that take longer than the warm-up arrive after the window, even if the server keeps up. The shortest service
    // time shows that: no queue makes it longer.
    let shortest_s = report.latency_ns.service.min.unwrap_or(0) as f64 / 1e9;
    let too_late = (shortest_s - report.plan.warmup_s).max(0.0) / report.elapsed_s.max(f64::EPSILON);
    let offered = rate_per_s.min(due) * (1.0 - too_late).max(0.0);
    let bound = offered * ACHIEVED_SHARE_MIN;
    (handled < bound).then(|| Finding {
        status: if handled < offered * ACHIEVED_SHARE_INVALID { Status::Invalid } else { Status::Suspect },
        value: achieved,
        bound,
        message: format!("the server cannot keep up: {}/s of {}/s offered", rate(achieved), rate(rate_per_s)),
        advice: "the response times grow with the length of the run: lower --rate",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::tests::codes;

    #[test]
    fn a_server_keeps_up_with_98_percent_of_the_rate_and_may_reply_after_the_window() {
        assert_eq!(codes(|report| report.rate.achieved_per_s = 980.0), [""; 0]);
        assert_eq!(codes(|report| report.rate.achieved_per_s = 979.9), ["cannot_keep_up"]);
        // Each reply takes 1.2 s, with a warm-up of 1 s and a window of 2 s.
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
    fn a_server_that_went_away_has_no_other_reason() {
        let gone = |report: &mut Report| {
            report.server_gone_at_ns = Some(500_000_000);
            report.rate.achieved_per_s = 250.0;
            report.fairness.longest_silence_ns = 1_500_000_000;
            report.fairness.longest_stall_ns = 1_500_000_000;
        };
        assert_eq!(codes(gone), ["server_gone"]);
    }
}
