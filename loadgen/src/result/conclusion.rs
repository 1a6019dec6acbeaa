//! The conclusion of a comparison in sentences: the servers that are better and worse than the baseline, and whether the rounds
//! are trustworthy. Pure.
//!
//! One metric decides. In a closed loop it is the replies per second, as the server sets the pace. In an open loop it is the
//! 99th percentile of the response time, as each server gets the same rate.

pub(crate) mod against;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use common::human::{percent, plural};

use crate::result::{
    Loop, Status,
    comparison::{Comparison, Difference, Spread, Subject, SubjectStatus, against::Against},
    metrics::metric,
};

/// The conclusion of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conclusion {
    /// `invalid` if no server is compared, `suspect` if some server is not compared or some round is not valid.
    pub status: Status,
    /// The heading: `event-loop answers more requests than tokio-task`.
    pub claim: String,
    /// The difference of every server, with its size.
    pub details: String,
    /// The CPU time per request, if servers differ in it.
    pub cost: Option<String>,
    /// The numbers of better and worse servers.
    pub counts: String,
    /// The number of rounds that are not valid, and the reasons. None if all are valid.
    pub trust: Option<String>,
}

/// The words for a metric.
struct Words {
    /// The metric's name.
    metric: &'static str,
    is_good_when_low: bool,
    /// The verb for one better server, and for several.
    better: [&'static str; 2],
    /// The verb for one worse server, and for several.
    worse: [&'static str; 2],
    /// The noun for the metric.
    noun: &'static str,
}

static CLOSED: Words = Words {
    metric: "replies_per_s",
    is_good_when_low: false,
    better: ["answers more requests than", "answer more requests than"],
    worse: ["answers fewer requests than", "answer fewer requests than"],
    noun: "replies per second",
};
static OPEN: Words = Words {
    metric: "response_p99_ns",
    is_good_when_low: true,
    better: ["has a lower p99 than", "have a lower p99 than"],
    worse: ["has a higher p99 than", "have a higher p99 than"],
    noun: "response p99",
};
static COST: Words = Words {
    metric: "server_cpu_ns_per_request",
    is_good_when_low: true,
    better: ["takes less CPU than", "take less CPU than"],
    worse: ["takes more CPU than", "take more CPU than"],
    noun: "CPU per request",
};

/// The servers other than the baseline, sorted by their difference. A factor is a multiple of the baseline's value.
#[derive(Default)]
struct Sorted<'a> {
    better: Vec<(&'a str, f64)>,
    worse: Vec<(&'a str, f64)>,
    alike: Vec<&'a str>,
    /// Too few rounds or samples.
    unknown: Vec<&'a str>,
    /// The value falls among failed requests, for the server or the baseline.
    failed: Vec<&'a str>,
    /// Marked, failed or without a round.
    excluded: Vec<&'a str>,
}

/// Draws the conclusion of a comparison.
pub(crate) fn conclude(comparison: &Comparison) -> Conclusion {
    let words = match comparison.plan.load.r#loop {
        Loop::Closed => &CLOSED,
        Loop::Open => &OPEN,
    };
    let baseline = comparison.plan.baseline.as_str();
    let trust = trust(comparison);
    let is_excluded = |subject: &Subject| subject.status != SubjectStatus::Ok;
    let of_baseline = comparison.subjects.iter().find(|subject| subject.name == baseline);
    let others = || comparison.subjects.iter().filter(|subject| subject.name != baseline);
    if let Some(only) = of_baseline.filter(|_| others().next().is_none()) {
        return alone(only, words, trust, comparison.against.as_deref());
    }
    if of_baseline.is_none_or(is_excluded) || others().all(is_excluded) {
        let claim = format!("nothing can be compared with {baseline}");
        let details = of_baseline.filter(|subject| is_excluded(subject)).map_or_else(
            || "every other server is marked or failed".to_owned(),
            |subject| format!("{baseline}, the baseline, {}", status_text(subject.status)),
        );
        let counts = "nothing is compared".to_owned();
        return Conclusion { status: Status::Invalid, claim, details, cost: None, counts, trust };
    }
    let sorted = sort(others(), words, of_baseline);
    let status = match sorted.excluded.is_empty() && sorted.failed.is_empty() && trust.is_none() {
        true => Status::Valid,
        false => Status::Suspect,
    };
    let cost = sort(others().filter(|subject| !is_excluded(subject)), &COST, of_baseline);
    let differs = !cost.better.is_empty() || !cost.worse.is_empty();
    Conclusion {
        status,
        claim: claim(&sorted, words, baseline),
        details: details(&sorted, words, baseline),
        cost: differs.then(|| details(&cost, &COST, baseline)),
        counts: counts(&sorted),
        trust,
    }
}

fn sort<'a>(
    others: impl Iterator<Item = &'a Subject>,
    words: &Words,
    baseline: Option<&Subject>,
) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for subject in others {
        let name = subject.name.as_str();
        let ratio = subject.against_baseline.get(words.metric);
        let factor = ratio.and_then(|ratio| ratio.ratio);
        match (ratio.map(|ratio| ratio.verdict), factor) {
            _ if subject.status != SubjectStatus::Ok => sorted.excluded.push(name),
            (Some(Difference::None), _) => sorted.alike.push(name),
            (Some(Difference::Lower), Some(factor)) if words.is_good_when_low => {
                sorted.better.push((name, factor))
            }
            (Some(Difference::Higher), Some(factor)) if !words.is_good_when_low => {
                sorted.better.push((name, factor))
            }
            (Some(Difference::Lower | Difference::Higher), Some(factor)) => sorted.worse.push((name, factor)),
            _ if has_failed(words, subject)
                || baseline.is_some_and(|baseline| has_failed(words, baseline)) =>
            {
                sorted.failed.push(name)
            }
            _ => sorted.unknown.push(name),
        }
    }
    // The largest difference first.
    let distance = |(_, factor): &(&str, f64)| -factor.ln().abs();
    for group in [&mut sorted.better, &mut sorted.worse] {
        group.sort_by(|one, other| distance(one).total_cmp(&distance(other)));
    }
    sorted
}

