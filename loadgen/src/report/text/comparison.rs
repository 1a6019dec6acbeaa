//! A comparison for people: a row for each server, and what can be said against the baseline.

use std::io;

use comfy_table::CellAlignment;

use super::{
    line, load, machine, message, plural,
    table::{Column, plain, write_rows},
};
use crate::{
    compare::metrics::{METRICS, Metric, metric},
    human::duration_ns,
    report::comparison::{Comparison, Difference, Ratio, Subject, SubjectStatus},
};

/// The medians of the rounds.
pub(in crate::report) static COLUMNS: &[Column<Subject>] = &[
    Column { head: "verdict", cell: |subject| Some(verdict(subject).to_owned()) },
    Column { head: "replies\n/s", cell: |subject| median(subject, "replies_per_s") },
    Column { head: "resp.\np50", cell: |subject| median(subject, "response_p50_ns") },
    Column { head: "\np99", cell: |subject| median(subject, "response_p99_ns") },
    Column { head: "serv.\np50", cell: |subject| median(subject, "service_p50_ns") },
    Column { head: "\np99", cell: |subject| median(subject, "service_p99_ns") },
    Column { head: "served", cell: served },
    Column { head: "Jain", cell: jain },
    Column { head: "errs", cell: errors },
    Column { head: "CPU\n/req", cell: |subject| median(subject, "server_cpu_ns_per_request") },
    Column { head: "switch\n/req", cell: |subject| median(subject, "context_switches_per_request") },
    Column { head: "memory", cell: |subject| median(subject, "memory_bytes") },
];

/// Prints the comparison.
pub fn write(comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
    write_what(comparison, out)?;
    let rows: Vec<_> = comparison.subjects.iter().map(|subject| (subject.name.as_str(), subject)).collect();
    write_rows(COLUMNS, &rows, out)?;
    line(
        out,
        "",
        "medians of the rounds; served, Jain's index and errors: of the worst round; response: from due; service: \
         from written; CPU, context switches and memory: the server's",
    )?;
    for subject in &comparison.subjects {
        write_trouble(subject, out)?;
    }
    write_differences(comparison, out)?;
    for note in &comparison.notes {
        writeln!(out)?;
        line(out, "note", note)?;
    }
    Ok(())
}

fn write_what(comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
    let plan = &comparison.plan;
    let warmup = duration_ns((plan.load.warmup_s * 1e9) as u64);
    let rounds = plural(plan.rounds as u64, "round");
    let measured = match (plan.load.duration_s, plan.load.requests) {
        (Some(duration_s), None) => duration_ns((duration_s * 1e9) as u64),
        (None, requests) => plural(requests.unwrap_or(0), "request"),
        (Some(duration_s), Some(requests)) => {
            let most = duration_ns((duration_s * 1e9) as u64);
            format!("{}, at most {most}", plural(requests, "request"))
        }
    };
    let cut = if comparison.interrupted { ", interrupted: these are the complete ones" } else { "" };
    let whole = duration_ns((comparison.elapsed_s * 1e9) as u64);
    line(
        out,
        "compared",
        &format!(
            "{rounds}{cut}; each server's turn is a fresh process, {warmup} of warm-up and {measured} measured"
        ),
    )?;
    line(out, "", &format!("in turn, in an order that is shuffled from seed {}; {whole} in all", plan.seed))?;
    line(out, "load", &load(&plan.load))?;
    line(out, "message", &message(&plan.load))?;
    line(out, "on", &machine(&comparison.environment))?;
    if !plan.load.slo.is_empty() {
        line(out, "SLO", &format!("{}, in most rounds of each server", plan.load.slo.join(", ")))?;
    }
    writeln!(out)
}

fn verdict(subject: &Subject) -> &'static str {
    match subject.status {
        SubjectStatus::Ok => "valid",
        SubjectStatus::Marked => "MARKED",
        SubjectStatus::Failed => "FAILED",
        SubjectStatus::Unmeasured => "none yet",
    }
}

fn median(subject: &Subject, name: &str) -> Option<String> {
    Some(short(metric(name)?, subject.summary.get(name)?.median))
}

fn served(subject: &Subject) -> Option<String> {
    let (served, round) = (subject.summary.get("clients_served")?, subject.rounds.first()?);
    let clients = round.report.fairness.clients;
    Some(match served.min as u64 == clients {
        true => crate::human::count(clients),
        false => format!("{}/{clients}", served.min),
    })
}

fn jain(subject: &Subject) -> Option<String> {
    Some(short(metric("jain")?, subject.summary.get("jain")?.min))
}

fn errors(subject: &Subject) -> Option<String> {
    Some(short(metric("errors")?, subject.summary.get("errors")?.max))
}

/// Without the space before the unit: there are many columns.
fn short(metric: &Metric, value: f64) -> String {
    (metric.show)(value).replace(' ', "")
}

fn write_trouble(subject: &Subject, out: &mut dyn io::Write) -> io::Result<()> {
    let name = &subject.name;
    if let Some(failure) = &subject.failure {
        writeln!(out)?;
        line(out, "FAILED", &format!("{name} {}", failure.message))?;
        for printed in &failure.output {
            writeln!(out, "           | {printed}")?;
        }
    }
    let missed: Vec<_> = subject.slo.iter().filter(|slo| !slo.met).collect();
    if !missed.is_empty() {
        writeln!(out)?;
    }
    for slo in missed {
        let rounds = plural(slo.rounds as u64, "round");
        line(out, "SLO MISSED", &format!("{name} {}: it holds in {} of {rounds}", slo.slo, slo.held))?;
    }
    if !subject.marks.is_empty() {
        writeln!(out)?;
    }
    for mark in &subject.marks {
        line(out, "MARKED", &format!("{name} {}: {}", mark.code, mark.message))?;
    }
    Ok(())
}

