//! Several runs side by side.

use std::io;

use common::human::{bytes, count, duration_ns, rate};

use super::write_reasons;
use crate::{
    format::{
        screen::Screen,
        text::{
            page::{self, BAD, Page, last_line, paint},
            table::{Column, write_rows},
        },
        words::{short_or_failed, status_word},
    },
    result::{
        Latency, Merged, Report, Status,
        verdicts::{self, shared},
    },
};

/// The main figures of a run.
pub(crate) static COLUMNS: &[Column<Report>] = &[
    Column { head: "verdict", cell: |report| Some(verdict(report)) },
    Column { head: "SLO", cell: slo },
    Column { head: "replies\nper s", cell: |report| Some(rate(report.rate.achieved_per_s)) },
    Column { head: "response\np50", cell: |report| response(report, "p50", |response| response.p50) },
    Column { head: "\np99", cell: |report| response(report, "p99", |response| response.p99) },
    Column { head: "\np99.9", cell: |report| response(report, "p99_9", |response| response.p99_9) },
    Column { head: "\nmax", cell: |report| response(report, "max", |response| response.max) },
    Column { head: "service\np99", cell: |report| report.latency_ns.service.p99.map(short) },
    Column { head: "clients\nserved", cell: |report| Some(served(report)) },
    Column { head: "Jain", cell: |report| report.fairness.jain.map(|jain| format!("{jain:.3}")) },
    Column { head: "failed", cell: |report| Some(count(report.requests.failed)) },
    Column { head: "server\nCPU/req", cell: server_cpu },
    Column {
        head: "server\nmemory",
        cell: |report| Some(bytes(report.server.as_ref()?.rss_bytes).replace(' ', "")),
    },
];

/// Prints the reports side by side, each with its name, and the reasons of their verdicts.
pub(crate) fn write(reports: &[(String, Report)], screen: Screen, out: &mut dyn io::Write) -> io::Result<()> {
    let mut page = Page::new(screen);
    let rows: Vec<_> = reports.iter().map(|(name, report)| (name.as_str(), report)).collect();
    write_rows(COLUMNS, &rows, &mut page)?;
    let verdicts: Vec<_> = rows
        .iter()
        .map(|(name, report)| (*name, verdicts::of_rounds(std::iter::once((1, *report)))))
        .collect();
    let reasons = shared(verdicts.iter().map(|(name, verdict)| (*name, verdict)), |_, _| false);
    if !reasons.is_empty() {
        io::Write::write_all(&mut page, b"\n")?;
    }
    write_reasons(&reasons, &mut page)?;
    last_line(&mut page, &[summary(reports)])?;
    page.print(out)
}

/// The number of reports with each status.
fn summary(reports: &[(String, Report)]) -> String {
    let counts = statuses(reports).map(|(status, count)| format!("{count} {}", page::status(status)));
    let missed = reports.iter().filter(|(_, report)| report.slo.iter().any(|slo| !slo.met)).count();
    let missed = (missed > 0).then(|| format!("{missed} {}", paint(BAD, "SLO MISSED")));
    counts.chain(missed).collect::<Vec<_>>().join(", ")
}

/// Each status that reports have, with their number.
pub(crate) fn statuses(reports: &[(String, Report)]) -> impl Iterator<Item = (Status, usize)> {
    [Status::Valid, Status::Suspect, Status::Invalid].into_iter().filter_map(|status| {
        let count = reports.iter().filter(|(_, report)| report.verdict.status == status).count();
        (count > 0).then_some((status, count))
    })
}

fn verdict(report: &Report) -> String {
    let status = status_word(report.verdict.status);
    let is_partial = report.merged.as_ref().is_some_and(Merged::is_partial);
    match (report.interrupted, is_partial) {
        (true, _) => format!("{status} (interrupted)"),
        (false, true) => format!("{status} (partial)"),
        (false, false) => status.to_owned(),
    }
}

/// How many SLOs were missed. None without an SLO.
fn slo(report: &Report) -> Option<String> {
    let (all, missed) = (report.slo.len(), report.slo.iter().filter(|slo| !slo.met).count());
    match (all, missed) {
        (0, _) => None,
        (_, 0) => Some("met".to_owned()),
        (1, 1) => Some("MISSED".to_owned()),
        _ => Some(format!("MISSED {missed} of {all}")),
    }
}

/// A percentile of the response time, by its name in the result.
fn response(report: &Report, name: &str, of: fn(&Latency) -> Option<u64>) -> Option<String> {
    let response = &report.latency_ns.response;
    short_or_failed(of(response), name, response.failed_tail.as_ref())
}

fn served(report: &Report) -> String {
    let fairness = &report.fairness;
    match fairness.served == fairness.clients {
        true => count(fairness.served),
        false => format!("{} of {}", count(fairness.served), count(fairness.clients)),
    }
}

