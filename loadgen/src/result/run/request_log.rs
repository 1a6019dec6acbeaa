//! The request log of a run, as its result states it.

use serde::{Deserialize, Serialize};

/// The request log of a run. Each request that was sent, also in the warm-up, has a line or is counted in one of the other
/// numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestLogSummary {
    /// The file.
    pub file: String,
    /// Requests with a line.
    pub lines: u64,
    /// Requests without a line because the writer could not follow, or failed.
    pub dropped: u64,
    /// Requests without a line because the file has the maximum of lines.
    pub beyond_limit: u64,
    /// Why the file could not be written to its end.
    #[serde(default)]
    pub error: Option<String>,
}

impl RequestLogSummary {
    /// All requests.
    pub(crate) fn requests(&self) -> u64 {
        self.lines + self.dropped + self.beyond_limit
    }
}
