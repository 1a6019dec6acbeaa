//! The ratios of a server to the baseline. Pure.

use std::collections::BTreeMap;

use crate::result::{
    Loop, Report, bootstrap,
    comparison::{Difference, Ratio, Subject, SubjectStatus},
    metrics::{METRICS, Metric},
};

pub(super) fn against(subject: &Subject, baseline: &Subject, seed: u64) -> BTreeMap<String, Ratio> {
    // All rounds of a plan have the same kind of loop.
    let kind = subject.rounds.first().map_or(Loop::Closed, |round| round.report.plan.r#loop);
    let compared = METRICS.iter().filter(|metric| (metric.is_compared)(kind));
    let forbidden = forbidden(subject, "it").or_else(|| forbidden(baseline, "the baseline"));
    let ratio = |metric: &Metric| match &forbidden {
        Some(reason) => not_compared(reason.clone()),
        None => ratio(metric, subject, baseline, seed),
    };
    compared.map(|metric| (metric.name.to_owned(), ratio(metric))).collect()
}

fn forbidden(subject: &Subject, name: &str) -> Option<String> {
    match subject.status {
        SubjectStatus::Ok => None,
        SubjectStatus::Marked => Some(format!("{name} is marked")),
        SubjectStatus::Failed => Some(format!("{name} failed")),
        SubjectStatus::Unmeasured => Some(format!("{name} has no complete round")),
    }
}

fn ratio(metric: &Metric, subject: &Subject, baseline: &Subject, seed: u64) -> Ratio {
    let of = |report: &Report| (metric.of)(report);
    if let Some(reason) =
        failed_rounds(metric, subject, "its").or_else(|| failed_rounds(metric, baseline, "the baseline's"))
    {
        return not_compared(reason);
    }
    let pairs: Option<Vec<_>> = subject
        .rounds
        .iter()
        .filter_map(|ours| Some((ours, baseline.rounds.iter().find(|theirs| theirs.round == ours.round)?)))
        .map(|(ours, theirs)| of(&ours.report).zip(of(&theirs.report)))
        .collect();
    let Some(pairs) = pairs else {
        return not_compared("too few samples in a round".to_owned());
    };
    let Some(estimate) = bootstrap::ratio(&pairs, seed) else {
        return not_compared(match pairs.is_empty() {
            true => "no round is complete for both".to_owned(),
            false => "the baseline has a value of 0 in a round".to_owned(),
        });
    };
    let Some((low, high)) = estimate.interval else {
        return Ratio { ratio: Some(estimate.ratio), ..not_compared("too few rounds".to_owned()) };
    };
    let verdict = match () {
        () if low > 1.0 => Difference::Higher,
        () if high < 1.0 => Difference::Lower,
        () => Difference::None,
    };
    Ratio { ratio: Some(estimate.ratio), low: Some(low), high: Some(high), verdict, reason: None }
}

/// The reason if a percentile falls among failed requests: then its value is unknown.
fn failed_rounds(metric: &Metric, subject: &Subject, owner: &str) -> Option<String> {
    let failed = subject.summary.get(metric.name)?.failed?;
    let rounds = if subject.rounds.len() == 1 { "round" } else { "rounds" };
    Some(format!(
        "{owner} {} falls among failed requests in {} of {} {rounds}",
        metric.percentile.unwrap_or(metric.label),
        failed.rounds,
        subject.rounds.len()
    ))
}

fn not_compared(reason: String) -> Ratio {
    Ratio { ratio: None, low: None, high: None, verdict: Difference::NotCompared, reason: Some(reason) }
}
