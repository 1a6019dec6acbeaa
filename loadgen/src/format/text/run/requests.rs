//! The requests of a run: the rate, their outcomes, their errors, and how evenly the clients were served.

use std::io::{self, Write};

use common::human::{count, duration_ns, percent, plural, rate};

use crate::{
    engine::failure::Failure,
    format::{
        text::page::{Page, line},
        words::handshakes,
    },
    protocol::{exchange::Mismatch, expect::Expect},
    result::Report,
};

/// If the share of replies to requests of the warm-up is larger, the report counts them: they are in the rate.
const WARM_UP_SHARE_MIN: f64 = 0.01;

/// Prints the rate and the outcomes.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    let achieved = rate(report.rate.achieved_per_s);
    match report.rate.offered_per_s {
        Some(offered) => line(out, "rate", &format!("{achieved}/s achieved of {}/s offered", rate(offered)))?,
        None => line(out, "rate", &format!("{achieved}/s achieved"))?,
    }
    for (index, text) in outcomes(report).iter().enumerate() {
        line(out, if index == 0 { "requests" } else { "" }, text)?;
    }
    if let Some(handshakes) = handshakes(report) {
        line(out, "handshakes", &handshakes)?;
    }
    writeln!(out)
}

/// The outcomes of the requests, whose sum is the number of due requests; then the facts about their replies.
fn outcomes(report: &Report) -> Vec<String> {
    let mut lines = vec![counts(report)];
    let of_replies: Vec<_> = [verified(report), error_rate(report)].into_iter().flatten().collect();
    if !of_replies.is_empty() {
        lines.push(of_replies.join("; "));
    }
    lines.extend(of_warm_up(report));
    lines
}

fn counts(report: &Report) -> String {
    let requests = &report.requests;
    // An older result does not contain the outcomes.
    if requests.due == 0 && requests.all() > 0 {
        let (completed, failed) = (count(requests.completed), count(requests.failed));
        return format!("{completed} completed, {failed} failed");
    }
    let seconds = |seconds: f64| duration_ns((seconds * 1e9) as u64);
    let later = requests.completed_after_window;
    let window = seconds(report.elapsed_s);
    let in_window = count(requests.completed.saturating_sub(later));
    let mut outcomes = vec![format!("{in_window} completed in the window of {window}")];
    if later > 0 {
        outcomes.push(format!("{} in the {} after it", count(later), seconds(report.tail.length_s)));
    }
    match (requests.failed, requests.unsent) {
        (0, _) => {}
        (failed, 0) => outcomes.push(format!("{} failed", count(failed))),
        (failed, unsent) if failed == unsent => outcomes.push(format!("{} never sent", count(unsent))),
        (failed, unsent) => {
            outcomes.push(format!("{} failed ({} of them never sent)", count(failed), count(unsent)))
        }
    }
    if requests.cut_off > 0 {
        let by = match report.aborted {
            _ if report.interrupted => "the interruption",
            Some(_) => "the early end",
            None => "the end of the run",
        };
        outcomes.push(format!("{} cut off by {by}", count(requests.cut_off)));
    }
    let sent = match requests.due.saturating_sub(requests.sent) {
        0 => "all sent".to_owned(),
        _ => format!("{} sent", count(requests.sent)),
    };
    format!("{} due, {sent}: {}", count(requests.due), outcomes.join(", "))
}

/// How many replies were checked. None without a reply.
fn verified(report: &Report) -> Option<String> {
    let requests = &report.requests;
    match requests.verified {
        _ if requests.completed == 0 => None,
        0 if report.plan.expect == Expect::None => Some("no reply was checked (--expect none)".to_owned()),
        0 => Some("no reply was checked".to_owned()),
        verified if verified == requests.completed => Some("all replies verified".to_owned()),
        verified => Some(format!("{} replies verified", count(verified))),
    }
}

fn error_rate(report: &Report) -> Option<String> {
    let share = percent(report.requests.error_rate());
    (report.requests.failed > 0).then(|| format!("error rate {share}"))
}

/// The replies that are in the achieved rate although their requests were due before the window.
fn of_warm_up(report: &Report) -> Option<String> {
    let requests = &report.requests;
    let own = requests.completed.saturating_sub(requests.completed_after_window);
    let others = requests.replies_in_window.saturating_sub(own);
    // With --requests, the rate counts only these requests.
    let is_shown = others as f64 > WARM_UP_SHARE_MIN * requests.replies_in_window as f64
        && report.plan.requests.is_none()
        && requests.due > 0;
    let replies = plural(others, "reply");
    is_shown.then(|| match own {
        0 => format!("the achieved rate counts {replies} in the window, all to requests of the warm-up"),
        _ => format!("the achieved rate includes {replies} to requests of the warm-up"),
    })
}

