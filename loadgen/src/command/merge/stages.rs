//! The sums of the stages, and of the kinds of requests. All generators have the same ones.

use std::collections::BTreeMap;

use super::{MergeError, Part, distributions::Distributions};
use crate::result::{
    Kind, Outcomes, Stage,
    counts::Counts,
    summary::{self, Unanswered},
};

/// The stages that some generator has begun.
pub(super) fn stages(parts: &[Part], times: &Distributions) -> Vec<Stage> {
    let count = parts.iter().map(|part| part.report.stages.len()).max().unwrap_or(0);
    (0..count).map(|index| stage(parts, index, times.stage(index))).collect()
}

/// Checks that a part has the same kinds of requests as the first one.
pub(super) fn check_kinds(first: &Part, second: &Part) -> Result<(), MergeError> {
    let names = |part: &Part| match part.report.kinds.as_slice() {
        [] => "one kind of request".to_owned(),
        kinds => {
            let names: Vec<_> = kinds.iter().map(|kind| kind.kind.as_str()).collect();
            format!("the kinds {}", names.join(", "))
        }
    };
    let [one, other] = [first, second].map(names);
    if one == other {
        return Ok(());
    }
    Err(MergeError::PlansDiffer { first: first.name.clone(), one, second: second.name.clone(), other })
}

/// The kinds of requests.
pub(super) fn kinds(parts: &[Part], times: &Distributions) -> Vec<Kind> {
    let kind = |(index, first): (usize, &Kind)| {
        let outcomes: Vec<_> =
            parts.iter().filter_map(|part| Some(&part.report.kinds.get(index)?.outcomes)).collect();
        Kind { kind: first.kind.clone(), outcomes: sum(&outcomes, times.kind(index)) }
    };
    parts[0].report.kinds.iter().enumerate().map(kind).collect()
}

fn stage(parts: &[Part], index: usize, times: &Counts) -> Stage {
    let known = || parts.iter().filter_map(|part| part.report.stages.get(index));
    let first = known().next().unwrap_or_else(|| unreachable!("the longest list has every stage"));
    let outcomes: Vec<_> = known().map(|stage| &stage.outcomes).collect();
    Stage {
        length_s: known().map(|stage| stage.length_s).fold(0.0, f64::max),
        offered_per_s: known().map(|stage| stage.offered_per_s).sum(),
        outcomes: sum(&outcomes, times),
        ..first.clone()
    }
}

/// The sum of the outcomes of the same requests in all parts. Their times are already summed.
fn sum(parts: &[&Outcomes], times: &Counts) -> Outcomes {
    let sum = |of: fn(&Outcomes) -> u64| {
        parts.iter().fold(0, |sum: u64, outcomes| sum.saturating_add(of(outcomes)))
    };
    let (mut unanswered, mut errors) = (Unanswered::default(), BTreeMap::new());
    for outcomes in parts {
        unanswered = unanswered.and(Unanswered::of_outcomes(outcomes));
        for (kind, count) in &outcomes.errors {
            let known: &mut u64 = errors.entry(kind.clone()).or_default();
            *known = known.saturating_add(*count);
        }
    }
    Outcomes {
        achieved_per_s: parts.iter().map(|outcomes| outcomes.achieved_per_s).sum(),
        due: sum(|outcomes| outcomes.due),
        completed: sum(|outcomes| outcomes.completed),
        failed: sum(|outcomes| outcomes.failed),
        unsent: sum(|outcomes| outcomes.unsent),
        cut_off: sum(|outcomes| outcomes.cut_off),
        errors,
        response_ns: summary::distribution(&times.histogram(), unanswered),
    }
}
