//! Whether a report's numbers deserve trust: a table of rules over the report's own data.

use crate::{
    failure::Failure,
    report::{Reason, Report, Status, Verdict},
};

/// More failures than this part of all requests, and the latencies of the others say little.
const FAILED_SHARE_MAX: f64 = 0.001;

/// A rule: what its reason is called, how bad it is, and what it says when it applies.
struct Rule {
    code: &'static str,
    status: Status,
    applies: fn(&Report) -> Option<String>,
}

static RULES: &[Rule] = &[
    Rule { code: "mismatch", status: Status::Invalid, applies: mismatch },
    Rule { code: "no_replies", status: Status::Invalid, applies: no_replies },
    Rule { code: "errors", status: Status::Invalid, applies: errors },
];

/// Judges a report by its data; its own verdict is not looked at.
pub fn judge(report: &Report) -> Verdict {
    let broken = RULES.iter().filter_map(|rule| Some((rule, (rule.applies)(report)?)));
    let (mut status, mut reasons) = (Status::Valid, Vec::new());
    for (rule, message) in broken {
        status = status.max(rule.status);
        reasons.push(Reason { code: rule.code.to_owned(), message });
    }
    Verdict { status, reasons }
}

fn mismatch(report: &Report) -> Option<String> {
    let count = report.errors.get(Failure::Mismatch.name()).copied().unwrap_or(0);
    (count > 0).then(|| {
        let replies = if count == 1 { "reply was" } else { "replies were" };
        format!(
            "{count} {replies} not what the request asked for: is this an echo in upper case? see --expect"
        )
    })
}

fn no_replies(report: &Report) -> Option<String> {
    (report.requests.completed == 0).then(|| "no request of the measured window got its reply".to_owned())
}

/// Every error of the run counts, not only the requests of the window that failed: clients that could not connect
/// again had no request to fail.
fn errors(report: &Report) -> Option<String> {
    let errors = report.errors.values().sum::<u64>().max(report.requests.failed);
    let requests = report.requests.completed + report.requests.failed;
    let share = errors as f64 / requests.max(1) as f64;
    (share > FAILED_SHARE_MAX).then(|| {
        format!(
            "{errors} errors beside {requests} requests ({:.1}%; at most {:.1}% may be)",
            share * 100.0,
            FAILED_SHARE_MAX * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    fn codes(change: impl FnOnce(&mut Report)) -> (Status, Vec<String>) {
        let mut report = example();
        change(&mut report);
        let verdict = judge(&report);
        (verdict.status, verdict.reasons.into_iter().map(|reason| reason.code).collect())
    }

    #[test]
    fn each_rule_applies_on_its_side_of_the_line() {
        assert_eq!(codes(|_| ()), (Status::Valid, vec![]));
        let failed = |failed| {
            move |report: &mut Report| {
                report.requests.completed = 100_000 - failed;
                report.requests.failed = failed;
            }
        };
        assert_eq!(codes(failed(100)), (Status::Valid, vec![]));
        assert_eq!(codes(failed(101)), (Status::Invalid, vec!["errors".to_owned()]));
        let nothing = |report: &mut Report| report.requests.completed = 0;
        assert_eq!(codes(nothing), (Status::Invalid, vec!["no_replies".to_owned()]));
        let wrong = |report: &mut Report| {
            report.errors.insert("mismatch".to_owned(), 1);
        };
        assert_eq!(codes(wrong), (Status::Invalid, vec!["mismatch".to_owned()]));
    }
}
