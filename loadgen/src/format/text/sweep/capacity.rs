//! The capacity of each server of a sweep: as a table, and in sentences.

use std::io::{self, Write};

use common::human::count;

use crate::{
    format::text::{
        page::{Page, line, quote},
        several::short,
        table::{Side, Table},
    },
    result::sweep::{Axis, Beyond, Capacity, Sweep, SweepSubject, Trouble, level},
};

/// Prints the table.
pub(super) fn write_summary(sweep: &Sweep, out: &mut Page) -> io::Result<()> {
    let axis = sweep.plan.axis;
    let mut heads = vec![("", Side::Left)];
    heads.extend(["keeps\nup to", "knee", "mean\nat knee"].map(|head| (head, Side::Right)));
    let has_capacity = sweep.subjects.iter().any(|subject| subject.capacity.is_some());
    heads.extend(has_capacity.then_some(("holds the\nSLO up to", Side::Right)));
    let mut table = Table::new(heads);
    for subject in &sweep.subjects {
        let mut row = vec![subject.name.clone(), keeps_up_to(subject, axis)];
        match &subject.knee {
            Some(knee) => {
                let bound = match knee.beyond {
                    Some(Beyond::Above) => "≥ ",
                    Some(Beyond::Below) => "≤ ",
                    None => "",
                };
                row.extend([
                    format!("{bound}{}", level(axis, knee.level)),
                    short(knee.mean_ns.round() as u64),
                ]);
            }
            None => row.extend(["-", "-"].map(str::to_owned)),
        }
        row.extend(
            has_capacity.then(|| subject.capacity.as_ref().map_or("-".to_owned(), |of| bracket(of, axis))),
        );
        table.row(row);
    }
    table.write(out)
}

/// Prints how a server failed, where its ladder ended, and its capacity.
pub(super) fn write_details(subject: &SweepSubject, out: &mut Page) -> io::Result<()> {
    let SweepSubject { name, failure, end, capacity, .. } = subject;
    if failure.is_some() || end.is_some() || capacity.is_some() {
        writeln!(out)?;
    }
    if let Some(failure) = failure {
        line(out, "FAILED", &format!("{name} {}", failure.message))?;
        quote(out, &failure.output)?;
    }
    if let Some(end) = end.as_ref().filter(|end| end.trouble != Some(Trouble::Failed)) {
        line(out, "ladder", &format!("{name} {}", end.message))?;
    }
    if let Some(capacity) = capacity {
        line(out, "capacity", &format!("{name} {}", capacity.message))?;
    }
    Ok(())
}

/// The last level at which the server kept up.
pub(crate) fn keeps_up_to(subject: &SweepSubject, axis: Axis) -> String {
    let last = subject.curve.iter().rev().find(|point| point.keeps_up);
    last.map_or("-".to_owned(), |point| level(axis, point.level))
}

/// The bracket of the capacity: the highest level that holds the SLO, and the lowest that does not.
pub(crate) fn bracket(capacity: &Capacity, axis: Axis) -> String {
    match (capacity.low, capacity.high) {
        (Some(low), Some(high)) => format!("{} – {}", count(low), level(axis, high)),
        (Some(low), None) => format!("≥ {}", level(axis, low)),
        (None, Some(high)) => format!("< {}", level(axis, high)),
        (None, None) => "-".to_owned(),
    }
}
