//! The sums of the stages. All generators have the same stages.

use std::collections::BTreeMap;

use super::{MergeError, Part, add};
use crate::{
    engine::recording,
    result::{
        Outcomes, Stage,
        summary::{self, Unanswered},
    },
};

/// The stages that some generator has begun.
pub(super) fn stages(parts: &[Part]) -> Result<Vec<Stage>, MergeError> {
    let count = parts.iter().map(|part| part.report.stages.len()).max().unwrap_or(0);
    (0..count).map(|index| stage(parts, index)).collect()
}

fn stage(parts: &[Part], index: usize) -> Result<Stage, MergeError> {
    let known = || parts.iter().filter_map(|part| Some((part, part.report.stages.get(index)?)));
    let (_, first) = known().next().unwrap_or_else(|| unreachable!("the longest list has every stage"));
    let sum = |of: fn(&Outcomes) -> u64| {
        known().fold(0, |sum: u64, (_, stage)| sum.saturating_add(of(&stage.outcomes)))
    };
    let mut times = recording::Latency::default().histogram().clone();
    let (mut unanswered, mut errors) = (Unanswered::default(), BTreeMap::new());
    for (part, Stage { outcomes, .. }) in known() {
        add(&mut times, &outcomes.response_ns.hdr, &part.name, "stages")?;
        unanswered = unanswered.and(Unanswered::of_outcomes(outcomes));
        for (kind, count) in &outcomes.errors {
            let known: &mut u64 = errors.entry(kind.clone()).or_default();
            *known = known.saturating_add(*count);
        }
    }
    Ok(Stage {
        length_s: known().map(|(_, stage)| stage.length_s).fold(0.0, f64::max),
        offered_per_s: known().map(|(_, stage)| stage.offered_per_s).sum(),
        outcomes: Outcomes {
            achieved_per_s: known().map(|(_, stage)| stage.outcomes.achieved_per_s).sum(),
            due: sum(|outcomes| outcomes.due),
            completed: sum(|outcomes| outcomes.completed),
            failed: sum(|outcomes| outcomes.failed),
            unsent: sum(|outcomes| outcomes.unsent),
            cut_off: sum(|outcomes| outcomes.cut_off),
            errors,
            response_ns: summary::distribution(&times, unanswered),
        },
        ..first.clone()
    })
}