/// Whether the value falls among the failed requests of a round.
fn has_failed(words: &Words, subject: &Subject) -> bool {
    subject.summary.get(words.metric).is_some_and(|spread| spread.failed.is_some())
}

/// The spread of rounds whose median falls among the failed requests.
fn failed_only(spread: &Spread) -> Spread {
    Spread { median: None, ..*spread }
}

fn claim(sorted: &Sorted<'_>, words: &Words, baseline: &str) -> String {
    let of = |group: &[(&str, f64)], verbs: [&str; 2]| {
        let names: Vec<_> = group.iter().map(|(name, _)| *name).collect();
        let (names, verb) = match names.as_slice() {
            [one] => ((*one).to_owned(), verbs[0]),
            [one, other] => (format!("{one} and {other}"), verbs[1]),
            several => (format!("{} servers", several.len()), verbs[1]),
        };
        format!("{names} {verb} {baseline}")
    };
    match sorted {
        Sorted { better, .. } if !better.is_empty() => of(better, words.better),
        Sorted { worse, .. } if !worse.is_empty() => of(worse, words.worse),
        Sorted { alike, .. } if !alike.is_empty() => format!("no detectable difference from {baseline}"),
        Sorted { failed, .. } if !failed.is_empty() => {
            format!("no {} to compare with {baseline}'s: it falls among failed requests", words.noun)
        }
        _ => format!("too few rounds to tell a difference from {baseline}"),
    }
}

