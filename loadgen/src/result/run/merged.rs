//! The parts of a merged result.

use serde::{Deserialize, Serialize};

use crate::engine::wall_clock::ClockQuality;

/// The parts of a merged result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Merged {
    /// The number of generators.
    pub generators: usize,
    /// From the earliest start of a window to the latest.
    pub start_skew_ns: u64,
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
    /// The identity of its machine since the boot, if that is known.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// How well its machine knew the time of day, if that is known.
    #[serde(default)]
    pub clock: Option<ClockQuality>,
}
