//! The runs that results hold, at every depth. Each run may count only once.

use std::collections::BTreeMap;

use super::{MergeError, Part};
use crate::result::{MergedPart, Report};

/// The runs that these results hold.
///
/// # Errors
/// When a run would count twice, or when a merged result does not name its runs.
pub(super) fn runs(parts: &[Part]) -> Result<Vec<MergedPart>, MergeError> {
    let unknown = |part: &&Part| runs_of(part).is_empty();
    if let Some(part) = parts.iter().find(unknown).filter(|_| parts.len() > 1) {
        return Err(MergeError::UnknownRuns(part.name.clone()));
    }
    let runs: Vec<_> = parts.iter().map(runs_of).collect();
    if let Some(error) = twice(parts, &runs) {
        return Err(error);
    }
    let runs = runs.concat();
    match same_number(&runs) {
        Some(error) => Err(error),
        None => Ok(runs),
    }
}

/// An error if two runs are the same part of the load. One of them is a repetition.
fn same_number(runs: &[MergedPart]) -> Option<MergeError> {
    let mut known = BTreeMap::new();
    let twins = runs.iter().find_map(|run| Some((known.insert(run.part?, run)?, run)))?;
    let (MergedPart { name: one, part, .. }, MergedPart { name: other, .. }) = twins;
    let what = format!("{one} and {other} are both part {}", part.unwrap_or_default());
    Some(MergeError::Twice { what, advice: "leave out the one that does not belong to this load" })
}

/// The identity of a run. It is computed from measured values, so that results of older versions have it too: no two runs
/// start in the same microsecond, use the same CPU time and measure the same times.
pub(super) fn of_run(report: &Report) -> String {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&report.generator.cpu_s.to_bits().to_le_bytes());
    hash.update(report.latency_ns.response.hdr.as_bytes());
    hash.update(report.latency_ns.service.hdr.as_bytes());
    let (began_ms, window_us) = (report.started_at_unix_ms, report.window_started_at_unix_us);
    format!("{began_ms:x}-{window_us:x}-{:08x}", hash.finalize())
}

/// Empty for a merged result of an older version.
fn runs_of(part: &Part) -> Vec<MergedPart> {
    match &part.report.merged {
        Some(merged) => merged.parts.clone(),
        None => vec![MergedPart {
            id: part.id.clone(),
            name: part.name.clone(),
            seed: part.report.plan.seed,
            command: part.report.command.clone(),
            part: part.report.plan.part.as_ref().map(|part| part.number),
            boot_id: part.report.environment.boot_id.clone(),
            clock: part.report.environment.clock,
        }],
    }
}

/// An error if a run would count twice.
fn twice(parts: &[Part], runs: &[Vec<MergedPart>]) -> Option<MergeError> {
    let (mut same, mut held, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    let is_sum = |place: usize| parts[place].report.merged.is_some();
    for second in 0..parts.len() {
        for first in 0..second {
            let is_in_first = |run: &&MergedPart| runs[first].iter().any(|other| other.id == run.id);
            let common: Vec<_> =
                runs[second].iter().filter(is_in_first).map(|run| run.name.as_str()).collect();
            let [one, other] = [first, second].map(|place| parts[place].name.as_str());
            match (is_sum(first), is_sum(second)) {
                _ if common.is_empty() => {}
                (false, false) => same.push(format!("{one} and {other} are the same run")),
                (true, false) => held.push((one, other)),
                (false, true) => held.push((other, one)),
                (true, true) => shared.push(format!("{one} and {other} both hold {}", common.join(", "))),
            }
        }
    }
    let mut sums: Vec<_> = held.iter().map(|(sum, _)| *sum).collect();
    sums.dedup();
    let of_sum = |sum: &&str| {
        let mut of_it: Vec<_> = held.iter().filter(|(other, _)| other == sum).map(|(_, run)| *run).collect();
        of_it.dedup();
        format!("{sum} is a merged result that already holds {}", of_it.join(", "))
    };
    let advice = match (sums.is_empty(), shared.is_empty()) {
        (true, true) => "give each result once",
        (false, true) => "give either the merged result or its runs",
        (_, false) => "give the runs themselves, each once, and no merged results",
    };
    let what: Vec<_> = same.into_iter().chain(sums.iter().map(of_sum)).chain(shared).collect();
    (!what.is_empty()).then(|| MergeError::Twice { what: what.join("; "), advice })
}
