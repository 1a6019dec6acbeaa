//! A result in one line, for the terminal if the report goes to a file: the verdict and the main numbers.

use common::human::{count, percent, plural, rate};

use crate::{
    format::{
        text::sweep::capacity::bracket,
        words::{status_word, time_or_failed},
    },
    result::{
        Document, Merged, Report, Requests, Status, Verdict,
        comparison::{Comparison, Subject, SubjectStatus, against::Outcome},
        conclusion::against::claim,
        sweep::{Sweep, SweepSubject, level},
    },
};

/// The result in one line.
pub(crate) fn of(document: &Document) -> String {
    match document {
        Document::Run(report) => of_run(report),
        Document::Comparison(comparison) => of_comparison(comparison),
        Document::Sweep(sweep) => of_sweep(sweep),
    }
}

fn of_run(report: &Report) -> String {
    let response = &report.latency_ns.response;
    let time = |name: &str, time_ns: Option<u64>| {
        time_or_failed(time_ns, name, response.failed_tail.as_ref()).unwrap_or_else(|| "-".to_owned())
    };
    let offered =
        report.rate.offered_per_s.map_or(String::new(), |per_s| format!(" of {}/s offered", rate(per_s)));
    let missed: Vec<_> = report.slo.iter().filter(|slo| !slo.met).map(|slo| slo.slo.as_str()).collect();
    let missed = if missed.is_empty() { String::new() } else { format!("; missed: {}", missed.join(", ")) };
    format!(
        "{}{}{}: {}/s{offered}, response p50 {}, p99 {}, max {}; {}{missed}",
        verdict(&report.verdict),
        match &report.aborted {
            Some(_) => " (ended by --abort-on)",
            None => interrupted(report.interrupted),
        },
        if report.merged.as_ref().is_some_and(Merged::is_partial) { ", partial" } else { "" },
        rate(report.rate.achieved_per_s),
        time("p50", response.p50),
        time("p99", response.p99),
        time("max", response.max),
        failed(&report.requests),
    )
}

/// The number of failed requests, with the error rate if it is not 0.
fn failed(requests: &Requests) -> String {
    match requests.failed {
        0 => "0 failed".to_owned(),
        failed => format!(
            "{} of {} failed ({})",
            count(failed),
            count(requests.all()),
            percent(requests.error_rate())
        ),
    }
}

fn of_comparison(comparison: &Comparison) -> String {
    let subjects = &comparison.subjects;
    let rounds = || subjects.iter().flat_map(|subject| &subject.rounds).map(|round| &round.report.verdict);
    let worst = rounds().map(|verdict| verdict.status).max().unwrap_or(Status::Valid);
    let alike = rounds().filter(|verdict| verdict.status == worst).count();
    let trust = match worst {
        Status::Valid => status_word(worst).to_owned(),
        worst => format!("{} in {alike} of {}", status_word(worst), plural(rounds().count() as u64, "run")),
    };
    let each: Vec<_> = subjects.iter().map(of_subject).collect();
    let against = comparison.against.as_ref().map_or_else(String::new, |against| match against.outcome {
        Outcome::Regression => format!("; REGRESSION: {}", claim(against)),
        Outcome::None | Outcome::Unknown => format!("; {}", claim(against)),
    });
    format!(
        "{trust}{}; {} in {}: {}{against}",
        interrupted(comparison.interrupted),
        plural(subjects.len() as u64, "server"),
        plural(comparison.plan.rounds as u64, "round"),
        each.join("; ")
    )
}

fn of_subject(subject: &Subject) -> String {
    let per_s = subject.summary.get("replies_per_s").and_then(|spread| spread.median);
    let per_s = per_s.map(|median| format!(" {}/s", rate(median)));
    let trouble = match subject.status {
        SubjectStatus::Ok => "",
        SubjectStatus::Marked => " (marked)",
        SubjectStatus::Failed => " failed",
        SubjectStatus::Unmeasured => " has no complete round",
    };
    format!("{}{}{trouble}", subject.name, per_s.unwrap_or_default())
}

