//! The same load on an echo inside the generator: the floor under a run's latencies.

use serde::{Deserialize, Serialize};

use super::{Latency, Status, Verdict};

/// The same load on an echo inside the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// Whether these numbers are trustworthy.
    #[serde(default = "valid")]
    pub verdict: Verdict,
    /// Requests per second that were due. In a closed loop, this is the rate that the run has reached. None in older results.
    #[serde(default)]
    pub offered_per_s: Option<f64>,
    /// Replies per second.
    pub achieved_per_s: f64,
    /// From due to replied.
    pub response: Latency,
    /// From written to replied.
    pub service: Latency,
    /// The generator's and the kernel's own share of each percentile of the response time.
    pub floor: Vec<Floor>,
}

/// The verdict of older results, which did not judge the calibration.
fn valid() -> Verdict {
    Verdict { status: Status::Valid, reasons: Vec::new() }
}

/// A percentile of the response time with a server that takes no time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Floor {
    /// The percentile, by its name in [`Latency`]: `p50`, `p99_9`.
    pub percentile: String,
    /// The echo's inside the generator.
    pub floor_ns: Option<u64>,
    /// The server's.
    pub response_ns: Option<u64>,
    /// The floor's share of the response, at most 1. None if the floor is the longer one, as their difference is noise then.
    pub share: Option<f64>,
}
