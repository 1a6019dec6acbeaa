//! A result as CSV: rows for its parts and for the whole, in the same columns. A withheld or unknown value is an empty cell,
//! and so is a percentile among the failed requests. `response_failed` is the number of failed requests, and
//! `response_failed_longer_than_ns` a time that they exceed.

mod against;
mod columns;
mod sheet;
#[cfg(test)]
mod tests;

use std::io;

use self::{
    against::Row,
    columns::{of_curve, of_interval, of_kind, of_rounds, of_stage},
    sheet::Sheet,
};
use crate::result::{
    Document, Report,
    comparison::{Comparison, Subject, SubjectStatus},
    summary,
    sweep::{Point, Purpose, Sweep},
};

/// Prints a result.
pub(crate) fn write(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    match document {
        Document::Run(report) => write_run(report, out),
        Document::Comparison(comparison) => write_comparison(comparison, out),
        Document::Sweep(sweep) => write_sweep(sweep, out),
    }
}

/// Prints the results of several runs: a row for each, which begins with its name.
pub(crate) fn write_several(reports: &[(String, Report)], out: &mut dyn io::Write) -> io::Result<()> {
    let mut sheet = Sheet::begin(&["name"], out)?;
    for (name, report) in reports {
        sheet.write_total(&[name], report)?;
    }
    sheet.end()
}

/// Prints a row for each interval, one for each kind of requests, one for each stage, one for the tail after the window, and one for the whole. The outcomes
/// of the intervals and the tail add up to the outcomes of the whole, and so do those of the kinds and of the
/// stages.
fn write_run(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut sheet = Sheet::begin(&[], out)?;
    for (interval, length_s) in report.intervals_with_length_s() {
        let part = ["interval".to_owned(), interval.t_s.to_string(), length_s.to_string()];
        sheet.write(&[], part, |column| of_interval(&column.name, interval))?;
    }
    for kind in &report.kinds {
        let part = ["kind".to_owned(), "0".to_owned(), report.elapsed_s.to_string()];
        sheet.write(&[], part, |column| of_kind(&column.name, kind))?;
    }
    for stage in &report.stages {
        let part = ["stage".to_owned(), stage.t_s.to_string(), stage.length_s.to_string()];
        sheet.write(&[], part, |column| of_stage(&column.name, stage))?;
    }
    if let Some(tail) = summary::tail(report) {
        let part = ["tail".to_owned(), tail.t_s.to_string(), report.tail.length_s.to_string()];
        sheet.write(&[], part, |column| match column.name.as_str() {
            // The rate counts only replies in the window.
            "achieved_per_s" => None,
            name => of_interval(name, &tail),
        })?;
    }
    sheet.write_total(&[], report)?;
    sheet.end()
}

/// Prints a row for each round of each server, and one for the medians of the server. A comparison that is held against an
/// earlier result has further columns in front, and a row for each metric of each server that is held.
fn write_comparison(comparison: &Comparison, out: &mut dyn io::Write) -> io::Result<()> {
    let against = comparison.against.as_deref();
    let fronts = if against.is_some() { &against::FRONTS[..] } else { &[] };
    let empty = vec![""; fronts.len()];
    let mut sheet = Sheet::begin(&[&["server", "status", "round"], fronts].concat(), out)?;
    for subject in &comparison.subjects {
        let status = status(subject);
        for round in &subject.rounds {
            let number = round.round.to_string();
            sheet.write_total(&[&[&*subject.name, status, &*number], &*empty].concat(), &round.report)?;
        }
        let part = ["median".to_owned(), String::new(), String::new()];
        let front = [&[&*subject.name, status, ""], &*empty].concat();
        sheet.write(&front, part, |column| of_rounds(&column.name, subject))?;
    }
    let subjects = &comparison.subjects;
    for Row { server, scope, cells } in against.map(|it| against::rows(it, subjects)).unwrap_or_default() {
        let status = subjects.iter().find(|subject| subject.name == server).map_or("", status);
        let front: Vec<_> =
            [&*server, status, ""].into_iter().chain(cells.iter().map(String::as_str)).collect();
        sheet.write(&front, [scope.to_owned(), String::new(), String::new()], |_| None)?;
    }
    sheet.end()
}

/// Prints a row for each run of each server, and one for each point of its load curve.
fn write_sweep(sweep: &Sweep, out: &mut dyn io::Write) -> io::Result<()> {
    let mut sheet = Sheet::begin(&["server", "level", "purpose", "keeps_up", "holds"], out)?;
    for subject in &sweep.subjects {
        for Point { level, purpose, report } in &subject.points {
            let purpose = match purpose {
                Purpose::Ladder => "ladder",
                Purpose::Search => "search",
            };
            sheet.write_total(&[&subject.name, &level.to_string(), purpose, "", ""], report)?;
        }
        for point in &subject.curve {
            let holds = point.holds.map_or_else(String::new, |holds| holds.to_string());
            let (level, keeps_up) = (point.level.to_string(), point.keeps_up.to_string());
            let part = ["level".to_owned(), String::new(), String::new()];
            sheet.write(&[&subject.name, &level, "", &keeps_up, &holds], part, |column| {
                of_curve(&column.name, point)
            })?;
        }
    }
    sheet.end()
}

fn status(subject: &Subject) -> &'static str {
    match subject.status {
        SubjectStatus::Ok => "ok",
        SubjectStatus::Marked => "marked",
        SubjectStatus::Failed => "failed",
        SubjectStatus::Unmeasured => "unmeasured",
    }
}
