//! A sweep for people: how far each server carries, and the load curve as a table, with a row for each level.

use std::io;

use comfy_table::{CellAlignment, Table};

use super::{
    line, machine, message, plural,
    table::{Column, plain, short, write_rows},
};
use crate::{
    human::{count, duration_ns, rate},
    report::{
        Loop, PlanSummary, Status,
        sweep::{Axis, Beyond, Capacity, CurvePoint, Sweep, SweepPlan, SweepSubject, Trouble},
    },
    schedule::Arrival,
};

pub(in crate::report) use crate::sweep::results::level;

/// What one server's curve says at each level.
pub(in crate::report) static COLUMNS: &[Column<CurvePoint>] = &[
    Column { head: "", cell: |point| Some(state(point).to_owned()) },
    Column { head: "offered\n/s", cell: |point| point.offered_per_s.map(rate) },
    Column { head: "achieved\n/s", cell: |point| Some(rate(point.achieved_per_s)) },
    Column { head: "response\nmean", cell: |point| point.mean_ns.map(|mean| short(mean.round() as u64)) },
    Column { head: "\np50", cell: |point| point.p50_ns.map(short) },
    Column { head: "\np90", cell: |point| point.p90_ns.map(short) },
    Column { head: "\np99", cell: |point| point.p99_ns.map(short) },
    Column { head: "\np99.9", cell: |point| point.p99_9_ns.map(short) },
    Column { head: "\nmax", cell: |point| point.max_ns.map(short) },
];

/// Prints the sweep.
pub fn write(sweep: &Sweep, out: &mut dyn io::Write) -> io::Result<()> {
    write_what(sweep, out)?;
    write_summary(sweep, out)?;
    for subject in &sweep.subjects {
        write_words(subject, out)?;
    }
    match sweep.subjects.as_slice() {
        [subject] => write_curve(subject, sweep.plan.axis, out)?,
        subjects => write_curves(subjects, sweep.plan.axis, out)?,
    }
    for note in &sweep.notes {
        writeln!(out)?;
        line(out, "note", note)?;
    }
    Ok(())
}

fn write_what(sweep: &Sweep, out: &mut dyn io::Write) -> io::Result<()> {
    let plan = &sweep.plan;
    let ends = match plan.levels.as_slice() {
        [first, .., last] => format!(" from {} to {}", level(plan.axis, *first), level(plan.axis, *last)),
        [only] => format!(" of {}", level(plan.axis, *only)),
        [] => String::new(),
    };
    let levels = plural(plan.levels.len() as u64, "level");
    let cut = if sweep.interrupted { ", interrupted: these are the complete runs" } else { "" };
    let whole = duration_ns((sweep.elapsed_s * 1e9) as u64);
    line(out, "swept", &format!("{levels}{ends}{cut}; {whole} in all"))?;
    let warmup = duration_ns((plan.load.warmup_s * 1e9) as u64);
    let measured = match (plan.load.duration_s, plan.load.requests) {
        (Some(duration_s), _) => duration_ns((duration_s * 1e9) as u64),
        (None, requests) => plural(requests.unwrap_or(0), "request"),
    };
    line(
        out,
        "",
        &format!(
            "each run is {warmup} of warm-up and {measured} measured; at each level the servers take turns in an \
             order that is shuffled from seed {}",
            plan.seed
        ),
    )?;
    line(out, "load", &load(plan))?;
    line(out, "message", &message(&plan.load))?;
    line(out, "on", &machine(&sweep.environment))?;
    if plan.load.r#loop == Loop::Closed {
        line(
            out,
            "",
            "A closed loop: each client waits for its reply before it asks again, so it cannot see the queues \
             that this waiting keeps from forming. --rates shows them.",
        )?;
    }
    if !plan.slo.is_empty() {
        line(out, "SLO", &format!("{}, beside keeping up", plan.slo.join(", ")))?;
    }
    writeln!(out)
}

