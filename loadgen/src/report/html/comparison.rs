//! The page of a comparison.

use maud::{Markup, html};

use super::{curve, figures, parts, plot::Line, plot::Plot};
use crate::{
    compare::metrics::METRICS,
    human::{count, duration_ns},
    report::{
        Latencies, Latency,
        comparison::{Comparison, Subject, SubjectStatus},
        text::{comparison as text, load, plural},
    },
    summary,
};

/// What the browser calls the page.
pub(super) fn title(comparison: &Comparison) -> String {
    let names: Vec<_> = comparison.subjects.iter().map(|subject| subject.name.as_str()).collect();
    format!("{} – loadgen", names.join(", "))
}

/// What is on it.
pub(super) fn content(comparison: &Comparison) -> Markup {
    html! {
        (verdict(comparison))
        (parts::notes(&comparison.notes))
        (parts::closed_loop(&comparison.plan.load))
        (parts::section("Medians of the rounds", &table(comparison)))
        (parts::section("How long it took", &latency(comparison)))
        (parts::section("What differs", &differences(comparison)))
        (parts::section("Plan and environment", &plan(comparison)))
    }
}

fn verdict(comparison: &Comparison) -> Markup {
    let subjects = &comparison.subjects;
    let compared = subjects.iter().filter(|subject| subject.status == SubjectStatus::Ok).count();
    let word = match compared == subjects.len() {
        true => format!("{} compared", plural(compared as u64, "server")),
        false => format!("{compared} of {} compared", plural(subjects.len() as u64, "server")),
    };
    html! {
        section class={ "verdict " (if compared == subjects.len() { "valid" } else { "suspect" }) } {
            h1 { (word) }
            @if comparison.interrupted { p { "Interrupted: these are the rounds that are complete." } }
            ul.reasons { @for subject in subjects { (trouble(subject)) } }
            p.load {
                (load(&comparison.plan.load)) "; " (plural(comparison.plan.rounds as u64, "round"))
                "; baseline: " (comparison.plan.baseline)
            }
        }
    }
}

/// Why a server is not compared.
fn trouble(subject: &Subject) -> Markup {
    html! {
        @if let Some(failure) = &subject.failure {
            li.invalid {
                p { strong { "failed" } " " (subject.name) " " (failure.message) }
                @if !failure.output.is_empty() { pre { (failure.output.join("\n")) } }
            }
        }
        @for mark in &subject.marks {
            li.suspect {
                p { strong { "marked" } " " (subject.name) " " code { (mark.code) } " " (mark.message) }
                @if !mark.advice.is_empty() { p.advice { "→ " (mark.advice) } }
            }
        }
        @if subject.status == SubjectStatus::Unmeasured {
            li.suspect { p { (subject.name) ": no round of it is complete." } }
        }
    }
}

