//! The servers held against their kept rounds.

use std::io::{self, Write};

use common::human::plural;

use super::differences::{factor, interval_of};
use crate::{
    format::{
        text::{
            page::{self, Page, line, paint},
            table::{Side, Table},
        },
        words::date,
    },
    result::{
        comparison::{
            Comparison, Spread, Subject,
            against::{Against, Outcome, ServerAgainst},
        },
        conclusion::against::{changes, claim, details},
        metrics::Metric,
    },
};

/// Prints the conclusion and the servers that are worse.
pub(super) fn write_conclusion(comparison: &Comparison, out: &mut Page) -> io::Result<()> {
    let Some(against) = &comparison.against else { return Ok(()) };
    write_claim(comparison, out)?;
    details(against).iter().try_for_each(|text| line(out, "", text))
}

/// Prints the conclusion in one sentence.
pub(super) fn write_claim(comparison: &Comparison, out: &mut Page) -> io::Result<()> {
    let Some(against) = &comparison.against else { return Ok(()) };
    let claim = claim(against);
    let text = match against.outcome {
        Outcome::Regression => format!("{}: {claim}", paint(page::BAD, "REGRESSION")),
        Outcome::None | Outcome::Unknown => claim,
    };
    line(out, "against", &text)
}

/// Prints the table, the kept result and the warnings.
pub(super) fn write(comparison: &Comparison, out: &mut Page) -> io::Result<()> {
    let Some(against) = &comparison.against else { return Ok(()) };
    writeln!(out, "\nheld against {}:", against.kept.file)?;
    let mut table = Table::new([
        ("", Side::Left),
        ("ratio", Side::Right),
        ("95% interval", Side::Right),
        ("change", Side::Left),
        ("today", Side::Right),
        ("kept", Side::Right),
    ]);
    let held = || against.servers.iter().filter(|server| !server.metrics.is_empty());
    for server in held() {
        table.row([server.name.as_str()]);
        add_rows(&mut table, server, comparison.subjects.iter().find(|subject| subject.name == server.name));
    }
    if held().next().is_some() {
        table.write(out)?;
    }
    write_origin(against, out)?;
    for server in &against.servers {
        if let Some(reason) = &server.reason {
            line(out, "", &format!("{}: {reason}", server.name))?;
        }
    }
    for warning in &against.warnings {
        line(out, "WARNING", warning)?;
    }
    Ok(())
}

fn add_rows(table: &mut Table, server: &ServerAgainst, today: Option<&Subject>) {
    let show = |metric: &Metric, spread: Option<&Spread>| {
        spread.map_or("-".to_owned(), |spread| metric.show_median(spread))
    };
    for (metric, change) in changes(server) {
        table.row([
            format!("  {}", metric.label),
            change.ratio.map_or("-".to_owned(), factor),
            interval_of(change.low, change.high),
            change.in_words(),
            show(metric, today.and_then(|today| today.summary.get(metric.name))),
            show(metric, server.kept.as_ref().and_then(|kept| kept.summary.get(metric.name))),
        ]);
    }
}

/// Prints where the kept numbers are from.
fn write_origin(against: &Against, out: &mut Page) -> io::Result<()> {
    let kept = &against.kept;
    let rounds: Vec<_> = against
        .servers
        .iter()
        .filter_map(|server| server.kept.as_ref())
        .map(|kept| format!("{} in {}", kept.name, plural(kept.verdict.rounds as u64, "round")))
        .collect();
    let rounds =
        if rounds.is_empty() { "no server of this comparison".to_owned() } else { rounds.join(", ") };
    line(out, "kept", &format!("{}: {rounds}", date(kept.started_at_unix_ms)))?;
    if let Some(command) = &kept.command {
        line(out, "", command)?;
    }
    for server in against.servers.iter().filter_map(|server| server.kept.as_ref()) {
        if let Some(command) = &server.command {
            line(out, "", &format!("{}: {command}", server.name))?;
        }
    }
    if !against.not_measured.is_empty() {
        line(out, "", &format!("kept, and not measured today: {}", against.not_measured.join(", ")))?;
    }
    let tolerance = against.tolerance_in_words();
    line(
        out,
        "",
        &format!(
            "a regression is an interval wholly beyond the tolerance of {tolerance}, of the response times, the CPU per \
             request or, in a closed loop, the replies per second"
        ),
    )
}
