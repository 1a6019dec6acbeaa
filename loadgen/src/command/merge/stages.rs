//! The sums of the stages, and of the kinds of requests. All generators have the same ones.

use std::collections::BTreeMap;

use super::{MergeError, Part, add};
use crate::{
    engine::latency,
    result::{
        Kind, Outcomes, Stage,
        summary::{self, Unanswered},
    },
};

/// The stages that some generator has begun.
pub(super) fn stages(parts: &[Part]) -> Result<Vec<Stage>, MergeError> {
    let count = parts.iter().map(|part| part.report.stages.len()).max().unwrap_or(0);
    (0..count).map(|index| stage(parts, index)).collect()
}

/// The kinds of requests.
pub(super) fn kinds(parts: &[Part]) -> Result<Vec<Kind>, MergeError> {
    let names = |part: &Part| match part.report.kinds.as_slice() {
        [] => "one kind of request".to_owned(),
        kinds => {
            let names: Vec<_> = kinds.iter().map(|kind| kind.kind.as_str()).collect();
            format!("the kinds {}", names.join(", "))
        }
    };
    if let Some(other) = parts.iter().skip(1).find(|part| names(part) != names(&parts[0])) {
        return Err(MergeError::PlansDiffer {
            first: parts[0].name.clone(),
            one: names(&parts[0]),
            second: other.name.clone(),
            other: names(other),
        });
    }
    let count = parts.iter().map(|part| part.report.kinds.len()).max().unwrap_or(0);
    (0..count)
        .map(|index| {
            let known: Vec<_> =
                parts.iter().filter_map(|part| Some((part, part.report.kinds.get(index)?))).collect();
            let (_, first) = known[0];
            let outcomes = known.iter().map(|(part, kind)| (*part, &kind.outcomes)).collect::<Vec<_>>();
            Ok(Kind { kind: first.kind.clone(), outcomes: sum(&outcomes, "kinds")? })
        })
        .collect()
}

fn stage(parts: &[Part], index: usize) -> Result<Stage, MergeError> {
    let known = || parts.iter().filter_map(|part| Some((part, part.report.stages.get(index)?)));
    let (_, first) = known().next().unwrap_or_else(|| unreachable!("the longest list has every stage"));
    let outcomes = known().map(|(part, stage)| (part, &stage.outcomes)).collect::<Vec<_>>();
    Ok(Stage {
        length_s: known().map(|(_, stage)| stage.length_s).fold(0.0, f64::max),
        offered_per_s: known().map(|(_, stage)| stage.offered_per_s).sum(),
        outcomes: sum(&outcomes, "stages")?,
        ..first.clone()
    })
}

/// The sum of the outcomes of the same requests in all parts.
fn sum(parts: &[(&Part, &Outcomes)], what: &'static str) -> Result<Outcomes, MergeError> {
    let sum = |of: fn(&Outcomes) -> u64| {
        parts.iter().fold(0, |sum: u64, (_, outcomes)| sum.saturating_add(of(outcomes)))
    };
    let mut times = latency::Latency::default().histogram().clone();
    let (mut unanswered, mut errors) = (Unanswered::default(), BTreeMap::new());
    for (part, outcomes) in parts {
        add(&mut times, &outcomes.response_ns.hdr, &part.name, what)?;
        unanswered = unanswered.and(Unanswered::of_outcomes(outcomes));
        for (kind, count) in &outcomes.errors {
            let known: &mut u64 = errors.entry(kind.clone()).or_default();
            *known = known.saturating_add(*count);
        }
    }
    Ok(Outcomes {
        achieved_per_s: parts.iter().map(|(_, outcomes)| outcomes.achieved_per_s).sum(),
        due: sum(|outcomes| outcomes.due),
        completed: sum(|outcomes| outcomes.completed),
        failed: sum(|outcomes| outcomes.failed),
        unsent: sum(|outcomes| outcomes.unsent),
        cut_off: sum(|outcomes| outcomes.cut_off),
        errors,
        response_ns: summary::distribution(&times, unanswered),
    })
}
