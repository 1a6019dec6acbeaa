//! The parts of the load whose results are missing.

use std::collections::BTreeSet;

use super::{MergeError, Part};
use crate::result::MergedPart;

/// The maximum of numbers that a result lists. More are counted only.
const LISTED_MAX: usize = 10_000;

/// The number of parts that belong to the load, and those that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Completeness {
    /// None if it is unknown.
    pub(super) expected: Option<u32>,
    /// Their numbers, if the parts have numbers.
    pub(super) missing: Vec<u32>,
}

/// Finds the missing parts. `expected` is the number of parts that the user expects.
///
/// # Errors
/// When there are more parts than expected, or when the parts belong to another number of parts.
pub(super) fn completeness(
    parts: &[Part],
    runs: &[MergedPart],
    generators: usize,
    expected: Option<u32>,
) -> Result<Completeness, MergeError> {
    // All parts agree on it.
    let of = parts.first().and_then(|part| Some(part.report.plan.part.as_ref()?.of));
    if let (Some(expected), Some(of)) = (expected, of)
        && expected != of
    {
        return Err(MergeError::OtherNumber { expected, of });
    }
    // A merged result may itself be partial.
    let partial =
        parts.iter().filter_map(|part| part.report.merged.as_ref()).filter(|merged| merged.is_partial());
    let known = partial.filter_map(|merged| merged.expected).max();
    let expected = expected.or(of).or(known);
    if let Some(expected) = expected
        && generators > expected as usize
    {
        return Err(MergeError::TooMany { generators, expected });
    }
    let there: BTreeSet<_> = runs.iter().filter_map(|run| run.part).collect();
    let missing = (0..of.unwrap_or(0)).filter(|number| !there.contains(number)).take(LISTED_MAX).collect();
    Ok(Completeness { expected, missing })
}
