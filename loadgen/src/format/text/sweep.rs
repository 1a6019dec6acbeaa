//! A sweep as text: the capacity of each server, and the load curve as a table with a row for each level.

pub(crate) mod capacity;
pub(crate) mod curve;
pub(crate) mod footnotes;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use common::human::{duration_ns, plural, rate};

use self::capacity::{bracket, keeps_up_to};
use crate::{
    format::{
        text::page::{BAD, ODD, Page, labelled, last_line, line, paint},
        words::{machine, messages},
    },
    load::schedule::Arrival,
    result::{
        Loop, PlanSummary,
        footnotes::{Footnote, footnotes, numbers},
        sweep::{Axis, Sweep, SweepPlan, SweepSubject, level},
    },
};

/// The limit of a sweep with a closed loop.
pub(crate) const CLOSED_LOOP: &str = "Closed loop: each client waits for its reply before it sends the next request. So this sweep cannot see the queues \
     that form when requests keep arriving. --rates shows them.";

/// Prints the sweep.
pub(super) fn write(sweep: &Sweep, out: &mut Page) -> io::Result<()> {
    let notes = footnotes(&sweep.subjects);
    write_setup(sweep, out)?;
    capacity::write_summary(sweep, out)?;
    for subject in &sweep.subjects {
        capacity::write_details(subject, out)?;
    }
    match sweep.subjects.as_slice() {
        [subject] => curve::write_curve(subject, sweep.plan.axis, &notes, out)?,
        subjects => curve::write_curves(subjects, sweep.plan.axis, &notes, out)?,
    }
    footnotes::write(sweep, &notes, out)?;
    for note in &sweep.notes {
        writeln!(out)?;
        line(out, "note", note)?;
    }
    last_line(out, &verdicts(sweep, &notes))
}

/// The capacity of each server and the number of problems, in one line, from the most detailed to the shortest.
fn verdicts(sweep: &Sweep, notes: &[Footnote]) -> Vec<String> {
    let axis = sweep.plan.axis;
    let has_slo = !sweep.plan.slo.is_empty();
    let reach = |subject: &SweepSubject| match &subject.capacity {
        Some(capacity) => bracket(capacity, axis),
        None if has_slo => "-".to_owned(),
        None => keeps_up_to(subject, axis),
    };
    let each = |between: &str| {
        let one = |subject: &SweepSubject| format!("{}{between}{}", subject.name, reach(subject));
        sweep.subjects.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let heading =
        if has_slo { format!("holds {} up to", sweep.plan.slo.join(", ")) } else { "keeps up to".to_owned() };
    let failed = sweep.subjects.iter().filter(|subject| subject.failure.is_some()).count();
    let doubts = sweep.subjects.iter().enumerate().flat_map(|(place, subject)| {
        subject.curve.iter().filter(move |point| !numbers(notes, place, point.level).is_empty())
    });
    let doubts = doubts.count();
    let mut troubles = Vec::new();
    if failed > 0 {
        troubles.push(format!("{failed} {}", paint(BAD, "FAILED")));
    }
    if doubts > 0 {
        troubles.push(format!("{} {}", plural(doubts as u64, "level"), paint(ODD, "in doubt")));
    }
    let troubles = troubles.join(", ");
    let servers = plural(sweep.subjects.len() as u64, "server");
    let with_troubles = |text: &str| match troubles.is_empty() {
        true => text.to_owned(),
        false => format!("{text}; {troubles}"),
    };
    vec![
        with_troubles(&format!("{heading}: {}", each(" "))),
        with_troubles(&each(" up to ")),
        with_troubles(&format!("{servers} swept")),
    ]
}

fn write_setup(sweep: &Sweep, out: &mut Page) -> io::Result<()> {
    let plan = &sweep.plan;
    let ends = match plan.levels.as_slice() {
        [first, .., last] => format!(" from {} to {}", level(plan.axis, *first), level(plan.axis, *last)),
        [only] => format!(" of {}", level(plan.axis, *only)),
        [] => String::new(),
    };
    let levels = plural(plan.levels.len() as u64, "level");
    let interrupted = if sweep.interrupted { ", interrupted: only complete runs count" } else { "" };
    let whole = duration_ns((sweep.elapsed_s * 1e9) as u64);
    line(out, "swept", &format!("{levels}{ends}{interrupted}; {whole} in total"))?;
    let warmup = duration_ns((plan.load.warmup_s * 1e9) as u64);
    let measured = match (plan.load.duration_s, plan.load.requests) {
        (Some(duration_s), _) => duration_ns((duration_s * 1e9) as u64),
        (None, requests) => plural(requests.unwrap_or(0), "request"),
    };
    line(
        out,
        "",
        &format!(
            "each run is {warmup} of warm-up and {measured} measured; at each level the servers take turns, \
             shuffled with seed {}",
            plan.seed
        ),
    )?;
    line(out, "load", &load(plan))?;
    labelled(out, "message", &messages(&plan.load, &plan.own_loads, sweep.subjects.len()))?;
    line(out, "machine", &machine(&sweep.environment))?;
    if plan.load.r#loop == Loop::Closed {
        line(out, "", CLOSED_LOOP)?;
    }
    if !plan.slo.is_empty() {
        line(out, "SLO", &format!("{}, in addition to keeping up", plan.slo.join(", ")))?;
    }
    writeln!(out)
}

/// The load, without the part that the axis changes.
pub(crate) fn load(plan: &SweepPlan) -> String {
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
        parts.push(format!("pipeline of {pipeline}"));
    }
    parts.join(", ")
}
