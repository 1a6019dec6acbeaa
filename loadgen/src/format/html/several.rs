//! The page of several runs side by side.

use common::human::plural;
use maud::{Markup, html};

use super::{
    axis::Axis,
    curve, overlay, palette,
    parts::{self, prose},
    plot::{Line, Mark, Plot, Shape},
};
use crate::{
    format::{
        text::several::{COLUMNS, statuses},
        words::{load, own_server, status_name},
    },
    result::{CLOSED_LOOP, Interval, Latencies, Latency, Loop, Report},
};

/// The most runs: each has a line of its own colour and dashes.
pub(crate) const RUNS_MAX: usize = palette::SERIES.len();

/// A run with its name.
type Named = (String, Report);

/// The title of the page.
pub(super) fn title(runs: &[Named]) -> String {
    format!("{} side by side – loadgen", names(runs))
}

/// The content of the page.
pub(super) fn content(runs: &[Named]) -> Markup {
    html! {
        (verdicts(runs))
        (notes(runs))
        (parts::section("Main figures", &figures(runs)))
        (parts::section("Latency", &latency(runs)))
        (parts::section("Over time", &course(runs)))
        (parts::section("Plans and environments", &plans(runs)))
    }
}

fn names(runs: &[Named]) -> String {
    runs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The verdict of each run, with its reasons.
fn verdicts(runs: &[Named]) -> Markup {
    let counts = statuses(runs).map(|(status, count)| format!("{count} {}", status_name(status)));
    html! {
        section.verdict.plain {
            h1.claim { (plural(runs.len() as u64, "run")) " side by side" }
            p.meaning { (counts.collect::<Vec<_>>().join(", ")) }
            ul.reasons { @for (name, report) in runs { (verdict(name, report)) } }
        }
    }
}

fn verdict(name: &str, report: &Report) -> Markup {
    let status = status_name(report.verdict.status);
    let server = report.server.as_ref().and_then(own_server);
    let against = server.unwrap_or_else(|| report.plan.targets.join(", "));
    html! {
        li class=(status) {
            p { strong { (status) } " " strong.name { (name) } }
            p.advice { (against) ": " (prose(&load(&report.plan))) }
            @if report.interrupted || report.aborted.is_some() { p { "Ended early: the numbers cover the part that ran." } }
            @for reason in &report.verdict.reasons {
                div class={ "apart " (status_name(reason.status)) } { (parts::reason(&html! { code { (reason.code) } }, &reason.message, &reason.advice)) }
            }
            @for slo in report.slo.iter().filter(|slo| !slo.met) {
                p.apart { strong { "SLO missed" } " " code { (slo.slo) } " " (prose(&slo.message)) }
            }
        }
    }
}

/// The notes of each run. The note about closed loops is there once.
fn notes(runs: &[Named]) -> Markup {
    let own = runs.iter().flat_map(|(name, report)| {
        report
            .notes
            .iter()
            .filter(|note| !note.contains(CLOSED_LOOP))
            .map(move |note| format!("{name}: {note}"))
    });
    let is_closed = runs.iter().any(|(_, report)| report.plan.r#loop == Loop::Closed);
    parts::notes(&own.collect::<Vec<_>>(), if is_closed { Loop::Closed } else { Loop::Open })
}

fn figures(runs: &[Named]) -> Markup {
    let is_known =
        |cell: fn(&Report) -> Option<String>| runs.iter().any(|(_, report)| cell(report).is_some());
    let columns: Vec<_> = COLUMNS.iter().filter(|column| is_known(column.cell)).collect();
    let head = parts::heads(columns.iter().map(|column| column.head));
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let row = |(name, report): &Named| {
        let cells = columns.iter().map(|column| (column.cell)(report).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(name.clone()).chain(cells).collect()
    };
    html! {
        (parts::table("Main figures", &head, &runs.iter().map(row).collect::<Vec<_>>()))
        p.small {
            "Response: since the request was due; service: since it was written. -: too few samples, or unknown."
        }
    }
}

fn latency(runs: &[Named]) -> Markup {
    let plot = |title: &str, caption: &str, of: fn(&Latencies) -> &Latency| {
        let distributions = runs.iter().map(|(name, report)| (name.as_str(), vec![of(&report.latency_ns)]));
        let (plot, no_reply) = overlay::by_percentile(distributions);
        Plot {
            title: title.to_owned(),
            caption: format!(
                "{caption}. Each nine has the same width. A line ends where fewer than ten samples lie beyond it.{no_reply}"
            ),
            ..plot
        }
    };
    html! {
        div.figures {
            (plot("Response time by percentile", "Since the request was due", |times| &times.response).figure())
            (plot("Service time by percentile", "Since the request was written", |times| &times.service).figure())
        }
    }
}

/// The rate and percentiles over time, since the start of each run's window.
fn course(runs: &[Named]) -> Markup {
    if runs.iter().all(|(_, report)| report.intervals.is_empty()) {
        return html! { p { "The results hold no intervals." } };
    }
    html! {
        div.figures {
            (rate(runs).figure())
            (percentile(runs, "p50", |interval| interval.p50).figure())
            (percentile(runs, "p99", |interval| interval.p99).figure())
        }
    }
}

fn rate(runs: &[Named]) -> Plot {
    let lines = lines(runs, |interval| Some(interval.achieved_per_s));
    let y = Axis::from_zero("", lines.iter().flat_map(Line::points).map(|(_, per_s)| per_s));
    Plot {
        title: "Rate".to_owned(),
        caption: "Replies per second in each interval.".to_owned(),
        in_words: format!("Replies per second over time, with a line for each of {}", names(runs)),
        ..Plot::new(elapsed(runs), y, lines)
    }
}

/// A percentile of the response time, by its name in the result.
fn percentile(runs: &[Named], name: &str, of: fn(&Interval) -> Option<u64>) -> Plot {
    let lines = lines(runs, |interval| of(interval).map(|time_ns| time_ns.max(1) as f64));
    let marks: Vec<_> =
        runs.iter().enumerate().flat_map(|(number, (_, report))| failed(number, report, name)).collect();
    let times = lines.iter().flat_map(Line::points).chain(marks.iter().map(|mark| mark.at));
    let y = Axis::times(times.map(|(_, time_ns)| time_ns));
    Plot {
        title: format!("Response {name}"),
        caption: "Of each interval. A gap means too few samples.".to_owned(),
        in_words: format!(
            "The {name} of the response time over time, with a line for each of {}",
            names(runs)
        ),
        marks,
        ..Plot::new(elapsed(runs), y, lines)
    }
}

/// A line for each run.
fn lines(runs: &[Named], of: impl Fn(&Interval) -> Option<f64>) -> Vec<Line> {
    let line = |(number, (name, report)): (usize, &Named)| Line {
        has_dots: true,
        ..Line::new(number, name, curve::over_time(report, &of))
    };
    runs.iter().enumerate().map(line).collect()
}

/// The time until the end of the longest run.
fn elapsed(runs: &[Named]) -> Axis {
    Axis::elapsed(runs.iter().map(|(_, report)| report.elapsed_s).fold(0.0, f64::max))
}

/// The intervals of a run in which a percentile falls among the failed requests.
fn failed(number: usize, report: &Report, percentile: &str) -> Vec<Mark> {
    let mark = |at| Mark {
        meaning: "longer than this, among the failed requests".into(),
        at,
        tint: palette::series(number),
        shape: Shape::Up,
    };
    curve::failed_over_time(report, percentile).into_iter().map(mark).collect()
}

/// What each run was planned to be and where it ran, and in what they differ.
fn plans(runs: &[Named]) -> Markup {
    let facts: Vec<_> = runs
        .iter()
        .map(|(_, report)| {
            let plan = parts::plan(&report.plan);
            plan.into_iter()
                .chain(parts::environment(&report.environment, report.started_at_unix_ms))
                .collect()
        })
        .collect::<Vec<Vec<_>>>();
    let Some(first) = facts.first() else { return html! {} };
    let head: Vec<_> = std::iter::once("").chain(runs.iter().map(|(name, _)| name.as_str())).collect();
    let row = |(place, (name, _)): (usize, &(&'static str, Option<String>))| {
        // The facts have the same names in the same order for every run.
        let cells: Vec<_> = facts.iter().map(|of_run| of_run[place].1.clone()).collect();
        let is_known = cells.iter().any(Option::is_some);
        is_known.then(|| {
            let differs = cells.iter().any(|cell| *cell != cells[0]);
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            (differs.then_some(*name), std::iter::once((*name).to_owned()).chain(cells).collect::<Vec<_>>())
        })
    };
    let (differing, rows): (Vec<_>, Vec<_>) = first.iter().enumerate().filter_map(row).unzip();
    // The runs were made one after the other.
    let differing: Vec<_> = differing.into_iter().flatten().filter(|name| *name != "started").collect();
    html! {
        p {
            @if differing.is_empty() { "The runs have the same plan and environment." }
            @else { "The runs differ in: " (differing.join(", ")) "." }
        }
        (parts::table("Plans and environments", &head, &rows))
    }
}