/// Prints the errors, and the first wrong reply.
pub(super) fn write_errors(report: &Report, out: &mut Page) -> io::Result<()> {
    let mut has_errors = false;
    for (_, name, text) in Failure::ALL {
        let failures = report.errors.get(name).copied().unwrap_or(0);
        if failures > 0 {
            let label = if has_errors { "" } else { "errors" };
            line(out, label, &format!("{} {name}: {text}", count(failures)))?;
            has_errors = true;
        }
    }
    if !has_errors {
        line(out, "errors", "none")?;
    }
    if let Some(Mismatch { client, request, offset, expected, got }) = &report.first_mismatch {
        let place = format!("first at byte {offset} of the reply to request {request} of client {client}");
        line(out, "mismatch", &place)?;
        line(out, "", &format!("expected \"{expected}\""))?;
        line(out, "", &format!("got      \"{got}\""))?;
    }
    if let Some(Mismatch { client, request, expected, got, .. }) = &report.first_unexpected {
        line(out, "unexpected", &format!("first in the reply to request {request} of client {client}"))?;
        line(out, "", &format!("expected {expected}"))?;
        line(out, "", &format!("got      \"{got}\""))?;
    }
    if let Some(failure) = report.tls.as_ref().and_then(|tls| tls.first_failure.as_ref()) {
        line(out, "TLS", &format!("first failure: {failure}"))?;
    }
    Ok(())
}

/// Prints how evenly the clients were served.
pub(super) fn write_fairness(report: &Report, out: &mut Page) -> io::Result<()> {
    let fairness = &report.fairness;
    let jain = fairness.jain.map_or("-".to_owned(), |jain| format!("{jain:.3}"));
    let (served, clients) = (count(fairness.served), plural(fairness.clients, "client"));
    let (least, most) = (count(fairness.requests_min), plural(fairness.requests_max, "reply"));
    let concurrency = fairness.effective_concurrency.map_or("-".to_owned(), rate);
    let silence = duration_ns(fairness.longest_silence_ns);
    line(
        out,
        "fairness",
        &format!("{served} of {clients} served; {least} to {most} each; Jain's index {jain}"),
    )?;
    line(out, "", &format!("longest silence {silence}; {concurrency} requests outstanding on average"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{
        Requests, Tail,
        tests::{example, with_failures},
    };

    fn of(requests: Requests) -> Vec<String> {
        let mut report = example();
        report.requests = requests;
        report.tail = Tail { length_s: 4.0, ..Tail::default() };
        outcomes(&report)
    }

    #[test]
    fn each_outcome_is_counted_once_and_the_outcomes_add_up() {
        insta::assert_snapshot!(outcomes(&example()).join("\n"), @r"
        2,000 due, all sent: 1,999 completed in the window of 2.00 s, 1 in the 200 µs after it
        all replies verified
        ");
        insta::assert_snapshot!(outcomes(&with_failures()).join("\n"), @r"
        2,030 due, 2,029 sent: 1,999 completed in the window of 2.00 s, 1 in the 500 ms after it, 29 failed (1 of them never sent), 1 cut off by the end of the run
        all replies verified; error rate 1.4%
        ");
        let overloaded = Requests {
            due: 40_000,
            sent: 24_000,
            completed: 24_000,
            completed_after_window: 15_030,
            failed: 16_000,
            unsent: 16_000,
            replies_in_window: 8_970,
            verified: 24_000,
            ..Requests::default()
        };
        insta::assert_snapshot!(of(overloaded).join("\n"), @r"
        40,000 due, 24,000 sent: 8,970 completed in the window of 2.00 s, 15,030 in the 4.00 s after it, 16,000 never sent
        all replies verified; error rate 40.0%
        ");
        let cut = Requests { failed: 16_013, cut_off: 3, due: 40_016, sent: 24_016, ..overloaded };
        insta::assert_snapshot!(of(cut).join("\n"), @r"
        40,016 due, 24,016 sent: 8,970 completed in the window of 2.00 s, 15,030 in the 4.00 s after it, 16,013 failed (16,000 of them never sent), 3 cut off by the end of the run
        all replies verified; error rate 40.0%
        ");
    }

    #[test]
    fn replies_to_requests_of_the_warm_up_are_counted_if_they_are_in_the_rate() {
        let none = Requests {
            due: 4_000_000,
            failed: 4_000_000,
            unsent: 4_000_000,
            replies_in_window: 549_488,
            ..Requests::default()
        };
        insta::assert_snapshot!(of(none).join("\n"), @r"
        4,000,000 due, 0 sent: 0 completed in the window of 2.00 s, 4,000,000 never sent
        error rate 100.0%
        the achieved rate counts 549,488 replies in the window, all to requests of the warm-up
        ");
        let some =
            Requests { due: 1_000, sent: 1_000, completed: 1_000, verified: 1_000, ..Requests::default() };
        let with = |replies_in_window| of(Requests { replies_in_window, ..some }).len();
        assert_eq!([with(1_000), with(1_010), with(1_011)], [2, 2, 3]);
    }

    #[test]
    fn an_older_result_shows_the_counts_that_it_has() {
        let older = Requests { completed: 10, failed: 2, verified: 10, ..Requests::default() };
        assert_eq!(of(older), ["10 completed, 2 failed", "all replies verified; error rate 16.7%"]);
    }
}
