//! The page of a sweep: how far each server carries.

use maud::{Markup, html};

use super::{
    axis::Axis,
    curve, palette,
    palette::{BAD, REFERENCE},
    parts,
    plot::{Line, Mark, Plot, Shape},
};
use crate::{
    human::{count, duration_ns, percent},
    report::{
        sweep::{self, Beyond, CurvePoint, Sweep, SweepSubject},
        text::{
            plural,
            sweep::{self as text, bracket, level},
        },
    },
};

/// What the browser calls the page.
pub(super) fn title(sweep: &Sweep) -> String {
    let names: Vec<_> = sweep.subjects.iter().map(|subject| subject.name.as_str()).collect();
    format!("{}: how far they carry – loadgen", names.join(", "))
}

/// What is on it.
pub(super) fn content(sweep: &Sweep) -> Markup {
    html! {
        (verdict(sweep))
        (parts::notes(&sweep.notes))
        (parts::section("The load curve", &figures(sweep)))
        (parts::section("How far each carries", &summary(sweep)))
        @for subject in &sweep.subjects {
            @if !subject.curve.is_empty() { (parts::section(&subject.name, &levels(sweep, subject))) }
        }
        (parts::section("Plan and environment", &plan(sweep)))
    }
}

fn verdict(sweep: &Sweep) -> Markup {
    let word = match sweep.subjects.as_slice() {
        [only] => format!("How far {} carries", only.name),
        several => format!("How far {} carry", plural(several.len() as u64, "server")),
    };
    html! {
        section.verdict.plain {
            h1 { (word) }
            @if sweep.interrupted { p { "Interrupted: these are the runs that are complete." } }
            ul.reasons { @for subject in &sweep.subjects { (words(subject)) } }
            p.load { (text::load(&sweep.plan)) }
        }
    }
}

/// What is said of a server in sentences.
fn words(subject: &SweepSubject) -> Markup {
    let is_failed = subject.failure.is_some();
    html! {
        li class=(if is_failed { "invalid" } else { "plain" }) {
            @if let Some(failure) = &subject.failure {
                p { strong { "failed" } " " (subject.name) " " (failure.message) }
                @if !failure.output.is_empty() { pre { (failure.output.join("\n")) } }
            }
            @if let (Some(end), false) = (&subject.end, is_failed) {
                p { strong { (subject.name) } " " (end.message) }
            }
            @if let Some(capacity) = &subject.capacity { p.advice { (capacity.message) } }
        }
    }
}

/// Reads a number of a point of the load curve.
type Get = fn(&CurvePoint) -> Option<f64>;

fn figures(sweep: &Sweep) -> Markup {
    let p99 = latency(sweep, "p99", |point| point.p99_ns.map(|time_ns| time_ns.max(1) as f64));
    let p50 = latency(sweep, "p50", |point| point.p50_ns.map(|time_ns| time_ns.max(1) as f64));
    html! {
        div.figures {
            (p99.figure())
            (p50.figure())
            (achieved(sweep).figure())
        }
    }
}

fn latency(sweep: &Sweep, percentile: &str, of: Get) -> Plot {
    let lines: Vec<_> = lines(sweep, of);
    let y = Axis::times(lines.iter().flat_map(Line::points).map(|(_, time_ns)| time_ns));
    let (bottom, _) = y.ends();
    let mut marks = troubles(sweep, of);
    for (number, subject) in sweep.subjects.iter().enumerate() {
        let tint = palette::series(number);
        let knee = subject.knee.and_then(|knee| {
            let point = subject.curve.iter().find(|point| point.level == knee.level)?;
            let at = (knee.level as f64, of(point)?);
            Some(Mark {
                meaning: "the knee: beyond it, more load costs more than it brings",
                at,
                tint,
                shape: Shape::Ring,
            })
        });
        marks.extend(knee);
        let low = subject.capacity.as_ref().and_then(|capacity| capacity.low);
        marks.extend(low.map(|low| Mark {
            meaning: "the highest load that holds the SLO",
            at: (low as f64, bottom),
            tint,
            shape: Shape::Triangle,
        }));
    }
    Plot {
        title: format!("Response {percentile}"),
        caption: match sweep.plan.slo.as_slice() {
            [] => "Of all samples of a level. Both scales are logarithmic.".to_owned(),
            slo => {
                format!("Of all samples of a level. SLO: {}. Both scales are logarithmic.", slo.join(", "))
            }
        },
        in_words: format!("Response {percentile} over {}. {}", offered(sweep), in_words(sweep)),
        x: levels_axis(sweep),
        y,
        lines,
        marks,
        failures: Vec::new(),
    }
}

fn achieved(sweep: &Sweep) -> Plot {
    let of: Get = |point| Some(point.achieved_per_s);
    let mut lines = lines(sweep, of);
    let offered_per_s = |point: &CurvePoint| Some((point.level as f64, point.offered_per_s?));
    let all = sweep.subjects.iter().flat_map(|subject| &subject.curve);
    let mut asked: Vec<_> = all.filter_map(offered_per_s).collect();
    asked.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    asked.dedup_by_key(|point| point.0);
    if !asked.is_empty() {
        // First, so that the servers' own lines are drawn over it.
        lines.insert(0, Line { tint: &REFERENCE, ..Line::new(0, "offered", vec![asked]) });
    }
    Plot {
        title: "Achieved".to_owned(),
        caption: "Replies a second, the median of a level's runs. Both scales are logarithmic.".to_owned(),
        in_words: format!("Replies a second over {}. {}", offered(sweep), in_words(sweep)),
        x: levels_axis(sweep),
        y: Axis::rates("", lines.iter().flat_map(Line::points).map(|(_, per_s)| per_s)),
        lines,
        marks: troubles(sweep, of),
        failures: Vec::new(),
    }
}

