//! The parts of a merged result.

use common::human::{count, plural};
use serde::{Deserialize, Serialize};

use crate::engine::wall_clock::ClockQuality;

/// The parts of a merged result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Merged {
    /// The number of generators.
    pub generators: usize,
    /// From the earliest start of a window to the latest.
    pub start_skew_ns: u64,
    /// The number of generators that belong to the load. None if it is unknown.
    #[serde(default)]
    pub expected: Option<u32>,
    /// The numbers of the missing parts. Empty if no part is missing, or if the parts have no numbers.
    #[serde(default)]
    pub missing: Vec<u32>,
    /// The merged runs, also those inside a merged result. Empty in older results.
    #[serde(default)]
    pub parts: Vec<MergedPart>,
}

/// A run that is part of a merged result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MergedPart {
    /// The identity of the run, computed from its measurements.
    pub id: String,
    /// The file with its result.
    pub name: String,
    /// The seed of all its random numbers.
    pub seed: u64,
    /// Its command line, if that is known.
    #[serde(default)]
    pub command: Option<String>,
    /// The number of the part, from 0. None without `--part`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// The boot of its machine, as in [`Environment`](super::Environment).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The quality of its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockQuality>,
}

impl Merged {
    /// The number of generators that belong to the load and whose results are missing.
    pub(crate) fn missing_count(&self) -> usize {
        let expected = self.expected.map_or(0, |expected| expected as usize);
        expected.saturating_sub(self.generators)
    }

    /// Whether the result covers only a part of the load.
    pub(crate) fn is_partial(&self) -> bool {
        self.missing_count() > 0
    }

    /// The parts of a partial result in words: `5 of 8 parts`. None if no part is missing.
    pub(crate) fn present_parts(&self) -> Option<String> {
        let expected = self.expected.filter(|_| self.is_partial())?;
        Some(format!("{} of {}", count(self.generators as u64), plural(expected.into(), "part")))
    }

    /// The missing parts in words: `3 of 8 parts are missing: 0, 2-3`. None if no part is missing.
    pub(crate) fn missing_parts(&self) -> Option<String> {
        let (missing, expected) = (self.missing_count(), self.expected.filter(|_| self.is_partial())?);
        let (are, numbers) = (if missing == 1 { "is" } else { "are" }, ranges(&self.missing));
        let parts = plural(expected.into(), "part");
        let colon = if numbers.is_empty() { "" } else { ": " };
        Some(format!("{} of {parts} {are} missing{colon}{numbers}", count(missing as u64)))
    }
}

/// Ascending numbers, in which consecutive ones are a range: `0, 2-5`.
fn ranges(numbers: &[u32]) -> String {
    let ranges = numbers.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let range = |range: &[u32]| match range {
        [first, .., last] => format!("{first}-{last}"),
        single => single.iter().map(ToString::to_string).collect(),
    };
    ranges.map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_parts_are_named_by_their_numbers_if_they_have_some() {
        for (generators, expected, missing, text) in [
            (4, None, vec![], None),
            (4, Some(4), vec![], None),
            (3, Some(4), vec![2], Some("1 of 4 parts is missing: 2")),
            (3, Some(4), vec![], Some("1 of 4 parts is missing")),
            (3, Some(9), vec![0, 2, 3, 4, 7, 8], Some("6 of 9 parts are missing: 0, 2-4, 7-8")),
        ] {
            let merged = Merged { generators, expected, missing, ..Merged::default() };
            assert_eq!(merged.missing_parts().as_deref(), text);
            assert_eq!(merged.is_partial(), text.is_some());
            let present = text.and(expected).map(|expected| format!("{generators} of {expected} parts"));
            assert_eq!(merged.present_parts(), present);
        }
    }
}
