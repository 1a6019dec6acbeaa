//! The conclusion of a comparison that is held against an earlier result. Pure.

use super::change_in_words;
use crate::result::{
    comparison::against::{Against, Change, Outcome, ServerAgainst},
    metrics::{METRICS, Metric},
};

/// The conclusion in one sentence, without the servers.
pub(crate) fn claim(against: &Against) -> String {
    let (file, tolerance) = (&against.kept.file, against.tolerance_in_words());
    match against.outcome {
        Outcome::Regression => format!("worse than in {file} (tolerance: {tolerance})"),
        Outcome::None => format!("no regression shown against {file} (tolerance: {tolerance})"),
        Outcome::Unknown => format!("unknown: a change from {file} can neither be shown nor excluded"),
    }
}

/// A sentence for each server that is worse, or that could not be held against its kept rounds.
pub(crate) fn details(against: &Against) -> Vec<String> {
    let sentence = |server: &ServerAgainst| {
        let text = match (server.outcome, &server.reason) {
            (Outcome::None, _) => return None,
            (_, Some(reason)) => reason.clone(),
            (Outcome::Regression, None) => regressions(server),
            (Outcome::Unknown, None) => first_reason(server).unwrap_or_default().to_owned(),
        };
        Some(format!("{}: {text}", server.name))
    };
    against.servers.iter().filter_map(sentence).collect()
}

/// The metrics that are compared, in the order of a report.
pub(crate) fn changes(server: &ServerAgainst) -> impl Iterator<Item = (&'static Metric, &Change)> {
    METRICS.iter().filter_map(|metric| Some((metric, server.metrics.get(metric.name)?)))
}

fn regressions(server: &ServerAgainst) -> String {
    let worse = changes(server).filter(|(_, change)| change.regression);
    let text = |(metric, change): (&Metric, &Change)| match (change.ratio, &change.reason) {
        (Some(ratio), _) => format!("{} {}", metric.label, change_in_words(ratio)),
        (None, reason) => reason.clone().unwrap_or_default(),
    };
    worse.map(text).collect::<Vec<_>>().join(", ")
}

fn first_reason(server: &ServerAgainst) -> Option<&str> {
    changes(server).find_map(|(_, change)| change.reason.as_deref())
}
