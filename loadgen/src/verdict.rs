//! Whether a report's numbers deserve trust: a table of rules over the report's own data. Pure.
//!
//! A rule finds what is wrong, by how much, and says what to do about it. Rules are parted by what they are about: the
//! `server`, the `generator` and its machine, the `network` between them, the `course` of the run, or the `start` of several
//! together.

mod course;
mod generator;
mod network;
mod server;
mod start;

use crate::report::{Reason, Report, Status, Verdict};

/// What no rule can find in a closed loop's report.
pub const CLOSED_LOOP: &str = "a closed loop: each client waits for its reply before it asks again, so it cannot see the \
                               queues that this waiting keeps from forming; --rate shows them";

/// Under this part of the offered rate, it was not reached.
const ACHIEVED_SHARE_MIN: f64 = 0.98;

/// A rule. To add one, write its function beside the others and its row in [`RULES`].
struct Rule {
    /// What its reason is called.
    code: &'static str,
    /// Whether a server of which it finds something must not be compared with others: it may be fast because it does
    /// not do all of the work. What is [`Status::Invalid`] is not compared either way.
    bars_comparison: bool,
    /// What it finds.
    find: fn(&Report) -> Option<Finding>,
}

/// What a rule has found.
#[derive(Debug)]
struct Finding {
    /// How bad it is.
    status: Status,
    /// What was seen.
    value: f64,
    /// What it is on the wrong side of.
    bound: f64,
    /// Both in a sentence.
    message: String,
    /// What to do next.
    advice: &'static str,
}

/// Every rule, in the order in which their reasons are told: what was wrong with the replies, who was not served, what
/// the load was not, and what disturbed it.
static RULES: &[Rule] = &[
    Rule { code: "mismatch", bars_comparison: true, find: server::mismatch },
    Rule { code: "no_replies", bars_comparison: true, find: server::no_replies },
    Rule { code: "errors", bars_comparison: true, find: server::errors },
    Rule { code: "starved", bars_comparison: true, find: server::starved },
    Rule { code: "unfair", bars_comparison: true, find: server::unfair },
    Rule { code: "silence", bars_comparison: true, find: server::silence },
    Rule { code: "server_ended", bars_comparison: true, find: server::ended },
    Rule { code: "generator_saturated", bars_comparison: false, find: generator::saturated },
    Rule { code: "cannot_keep_up", bars_comparison: true, find: server::cannot_keep_up },
    Rule { code: "late", bars_comparison: false, find: generator::late },
    Rule { code: "stall", bars_comparison: false, find: course::stall },
    Rule { code: "concurrency", bars_comparison: false, find: course::concurrency },
    Rule { code: "reconnects", bars_comparison: false, find: network::reconnects },
    Rule { code: "local_ports", bars_comparison: false, find: network::local_ports },
    Rule { code: "listen_overflow", bars_comparison: false, find: network::listen_overflow },
    Rule { code: "retransmissions", bars_comparison: false, find: network::retransmissions },
    Rule { code: "delayed_ack", bars_comparison: false, find: network::delayed_ack },
    Rule { code: "warm_up", bars_comparison: false, find: course::warm_up },
    Rule { code: "drift", bars_comparison: false, find: course::drift },
    Rule { code: "cpu_wait", bars_comparison: false, find: generator::cpu_wait },
    Rule { code: "preempted", bars_comparison: false, find: generator::preempted },
    Rule { code: "steal", bars_comparison: false, find: generator::steal },
    Rule { code: "clock", bars_comparison: false, find: generator::clock },
    Rule { code: "late_start", bars_comparison: false, find: start::late_start },
    Rule { code: "windows_apart", bars_comparison: false, find: start::windows_apart },
];

/// Judges a report by its data; its own verdict is not looked at.
pub fn judge(report: &Report) -> Verdict {
    let found = RULES.iter().filter_map(|rule| Some((rule.code, (rule.find)(report)?)));
    let reason = |(code, finding): (&str, Finding)| Reason {
        code: code.to_owned(),
        status: finding.status,
        message: finding.message,
        value: finding.value,
        bound: finding.bound,
        advice: finding.advice.to_owned(),
    };
    let mut reasons: Vec<_> = found.map(reason).collect();
    // The worst first; the sort is stable.
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.status));
    let status = reasons.first().map_or(Status::Valid, |worst| worst.status);
    Verdict { status, reasons }
}

/// Whether a server with this reason must not be compared with others.
pub fn bars_comparison(reason: &Reason) -> bool {
    reason.status == Status::Invalid
        || RULES.iter().any(|rule| rule.code == reason.code && rule.bars_comparison)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    /// The verdict on the example after a change, as its reasons' codes.
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
    fn each_rule_has_a_code_of_its_own() {
        let mut codes: Vec<_> = RULES.iter().map(|rule| rule.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), RULES.len());
    }
}
