//! The servers of a comparison held against their kept rounds.

use maud::{Markup, html};

use super::parts::{self, prose};
use crate::{
    format::{
        text::comparison::differences::{factor, interval_of},
        words::{date, machine},
    },
    result::{
        comparison::{
            Comparison, Spread, Subject,
            against::{Against, Change, Outcome, ServerAgainst},
        },
        conclusion::against::{changes, claim, details},
        metrics::Metric,
    },
};

/// The conclusion, and the servers that are worse.
pub(super) fn conclusion(comparison: &Comparison) -> Markup {
    let Some(against) = &comparison.against else { return html! {} };
    let is_worse = against.outcome == Outcome::Regression;
    html! {
        p { @if is_worse { strong { "REGRESSION: " } } (prose(&claim(against))) }
        @for text in details(against) { p { (prose(&text)) } }
    }
}

/// The section with all changes, the kept result and the warnings.
pub(super) fn section(comparison: &Comparison) -> Markup {
    let Some(against) = &comparison.against else { return html! {} };
    let head = ["", "", "today", "kept", "ratio", "95% interval", ""];
    let today = |name: &str| comparison.subjects.iter().find(|subject| subject.name == name);
    let rows: Vec<_> =
        against.servers.iter().flat_map(|server| rows_of(server, today(&server.name))).collect();
    let heading = format!("Held against {}", against.kept.file);
    parts::section(
        &heading,
        &html! {
            @for warning in &against.warnings { p.note { strong { "Warning: " } (prose(warning)) } }
            (parts::table(&heading, &head, &rows))
            p.small {
                "A regression is an interval wholly beyond the tolerance of " (against.tolerance_in_words()) ", of the \
                 response times, the CPU per request or, in a closed loop, the replies per second."
            }
            (parts::facts(&origin(against)))
        },
    )
}

fn rows_of(server: &ServerAgainst, today: Option<&Subject>) -> Vec<Vec<String>> {
    if let Some(reason) = &server.reason {
        return vec![vec![server.name.clone(), reason.clone()]];
    }
    let show = |metric: &Metric, spread: Option<&Spread>| {
        spread.map_or("-".to_owned(), |spread| metric.show_median(spread))
    };
    let row = |(metric, change): (&Metric, &Change)| {
        vec![
            server.name.clone(),
            metric.label.to_owned(),
            show(metric, today.and_then(|today| today.summary.get(metric.name))),
            show(metric, server.kept.as_ref().and_then(|kept| kept.summary.get(metric.name))),
            change.ratio.map_or("-".to_owned(), factor),
            interval_of(change.low, change.high),
            change.in_words(),
        ]
    };
    changes(server).map(row).collect()
}

fn origin(against: &Against) -> Vec<(&str, Option<String>)> {
    let kept = || against.servers.iter().filter_map(|server| server.kept.as_ref());
    let rounds: Vec<_> = kept().map(|server| format!("{}: {}", server.name, server.verdict.rounds)).collect();
    let mut facts = vec![
        ("kept result", Some(against.kept.file.clone())),
        ("kept on", Some(date(against.kept.started_at_unix_ms))),
        ("by", against.kept.command.clone()),
        ("kept rounds", Some(rounds.join(", ")).filter(|rounds| !rounds.is_empty())),
        ("machine then", Some(machine(&against.kept.environment))),
        ("loadgen version then", Some(against.kept.environment.version.clone())),
        (
            "kept, and not measured today",
            Some(against.not_measured.join(", ")).filter(|names| !names.is_empty()),
        ),
    ];
    facts.extend(kept().filter_map(|server| Some((server.name.as_str(), Some(server.command.clone()?)))));
    facts
}
