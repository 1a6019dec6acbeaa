//! Holds the servers of a comparison against an earlier result. Pure.

use std::collections::BTreeMap;

use super::kept::KeptResult;
use crate::result::{
    Loop, Report,
    bootstrap::{self, Estimate, ROUNDS_MIN},
    comparison::{
        Subject, SubjectStatus,
        against::{Against, Change, Direction, KeptServer, Outcome, ServerAgainst},
    },
    metrics::{METRICS, Metric, Nature},
};

/// How a change is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The share by which a metric may be worse.
    pub tolerance: f64,
    /// The seed of the resampling.
    pub seed: u64,
}

/// Holds the servers against the kept ones.
pub(super) fn against(subjects: &[Subject], kept: &KeptResult, rule: Rule, warnings: Vec<String>) -> Against {
    let servers: Vec<_> =
        subjects.iter().map(|today| server(today, kept.server(&today.name), &kept.kept.file, rule)).collect();
    let is_held =
        |name: &str| servers.iter().any(|server| server.kept.as_ref().is_some_and(|kept| kept.name == name));
    let not_measured = kept.servers.iter().map(|server| server.name.clone()).filter(|name| !is_held(name));
    Against {
        kept: kept.kept.clone(),
        tolerance: rule.tolerance,
        outcome: total(servers.iter().map(|server| server.outcome)),
        not_measured: not_measured.collect(),
        servers,
        warnings,
    }
}

/// A regression anywhere is one of the whole; one known metric is enough to know something.
fn total(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    outcomes.fold(Outcome::Unknown, |sum, outcome| match (sum, outcome) {
        (Outcome::Regression, _) | (_, Outcome::Regression) => Outcome::Regression,
        (Outcome::None, _) | (_, Outcome::None) => Outcome::None,
        (Outcome::Unknown, Outcome::Unknown) => Outcome::Unknown,
    })
}

fn server(today: &Subject, kept: Option<&Subject>, file: &str, rule: Rule) -> ServerAgainst {
    let barred = |outcome, reason: String| ServerAgainst {
        name: today.name.clone(),
        kept: kept.map(kept_server),
        outcome,
        reason: Some(reason),
        metrics: BTreeMap::new(),
    };
    let Some(then) = kept else {
        return barred(Outcome::Unknown, format!("{file} has no server with this name"));
    };
    match (then.status, today.status) {
        (SubjectStatus::Marked, _) => barred(Outcome::Unknown, format!("it is marked in {file}")),
        (SubjectStatus::Failed, _) => barred(Outcome::Unknown, format!("it failed in {file}")),
        (SubjectStatus::Unmeasured, _) => {
            barred(Outcome::Unknown, format!("it has no complete round in {file}"))
        }
        (_, SubjectStatus::Failed) => barred(Outcome::Unknown, "it failed today".to_owned()),
        (_, SubjectStatus::Unmeasured) => barred(Outcome::Unknown, "it has no complete round".to_owned()),
        (_, SubjectStatus::Marked) => {
            let codes: Vec<_> = today.marks.iter().map(|mark| mark.code.as_str()).collect();
            let reason = format!("it is marked today ({}), and was not in {file}", codes.join(", "));
            barred(Outcome::Regression, reason)
        }
        (SubjectStatus::Ok, SubjectStatus::Ok) => compared(today, then, rule),
    }
}

fn kept_server(kept: &Subject) -> KeptServer {
    KeptServer {
        name: kept.name.clone(),
        command: kept.command.clone(),
        verdict: kept.verdict.clone(),
        summary: kept.summary.clone(),
    }
}

