//! A run as text.

mod cost;
mod disturbance;
mod histogram;
mod kinds;
mod latencies;
mod requests;
mod stages;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use common::human::{duration_ns, plural};

use crate::{
    format::{
        text::page::{self, BAD, GOOD, Page, last_line, line, paint, status_style},
        words::{self, load, machine, message, own_server, tls},
    },
    result::{Merged, Report},
};

/// Prints the report.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    write_verdict(report, out)?;
    write_slo(report, out)?;
    write_setup(report, out)?;
    requests::write(report, out)?;
    kinds::write(report, out)?;
    stages::write(report, out)?;
    latencies::write(report, out)?;
    histogram::write(report, out)?;
    requests::write_errors(report, out)?;
    requests::write_fairness(report, out)?;
    cost::write(report, out)?;
    disturbance::write(report, out)?;
    write_log(report, out)?;
    last_line(out, &verdicts(report))
}

/// The verdict in one line, from the most detailed to the shortest.
fn verdicts(report: &Report) -> Vec<String> {
    let status = page::status(report.verdict.status);
    let codes: Vec<_> = report.verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
    let missed: Vec<_> = report.slo.iter().filter(|slo| !slo.met).map(|slo| slo.slo.as_str()).collect();
    let interrupted = match report.aborted {
        _ if report.interrupted => ", interrupted",
        Some(_) => ", ended by --abort-on",
        None => "",
    };
    let missed_slos = |which: &str| match missed.is_empty() {
        true => String::new(),
        false => format!("; {}{which}", paint(BAD, "SLO MISSED")),
    };
    let partial = if is_partial(report) { ", partial" } else { "" };
    let interrupted = format!("{interrupted}{partial}");
    let all_missed = missed_slos(&format!(" {}", missed.join(", ")));
    let listed = |count: usize| match codes.len() - count {
        0 => format!("{status}{interrupted}: {}{all_missed}", codes.join(", ")),
        more => format!("{status}{interrupted}: {}, {more} more{all_missed}", codes[..count].join(", ")),
    };
    let mut verdicts: Vec<_> = (1..=codes.len()).rev().map(listed).collect();
    verdicts.extend([
        format!("{status}{interrupted}{all_missed}"),
        format!("{status}{interrupted}{}", missed_slos("")),
    ]);
    verdicts
}

fn write_verdict(report: &Report, out: &mut Page) -> io::Result<()> {
    let status = page::status(report.verdict.status);
    let interrupted = match report.aborted {
        _ if report.interrupted => ", interrupted: the numbers cover the part that ran",
        Some(_) => ", ended early: the numbers cover the part that ran",
        None => "",
    };
    let present = report.merged.as_ref().and_then(Merged::present_parts);
    let partial = present.map_or_else(String::new, |parts| format!(", partial: the numbers cover {parts}"));
    line(out, "verdict", &format!("{status}{interrupted}{partial}"))?;
    if let Some(aborted) = &report.aborted {
        line(out, "aborted", &words::aborted(aborted))?;
    }
    for reason in &report.verdict.reasons {
        let code = paint(status_style(reason.status), &reason.code);
        line(out, "", &format!("{code}: {}", reason.message))?;
        line(out, "", &format!("→ {}", reason.advice))?;
    }
    for note in &report.notes {
        line(out, "note", note)?;
    }
    Ok(())
}

fn is_partial(report: &Report) -> bool {
    report.merged.as_ref().is_some_and(Merged::is_partial)
}

fn write_log(report: &Report, out: &mut Page) -> io::Result<()> {
    let Some(log) = &report.log else { return Ok(()) };
    let mut text = format!("{}: {}", log.file, plural(log.lines, "line"));
    if log.dropped > 0 {
        text += &format!("; {} dropped", plural(log.dropped, "request"));
    }
    if log.beyond_limit > 0 {
        text += &format!("; {} beyond --log-limit", plural(log.beyond_limit, "request"));
    }
    line(out, "log", &text)
}

fn write_slo(report: &Report, out: &mut Page) -> io::Result<()> {
    for (index, outcome) in report.slo.iter().enumerate() {
        let word = if outcome.met { paint(GOOD, "met") } else { paint(BAD, "MISSED") };
        line(out, if index == 0 { "SLO" } else { "" }, &format!("{word} {}", outcome.message))?;
    }
    Ok(())
}

fn write_setup(report: &Report, out: &mut Page) -> io::Result<()> {
    let plan = &report.plan;
    let targets = plan.targets.join(", ");
    match report.server.as_ref().and_then(own_server) {
        Some(server) => line(out, "target", &format!("{targets}, started by loadgen: {server}"))?,
        None => line(out, "target", &targets)?,
    }
    line(out, "load", &load(plan))?;
    line(out, "message", &message(plan))?;
    if let Some(tls) = tls(plan, report.tls.as_ref()) {
        line(out, "TLS", &tls)?;
    }
    let warmup = duration_ns((plan.warmup_s * 1e9) as u64);
    let elapsed = duration_ns((report.elapsed_s * 1e9) as u64);
    line(out, "measured", &format!("{elapsed}, after {warmup} of warm-up"))?;
    if let Some(Merged { generators, start_skew_ns, .. }) = &report.merged {
        let (generators, skew) = (plural(*generators as u64, "generator"), duration_ns(*start_skew_ns));
        line(out, "", &format!("sum of {generators}; their windows began within {skew}"))?;
    }
    line(out, "machine", &machine(&report.environment))?;
    writeln!(out)
}
