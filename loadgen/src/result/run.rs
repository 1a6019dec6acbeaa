//! The result of a run: one plain value.

mod calibration;
mod environment;
mod fairness;
mod generator;
mod interval;
mod kind;
mod latency;
mod merged;
mod plan;
mod request_log;
mod requests;
mod server;
mod slo;
mod stage;
mod tls;
mod verdict;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    calibration::{Calibration, Floor},
    environment::Environment,
    fairness::Fairness,
    generator::{Generator, Pause, Pauses},
    interval::{Interval, Tail},
    kind::Kind,
    latency::{Bar, FailedTail, Latencies, Latency},
    merged::{Merged, MergedPart},
    plan::{Loop, PartShare, PlanSummary, StagePlan},
    request_log::RequestLogSummary,
    requests::{Connections, Rate, Requests},
    server::{Network, Server},
    slo::SloOutcome,
    stage::{Aborted, Outcomes, Recovery, Stage},
    tls::{Tls, TlsSummary},
    verdict::{Reason, Status, Verdict},
};
use crate::{protocol::exchange::Mismatch, result::precision::Precision};

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// Whether the numbers are trustworthy.
    pub verdict: Verdict,
    /// A signal ended the run early. The numbers cover the time until then.
    pub interrupted: bool,
    /// The condition of `--abort-on` that ended the run early. The numbers cover the time until then.
    #[serde(default)]
    pub aborted: Option<Aborted>,
    /// The confidence intervals of the percentiles of the response time. None with too few intervals, for a merged result, and in older
    /// results.
    #[serde(default)]
    pub precision: Option<Precision>,
    /// The command line in shell syntax, with the environment variables that loadgen's own server reads. None for a run
    /// inside another command, and in older results.
    #[serde(default)]
    pub command: Option<String>,
    /// The plan of the run.
    pub plan: PlanSummary,
    /// The machine and the program.
    pub environment: Environment,
    /// When the run began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// When the measured window began, in microseconds since 1970 (UTC). `merge` aligns the results of several generators
    /// by it.
    #[serde(default)]
    pub window_started_at_unix_us: u64,
    /// How much later than `plan.start_at_unix_ms` the load began; 0 if it was on time, or if there is no start time.
    #[serde(default)]
    pub late_start_ns: u64,
    /// The length of the measured window. For several generators: from the start of the first window to the end of the
    /// last.
    pub elapsed_s: f64,
    /// The requests that were due in the window.
    pub requests: Requests,
    /// Requests per second.
    pub rate: Rate,
    /// Failures by kind: of requests that were due in the window, and of idle connections since the window began.
    pub errors: BTreeMap<String, u64>,
    /// Failures by kind before the window: of requests of the warm-up, and of connections. No other number includes them.
    #[serde(default)]
    pub errors_before_window: BTreeMap<String, u64>,
    /// The first reply that broke the protocol, or differed from an echo.
    #[serde(default)]
    pub first_mismatch: Option<Mismatch>,
    /// The first complete reply that was not the expected one.
    #[serde(default)]
    pub first_unexpected: Option<Mismatch>,
    /// The connections.
    #[serde(default)]
    pub connections: Connections,
    /// The kinds of requests. Empty with one kind.
    #[serde(default)]
    pub kinds: Vec<Kind>,
    /// The stages that have begun. Empty without stages.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// The course after the peak of the stages. None if the rate never falls, or if no overload was seen before.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// The TLS handshakes. None without TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The measured times, in nanoseconds.
    pub latency_ns: Latencies,
    /// The response times on a logarithmic axis, from the shortest to the longest.
    #[serde(default)]
    pub response_histogram: Vec<Bar>,
    /// How evenly the server served the clients.
    pub fairness: Fairness,
    /// The generator's own cost, and its disturbances.
    pub generator: Generator,
    /// The counters of the network stack on the generator's machine, from the first connection to the window's end. None
    /// if the kernel does not report them.
    #[serde(default)]
    pub network: Option<Network>,
    /// The server's cost. None if it is unknown.
    pub server: Option<Server>,
    /// The server that loadgen started ended before the window did.
    #[serde(default)]
    pub server_ended_early: bool,
    /// The time of the last reply after the window's start, if the server was gone at the window's end: no client was
    /// connected, and new connections failed.
    #[serde(default)]
    pub server_gone_at_ns: Option<u64>,
    /// The SLOs, and whether the result meets them.
    #[serde(default)]
    pub slo: Vec<SloOutcome>,
    /// The same load on an echo inside the generator, which has the least possible cost.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// The parts of a merged result. None for a single run.
    #[serde(default)]
    pub merged: Option<Merged>,
    /// The parts of the window. They do not include outcomes of the tail.
    pub intervals: Vec<Interval>,
    /// The time after the window, in which requests of the window are awaited.
    #[serde(default)]
    pub tail: Tail,
    /// The request log of `--log`. None without one, and for a merged result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<RequestLogSummary>,
    /// Further remarks for a reader.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Report {
    /// The intervals, each with its length in seconds: until the start of the next one, or until the window's end.
    pub(crate) fn intervals_with_length_s(&self) -> impl Iterator<Item = (&Interval, f64)> {
        let ends = self.intervals.iter().skip(1).map(|next| next.t_s).chain([self.elapsed_s]);
        self.intervals.iter().zip(ends).map(|(interval, end_s)| (interval, (end_s - interval.t_s).max(0.0)))
    }
}

/// The sum of counts. A result that was read may hold any numbers, so it is at most the largest one.
pub(crate) fn total(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().fold(0, |sum: u64, count| sum.saturating_add(*count))
}