/// The load without what the axis changes.
pub(in crate::report) fn load(plan: &SweepPlan) -> String {
    let PlanSummary { r#loop, arrival, rate_per_s, connections, threads, pipeline, .. } = &plan.load;
    let kind = match (r#loop, plan.axis, rate_per_s) {
        (Loop::Closed, ..) => "closed loop".to_owned(),
        (Loop::Open, Axis::Connections, Some(per_s)) => format!("open loop of {}/s", rate(*per_s)),
        (Loop::Open, ..) => "open loop".to_owned(),
    };
    let mut parts = vec![kind];
    parts.extend(arrival.map(|arrival| match arrival {
        Arrival::Poisson => "Poisson arrivals".to_owned(),
        Arrival::Constant => "evenly spaced".to_owned(),
    }));
    if plan.axis == Axis::Rate {
        parts.push(plural((*connections).into(), "client"));
    }
    parts.push(plural(*threads as u64, "load thread"));
    if *pipeline > 1 {
        parts.push(format!("{pipeline} outstanding each"));
    }
    parts.join(", ")
}

/// One server has room for all that is known of each level.
fn write_curve(subject: &SweepSubject, axis: Axis, out: &mut dyn io::Write) -> io::Result<()> {
    let names: Vec<_> = subject.curve.iter().map(|point| level(axis, point.level)).collect();
    let rows: Vec<_> = names.iter().map(String::as_str).zip(&subject.curve).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_rows(COLUMNS, &rows, out)
}

/// Reads what a table of several servers says of a point.
type Cell = fn(&CurvePoint) -> Option<String>;

/// Several servers stand side by side, in a table for each number.
fn write_curves(subjects: &[SweepSubject], axis: Axis, out: &mut dyn io::Write) -> io::Result<()> {
    let mut levels: Vec<_> =
        subjects.iter().flat_map(|subject| &subject.curve).map(|point| point.level).collect();
    levels.sort_unstable();
    levels.dedup();
    if levels.is_empty() {
        return Ok(());
    }
    let tables: [(&str, Cell, bool); 3] = [
        ("replies per s", |point| Some(rate(point.achieved_per_s)), axis == Axis::Connections),
        ("response p50", |point| point.p50_ns.map(short), true),
        ("response p99", |point| point.p99_ns.map(short), true),
    ];
    for (head, cell, _) in tables.iter().filter(|(.., is_shown)| *is_shown) {
        writeln!(out)?;
        let mut table = plain();
        table.set_header(std::iter::once(*head).chain(subjects.iter().map(|subject| subject.name.as_str())));
        for at in &levels {
            let cells = subjects.iter().map(|subject| match on_curve(subject, *at) {
                Some(point) if point.keeps_up => cell(point).unwrap_or_else(|| "-".to_owned()),
                Some(point) => "✗ ".to_owned() + &cell(point).unwrap_or_else(|| "-".to_owned()),
                None => String::new(),
            });
            table.add_row(std::iter::once(level(axis, *at)).chain(cells));
        }
        write_table(table, out)?;
    }
    line(out, "", "✗: it did not do all that was asked; empty: not run; -: too few samples to say")
}

fn on_curve(subject: &SweepSubject, level: u64) -> Option<&CurvePoint> {
    subject.curve.iter().find(|point| point.level == level)
}

fn write_summary(sweep: &Sweep, out: &mut dyn io::Write) -> io::Result<()> {
    let axis = sweep.plan.axis;
    let mut table = plain();
    let mut head = vec!["", "keeps up to", "knee", "mean there"];
    let has_capacity = sweep.subjects.iter().any(|subject| subject.capacity.is_some());
    head.extend(has_capacity.then_some("holds the SLO up to"));
    table.set_header(head);
    for subject in &sweep.subjects {
        let last = subject.curve.iter().rev().find(|point| point.keeps_up);
        let mut row =
            vec![subject.name.clone(), last.map_or("-".to_owned(), |point| level(axis, point.level))];
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
        table.add_row(row);
    }
    write_table(table, out)
}

/// The level up to which the SLO holds, with its uncertainty.
pub(in crate::report) fn bracket(capacity: &Capacity, axis: Axis) -> String {
    match (capacity.low, capacity.high) {
        (Some(low), Some(high)) => format!("{} – {}", count(low), level(axis, high)),
        (Some(low), None) => format!("≥ {}", level(axis, low)),
        (None, Some(high)) => format!("< {}", level(axis, high)),
        (None, None) => "-".to_owned(),
    }
}

fn write_words(subject: &SweepSubject, out: &mut dyn io::Write) -> io::Result<()> {
    let SweepSubject { name, failure, end, capacity, .. } = subject;
    if failure.is_some() || end.is_some() || capacity.is_some() {
        writeln!(out)?;
    }
    if let Some(failure) = failure {
        line(out, "FAILED", &format!("{name} {}", failure.message))?;
        for printed in &failure.output {
            writeln!(out, "           | {printed}")?;
        }
    }
    if let Some(end) = end.as_ref().filter(|end| end.trouble != Some(Trouble::Failed)) {
        line(out, "ladder", &format!("{name} {}", end.message))?;
    }
    if let Some(capacity) = capacity {
        line(out, "capacity", &format!("{name} {}", capacity.message))?;
    }
    Ok(())
}

fn write_table(mut table: Table, out: &mut dyn io::Write) -> io::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
        if column.index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table.trim_fmt())
}

