//! Whether the numbers of a run are trustworthy.

use serde::{Deserialize, Serialize};

/// Whether the numbers are trustworthy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The verdict in one word.
    pub status: Status,
    /// The reasons, if it is not valid.
    pub reasons: Vec<Reason>,
}

/// A verdict in one word, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// The numbers are trustworthy.
    Valid,
    /// The numbers may be wrong.
    Suspect,
    /// The numbers are wrong.
    Invalid,
}

/// One reason of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// The reason's name, for programs.
    pub code: String,
    /// The verdict that the reason leads to.
    #[serde(default = "invalid")]
    pub status: Status,
    /// For people: the value that was seen, and the bound.
    pub message: String,
    /// The value, in the unit of the message.
    #[serde(default)]
    pub value: f64,
    /// The bound that the value violates, in the same unit.
    #[serde(default)]
    pub bound: f64,
    /// The next step.
    #[serde(default)]
    pub advice: String,
}

/// The status of a reason in the oldest results, which knew no other.
fn invalid() -> Status {
    Status::Invalid
}