fn server_cpu(report: &Report) -> Option<String> {
    report.server.as_ref()?.cpu_ns_per_request.map(|cpu_ns| short(cpu_ns.round() as u64))
}

/// A time without the space before its unit, for tables with many columns.
pub(super) fn short(time_ns: u64) -> String {
    duration_ns(time_ns).replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        judge::verdict,
        result::tests::{example, with_failures},
    };

    fn text(reports: &[(String, Report)], columns: usize) -> String {
        let mut text = Vec::new();
        write(reports, Screen { columns, has_colour: false }, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn reports_are_printed_side_by_side_at_every_width() {
        let (one, mut other) = (example(), example());
        other.server = None;
        other.fairness.jain = Some(0.8);
        other.fairness.served = 49;
        other.verdict = verdict::judge(&other);
        let both = [("tokio-task".to_owned(), one), ("other".to_owned(), other)];
        insta::assert_snapshot!(text(&both, 120), @r"
                    verdict  replies  response                  service   clients   Jain  failed   server   server
                               per s       p50     p99     max      p99    served                 CPU/req   memory
        ──────────────────────────────────────────────────────────────────────────────────────────────────────────
        tokio-task  valid      1,000    1.04ms  3.96ms  4.04ms    236µs        50  0.999       0   15.0µs  6.00MiB
        other       SUSPECT    1,000    1.04ms  3.96ms  4.04ms    236µs  49 of 50  0.800       0        -        -

        SUSPECT    unfair: other
                   the server favoured some clients: Jain's index is 0.800 (minimum: 0.88)
                   → the percentiles are mostly those of the favoured clients: compare the fewest and the
                   most replies of a client

        verdict    1 valid, 1 SUSPECT
        ");
        insta::assert_snapshot!(text(&both, 80), @r"
                    verdict  replies  response
                               per s       p50     p99     max
        ──────────────────────────────────────────────────────
        tokio-task  valid      1,000    1.04ms  3.96ms  4.04ms
        other       SUSPECT    1,000    1.04ms  3.96ms  4.04ms

                    service   clients   Jain  failed   server   server
                        p99    served                 CPU/req   memory
        ──────────────────────────────────────────────────────────────
        tokio-task    236µs        50  0.999       0   15.0µs  6.00MiB
        other         236µs  49 of 50  0.800       0        -        -

        SUSPECT    unfair: other
                   the server favoured some clients: Jain's index is 0.800 (minimum:
                   0.88)
                   → the percentiles are mostly those of the favoured clients: compare
                   the fewest and the most replies of a client

        verdict    1 valid, 1 SUSPECT
        ");
        insta::assert_snapshot!(text(&both, 60), @r"
                    verdict  replies
                               per s
        ────────────────────────────
        tokio-task  valid      1,000
        other       SUSPECT    1,000

                    response                  service
                         p50     p99     max      p99
        ─────────────────────────────────────────────
        tokio-task    1.04ms  3.96ms  4.04ms    236µs
        other         1.04ms  3.96ms  4.04ms    236µs

                     clients   Jain  failed   server   server
                      served                 CPU/req   memory
        ─────────────────────────────────────────────────────
        tokio-task        50  0.999       0   15.0µs  6.00MiB
        other       49 of 50  0.800       0        -        -

        SUSPECT    unfair: other
                   the server favoured some clients: Jain's index is
                   0.800 (minimum: 0.88)
                   → the percentiles are mostly those of the
                   favoured clients: compare the fewest and the most
                   replies of a client

        verdict    1 valid, 1 SUSPECT
        ");
    }

    #[test]
    fn a_percentile_among_the_failed_requests_is_marked() {
        let both = [("good".to_owned(), example()), ("failing".to_owned(), with_failures())];
        let text = text(&both, 80);
        insta::assert_snapshot!(&text[..text.find("\n\nINVALID").unwrap()], @r"
                 verdict  replies
                            per s
        ─────────────────────────
        good     valid      1,000
        failing  INVALID    1,000

                 response
                      p50              p99            p99.9              max
        ────────────────────────────────────────────────────────────────────
        good       1.04ms           3.96ms                -           4.04ms
        failing    1.07ms  >500ms (failed)  >500ms (failed)  >500ms (failed)

                 service  clients   Jain  failed   server   server
                     p99   served                 CPU/req   memory
        ──────────────────────────────────────────────────────────
        good       236µs       50  0.999       0   15.0µs  6.00MiB
        failing    236µs       50  0.999      29   15.0µs  6.00MiB
        ");
    }

    #[test]
    fn a_column_without_values_is_omitted() {
        let mut report = example();
        report.server = None;
        let text = text(&[("one".to_owned(), report)], 120);
        assert!(!text.contains("CPU/req") && text.contains("Jain"), "{text}");
    }
}
