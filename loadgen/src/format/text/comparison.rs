//! A comparison as text: the conclusion, a row for each server, and the differences from the baseline.

mod against;
pub(crate) mod differences;
pub(crate) mod servers;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use common::human::{duration_ns, plural};

use self::servers::COLUMNS;
use super::write_reasons;
use crate::{
    format::{
        text::{
            page::{self, Page, labelled, last_line, line, quote},
            table::write_rows,
        },
        words::{load, machine, messages},
    },
    result::{
        Reason,
        comparison::{Comparison, Subject},
        conclusion::{Conclusion, conclude},
        verdicts::{Shared, shared},
    },
};

/// Prints the comparison.
pub(super) fn write(comparison: &Comparison, out: &mut Page) -> io::Result<()> {
    let conclusion = conclude(comparison);
    write_conclusion(&conclusion, out)?;
    against::write_conclusion(comparison, out)?;
    write_setup(comparison, out)?;
    let rows: Vec<_> = comparison.subjects.iter().map(|subject| (subject.name.as_str(), subject)).collect();
    write_rows(COLUMNS, &rows, out)?;
    line(
        out,
        "",
        "medians of the rounds, but the worst round for served, Jain's index and errors; response: since the request \
         was due; service: since it was written; CPU, context switches and memory: of the server",
    )?;
    for subject in &comparison.subjects {
        write_trouble(subject, out)?;
    }
    write_doubts(comparison, out)?;
    differences::write(comparison, out)?;
    against::write(comparison, out)?;
    for note in &comparison.notes {
        writeln!(out)?;
        line(out, "note", note)?;
    }
    let status = page::status(conclusion.status);
    let Conclusion { claim, details, counts, .. } = conclusion;
    last_line(out, &[details, claim, counts].map(|text| format!("{status}: {text}")))?;
    against::write_claim(comparison, out)
}

fn write_conclusion(conclusion: &Conclusion, out: &mut Page) -> io::Result<()> {
    let Conclusion { status, claim, details, cost, trust, .. } = conclusion;
    line(out, "verdict", &format!("{}: {claim}", page::status(*status)))?;
    for text in [Some(details), cost.as_ref(), trust.as_ref()].into_iter().flatten() {
        line(out, "", text)?;
    }
    Ok(())
}

/// Prints why rounds are not valid, except for the marks of servers.
fn write_doubts(comparison: &Comparison, out: &mut Page) -> io::Result<()> {
    let doubts = doubts(comparison);
    if !doubts.is_empty() {
        writeln!(out)?;
    }
    write_reasons(&doubts, out)
}

/// The reasons of rounds that are not valid, except for the marks of servers. Formats share it.
pub(crate) fn doubts(comparison: &Comparison) -> Vec<Shared<'_>> {
    let servers = comparison.subjects.iter().map(|subject| (subject.name.as_str(), &subject.verdict));
    let is_mark = |name: &str, reason: &Reason| {
        let of = comparison.subjects.iter().find(|subject| subject.name == name);
        of.is_some_and(|subject| subject.marks.iter().any(|mark| mark.code == reason.code))
    };
    shared(servers, is_mark)
}

fn write_setup(comparison: &Comparison, out: &mut Page) -> io::Result<()> {
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
    let interrupted = if comparison.interrupted { ", interrupted: only complete rounds count" } else { "" };
    let whole = duration_ns((comparison.elapsed_s * 1e9) as u64);
    line(
        out,
        "compared",
        &format!(
            "{rounds}{interrupted}; {}, {warmup} of warm-up and {measured} measured",
            turns(&comparison.subjects)
        ),
    )?;
    line(out, "", &format!("the order of the turns is shuffled with seed {}; {whole} in total", plan.seed))?;
    line(out, "load", &load(&plan.load))?;
    let messages = messages(&plan.load, &plan.own_loads, comparison.subjects.len());
    labelled(out, "message", &messages)?;
    line(out, "machine", &machine(&comparison.environment))?;
    if !plan.load.slo.is_empty() {
        line(out, "SLO", &format!("{}, in most rounds of each server", plan.load.slo.join(", ")))?;
    }
    writeln!(out)
}

/// What a turn begins with.
fn turns(subjects: &[Subject]) -> String {
    let is_running = |subject: &&Subject| subject.target.is_some();
    let running: Vec<_> = subjects.iter().filter(is_running).map(|subject| subject.name.as_str()).collect();
    match running.len() {
        0 => "each turn is a new server process".to_owned(),
        count if count == subjects.len() => {
            "the servers were already running, and each turn is new connections".to_owned()
        }
        _ => format!("each turn is a new server process, except of {}", running.join(", ")),
    }
}

fn write_trouble(subject: &Subject, out: &mut Page) -> io::Result<()> {
    let name = &subject.name;
    if let Some(failure) = &subject.failure {
        writeln!(out)?;
        line(out, "FAILED", &format!("{name} {}", failure.message))?;
        quote(out, &failure.output)?;
    }
    let missed: Vec<_> = subject.slo.iter().filter(|slo| !slo.met).collect();
    if !missed.is_empty() {
        writeln!(out)?;
    }
    for slo in missed {
        let rounds = plural(slo.rounds as u64, "round");
        line(out, "SLO MISSED", &format!("{name} {}: met in {} of {rounds}", slo.slo, slo.held))?;
    }
    if !subject.marks.is_empty() {
        writeln!(out)?;
    }
    for mark in &subject.marks {
        line(out, "MARKED", &format!("{name} {}: {}", mark.code, mark.message))?;
    }
    Ok(())
}