fn details(sorted: &Sorted<'_>, words: &Words, baseline: &str) -> String {
    let with_factors = |group: &[(&str, f64)]| {
        let one = |(name, factor): &(&str, f64)| format!("{name} {}", change_in_words(*factor));
        (!group.is_empty()).then(|| group.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let names =
        |lead: &str, group: &[&str]| (!group.is_empty()).then(|| format!("{lead}: {}", group.join(", ")));
    let parts = [
        with_factors(&sorted.better),
        with_factors(&sorted.worse),
        names("no detectable difference", &sorted.alike),
        names("among failed requests, so not compared", &sorted.failed),
        names("too few rounds or samples to tell", &sorted.unknown),
        names("not compared", &sorted.excluded),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!("{} against {baseline}: {}", words.noun, parts.join("; "))
}

fn counts(sorted: &Sorted<'_>) -> String {
    let groups = [
        (sorted.better.len(), "better"),
        (sorted.worse.len(), "worse"),
        (sorted.alike.len(), "alike"),
        (sorted.failed.len(), "among failed requests"),
        (sorted.unknown.len(), "unknown"),
        (sorted.excluded.len(), "not compared"),
    ];
    let counted =
        groups.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    counted.collect::<Vec<_>>().join(", ")
}

/// The conclusion for a single server: the differences between its rounds.
fn alone(only: &Subject, words: &Words, trust: Option<String>, against: Option<&Against>) -> Conclusion {
    let number = metric(words.metric).zip(only.summary.get(words.metric));
    let details = match (number, only.status) {
        (_, SubjectStatus::Failed | SubjectStatus::Unmeasured) => {
            format!("{} {}", only.name, status_text(only.status))
        }
        (Some((metric, spread)), _) => {
            let end = |value: Option<f64>| {
                value.map_or_else(|| metric.show_median(&failed_only(spread)), metric.show)
            };
            let median = metric.show_median(spread);
            format!("{}: {median}, from {} to {}", words.noun, end(spread.min), end(spread.max))
        }
        (None, _) => "too few samples to say".to_owned(),
    };
    let status = match only.status {
        SubjectStatus::Failed | SubjectStatus::Unmeasured => Status::Invalid,
        SubjectStatus::Marked => only.verdict.status.max(Status::Suspect),
        SubjectStatus::Ok => only.verdict.status,
    };
    let with = against.map_or("compared with nothing".to_owned(), |against| {
        format!("held against {} alone", against.kept.file)
    });
    let claim = format!("only {}, {with}", only.name);
    Conclusion { status, claim, details, cost: None, counts: "one server".to_owned(), trust }
}

fn status_text(status: SubjectStatus) -> &'static str {
    match status {
        SubjectStatus::Ok => "is measured",
        SubjectStatus::Marked => "is marked",
        SubjectStatus::Failed => "failed",
        SubjectStatus::Unmeasured => "has no complete round",
    }
}

/// The number of rounds that are not valid, and the reasons.
fn trust(comparison: &Comparison) -> Option<String> {
    let rounds =
        || comparison.subjects.iter().flat_map(|subject| &subject.rounds).map(|round| &round.report.verdict);
    let counted = |status, word| {
        let count = rounds().filter(|verdict| verdict.status == status).count();
        (count > 0).then(|| format!("{count} {word}"))
    };
    let bad: Vec<_> = [counted(Status::Invalid, "invalid"), counted(Status::Suspect, "suspect")]
        .into_iter()
        .flatten()
        .collect();
    let codes: BTreeSet<_> =
        rounds().flat_map(|verdict| &verdict.reasons).map(|reason| reason.code.as_str()).collect();
    let codes: Vec<_> = codes.into_iter().collect();
    (!bad.is_empty())
        .then(|| plural(rounds().count() as u64, "round"))
        .map(|rounds| format!("of {rounds}, {}: {}", bad.join(" and "), codes.join(", ")))
}

/// A factor as text: `+12.0%`, or `5.3 times` if it is large.
fn change_in_words(factor: f64) -> String {
    match factor {
        factor if factor >= 3.0 => format!("{factor:.1} times"),
        factor if factor >= 1.0 => format!("+{}", percent(factor - 1.0)),
        factor => format!("-{}", percent(1.0 - factor)),
    }
}
