//! The page of a sweep: the load curves, and the capacity of each server.

use common::human::{count, duration_ns, percent, plural};
use maud::{Markup, html};

use super::{
    axis::Axis,
    curve,
    palette::{self, BAD, REFERENCE, Tint},
    parts::{self, prose},
    plot::{Line, Mark, Plot, Shape},
};
use crate::{
    format::text::sweep::{
        CLOSED_LOOP,
        capacity::{bracket, keeps_up_to},
        curve::{COLUMNS, Level, levels},
        footnotes::example,
        load,
    },
    result::{
        Loop,
        footnotes::{Footnote, footnotes},
        sweep::{self, Beyond, CurvePoint, Purpose, Sweep, SweepSubject, level},
    },
};

/// The title of the page.
pub(super) fn title(sweep: &Sweep) -> String {
    let names: Vec<_> = sweep.subjects.iter().map(|subject| subject.name.as_str()).collect();
    format!("{}: load curves – loadgen", names.join(", "))
}

/// The content of the page.
pub(super) fn content(sweep: &Sweep) -> Markup {
    let notes = footnotes(&sweep.subjects);
    html! {
        (verdict(sweep))
        (parts::notes(&sweep.notes, Loop::Open))
        @if sweep.plan.load.r#loop == Loop::Closed { p.note { (prose(CLOSED_LOOP)) } }
        (parts::section("Load curves", &figures(sweep)))
        (parts::section("Capacity", &summary(sweep)))
        @for (place, subject) in sweep.subjects.iter().enumerate() {
            @if !subject.curve.is_empty() { (parts::section(&subject.name, &table(sweep, place, &notes))) }
        }
        (parts::section("Plan and environment", &plan(sweep)))
    }
}

fn verdict(sweep: &Sweep) -> Markup {
    let heading = match sweep.subjects.as_slice() {
        [only] => format!("Capacity of {}", only.name),
        several => format!("Capacity of {}", plural(several.len() as u64, "server")),
    };
    html! {
        section.verdict.plain {
            h1 { (heading) }
            @if sweep.interrupted { p { "Interrupted: only complete runs count." } }
            ul.reasons { @for subject in &sweep.subjects { (details(subject)) } }
            p.load { (prose(&load(&sweep.plan))) }
            (parts::own_messages(&sweep.plan.own_loads))
        }
    }
}

