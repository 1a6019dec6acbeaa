//! The result of a sweep: one plain value with everything that a format prints.

use std::collections::BTreeMap;

use common::human::{count, plural};
use serde::{Deserialize, Serialize};

use super::{
    Environment, FailedTail, PlanSummary, Report, Status,
    comparison::{Failure, Kind},
};

/// The result of a sweep: the same servers at several levels of load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The kind of the result. A run's result has none.
    pub kind: Kind,
    /// A signal ended it early. The runs in it are complete.
    pub interrupted: bool,
    /// The command line in shell syntax, with the environment variables that loadgen's own server reads. None in older results.
    #[serde(default)]
    pub command: Option<String>,
    /// The plan.
    pub plan: SweepPlan,
    /// The machine and the program.
    pub environment: Environment,
    /// When it began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// The duration.
    pub elapsed_s: f64,
    /// The servers, in the order of the command line.
    pub subjects: Vec<SweepSubject>,
    /// Further remarks for a reader.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The plan of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SweepPlan {
    /// The quantity that a level sets.
    pub axis: Axis,
    /// The levels of the ladder that at least one server has reached, from the lowest up.
    pub levels: Vec<u64>,
    /// The number of runs for each level of the capacity search.
    pub repeats: usize,
    /// The SLOs of a level. A level holds if the server keeps up and meets them. Empty: there was no capacity search.
    pub slo: Vec<String>,
    /// The search ends when the lowest level that does not hold is at most this share above the highest that does: 0.05 is 5%.
    pub tolerance: f64,
    /// The servers and the load had separate CPUs.
    pub pinned: bool,
    /// The seed of all random numbers: for the order and the load.
    pub seed: u64,
    /// The load of the lowest level. At each level, the quantity of the axis and the seed differ.
    pub load: PlanSummary,
    /// The load of each server that has requests and replies of its own (`--dialogue`), by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own_loads: BTreeMap<String, PlanSummary>,
}

/// The quantity that a level of a sweep sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Axis {
    /// Offered requests per second.
    Rate,
    /// Clients, each with its own connection.
    Connections,
}

/// One server, and the load that it carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SweepSubject {
    /// The name.
    pub name: String,
    /// The concurrency model of loadgen's own server.
    pub mode: Option<String>,
    /// The command that started the server, if it is not loadgen's own.
    pub command: Option<String>,
    /// The address of a server that was already running.
    pub target: Option<String>,
    /// The failure that prevented or ended its turns.
    pub failure: Option<Failure>,
    /// Every complete run, in the order in which they were made.
    pub points: Vec<Point>,
    /// The load curve: a point for each level of the ladder that was run, from the lowest up.
    pub curve: Vec<CurvePoint>,
    /// The reason for the end of its ladder. None if the sweep was interrupted before.
    pub end: Option<End>,
    /// The level from which on more load costs more response time than it gains in rate. None if the server kept up at no level.
    pub knee: Option<Knee>,
    /// The highest level that holds. None without an SLO.
    pub capacity: Option<Capacity>,
}

/// A complete run of one server: its report, with the level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Requests per second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// The purpose of the run.
    pub purpose: Purpose,
    /// The report of the run.
    #[serde(flatten)]
    pub report: Report,
}

/// The purpose of a run of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    /// A step of the ladder.
    Ladder,
    /// A step of the search for the capacity.
    Search,
}

/// A point of the load curve: the runs of one level of the ladder together. Rates are medians of the runs. Times are those of
/// all samples: histograms are added, and percentiles are never averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CurvePoint {
    /// Requests per second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// The number of runs.
    pub runs: usize,
    /// The rate of the open loop's schedule.
    pub offered_per_s: Option<f64>,
    /// Replies per second.
    pub achieved_per_s: f64,
    /// The mean response time, in nanoseconds. None without a sample, or with failed requests.
    pub mean_ns: Option<f64>,
    /// The median response time. None with too few samples, like the percentiles below.
    pub p50_ns: Option<u64>,
    /// The 90th percentile of the response time.
    pub p90_ns: Option<u64>,
    /// The 99th percentile of the response time.
    pub p99_ns: Option<u64>,
    /// The 99.9th percentile of the response time.
    pub p99_9_ns: Option<u64>,
    /// The longest response time.
    pub max_ns: Option<u64>,
    /// The requests without a reply, which are slower than all others, as in [`Latency`](super::Latency). None without such
    /// requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_tail: Option<FailedTail>,
    /// Kleinrock's power: replies per second, divided by the mean response time in seconds.
    pub power: Option<f64>,
    /// The server handled the whole load, in most of the runs.
    pub keeps_up: bool,
    /// The reason why it did not keep up.
    pub trouble: Option<Trouble>,
    /// The worst verdict of its runs.
    pub verdict: Status,
    /// The codes of that verdict's reasons.
    pub reasons: Vec<String>,
    /// Whether the level holds: most of its runs kept up and met every SLO. None without an SLO.
    pub holds: Option<bool>,
}

/// The reason why a server does not keep up with a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trouble {
    /// The server died, did not start or could not be reached.
    Failed,
    /// The generator itself did not reach the offered rate. This says nothing about the server.
    GeneratorSaturated,
    /// Wrong replies, or too many errors.
    Errors,
    /// Clients without a single reply, or with one long silence.
    Starved,
    /// The achieved rate was below the offered rate.
    CannotKeepUp,
}

/// The end of a ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// The reason. None: the server kept up to the last level.
    pub trouble: Option<Trouble>,
    /// The first level at which the server did not keep up, or else the last level.
    pub level: u64,
    /// For people.
    pub message: String,
}

/// The level of the ladder with the most power, of those that keep up (L. Kleinrock, "Power and deterministic rules of
/// thumb for probabilistic problems in computer communications", ICC 1979): below it, more
/// load gains more rate than it costs in response time, and above it less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Knee {
    /// Requests per second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// Replies per second at the level.
    pub achieved_per_s: f64,
    /// The mean response time at the level, in nanoseconds.
    pub mean_ns: f64,
    /// Replies per second, divided by the mean response time in seconds.
    pub power: f64,
    /// Set if the knee is at an end of the levels: the true one may lie beyond it.
    pub beyond: Option<Beyond>,
}

/// The side of the levels on which the true knee may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Beyond {
    /// Below the lowest level.
    Below,
    /// Above the highest level that keeps up.
    Above,
}

/// The highest level that keeps up and meets every SLO, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capacity {
    /// The SLOs.
    pub slo: Vec<String>,
    /// The highest level that holds. None if no level holds.
    pub low: Option<u64>,
    /// The lowest level above it that does not hold. None if every level holds.
    pub high: Option<u64>,
    /// Whether the search has ended. If not, the distance between both levels is larger than the tolerance.
    pub complete: bool,
    /// Every tried level, from the lowest up.
    pub tried: Vec<Tried>,
    /// For people.
    pub message: String,
}

/// The runs of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// Requests per second or clients: see [`SweepPlan::axis`].
    pub level: u64,
    /// The number of runs.
    pub runs: usize,
    /// The number of runs that held. The level holds if it is more than half.
    pub held: usize,
}

/// A level with its unit.
pub(crate) fn level(axis: Axis, level: u64) -> String {
    match (axis, level) {
        (Axis::Rate, level) => format!("{}/s", count(level)),
        (Axis::Connections, level) => plural(level, "client"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
