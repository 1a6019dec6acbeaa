//! The page of a comparison.

use common::human::{count, duration_ns, plural};
use maud::{Markup, html};

use super::{
    against, overlay,
    parts::{self, prose},
    plot::Plot,
};
use crate::{
    format::{
        text::comparison::{
            differences::{barred_by, difference, factor, interval},
            doubts,
            servers::COLUMNS,
        },
        words::{load, status_name},
    },
    result::{
        Latencies, Latency,
        comparison::{Comparison, Subject, SubjectStatus},
        conclusion::{Conclusion, conclude},
        metrics::METRICS,
        verdicts::Shared,
    },
};

/// The title of the page.
pub(super) fn title(comparison: &Comparison) -> String {
    format!("{} – loadgen", conclude(comparison).claim)
}

/// The content of the page.
pub(super) fn content(comparison: &Comparison) -> Markup {
    html! {
        (verdict(comparison))
        (parts::notes(&comparison.notes, comparison.plan.load.r#loop))
        (parts::section("Medians of the rounds", &table(comparison)))
        (parts::section("Latency", &latency(comparison)))
        (parts::section("Differences from the baseline", &differences(comparison)))
        (against::section(comparison))
        (parts::section("Plan and environment", &plan(comparison)))
    }
}

fn verdict(comparison: &Comparison) -> Markup {
    let Conclusion { status, claim, details, cost, trust, .. } = conclude(comparison);
    html! {
        section class={ "verdict " (status_name(status)) } {
            h1.claim { (claim) }
            p.meaning { (details) }
            @if let Some(cost) = cost { p { (cost) } }
            @if let Some(trust) = trust { p { (trust) } }
            (against::conclusion(comparison))
            @if comparison.interrupted { p { "Interrupted: only complete rounds count." } }
            ul.reasons {
                @for subject in &comparison.subjects { (trouble(subject)) }
                @for doubt in doubts(comparison) { (in_doubt(&doubt)) }
            }
            p.load {
                (prose(&load(&comparison.plan.load))) "; " (plural(comparison.plan.rounds as u64, "round"))
                "; baseline: " (comparison.plan.baseline)
            }
            (parts::own_messages(&comparison.plan.own_loads))
        }
    }
}

/// Why a server is not compared.
fn trouble(subject: &Subject) -> Markup {
    let lead = |word: &str| html! { strong { (word) } " " (subject.name) };
    html! {
        @if let Some(failure) = &subject.failure {
            li.invalid {
                (parts::reason(&lead("failed"), &failure.message, ""))
                @if !failure.output.is_empty() { pre { (failure.output.join("\n")) } }
            }
        }
        @for mark in &subject.marks {
            li.suspect {
                (parts::reason(&html! { (lead("marked")) " " code { (mark.code) } }, &mark.message, &mark.advice))
            }
        }
        @if subject.status == SubjectStatus::Unmeasured {
            li.suspect { p { (subject.name) ": no complete round." } }
        }
    }
}

/// Why rounds are not valid.
fn in_doubt(doubt: &Shared<'_>) -> Markup {
    let (reason, first) = (doubt.reason, doubt.servers.first().map_or("", |(name, ..)| name));
    html! {
        li class=(status_name(reason.status)) {
            p { code { (reason.code) } " " (doubt.names()) }
            (parts::reason(&html! { (first) ":" }, &reason.message, &reason.advice))
        }
    }
}

fn table(comparison: &Comparison) -> Markup {
    let subjects = &comparison.subjects;
    let is_known =
        |cell: &dyn Fn(&Subject) -> Option<String>| subjects.iter().any(|subject| cell(subject).is_some());
    let columns: Vec<_> = COLUMNS.iter().filter(|column| is_known(&column.cell)).collect();
    let head = parts::heads(columns.iter().map(|column| column.head));
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let row = |subject: &Subject| {
        let cells = columns.iter().map(|column| (column.cell)(subject).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(subject.name.clone()).chain(cells).collect()
    };
    html! {
        (parts::table("Medians of the rounds", &head, &subjects.iter().map(row).collect::<Vec<_>>()))
        p.small {
            "Served, Jain's index and errors: the worst round. Response: since the request was due; service: since it \
             was written. CPU, context switches and memory: of the server."
        }
    }
}

fn latency(comparison: &Comparison) -> Markup {
    let plot = |title: &str, caption: &str, of: fn(&Latencies) -> &Latency| {
        let servers = comparison.subjects.iter().map(|subject| {
            let rounds = subject.rounds.iter().map(|round| of(&round.report.latency_ns));
            (subject.name.as_str(), rounds.collect())
        });
        let (plot, no_reply) = overlay::by_percentile(servers);
        Plot {
            title: title.to_owned(),
            caption: format!("{caption}, all rounds together. Each nine has the same width.{no_reply}"),
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

fn differences(comparison: &Comparison) -> Markup {
    let baseline = &comparison.plan.baseline;
    let Some(baseline_of) = comparison.subjects.iter().find(|subject| subject.name == *baseline) else {
        return html! { p { "The baseline is not among the servers." } };
    };
    let others = comparison.subjects.iter().filter(|subject| !subject.against_baseline.is_empty());
    let rows: Vec<_> = others.flat_map(|subject| differences_of(baseline_of, subject)).collect();
    let head = ["", "", "median", "baseline", "ratio", "95% interval", ""];
    html! {
        @if rows.is_empty() { p { "Nothing is compared." } } @else {
            p { "Compared with " strong { (baseline) } ", the baseline." }
            (parts::table("Differences from the baseline", &head, &rows))
        }
    }
}

/// A row for each metric of a server.
fn differences_of(baseline: &Subject, subject: &Subject) -> Vec<Vec<String>> {
    let name = || subject.name.clone();
    if let Some(reason) = barred_by(subject) {
        return vec![vec![name(), format!("not compared: {reason}")]];
    }
    let compared =
        METRICS.iter().filter_map(|metric| Some((metric, subject.against_baseline.get(metric.name)?)));
    let row = |(metric, ratio): (&crate::result::metrics::Metric, _)| {
        let median = |subject: &Subject| {
            subject.summary.get(metric.name).map_or("-".to_owned(), |spread| metric.show_median(spread))
        };
        let ratio: &crate::result::comparison::Ratio = ratio;
        vec![
            name(),
            metric.label.to_owned(),
            median(subject),
            median(baseline),
            ratio.ratio.map_or("-".to_owned(), factor),
            interval(ratio),
            difference(ratio),
        ]
    };
    compared.map(row).collect()
}

fn plan(comparison: &Comparison) -> Markup {
    let plan = &comparison.plan;
    let mut known = parts::plan(&plan.load);
    known.extend([
        ("rounds", Some(count(plan.rounds as u64))),
        ("dedicated CPUs", Some(if plan.pinned { "servers and load" } else { "none" }.to_owned())),
        ("seed of the order", Some(plan.seed.to_string())),
        ("total time", Some(duration_ns((comparison.elapsed_s * 1e9) as u64))),
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