/// How a server failed, where its ladder ended, and its capacity.
fn details(subject: &SweepSubject) -> Markup {
    let is_failed = subject.failure.is_some();
    html! {
        li class=(if is_failed { "invalid" } else { "plain" }) {
            @if let Some(failure) = &subject.failure {
                (parts::reason(&html! { strong { "failed" } " " (subject.name) }, &failure.message, ""))
                @if !failure.output.is_empty() { pre { (failure.output.join("\n")) } }
            }
            @if let (Some(end), false) = (&subject.end, is_failed) {
                (parts::reason(&html! { strong { (subject.name) } }, &end.message, ""))
            }
            @if let Some(capacity) = &subject.capacity { p.advice { (prose(&capacity.message)) } }
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
    let failed = failed(sweep, percentile, of);
    let points = lines.iter().flat_map(Line::points).chain(failed.iter().map(|mark| mark.at));
    let y = Axis::times(points.map(|(_, time_ns)| time_ns));
    let (bottom, _) = y.ends();
    let mut marks = troubles(sweep, of);
    marks.extend(failed);
    for (number, subject) in sweep.subjects.iter().enumerate() {
        let tint = palette::series(number);
        marks.extend(knee(subject, of, tint));
        marks.extend(capacity(subject, bottom, tint));
    }
    Plot {
        title: format!("Response {percentile}"),
        caption: match sweep.plan.slo.as_slice() {
            [] => "All samples of each level. Both scales are logarithmic.".to_owned(),
            slo => {
                format!("All samples of each level. SLO: {}. Both scales are logarithmic.", slo.join(", "))
            }
        },
        in_words: format!("Response {percentile} over {}. {}", offered(sweep), in_words(sweep)),
        marks,
        ..Plot::new(levels_axis(sweep), y, lines)
    }
}

/// The mark of the knee.
fn knee(subject: &SweepSubject, of: Get, tint: &'static Tint) -> Option<Mark> {
    let knee = subject.knee?;
    let point = subject.curve.iter().find(|point| point.level == knee.level)?;
    let at = (knee.level as f64, of(point)?);
    let (meaning, shape) = match knee.beyond {
        None => ("the knee: beyond it, latency grows faster than throughput", Shape::Ring),
        Some(Beyond::Above) => {
            ("the knee is here or further right: the server kept up with no higher load", Shape::Right)
        }
        Some(Beyond::Below) => ("the knee is here or further left: no lower load was tried", Shape::Left),
    };
    Some(Mark { meaning: meaning.into(), at, tint, shape })
}

/// The mark of the capacity, at the bottom of the plot.
fn capacity(subject: &SweepSubject, bottom: f64, tint: &'static Tint) -> Option<Mark> {
    let low = subject.capacity.as_ref()?.low?;
    Some(Mark {
        meaning: "the highest load that holds the SLO".into(),
        at: (low as f64, bottom),
        tint,
        shape: Shape::Triangle,
    })
}

fn achieved(sweep: &Sweep) -> Plot {
    let of: Get = |point| Some(point.achieved_per_s);
    let mut lines = lines(sweep, of);
    let offered_per_s = |point: &CurvePoint| Some((point.level as f64, point.offered_per_s?));
    let all = sweep.subjects.iter().flat_map(|subject| &subject.curve);
    let mut offered_points: Vec<_> = all.filter_map(offered_per_s).collect();
    offered_points.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    offered_points.dedup_by_key(|point| point.0);
    if !offered_points.is_empty() {
        // First, so that the lines of the servers cover it.
        lines.insert(0, Line { tint: &REFERENCE, ..Line::new(0, "offered", vec![offered_points]) });
    }
    let y = Axis::rates("", lines.iter().flat_map(Line::points).map(|(_, per_s)| per_s));
    Plot {
        title: "Achieved".to_owned(),
        caption: "Replies per second: the median of a level's runs. Both scales are logarithmic.".to_owned(),
        in_words: format!("Replies per second over {}. {}", offered(sweep), in_words(sweep)),
        marks: troubles(sweep, of),
        ..Plot::new(levels_axis(sweep), y, lines)
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

/// The levels with which a server did not keep up.
fn troubles(sweep: &Sweep, of: Get) -> Vec<Mark> {
    let all = sweep.subjects.iter().flat_map(|subject| &subject.curve);
    let of_point = |point: &CurvePoint| {
        let at = (point.level as f64, of(point)?);
        Some(Mark { meaning: "the server did not keep up".into(), at, tint: &BAD, shape: Shape::Cross })
    };
    all.filter(|point| !point.keeps_up).filter_map(of_point).collect()
}

/// The levels at which a percentile falls among the requests without a reply.
fn failed(sweep: &Sweep, percentile: &str, of: Get) -> Vec<Mark> {
    let of_point = |number: usize, subject: &SweepSubject, point: &CurvePoint| {
        if of(point).is_some() {
            return None;
        }
        let runs = subject.points.iter();
        let runs = runs.filter(|run| run.level == point.level && run.purpose == Purpose::Ladder);
        let longer_than_ns = runs.filter_map(|run| {
            curve::longer_than_ns(run.report.latency_ns.response.failed_tail.as_ref(), percentile)
        });
        Some(Mark {
            meaning: "longer than this: among the failed requests".into(),
            at: (point.level as f64, longer_than_ns.max()?.max(1) as f64),
            tint: palette::series(number),
            shape: Shape::Up,
        })
    };
    let all = sweep.subjects.iter().enumerate();
    all.flat_map(|(number, subject)| {
        subject.curve.iter().filter_map(move |point| of_point(number, subject, point))
    })
    .collect()
}

fn levels_axis(sweep: &Sweep) -> Axis {
    let curve = sweep.subjects.iter().flat_map(|subject| &subject.curve).map(|point| point.level);
    let capacities = sweep.subjects.iter().filter_map(|subject| subject.capacity.as_ref()?.low);
    Axis::rates(offered(sweep), curve.chain(capacities).map(|level| level as f64))
}

fn offered(sweep: &Sweep) -> &'static str {
    match sweep.plan.axis {
        sweep::Axis::Rate => "offered requests per second",
        sweep::Axis::Connections => "clients",
    }
}

fn in_words(sweep: &Sweep) -> String {
    let axis = sweep.plan.axis;
    let of = |subject: &SweepSubject| format!("{}: keeps up to {}", subject.name, keeps_up_to(subject, axis));
    sweep.subjects.iter().map(of).collect::<Vec<_>>().join("; ")
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
    let head = ["", "keeps up to", "knee", "mean at the knee", "holds the SLO up to"];
    parts::table("Capacity", &head, &sweep.subjects.iter().map(row).collect::<Vec<_>>())
}

/// The levels of one server, with footnotes for those in doubt.
fn table(sweep: &Sweep, place: usize, notes: &[Footnote]) -> Markup {
    let subject = &sweep.subjects[place];
    let head = parts::heads(COLUMNS.iter().map(|column| column.head));
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let row = |of: &Level| {
        let cells = COLUMNS.iter().map(|column| (column.cell)(of).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(level(sweep.plan.axis, of.point.level)).chain(cells).collect()
    };
    let rows: Vec<_> = levels(subject, place, notes).iter().map(row).collect();
    let own = (1..).zip(notes).filter(|(_, note)| note.levels.iter().any(|(of, _)| *of == place));
    html! {
        (parts::table(&subject.name, &head, &rows))
        @for (number, note) in own {
            p.small {
                "[" (number) "] " code { (note.reason.code) } " " (example(sweep, note)) ": "
                (prose(&note.reason.message))
                @if !note.reason.advice.is_empty() { " → " (prose(&note.reason.advice)) }
            }
        }
    }
}

fn plan(sweep: &Sweep) -> Markup {
    let plan = &sweep.plan;
    let mut known = parts::plan(&plan.load);
    known.extend([
        ("levels, at most", Some(count(plan.levels.len() as u64))),
        ("SLO", Some(plan.slo.join(", ")).filter(|slo| !slo.is_empty())),
        ("runs per level of the search", Some(count(plan.repeats as u64)).filter(|_| !plan.slo.is_empty())),
        ("precision of the search", Some(percent(plan.tolerance)).filter(|_| !plan.slo.is_empty())),
        ("dedicated CPUs", Some(if plan.pinned { "servers and load" } else { "none" }.to_owned())),
        ("seed of the order", Some(plan.seed.to_string())),
        ("total time", Some(parts::seconds(sweep.elapsed_s))),
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