/// A line for each server.
fn lines(sweep: &Sweep, of: Get) -> Vec<Line> {
    let line = |(number, subject): (usize, &SweepSubject)| {
        let points = subject.curve.iter().map(|point| (point.level as f64, of(point)));
        Line { has_dots: true, ..Line::new(number, &subject.name, curve::with_gaps(points)) }
    };
    sweep.subjects.iter().enumerate().map(line).collect()
}

/// Where a server did not do all that was asked.
fn troubles(sweep: &Sweep, of: Get) -> Vec<Mark> {
    let all = sweep.subjects.iter().flat_map(|subject| &subject.curve);
    let of_point = |point: &CurvePoint| {
        let at = (point.level as f64, of(point)?);
        Some(Mark { meaning: "it did not do all that was asked", at, tint: &BAD, shape: Shape::Cross })
    };
    all.filter(|point| !point.keeps_up).filter_map(of_point).collect()
}

fn levels_axis(sweep: &Sweep) -> Axis {
    let curve = sweep.subjects.iter().flat_map(|subject| &subject.curve).map(|point| point.level);
    let capacities = sweep.subjects.iter().filter_map(|subject| subject.capacity.as_ref()?.low);
    Axis::rates(offered(sweep), curve.chain(capacities).map(|level| level as f64))
}

fn offered(sweep: &Sweep) -> &'static str {
    match sweep.plan.axis {
        sweep::Axis::Rate => "offered requests a second",
        sweep::Axis::Connections => "clients",
    }
}

fn in_words(sweep: &Sweep) -> String {
    let axis = sweep.plan.axis;
    let of = |subject: &SweepSubject| format!("{}: keeps up to {}", subject.name, keeps_up_to(subject, axis));
    sweep.subjects.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn keeps_up_to(subject: &SweepSubject, axis: sweep::Axis) -> String {
    let last = subject.curve.iter().rev().find(|point| point.keeps_up);
    last.map_or("-".to_owned(), |point| level(axis, point.level))
}

fn summary(sweep: &Sweep) -> Markup {
    let axis = sweep.plan.axis;
    let row = |subject: &SweepSubject| {
        let knee = subject.knee.map_or("-".to_owned(), |knee| {
            let bound = match knee.beyond {
                Some(Beyond::Above) => "≥ ",
                Some(Beyond::Below) => "≤ ",
                None => "",
            };
            format!("{bound}{}", level(axis, knee.level))
        });
        let mean = subject.knee.map_or("-".to_owned(), |knee| duration_ns(knee.mean_ns.round() as u64));
        let capacity = subject.capacity.as_ref().map_or("-".to_owned(), |capacity| bracket(capacity, axis));
        vec![subject.name.clone(), keeps_up_to(subject, axis), knee, mean, capacity]
    };
    let head = ["", "keeps up to", "knee", "mean there", "holds the SLO up to"];
    parts::table("How far each carries", &head, &sweep.subjects.iter().map(row).collect::<Vec<_>>())
}

/// The levels of one server.
fn levels(sweep: &Sweep, subject: &SweepSubject) -> Markup {
    let head = parts::heads(text::COLUMNS.iter().map(|column| column.head));
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let row = |point: &CurvePoint| {
        let cells = text::COLUMNS.iter().map(|column| (column.cell)(point).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(level(sweep.plan.axis, point.level)).chain(cells).collect()
    };
    parts::table(&subject.name, &head, &subject.curve.iter().map(row).collect::<Vec<_>>())
}

fn plan(sweep: &Sweep) -> Markup {
    let plan = &sweep.plan;
    let mut known = parts::plan(&plan.load);
    known.extend([
        ("levels at most", Some(count(plan.levels.len() as u64))),
        ("SLO", Some(plan.slo.join(", ")).filter(|slo| !slo.is_empty())),
        ("runs that decide on a level", Some(count(plan.repeats as u64)).filter(|_| !plan.slo.is_empty())),
        ("search ends within", Some(percent(plan.tolerance)).filter(|_| !plan.slo.is_empty())),
        ("CPUs of their own", Some(if plan.pinned { "servers and load" } else { "none" }.to_owned())),
        ("order from seed", Some(plan.seed.to_string())),
        ("took", Some(parts::seconds(sweep.elapsed_s))),
    ]);
    let environment = parts::environment(&sweep.environment, sweep.started_at_unix_ms);
    let origin = |subject: &SweepSubject| subject.command.clone().or_else(|| subject.target.clone());
    let servers: Vec<_> = sweep
        .subjects
        .iter()
        .filter_map(|subject| Some((subject.name.as_str(), Some(origin(subject)?))))
        .collect();
    html! {
        div.columns {
            div { h3 { "Plan" } (parts::facts(&known)) }
            div { h3 { "Environment" } (parts::facts(&environment)) }
            @if !servers.is_empty() { div { h3 { "Servers" } (parts::facts(&servers)) } }
        }
    }
}