fn of_sweep(sweep: &Sweep) -> String {
    let server = |subject: &SweepSubject| {
        let last = subject.curve.iter().rev().find(|point| point.keeps_up);
        let reach = match last {
            Some(point) => format!("keeps up to {}", level(sweep.plan.axis, point.level)),
            None => "keeps up at no level".to_owned(),
        };
        let failed = if subject.failure.is_some() { " (failed)" } else { "" };
        let capacity = subject.capacity.as_ref();
        let capacity = capacity.map(|capacity| format!(", SLO {}", bracket(capacity, sweep.plan.axis)));
        format!("{} {reach}{}{failed}", subject.name, capacity.unwrap_or_default())
    };
    let each: Vec<_> = sweep.subjects.iter().map(server).collect();
    let servers = plural(sweep.subjects.len() as u64, "server");
    format!("{servers} swept{}: {}", interrupted(sweep.interrupted), each.join("; "))
}

fn verdict(verdict: &Verdict) -> String {
    let mut codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
    codes.dedup();
    match codes.as_slice() {
        [] => status_word(verdict.status).to_owned(),
        codes => format!("{} ({})", status_word(verdict.status), codes.join(", ")),
    }
}

fn interrupted(is_interrupted: bool) -> &'static str {
    if is_interrupted { ", interrupted" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::compare::against::tests::held;
    use crate::result::{
        Reason, SloOutcome, comparison, sweep,
        tests::{example, with_failures},
    };

    #[test]
    fn the_line_of_a_run_begins_with_its_verdict() {
        let mut report = example();
        insta::assert_snapshot!(of_run(&report), @"valid: 1,000/s of 1,000/s offered, response p50 1.04 ms, p99 3.96 ms, max 4.04 ms; 0 failed");
        insta::assert_snapshot!(of_run(&with_failures()), @"INVALID (errors): 1,000/s of 1,000/s offered, response p50 1.07 ms, p99 > 500 ms (failed), max > 500 ms (failed); 29 of 2,030 failed (1.4%)");
        let reason = |code: &str| Reason {
            code: code.to_owned(),
            status: Status::Suspect,
            message: String::new(),
            value: 0.0,
            bound: 0.0,
            advice: String::new(),
        };
        report.verdict = Verdict { status: Status::Suspect, reasons: vec![reason("late"), reason("stall")] };
        report.interrupted = true;
        report.latency_ns.response.p99 = None;
        let slo = |slo: &str, met| SloOutcome {
            slo: slo.to_owned(),
            met,
            actual: None,
            failed: false,
            message: String::new(),
        };
        report.slo = vec![slo("p50<1s", true), slo("p99<1ms", false)];
        insta::assert_snapshot!(of_run(&report), @"SUSPECT (late, stall), interrupted: 1,000/s of 1,000/s offered, response p50 1.04 ms, p99 -, max 4.04 ms; 0 failed; missed: p99<1ms");
    }

    #[test]
    fn the_lines_of_a_comparison_and_a_sweep_name_each_server() {
        insta::assert_snapshot!(of_comparison(&comparison::tests::example()), @"INVALID in 3 of 9 runs; 4 servers in 3 rounds: a-long-name-of-server 1,000/s; twin 1,000/s; starving 1,000/s (marked); absent failed");
        insta::assert_snapshot!(of_comparison(&held()), @"INVALID in 3 of 9 runs; 4 servers in 3 rounds: a-long-name-of-server 1,000/s; twin 1,000/s; starving 1,000/s (marked); absent failed; REGRESSION: worse than in kept.json (tolerance: 5%)");
        insta::assert_snapshot!(of_sweep(&sweep::tests::example()), @"3 servers swept: thread-pool keeps up to 8,000/s, SLO 8,724 – 9,514/s; event-loop keeps up to 32,000/s, SLO ≥ 32,000/s; mortal keeps up to 2,000/s, SLO 2,000 – 4,000/s (failed)");
    }
}
