//! Whether replies arrived, and whether they were the expected ones.

use std::collections::BTreeMap;

use common::human::{count, percent, plural, were};

use super::Finding;
use crate::{
    engine::failure::Failure,
    protocol::{Protocol, echo::Echo},
    result::{Loop, Report, Status, total},
};

/// With a larger share of failures, the latencies of the other requests say little.
const FAILED_SHARE_MAX: f64 = 0.001;

/// Whether no reply at all was the expected one.
pub(super) fn has_no_expected_reply(report: &Report) -> bool {
    report.requests.completed == 0 && report.rate.achieved_per_s == 0.0
}

pub(super) fn mismatch(report: &Report) -> Option<Finding> {
    let of = |errors: &BTreeMap<String, u64>| errors.get(Failure::Mismatch.name()).copied().unwrap_or(0);
    // Clients that get only wrong replies wait longer and longer between two attempts. Perhaps none falls into the window.
    let wrong = match (of(&report.errors), has_no_expected_reply(report)) {
        (0, true) => of(&report.errors_before_window),
        (wrong, _) => wrong,
    };
    let is_echo = report.plan.protocol == Echo::NAME;
    let (message, advice) = match (has_no_expected_reply(report), is_echo) {
        (true, true) => (
            "the target is not an echo server: no reply was the expected one".to_owned(),
            "check the address and the port; if the server does not reply in upper case, see --expect; for other services see \
             --protocol",
        ),
        (true, false) => (
            format!("no reply of the target keeps to --protocol {}", report.plan.protocol),
            "check the address, the port and --protocol; the first wrong reply is shown below",
        ),
        (false, true) => (
            format!("{} {} not the expected one", plural(wrong, "reply"), were(wrong)),
            "compare the first wrong reply below with what --expect asks for",
        ),
        (false, false) => (
            format!("{} did not keep to --protocol {}", plural(wrong, "reply"), report.plan.protocol),
            "see the first wrong reply below; --max-reply bounds the length of a reply",
        ),
    };
    (wrong > 0).then_some(Finding {
        status: Status::Invalid,
        value: wrong as f64,
        bound: 0.0,
        message,
        advice,
    })
}

/// Complete replies that are not what `--expect` asks for.
pub(super) fn unexpected(report: &Report) -> Option<Finding> {
    let unexpected = report.errors.get(Failure::Unexpected.name()).copied().unwrap_or(0);
    let due = report.requests.all();
    let share = unexpected as f64 / due.max(unexpected).max(1) as f64;
    (unexpected > 0).then(|| Finding {
        status: if share > FAILED_SHARE_MAX { Status::Invalid } else { Status::Suspect },
        value: share,
        bound: 0.0,
        message: format!(
            "{} {} complete, but not the expected one ({} of the requests)",
            plural(unexpected, "reply"),
            were(unexpected),
            percent(share)
        ),
        advice: "see the first unexpected reply below; --expect sets what is expected",
    })
}

/// Whether replies arrived, and none was the expected one.
pub(super) fn has_only_unexpected_replies(report: &Report) -> bool {
    report.requests.completed == 0
        && report.errors.get(Failure::Unexpected.name()).is_some_and(|count| *count > 0)
}

/// If replies arrived, but only to requests that were due before the window, other rules find the overload.
pub(super) fn no_replies(report: &Report) -> Option<Finding> {
    has_no_expected_reply(report).then(|| Finding {
        status: Status::Invalid,
        value: 0.0,
        bound: 1.0,
        message: "no request of the measured window got a reply".to_owned(),
        advice: "see the errors below; for a slow server, use a longer --duration or a shorter --warmup",
    })
}

/// Counts requests that failed without a complete reply, and failed connections without a request: their clients wait meanwhile.
pub(super) fn errors(report: &Report) -> Option<Finding> {
    let due = report.requests.all();
    // Unsent requests of an open loop are a rate that was not reached: other rules find that.
    let unexpected = report.errors.get(Failure::Unexpected.name()).copied().unwrap_or(0);
    let failed = match report.plan.r#loop {
        Loop::Open => report.requests.failed.saturating_sub(report.requests.unsent),
        Loop::Closed => report.requests.failed,
    };
    // Another rule finds them.
    let failed = failed.saturating_sub(unexpected);
    let errors = total(&report.errors);
    let connections = errors.saturating_sub(report.requests.failed);
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let of_requests = share(failed, due);
    let of_attempts = share(connections, due.saturating_add(connections));
    let (share, failures) = if of_requests > FAILED_SHARE_MAX {
        (of_requests, format!("{} of {} failed", count(failed), plural(due, "request")))
    } else {
        (
            of_attempts,
            format!("{} failed, besides {}", plural(connections, "connection"), plural(due, "request")),
        )
    };
    (share > FAILED_SHARE_MAX).then(|| Finding {
        status: Status::Invalid,
        value: share,
        bound: FAILED_SHARE_MAX,
        message: format!("{failures} ({}; limit: {})", percent(share), percent(FAILED_SHARE_MAX)),
        advice: "find the cause of the errors listed below before you read the latencies",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::tests::codes;

    #[test]
    fn each_rule_applies_beyond_its_bound() {
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
        // Replies to earlier requests arrived.
        let late = |report: &mut Report| report.requests.completed = 0;
        assert!(!codes(late).contains(&"no_replies".to_owned()));
        let unsent = |report: &mut Report| {
            report.requests.failed = 1_000;
            report.requests.unsent = 1_000;
            report.errors.insert("unsent".to_owned(), 1_000);
            report.rate.achieved_per_s = 980.0;
        };
        assert_eq!(codes(unsent), [""; 0]);
        let wrong = |report: &mut Report| {
            report.errors.insert("mismatch".to_owned(), 1);
        };
        assert_eq!(codes(wrong), ["mismatch"]);
    }

    #[test]
    fn a_target_that_is_not_an_echo_has_no_other_reason() {
        let wrong = |report: &mut Report| {
            report.errors.insert("mismatch".to_owned(), 50);
            (report.requests.completed, report.requests.failed) = (0, 50);
            (report.rate.achieved_per_s, report.fairness.starved) = (0.0, 50);
        };
        assert_eq!(codes(wrong), ["mismatch"]);
    }

    #[test]
    fn a_target_with_only_unexpected_replies_has_no_other_reason() {
        let unexpected = |count, completed| {
            move |report: &mut Report| {
                report.errors.insert("unexpected".to_owned(), count);
                (report.requests.completed, report.requests.failed) = (completed, 50);
                (report.rate.achieved_per_s, report.fairness.starved) = (0.0, 50);
            }
        };
        assert_eq!(codes(unexpected(50, 0)), ["unexpected"]);
        assert!(codes(unexpected(50, 1)).contains(&"starved".to_owned()));
        assert!(codes(unexpected(0, 0)).contains(&"starved".to_owned()));
    }

    #[test]
    fn failed_requests_and_failed_connections_are_shares_of_all_attempts() {
        // 2,000 requests were due.
        let refused = |count| {
            move |report: &mut Report| {
                report.errors.insert("connect_refused".to_owned(), count);
            }
        };
        assert_eq!(codes(refused(2)), [""; 0]);
        assert_eq!(codes(refused(3)), ["errors"]);
        let mut report = crate::result::tests::example();
        refused(1_000_000)(&mut report);
        let finding = errors(&report).unwrap();
        assert!(finding.value < 1.0, "{}", finding.message);
        assert!(
            finding.message.contains("1,000,000 connections failed, besides 2,000 requests"),
            "{}",
            finding.message
        );
    }
}