fn write_differences(comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
    let baseline = &comparison.plan.baseline;
    let others: Vec<_> =
        comparison.subjects.iter().filter(|subject| !subject.against_baseline.is_empty()).collect();
    let Some(baseline_of) = comparison.subjects.iter().find(|subject| subject.name == *baseline) else {
        return Ok(());
    };
    if others.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nagainst {baseline}, the baseline:")?;
    let mut table = plain();
    table.set_header(["", "", "median", "baseline", "ratio", "95% interval", ""]);
    for subject in others {
        let mut name = subject.name.as_str();
        if let Some(reason) = barred(subject) {
            table.add_row([name, &format!("not compared: {reason}")]);
            continue;
        }
        let compared = METRICS.iter().filter_map(|metric| {
            let ratio = subject.against_baseline.get(metric.name)?;
            Some((metric, ratio))
        });
        for (metric, ratio) in compared {
            let value = |subject: &Subject| {
                subject.summary.get(metric.name).map_or("-".to_owned(), |spread| (metric.show)(spread.median))
            };
            table.add_row([
                std::mem::take(&mut name).to_owned(),
                metric.label.to_owned(),
                value(subject),
                value(baseline_of),
                ratio.ratio.map_or("-".to_owned(), factor),
                interval(ratio),
                difference(ratio),
            ]);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
        if (2..=5).contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// Why nothing of it is compared, if that is so.
pub(in crate::report) fn barred(subject: &Subject) -> Option<&str> {
    let mut ratios = subject.against_baseline.values();
    let reason = ratios.next()?.reason.as_deref()?;
    let is_barred = |ratio: &Ratio| ratio.ratio.is_none() && ratio.reason.as_deref() == Some(reason);
    subject.against_baseline.values().all(is_barred).then_some(reason)
}

pub(in crate::report) fn interval(ratio: &Ratio) -> String {
    match (ratio.low, ratio.high) {
        (Some(low), Some(high)) => format!("{} – {}", factor(low), factor(high)),
        _ => "-".to_owned(),
    }
}

pub(in crate::report) fn difference(ratio: &Ratio) -> String {
    let word = match ratio.verdict {
        Difference::Lower => "lower",
        Difference::Higher => "higher",
        Difference::None => "no detectable difference",
        Difference::NotCompared => ratio.reason.as_deref().unwrap_or("not compared"),
    };
    word.to_owned()
}

/// A ratio with as many digits as are of use.
pub(in crate::report) fn factor(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 0.1 => format!("{ratio:.4}"),
        ratio if ratio < 10.0 => format!("{ratio:.3}"),
        ratio => crate::human::rate(ratio),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::comparison::tests::example;

    fn text(comparison: &Comparison) -> String {
        let mut text = Vec::new();
        write(comparison, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_person_sees_every_server_and_then_what_differs() {
        insta::assert_snapshot!(text(&example()), @r#"
        compared   3 rounds; each server's turn is a fresh process, 1.00 s of warm-up
                   and 2.00 s measured
                   in turn, in an order that is shuffled from seed 1; 40.0 s in all
        load       open loop of 1,000/s, Poisson arrivals, 50 clients, 1 load thread
        message    64 bytes; expected back: the same in upper case
        on         Some CPU, 2 CPUs (the server's: 0; the load's: 1), Linux 6.18.0

                               verdict  replies   resp.          serv.         served   Jain  errs     CPU  switch   memory
                                             /s     p50     p99    p50    p99                         /req    /req
        ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
        a-long-name-of-server  valid      1,000  1.04ms  3.96ms  138µs  236µs      50  0.999     0  15.0µs   0.500  4.00MiB
        twin                   valid      1,000  1.04ms  3.96ms  138µs  236µs      50  0.999     0  22.5µs   0.500  4.00MiB
        starving               MARKED     1,000  1.04ms  3.96ms  138µs  236µs   47/50  0.999     0  15.0µs   0.500  4.00MiB
        absent                 FAILED         -       -       -      -      -       -      -     -       -       -        -
                   medians of the rounds; served, Jain's index and errors: of the worst
                   round; response: from due; service: from written; CPU, context
                   switches and memory: the server's

        MARKED     starving starved: 3 clients of 50 got no reply at all (round 1, and
                   so in 3 of 3)

        FAILED     absent did not start: it ended before it answered (exit status: 3)
                   | the port is too high

        against a-long-name-of-server, the baseline:
                                                median  baseline  ratio   95% interval
        ─────────────────────────────────────────────────────────────────────────────────────────────────────────
        twin      response p50                 1.04 ms   1.04 ms  1.000  1.000 – 1.000  no detectable difference
                  response p99                 3.96 ms   3.96 ms  1.000  1.000 – 1.000  no detectable difference
                  CPU/request                  22.5 µs   15.0 µs  1.500  1.500 – 1.500  higher
                  switches/request               0.500     0.500  1.000  1.000 – 1.000  no detectable difference
                  memory                      4.00 MiB  4.00 MiB  1.000  1.000 – 1.000  no detectable difference
        starving  not compared: it is marked
        absent    not compared: it failed

        note       with 3 rounds an interval is narrower than it should be
        "#);
    }

    #[test]
    fn no_line_is_longer_than_a_wide_terminal() {
        for line in text(&example()).lines() {
            assert!(line.chars().count() <= 120, "{}: {line}", line.chars().count());
        }
    }
}
