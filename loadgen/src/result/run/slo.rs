//! An objective for the result of a run, and whether the result meets it.

use serde::{Deserialize, Serialize};

/// An SLO, and whether the result meets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SloOutcome {
    /// The SLO, as it was given.
    pub slo: String,
    /// Whether the result meets it. A value with too few samples does not.
    pub met: bool,
    /// The value: nanoseconds, a share from 0 to 1, or a rate per second. None with too few samples, or if it falls among the
    /// failed requests.
    pub actual: Option<f64>,
    /// Whether the value falls among the failed requests. It then misses every bound.
    #[serde(default)]
    pub failed: bool,
    /// For people.
    pub message: String,
}
