//! What forbids to compare a server's speed with another's: it is fast because it does not do all of the work.
//!
//! The reasons of a report's verdict for which it is invalid are such marks, and so is what these rules find.

use crate::{
    human::{duration_ns, rate},
    report::{Reason, Report, Status},
};

/// Jain's index under which some clients are served at others' cost.
const JAIN_MIN: f64 = 0.9;
/// The part of the offered rate under which a server does not keep up with it.
const ACHIEVED_SHARE_MIN: f64 = 0.98;
/// The part of the window from which on a silence is no mere delay.
const SILENCE_SHARE_MAX: f64 = 0.5;
/// A server that is slow to everybody starves nobody: a silence is so many times longer than the usual reply takes.
const SILENCE_MEDIANS_MIN: f64 = 10.0;

/// A rule: what its mark is called, and what it says when it applies.
struct Rule {
    code: &'static str,
    applies: fn(&Report) -> Option<String>,
}

static RULES: &[Rule] = &[
    Rule { code: "starved", applies: starved },
    Rule { code: "unfair", applies: unfair },
    Rule { code: "silence", applies: silence },
    Rule { code: "cannot_keep_up", applies: cannot_keep_up },
];

/// The marks of one round.
pub fn of(report: &Report) -> Vec<Reason> {
    let mut marks = match report.verdict.status {
        Status::Invalid => report.verdict.reasons.clone(),
        Status::Valid | Status::Suspect => Vec::new(),
    };
    for rule in RULES {
        if let Some(message) = (rule.applies)(report)
            && marks.iter().all(|mark| mark.code != rule.code)
        {
            marks.push(Reason { code: rule.code.to_owned(), message });
        }
    }
    marks
}

/// The marks of all rounds, each kind once. `rounds` are their numbers and reports.
pub fn of_all<'a>(rounds: impl Iterator<Item = (usize, &'a Report)>) -> Vec<Reason> {
    let (mut marks, mut count) = (Vec::<(Reason, Vec<usize>)>::new(), 0);
    for (round, report) in rounds {
        count += 1;
        for mark in of(report) {
            match marks.iter_mut().find(|(known, _)| known.code == mark.code) {
                Some((_, rounds)) => rounds.push(round),
                None => marks.push((mark, vec![round])),
            }
        }
    }
    let told = |(Reason { code, message }, rounds): (Reason, Vec<usize>)| {
        let first = rounds[0];
        let more = match rounds.len() {
            1 => format!("round {first}"),
            marked => format!("round {first}, and so in {marked} of {count}"),
        };
        Reason { code, message: format!("{message} ({more})") }
    };
    marks.into_iter().map(told).collect()
}

fn starved(report: &Report) -> Option<String> {
    let fairness = &report.fairness;
    let starved = fairness.clients - fairness.served.min(fairness.clients);
    // A run of few requests does not come to every client.
    let enough = report.plan.requests.is_none_or(|requests| requests >= fairness.clients);
    (starved > 0 && enough).then(|| {
        let clients = if starved == 1 { "client" } else { "clients" };
        format!("{starved} {clients} of {} got no reply at all", fairness.clients)
    })
}

fn unfair(report: &Report) -> Option<String> {
    let jain = report.fairness.jain.filter(|jain| *jain < JAIN_MIN)?;
    // Whom chance gave few requests is not treated unfairly: one request for each client is not much of a sample.
    let enough = report.requests.completed + report.requests.failed >= 10 * report.fairness.clients;
    enough.then(|| {
        format!("some clients were served at others' cost: Jain's index is {jain:.3}, under {JAIN_MIN}")
    })
}

fn silence(report: &Report) -> Option<String> {
    let silence_s = report.fairness.longest_silence_ns as f64 / 1e9;
    let usual_s = report.latency_ns.response.p50.unwrap_or(0) as f64 / 1e9;
    let is_long =
        silence_s > report.elapsed_s * SILENCE_SHARE_MAX && silence_s > usual_s * SILENCE_MEDIANS_MIN;
    is_long.then(|| {
        let [silence, window] =
            [silence_s, report.elapsed_s].map(|time_s| duration_ns((time_s * 1e9) as u64));
        format!("a client waited {silence} of {window} for a reply")
    })
}

fn cannot_keep_up(report: &Report) -> Option<String> {
    let (offered, achieved) = (report.rate.offered_per_s?, report.rate.achieved_per_s);
    // By chance fewer may have been due than on average.
    let due =
        (report.requests.completed + report.requests.failed) as f64 / report.elapsed_s.max(f64::EPSILON);
    let offered = offered.min(due);
    (achieved < offered * ACHIEVED_SHARE_MIN).then(|| {
        let (achieved, offered) = (rate(achieved), rate(offered));
        format!("it cannot keep up: {achieved}/s of {offered}/s offered")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::tests::example, verdict};

    fn codes(change: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = example();
        change(&mut report);
        report.verdict = verdict::judge(&report);
        of(&report).into_iter().map(|mark| mark.code).collect()
    }

    #[test]
    fn each_rule_applies_on_its_side_of_the_line() {
        assert_eq!(codes(|_| ()), [""; 0]);
        assert_eq!(codes(|report| report.fairness.served = 49), ["starved"]);
        assert_eq!(codes(|report| report.fairness.jain = Some(0.9)), [""; 0]);
        assert_eq!(codes(|report| report.fairness.jain = Some(0.899)), ["unfair"]);
        assert_eq!(codes(|report| report.fairness.longest_silence_ns = 1_000_000_000), [""; 0]);
        assert_eq!(codes(|report| report.fairness.longest_silence_ns = 1_000_000_001), ["silence"]);
        assert_eq!(codes(|report| report.rate.achieved_per_s = 980.0), [""; 0]);
        assert_eq!(codes(|report| report.rate.achieved_per_s = 979.9), ["cannot_keep_up"]);
        assert_eq!(codes(|report| report.requests.failed = 100), ["errors"]);
    }

    #[test]
    fn who_is_slow_to_everybody_or_is_asked_too_little_is_not_marked() {
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
                report.fairness.served = 10;
                report.fairness.jain = Some(0.2);
                report.requests.completed = 10;
            }),
            [""; 0]
        );
    }

    #[test]
    fn a_mark_of_several_rounds_is_told_once() {
        let (good, mut bad) = (example(), example());
        bad.fairness.served = 47;
        let marks = of_all([(1, &good), (2, &bad), (4, &bad)].into_iter());
        let messages: Vec<_> = marks.iter().map(|mark| mark.message.as_str()).collect();
        assert_eq!(messages, ["3 clients of 50 got no reply at all (round 2, and so in 2 of 3)"]);
        assert_eq!(of_all(std::iter::once((1, &good))), []);
    }
}
