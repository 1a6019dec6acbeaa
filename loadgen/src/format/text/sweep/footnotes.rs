//! Footnotes: the reasons why levels are in doubt.

use std::io::{self, Write};

use common::human::plural;

use crate::{
    format::text::page::{Page, line, paint, status_style},
    result::{
        footnotes::{Footnote, numbers},
        sweep::{Sweep, level},
    },
};

/// Prints the footnotes.
pub(super) fn write(sweep: &Sweep, notes: &[Footnote], out: &mut Page) -> io::Result<()> {
    if !notes.is_empty() {
        writeln!(out)?;
    }
    for (number, note) in (1..).zip(notes) {
        let code = paint(status_style(note.reason.status), &note.reason.code);
        let (at, message) = (example(sweep, note), &note.reason.message);
        line(out, &format!("[{number}]"), &format!("{code}: {at}: {message}"))?;
        if !note.reason.advice.is_empty() {
            line(out, "", &format!("→ {}", note.reason.advice))?;
        }
    }
    Ok(())
}

/// How many levels a footnote applies to, and the first of them, whose values the message quotes.
pub(crate) fn example(sweep: &Sweep, note: &Footnote) -> String {
    let levels =
        || note.levels.iter().flat_map(|(place, levels)| levels.iter().map(move |level| (*place, *level)));
    let first = levels().next().map_or_else(String::new, |(place, of)| match sweep.subjects.as_slice() {
        [_] => level(sweep.plan.axis, of),
        subjects => format!("{} of {}", level(sweep.plan.axis, of), subjects[place].name),
    });
    match levels().count() {
        0 | 1 => format!("at {first}"),
        several => format!("at {}, first at {first}", plural(several as u64, "level")),
    }
}

/// The numbers of a level's footnotes: `[1,2]`.
pub(super) fn marks(notes: &[Footnote], place: usize, level: u64) -> String {
    let numbers: Vec<_> = numbers(notes, place, level).iter().map(usize::to_string).collect();
    if numbers.is_empty() { String::new() } else { format!("[{}]", numbers.join(",")) }
}
