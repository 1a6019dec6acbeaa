//! The load curves of a sweep: one server in detail, or several side by side.

use std::io::{self, Write};

use common::human::{count, rate};

use crate::{
    format::{
        text::{
            page::{Page, line, tint},
            several::short,
            sweep::footnotes::marks,
            table::{Column, Side, Table, write_rows},
        },
        words::short_or_failed,
    },
    result::{
        Status,
        footnotes::Footnote,
        sweep::{Axis, CurvePoint, SweepSubject, Trouble, level},
    },
};

/// A level of one server's curve.
pub(crate) struct Level {
    /// The measurement.
    pub(crate) point: CurvePoint,
    /// The numbers of its footnotes: `[1,2]`.
    pub(crate) notes: String,
}

/// The columns of the curve of one server.
pub(crate) static COLUMNS: &[Column<Level>] = &[
    Column {
        head: "",
        cell: |level| Some(format!("{} {}", state(&level.point), level.notes).trim_end().to_owned()),
    },
    Column { head: "offered\n/s", cell: |level| level.point.offered_per_s.map(rate) },
    Column { head: "achieved\n/s", cell: |level| Some(rate(level.point.achieved_per_s)) },
    Column {
        head: "response\nmean",
        cell: |level| level.point.mean_ns.map(|mean| short(mean.round() as u64)),
    },
    Column { head: "\np50", cell: |level| p50(&level.point) },
    Column { head: "\np90", cell: |level| time(&level.point, "p90", level.point.p90_ns) },
    Column { head: "\np99", cell: |level| p99(&level.point) },
    Column { head: "\np99.9", cell: |level| time(&level.point, "p99_9", level.point.p99_9_ns) },
    Column { head: "\nmax", cell: |level| time(&level.point, "max", level.point.max_ns) },
    Column { head: "no\nreply", cell: |level| unanswered(&level.point) },
];

/// Prints the curve of one server, with all columns.
pub(super) fn write_curve(
    subject: &SweepSubject,
    axis: Axis,
    notes: &[Footnote],
    out: &mut Page,
) -> io::Result<()> {
    let levels = levels(subject, 0, notes);
    let names: Vec<_> = levels.iter().map(|of| level(axis, of.point.level)).collect();
    let rows: Vec<_> = names.iter().map(String::as_str).zip(&levels).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_rows(COLUMNS, &rows, out)
}

/// Reads the cell of a point.
type Cell = fn(&CurvePoint) -> Option<String>;

/// Prints the curves of several servers side by side, in a table for each metric.
pub(super) fn write_curves(
    subjects: &[SweepSubject],
    axis: Axis,
    notes: &[Footnote],
    out: &mut Page,
) -> io::Result<()> {
    let mut levels: Vec<_> =
        subjects.iter().flat_map(|subject| &subject.curve).map(|point| point.level).collect();
    levels.sort_unstable();
    levels.dedup();
    if levels.is_empty() {
        return Ok(());
    }
    let any_failed =
        subjects.iter().flat_map(|subject| &subject.curve).any(|point| point.failed_tail.is_some());
    let none = |point: &CurvePoint| unanswered(point).or(Some("0".to_owned()));
    let tables: [(&str, Cell, bool); 4] = [
        ("replies per s", |point| Some(rate(point.achieved_per_s)), axis == Axis::Connections),
        ("response p50", p50, true),
        ("response p99", p99, true),
        ("no reply", none, any_failed),
    ];
    for (head, cell, _) in tables.iter().filter(|(.., is_shown)| *is_shown) {
        writeln!(out)?;
        let names = subjects.iter().map(|subject| (subject.name.as_str(), Side::Right));
        let mut table = Table::new(std::iter::once((*head, Side::Left)).chain(names));
        for at in &levels {
            let cells = subjects.iter().enumerate().map(|(place, subject)| {
                on_curve(subject, *at)
                    .map_or_else(String::new, |point| marked(cell(point), point, &marks(notes, place, *at)))
            });
            table.row(std::iter::once(level(axis, *at)).chain(cells));
        }
        table.write(out)?;
    }
    let failed = if any_failed { "; (failed): among the requests without a reply" } else { "" };
    line(out, "", &format!("✗: the server did not keep up; empty: not run; -: too few samples{failed}"))
}

/// A value of a point, with the signs before it: `✗ [1] 600ms`.
fn marked(value: Option<String>, point: &CurvePoint, notes: &str) -> String {
    let value = value.unwrap_or_else(|| "-".to_owned());
    let sign = if point.keeps_up { "" } else { "✗" };
    let parts = [sign, notes, &value];
    tint(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
}

fn on_curve(subject: &SweepSubject, level: u64) -> Option<&CurvePoint> {
    subject.curve.iter().find(|point| point.level == level)
}

/// The levels of the server at this index of the sweep.
pub(crate) fn levels(subject: &SweepSubject, place: usize, notes: &[Footnote]) -> Vec<Level> {
    let level = |point: &CurvePoint| Level { point: point.clone(), notes: marks(notes, place, point.level) };
    subject.curve.iter().map(level).collect()
}

/// The state of a point in words.
fn state(point: &CurvePoint) -> &'static str {
    match (point.trouble, point.verdict, point.holds) {
        (Some(Trouble::Failed), ..) => "FAILED",
        (Some(Trouble::GeneratorSaturated), ..) => "the generator's limit",
        (Some(Trouble::Errors), ..) => "ERRORS",
        (Some(Trouble::Starved), ..) => "STARVES",
        (Some(Trouble::CannotKeepUp), ..) => "CANNOT KEEP UP",
        (None, _, Some(false)) => "misses the SLO",
        (None, Status::Suspect, _) => "suspect",
        (None, Status::Invalid, _) => "invalid",
        (None, Status::Valid, _) => "keeps up",
    }
}

/// A percentile of the response times of a level, by its name in the result.
fn time(point: &CurvePoint, name: &str, time_ns: Option<u64>) -> Option<String> {
    short_or_failed(time_ns, name, point.failed_tail.as_ref())
}

fn p50(point: &CurvePoint) -> Option<String> {
    time(point, "p50", point.p50_ns)
}

fn p99(point: &CurvePoint) -> Option<String> {
    time(point, "p99", point.p99_ns)
}

/// The number of requests without a reply.
fn unanswered(point: &CurvePoint) -> Option<String> {
    point.failed_tail.as_ref().map(|tail| count(tail.count))
}