/// What a person reads of a point before its numbers.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sweep::tests::example;

    fn text(sweep: &Sweep) -> String {
        let mut text = Vec::new();
        write(sweep, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_person_sees_the_curves_side_by_side_and_how_far_each_server_carries() {
        insta::assert_snapshot!(text(&example()), @r#"
        swept      6 levels from 1,000/s to 32,000/s; 70.0 s in all
                   each run is 1.00 s of warm-up and 2.00 s measured; at each level the
                   servers take turns in an order that is shuffled from seed 1
        load       open loop, Poisson arrivals, 50 clients, 1 load thread
        message    64 bytes; expected back: the same in upper case
        on         Some CPU, 2 CPUs (the server's: 0; the load's: 1), Linux 6.18.0
        SLO        p99<5ms, beside keeping up

                     keeps up to        knee  mean there  holds the SLO up to
        ──────────────────────────────────────────────────────────────────────
        thread-pool      8,000/s     4,000/s       167µs      8,724 – 9,514/s
        event-loop      32,000/s  ≥ 32,000/s      14.7µs           ≥ 32,000/s
        mortal           2,000/s   ≥ 2,000/s      55.5µs      2,000 – 4,000/s

        ladder     thread-pool cannot keep up from 16,000/s on: 10,000/s of 16,000/s
                   offered
        capacity   thread-pool holds p99<5ms up to 8,724/s, and not from 9,514/s on; in
                   between its runs disagree

        ladder     event-loop kept up to the last level, 32,000/s
        capacity   event-loop holds p99<5ms at every level, up to 32,000/s

        FAILED     mortal died at 4,000/s (signal: 9 (SIGKILL)); it failed again at
                   8,000/s
                   | goodbye
        capacity   mortal holds p99<5ms up to 2,000/s, and not from 4,000/s on; the
                   search was not made

        response p50  thread-pool  event-loop  mortal
        ──────────────────────────────────────────────
        1,000/s            77.0µs      7.00µs  36.5µs
        2,000/s            86.6µs      7.07µs  38.5µs
        4,000/s             115µs      7.21µs
        8,000/s             346µs      7.53µs
        16,000/s          ✗ 600ms      8.25µs
        32,000/s          ✗ 2.20s      10.2µs

        response p99  thread-pool  event-loop  mortal
        ──────────────────────────────────────────────
        1,000/s             509µs      46.3µs   241µs
        2,000/s             573µs      46.8µs   255µs
        4,000/s             764µs      47.7µs
        8,000/s            2.29ms      49.8µs
        16,000/s          ✗ 1.19s      54.6µs
        32,000/s          ✗ 4.36s      67.4µs
                   ✗: it did not do all that was asked; empty: not run; -: too few
                   samples to say

        note       the knee of event-loop may lie over 32,000/s: --rates goes further
        "#);
    }

    #[test]
    fn one_server_is_seen_in_more_detail() {
        let mut sweep = example();
        sweep.subjects.truncate(1);
        let text = text(&sweep);
        let table: Vec<_> =
            text.lines().skip_while(|line| !line.contains("achieved  response")).take(9).collect();
        insta::assert_snapshot!(table.join("\n"), @r#"
                                  offered  achieved  response
                                       /s        /s      mean     p50     p90     p99     max
        ──────────────────────────────────────────────────────────────────────────────────────
        1,000/s   keeps up          1,000     1,000     111µs  77.0µs   256µs   509µs   922µs
        2,000/s   keeps up          2,000     2,000     125µs  86.6µs   288µs   573µs  1.04ms
        4,000/s   keeps up          4,000     4,000     167µs   115µs   383µs   764µs  1.38ms
        8,000/s   keeps up          8,000     8,000     500µs   346µs  1.15ms  2.29ms  4.15ms
        16,000/s  CANNOT KEEP UP   16,000    10,000     600ms   600ms   1.08s   1.19s   1.20s
        32,000/s  CANNOT KEEP UP   32,000    10,000     2.20s   2.20s   3.96s   4.36s   4.40s
        "#);
    }
}
