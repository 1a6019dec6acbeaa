//! A comparison held against an earlier result: one plain value with everything that a format prints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RoundsVerdict, Spread};
use crate::result::Environment;

/// A comparison held against an earlier result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Against {
    /// The earlier result.
    pub kept: Kept,
    /// The share by which a metric may be worse.
    pub tolerance: f64,
    /// Whether a server is worse than it was.
    pub outcome: Outcome,
    /// The servers of today's comparison, in its order.
    pub servers: Vec<ServerAgainst>,
    /// The kept servers that today's comparison lacks.
    pub not_measured: Vec<String>,
    /// What else may explain a difference, and how good the kept numbers are.
    pub warnings: Vec<String>,
}

/// The earlier result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Its file, as it was given.
    pub file: String,
    /// Its command line.
    pub command: Option<String>,
    /// When it began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// Its machine and program.
    pub environment: Environment,
}

/// Whether servers are worse than they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// A server is worse by more than the tolerance.
    #[serde(rename = "regression")]
    Regression,
    /// At least one metric that counts is known well enough, and none shows a regression.
    #[serde(rename = "no regression shown")]
    None,
    /// No metric that counts is known well enough.
    #[serde(rename = "unknown")]
    Unknown,
}

/// A server, held against its kept rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerAgainst {
    /// The name today.
    pub name: String,
    /// The kept server. None if the file has no server with this name.
    pub kept: Option<KeptServer>,
    /// Whether it is worse than it was.
    pub outcome: Outcome,
    /// Why it is not held against the kept server, or why it is worse although nothing is compared.
    pub reason: Option<String>,
    /// Each metric that a comparison compares. Empty if the server is not held against the kept one.
    pub metrics: BTreeMap<String, Change>,
}

/// A server in the earlier result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptServer {
    /// The name. For a run: its mode, or its targets.
    pub name: String,
    /// The command that started it, if it is not loadgen's own.
    pub command: Option<String>,
    /// The verdicts of its rounds.
    pub verdict: RoundsVerdict,
    /// Each metric over its rounds.
    pub summary: BTreeMap<String, Spread>,
}

/// A metric as a multiple of the kept one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The ratio of the medians, today's over the kept one.
    pub ratio: Option<f64>,
    /// The lower end of its 95% confidence interval.
    pub low: Option<f64>,
    /// The upper end of its 95% confidence interval.
    pub high: Option<f64>,
    /// The meaning of both.
    pub change: Direction,
    /// Whether it is worse by more than the tolerance, and counts.
    pub regression: bool,
    /// Why it has no ratio or no interval.
    pub reason: Option<String>,
}

/// The meaning of a ratio to a kept value. For metrics of speed it is slower or faster, for others more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Direction {
    /// The whole interval is on the slow side.
    #[serde(rename = "slower")]
    Slower,
    /// The whole interval is on the fast side.
    #[serde(rename = "faster")]
    Faster,
    /// The whole interval is above 1.
    #[serde(rename = "more")]
    More,
    /// The whole interval is below 1.
    #[serde(rename = "less")]
    Less,
    /// The interval contains 1.
    #[serde(rename = "no difference shown")]
    None,
    /// There is no interval.
    #[serde(rename = "not compared")]
    NotCompared,
}

impl Direction {
    /// The direction in words, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Direction::Slower => "slower",
            Direction::Faster => "faster",
            Direction::More => "more",
            Direction::Less => "less",
            Direction::None => "no difference shown",
            Direction::NotCompared => "not compared",
        }
    }
}

impl Against {
    /// The tolerance in percent, as short as possible.
    pub(crate) fn tolerance_in_words(&self) -> String {
        format!("{}%", (self.tolerance * 1e6).round() / 1e4)
    }
}

impl Change {
    /// The change in words: the direction, a regression, or the reason why there is none.
    pub(crate) fn in_words(&self) -> String {
        let direction = self.change.name();
        match (&self.reason, self.regression) {
            (Some(reason), true) => format!("REGRESSION: {reason}"),
            (Some(reason), false) => reason.clone(),
            (None, true) => format!("REGRESSION: {direction}"),
            (None, false) => direction.to_owned(),
        }
    }
}
