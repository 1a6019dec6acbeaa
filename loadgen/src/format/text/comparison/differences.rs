//! The differences of compared servers from the baseline.

use std::io::{self, Write};

use crate::{
    format::text::{
        page::{Page, line},
        table::{Side, Table},
    },
    result::{
        comparison::{Comparison, Difference, Ratio, Subject},
        metrics::METRICS,
    },
};

/// Prints the table, and which servers are not compared.
pub(super) fn write(comparison: &Comparison, out: &mut Page) -> io::Result<()> {
    let baseline = &comparison.plan.baseline;
    let others: Vec<_> =
        comparison.subjects.iter().filter(|subject| !subject.against_baseline.is_empty()).collect();
    let Some(baseline_of) = comparison.subjects.iter().find(|subject| subject.name == *baseline) else {
        return Ok(());
    };
    if others.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ncompared with {baseline}, the baseline:")?;
    let mut table = Table::new([
        ("", Side::Left),
        ("ratio", Side::Right),
        ("95% interval", Side::Right),
        ("difference", Side::Left),
        ("median", Side::Right),
        ("baseline", Side::Right),
    ]);
    let (barred, compared): (Vec<_>, Vec<_>) = others
        .into_iter()
        .map(|subject| (subject, barred_by(subject)))
        .partition(|(_, reason)| reason.is_some());
    for (subject, _) in &compared {
        table.row([subject.name.as_str()]);
        add_rows(&mut table, subject, baseline_of);
    }
    if !compared.is_empty() {
        table.write(out)?;
    }
    write_barred(&barred, out)
}

/// Adds a row for each compared metric.
fn add_rows(table: &mut Table, subject: &Subject, baseline: &Subject) {
    let compared =
        METRICS.iter().filter_map(|metric| Some((metric, subject.against_baseline.get(metric.name)?)));
    for (metric, ratio) in compared {
        let value = |subject: &Subject| {
            subject.summary.get(metric.name).map_or("-".to_owned(), |spread| metric.show_median(spread))
        };
        table.row([
            format!("  {}", metric.label),
            ratio.ratio.map_or("-".to_owned(), factor),
            interval(ratio),
            match ratio.verdict {
                Difference::None => "none detected".to_owned(),
                _ => difference(ratio),
            },
            value(subject),
            value(baseline),
        ]);
    }
}

/// Prints the servers that are not compared, grouped by the reason.
fn write_barred(barred: &[(&Subject, Option<&str>)], out: &mut Page) -> io::Result<()> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (subject, reason) in barred {
        let reason = reason.unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(&subject.name),
            None => reasons.push((reason, vec![&subject.name])),
        }
    }
    for (reason, names) in reasons {
        line(out, "", &format!("not compared because {reason}: {}", names.join(", ")))?;
    }
    Ok(())
}

/// The reason if none of the server's metrics is compared.
pub(crate) fn barred_by(subject: &Subject) -> Option<&str> {
    let mut ratios = subject.against_baseline.values();
    let reason = ratios.next()?.reason.as_deref()?;
    let is_barred = |ratio: &Ratio| ratio.ratio.is_none() && ratio.reason.as_deref() == Some(reason);
    subject.against_baseline.values().all(is_barred).then_some(reason)
}

/// The 95% interval of a ratio.
pub(crate) fn interval(ratio: &Ratio) -> String {
    interval_of(ratio.low, ratio.high)
}

/// An interval between two ratios.
pub(crate) fn interval_of(low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{} – {}", factor(low), factor(high)),
        _ => "-".to_owned(),
    }
}

/// The verdict on a ratio.
pub(crate) fn difference(ratio: &Ratio) -> String {
    let text = match ratio.verdict {
        Difference::Lower => "lower",
        Difference::Higher => "higher",
        Difference::None => "no detectable difference",
        Difference::NotCompared => ratio.reason.as_deref().unwrap_or("not compared"),
    };
    text.to_owned()
}

/// A ratio with at least three significant digits.
pub(crate) fn factor(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 0.1 => format!("{ratio:.4}"),
        ratio if ratio < 10.0 => format!("{ratio:.3}"),
        ratio => common::human::rate(ratio),
    }
}