fn compared(today: &Subject, kept: &Subject, rule: Rule) -> ServerAgainst {
    // Both have the same kind of loop.
    let kind = today.rounds.first().map_or(Loop::Closed, |round| round.report.plan.r#loop);
    let changes = METRICS.iter().filter(|metric| (metric.is_compared)(kind));
    let changes: Vec<_> = changes.map(|metric| (metric, change(metric, today, kept, rule))).collect();
    let outcome = |(metric, change): &(&Metric, Change)| match change {
        Change { regression: true, .. } => Outcome::Regression,
        Change { low: Some(_), .. } if counts(metric) => Outcome::None,
        _ => Outcome::Unknown,
    };
    ServerAgainst {
        name: today.name.clone(),
        kept: Some(kept_server(kept)),
        outcome: total(changes.iter().map(outcome)),
        reason: None,
        metrics: changes.into_iter().map(|(metric, change)| (metric.name.to_owned(), change)).collect(),
    }
}

/// Whether a change of the metric can be a regression.
fn counts(metric: &Metric) -> bool {
    !matches!(metric.nature, Nature::Other)
}

fn change(metric: &Metric, today: &Subject, kept: &Subject, rule: Rule) -> Change {
    if let Some(change) = among_failed(metric, today, kept) {
        return change;
    }
    let values = |subject: &Subject| {
        let of = |report: &Report| (metric.of)(report);
        subject.rounds.iter().map(|round| of(&round.report)).collect::<Option<Vec<_>>>()
    };
    let Some(ours) = values(today) else { return not_compared("a round lacks it".to_owned()) };
    let Some(theirs) = values(kept) else { return not_compared("a kept round lacks it".to_owned()) };
    let Some(estimate) = bootstrap::ratio_to_kept(&ours, &theirs, rule.seed) else {
        return not_compared("a kept round has a value of 0".to_owned());
    };
    let Estimate { ratio, interval: Some((low, high)) } = estimate else {
        let reason = match ours.len().min(theirs.len()) {
            1 => "no interval with 1 round".to_owned(),
            rounds => format!("no interval with {rounds} rounds"),
        };
        return Change { ratio: Some(estimate.ratio), ..not_compared(reason) };
    };
    Change {
        ratio: Some(ratio),
        low: Some(low),
        high: Some(high),
        change: direction(metric.nature, low, high),
        regression: is_regression(metric.nature, low, high, rule.tolerance),
        reason: None,
    }
}

fn direction(nature: Nature, low: f64, high: f64) -> Direction {
    match (nature, low > 1.0, high < 1.0) {
        (Nature::Throughput, true, _) | (Nature::Time, _, true) => Direction::Faster,
        (Nature::Throughput, _, true) | (Nature::Time, true, _) => Direction::Slower,
        (Nature::Cost | Nature::Other, true, _) => Direction::More,
        (Nature::Cost | Nature::Other, _, true) => Direction::Less,
        (_, false, false) => Direction::None,
    }
}

/// Whether the whole interval is worse than the tolerance allows. It allows `1 + tolerance` times the time, and the rate that
/// follows from this time.
fn is_regression(nature: Nature, low: f64, high: f64, tolerance: f64) -> bool {
    match nature {
        Nature::Throughput => high < 1.0 / (1.0 + tolerance),
        Nature::Time | Nature::Cost => low > 1.0 + tolerance,
        Nature::Other => false,
    }
}

/// The change of a percentile that falls among failed requests in a round. A failed request is slower than every other one, so
/// today's server is slower if its median falls there, and no kept value does.
fn among_failed(metric: &Metric, today: &Subject, kept: &Subject) -> Option<Change> {
    let spread = |subject: &Subject| subject.summary.get(metric.name).copied();
    let name = metric.percentile.unwrap_or(metric.label);
    if let Some(failed) = spread(kept).and_then(|spread| spread.failed) {
        let (count, rounds) = (failed.rounds, kept.rounds.len());
        let reason = format!("its kept {name} falls among failed requests in {count} of {rounds} rounds");
        return Some(not_compared(reason));
    }
    let (spread, rounds) = (spread(today)?, today.rounds.len());
    let count = spread.failed?.rounds;
    let reason = format!("its {name} falls among failed requests in {count} of {rounds} rounds");
    let is_slower = spread.median.is_none() && rounds.min(kept.rounds.len()) >= ROUNDS_MIN;
    Some(match is_slower {
        true => Change { change: Direction::Slower, regression: true, ..not_compared(reason) },
        false => not_compared(reason),
    })
}

fn not_compared(reason: String) -> Change {
    Change {
        ratio: None,
        low: None,
        high: None,
        change: Direction::NotCompared,
        regression: false,
        reason: Some(reason),
    }
}

#[cfg(test)]
pub(crate) mod tests;