fn table(comparison: &Comparison) -> Markup {
    let subjects = &comparison.subjects;
    let is_known =
        |cell: &dyn Fn(&Subject) -> Option<String>| subjects.iter().any(|subject| cell(subject).is_some());
    let columns: Vec<_> = text::COLUMNS.iter().filter(|column| is_known(&column.cell)).collect();
    let head = parts::heads(columns.iter().map(|column| column.head));
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let row = |subject: &Subject| {
        let cells = columns.iter().map(|column| (column.cell)(subject).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(subject.name.clone()).chain(cells).collect()
    };
    html! {
        (parts::table("Medians of the rounds", &head, &subjects.iter().map(row).collect::<Vec<_>>()))
        p.small {
            "Served, Jain's index and errors: of the worst round. Response: from due; service: from written. CPU, \
             context switches and memory: the server's."
        }
    }
}

fn latency(comparison: &Comparison) -> Markup {
    let plot = |title: &str, caption: &str, of: fn(&Latencies) -> &Latency| Plot {
        title: title.to_owned(),
        caption: format!("{caption}, of all rounds together. Each nine takes the same room."),
        ..overlaid(comparison, of)
    };
    html! {
        div.figures {
            (plot("Response time by percentile", "From the moment a request was due", |times| &times.response).figure())
            (plot("Service time by percentile", "From the moment a request was written", |times| &times.service).figure())
        }
    }
}

/// A line for each server, with the samples of all of its rounds.
fn overlaid(comparison: &Comparison, of: fn(&Latencies) -> &Latency) -> Plot {
    let line = |(number, subject): (usize, &Subject)| {
        let rounds = subject.rounds.iter().map(|round| of(&round.report.latency_ns).hdr.as_str());
        let all = summary::sum(rounds).filter(|all| !all.is_empty());
        let curve = all.map(|histogram| curve::by_percentile(&histogram));
        Line::new(number, &subject.name, vec![curve?].into_iter().collect()).into()
    };
    let lines: Vec<Line> = comparison.subjects.iter().enumerate().filter_map(line).collect();
    let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
    let in_words = format!("A line for each of {}; the table has the numbers.", names.join(", "));
    figures::of_percentiles(lines, &in_words)
}

fn differences(comparison: &Comparison) -> Markup {
    let baseline = &comparison.plan.baseline;
    let Some(baseline_of) = comparison.subjects.iter().find(|subject| subject.name == *baseline) else {
        return html! { p { "The baseline is not among the servers." } };
    };
    let others = comparison.subjects.iter().filter(|subject| !subject.against_baseline.is_empty());
    let rows: Vec<_> = others.flat_map(|subject| against(baseline_of, subject)).collect();
    let head = ["", "", "median", "baseline", "ratio", "95% interval", ""];
    html! {
        @if rows.is_empty() { p { "Nothing is compared." } } @else {
            p { "Against " strong { (baseline) } ", the baseline." }
            (parts::table("What differs", &head, &rows))
        }
    }
}

/// A row for each of its metrics.
fn against(baseline: &Subject, subject: &Subject) -> Vec<Vec<String>> {
    let name = || subject.name.clone();
    if let Some(reason) = text::barred(subject) {
        return vec![vec![name(), format!("not compared: {reason}")]];
    }
    let compared =
        METRICS.iter().filter_map(|metric| Some((metric, subject.against_baseline.get(metric.name)?)));
    let row = |(metric, ratio): (&crate::compare::metrics::Metric, _)| {
        let median = |subject: &Subject| {
            subject.summary.get(metric.name).map_or("-".to_owned(), |spread| (metric.show)(spread.median))
        };
        let ratio: &crate::report::comparison::Ratio = ratio;
        vec![
            name(),
            metric.label.to_owned(),
            median(subject),
            median(baseline),
            ratio.ratio.map_or("-".to_owned(), text::factor),
            text::interval(ratio),
            text::difference(ratio),
        ]
    };
    compared.map(row).collect()
}

fn plan(comparison: &Comparison) -> Markup {
    let plan = &comparison.plan;
    let mut known = parts::plan(&plan.load);
    known.extend([
        ("rounds", Some(count(plan.rounds as u64))),
        ("CPUs of their own", Some(if plan.pinned { "servers and load" } else { "none" }.to_owned())),
        ("order from seed", Some(plan.seed.to_string())),
        ("took", Some(duration_ns((comparison.elapsed_s * 1e9) as u64))),
    ]);
    let commands: Vec<_> = comparison
        .subjects
        .iter()
        .filter_map(|subject| Some((subject.name.as_str(), Some(subject.command.clone()?))))
        .collect();
    let environment = parts::environment(&comparison.environment, comparison.started_at_unix_ms);
    html! {
        div.columns {
            div { h3 { "Plan" } (parts::facts(&known)) }
            div { h3 { "Environment" } (parts::facts(&environment)) }
            @if !commands.is_empty() { div { h3 { "Commands" } (parts::facts(&commands)) } }
        }
    }
}
