//! Whether a report's numbers deserve trust: a table of rules over the report's own data. Pure.
//!
//! A rule finds one problem and its size, and advises what to do. The rules are grouped by cause: the `server`, its
//! `replies` and its `fairness`; the `generator` and its `machine`; the `network`; the `load`, the `course` of the run, and
//! the `start` of several generators.

mod course;
mod fairness;
mod generator;
mod load;
mod machine;
mod network;
#[cfg(test)]
mod reasons;
mod replies;
mod server;
mod start;

use crate::result::{Reason, Report, Status, Verdict};

/// A load with less than this share of the offered rate has missed the rate.
const ACHIEVED_SHARE_MIN: f64 = 0.98;

/// A rule. To add one, write its function in the file of its cause, and its row in [`RULES`].
struct Rule {
    /// The code of its reason.
    code: &'static str,
    /// Whether a server with this reason must not be compared with others: it may be fast because it does not do all of
    /// the work. A result that is [`Status::Invalid`] is never compared.
    bars_comparison: bool,
    /// Whether its reason explains everything, so that no other rule is evaluated.
    is_decisive: fn(&Report) -> bool,
    /// Evaluates the rule.
    find: fn(&Report) -> Option<Finding>,
}

impl Rule {
    const fn new(code: &'static str, find: fn(&Report) -> Option<Finding>) -> Self {
        Self { code, bars_comparison: false, is_decisive: |_| false, find }
    }

    const fn barring(code: &'static str, find: fn(&Report) -> Option<Finding>) -> Self {
        Self { bars_comparison: true, ..Self::new(code, find) }
    }

    const fn decisive(self, is_decisive: fn(&Report) -> bool) -> Self {
        Self { is_decisive, ..self }
    }
}

/// The problem that a rule found.
#[derive(Debug)]
struct Finding {
    /// The severity.
    status: Status,
    /// The measured value.
    value: f64,
    /// The bound that the value violates.
    bound: f64,
    /// The value and the bound in a sentence.
    message: String,
    /// What to do next.
    advice: &'static str,
}

/// Every rule, in the order in which their reasons are printed: missing results, wrong replies, clients without service, a load that was
/// not reached, disturbances.
static RULES: &[Rule] = &[
    Rule::barring("missing_parts", start::missing_parts),
    Rule::barring("mismatch", replies::mismatch).decisive(replies::has_no_expected_reply),
    Rule::barring("unexpected", replies::unexpected).decisive(replies::has_only_unexpected_replies),
    Rule::barring("server_gone", server::gone),
    Rule::barring("no_replies", replies::no_replies),
    Rule::barring("errors", replies::errors),
    Rule::barring("starved", fairness::starved),
    Rule::barring("unfair", fairness::unfair),
    Rule::barring("silence", fairness::silence),
    Rule::barring("server_ended", server::ended),
    Rule::new("throttled", machine::throttled),
    Rule::new("generator_saturated", generator::saturated),
    Rule::barring("cannot_keep_up", server::cannot_keep_up),
    Rule::new("overloaded_stages", server::overloaded_stages),
    Rule::new("paused", machine::paused),
    Rule::new("late", generator::late),
    Rule::new("too_short", load::too_short),
    Rule::new("stall", course::stall),
    Rule::new("concurrency", load::concurrency),
    Rule::new("reconnects", network::reconnects),
    Rule::new("local_ports", network::local_ports),
    Rule::new("listen_overflow", network::listen_overflow),
    Rule::new("retransmissions", network::retransmissions),
    Rule::new("delayed_ack", network::delayed_ack),
    Rule::new("warm_up", course::warm_up),
    Rule::new("drift", course::drift),
    Rule::new("busy_poll", machine::busy_poll),
    Rule::new("cpu_wait", machine::cpu_wait),
    Rule::new("preempted", machine::preempted),
    Rule::new("steal", machine::steal),
    Rule::new("clock", machine::clock),
    Rule::new("late_start", start::late_start),
    Rule::new("windows_apart", start::windows_apart),
    Rule::new("clock_skew", start::clock_skew),
];

/// Judges a report by its data. Ignores the verdict that the report already has.
pub(crate) fn judge(report: &Report) -> Verdict {
    let mut reasons = Vec::new();
    for rule in RULES {
        let Some(finding) = (rule.find)(report) else { continue };
        reasons.push(Reason {
            code: rule.code.to_owned(),
            status: finding.status,
            message: finding.message,
            value: finding.value,
            bound: finding.bound,
            advice: finding.advice.to_owned(),
        });
        if (rule.is_decisive)(report) {
            break;
        }
    }
    // The sort is stable: reasons of one status stay in the order of the rules.
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.status));
    let status = reasons.first().map_or(Status::Valid, |worst| worst.status);
    Verdict { status, reasons }
}

/// Whether the window is too short for a rate and percentiles.
pub(crate) fn is_too_short(report: &Report) -> bool {
    load::too_short(report).is_some()
}

/// Whether a server with this reason must not be compared with others.
pub(crate) fn bars_comparison(reason: &Reason) -> bool {
    reason.status == Status::Invalid
        || RULES.iter().any(|rule| rule.code == reason.code && rule.bars_comparison)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    /// The codes of the verdict on the example after a change.
    pub(super) fn codes(change: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = example();
        change(&mut report);
        judge(&report).reasons.into_iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn the_worst_reason_comes_first_and_gives_the_verdict() {
        assert_eq!(judge(&example()), Verdict { status: Status::Valid, reasons: Vec::new() });
        let mut report = example();
        report.fairness.jain = Some(0.5);
        assert_eq!(judge(&report).status, Status::Suspect);
        report.fairness.starved = 1;
        let verdict = judge(&report);
        let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!((verdict.status, codes), (Status::Invalid, vec!["starved", "unfair"]));
    }

    #[test]
    fn some_rules_and_every_invalid_result_bar_a_comparison() {
        let reason = |code: &str, status| Reason {
            code: code.to_owned(),
            status,
            message: String::new(),
            value: 0.0,
            bound: 0.0,
            advice: String::new(),
        };
        for (code, status, bars) in [
            ("unfair", Status::Suspect, true),
            ("late", Status::Suspect, false),
            ("late", Status::Invalid, true),
            // Of a newer version.
            ("unknown", Status::Suspect, false),
        ] {
            assert_eq!(bars_comparison(&reason(code, status)), bars, "{code}, {status:?}");
        }
    }

    #[test]
    fn each_rule_has_its_own_code() {
        let mut codes: Vec<_> = RULES.iter().map(|rule| rule.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), RULES.len());
    }
}
