//! The result of a run: one plain value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    cpus::Division,
    message::{Expect, Mismatch},
    schedule::Arrival,
};

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// Whether the numbers deserve trust.
    pub verdict: Verdict,
    /// The run was ended before its time; the numbers are of the part that was run.
    pub interrupted: bool,
    /// What the run was to do.
    pub plan: PlanSummary,
    /// Where it was done.
    pub environment: Environment,
    /// When the run began, in milliseconds since 1970 (UTC).
    pub started_at_unix_ms: u64,
    /// When the measured window began, in microseconds since 1970 (UTC): what results of several generators are
    /// aligned by.
    #[serde(default)]
    pub window_started_at_unix_us: u64,
    /// How much later than `plan.start_at_unix_ms` the load began; 0 where it began in time, or when it was ready.
    #[serde(default)]
    pub late_start_ns: u64,
    /// The measured window. Of several generators: from the first one's beginning to the last one's end.
    pub elapsed_s: f64,
    /// The requests that were due in the window.
    pub requests: Requests,
    /// How many requests a second.
    pub rate: Rate,
    /// Failures by kind, over the whole run: failed requests, and failed connections that carried none.
    pub errors: BTreeMap<String, u64>,
    /// The first wrong reply.
    #[serde(default)]
    pub first_mismatch: Option<Mismatch>,
    /// The connections, over the whole run.
    #[serde(default)]
    pub connections: Connections,
    /// How long it took, in nanoseconds.
    pub latency_ns: Latencies,
    /// The response times on a logarithmic axis, from the shortest to the longest.
    #[serde(default)]
    pub response_histogram: Vec<Bar>,
    /// How evenly the clients were served.
    pub fairness: Fairness,
    /// What the measuring cost, and what disturbed it.
    pub generator: Generator,
    /// What the network stack of the generator's machine counted from the first connection to the window's end; None
    /// where it does not tell.
    #[serde(default)]
    pub network: Option<Network>,
    /// What the serving cost; None where that cannot be known.
    pub server: Option<Server>,
    /// The run's own server was gone before the window's end.
    #[serde(default)]
    pub server_ended_early: bool,
    /// What was asked of the result, and whether it holds.
    #[serde(default)]
    pub slo: Vec<SloOutcome>,
    /// The same load against an echo inside the generator, which costs as little as an echo can.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// What this is the sum of; None where it is of one run.
    #[serde(default)]
    pub merged: Option<Merged>,
    /// The window in parts.
    pub intervals: Vec<Interval>,
    /// What a reader should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Whether the numbers deserve trust.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word.
    pub status: Status,
    /// Why, when it is not valid.
    pub reasons: Vec<Reason>,
}

/// A verdict in a word, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The numbers say what they seem to say.
    Valid,
    /// Something was odd.
    Suspect,
    /// They do not.
    Invalid,
}

/// One reason of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// For machines.
    pub code: String,
    /// How bad it is.
    #[serde(default = "invalid")]
    pub status: Status,
    /// For people: what was seen, and what the bound is.
    pub message: String,
    /// What was seen, in the unit that the message names.
    #[serde(default)]
    pub value: f64,
    /// The bound that it is on the wrong side of, in the same unit.
    #[serde(default)]
    pub bound: f64,
    /// What to do next.
    #[serde(default)]
    pub advice: String,
}

/// A reason that does not say how bad it is is one of the first contract, which knew no other.
fn invalid() -> Status {
    Status::Invalid
}

/// Closed or open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// The next request waits for the last reply.
    Closed,
    /// Requests are due at fixed moments, whatever the server does.
    Open,
}

/// What the run was to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// Addresses.
    pub targets: Vec<String>,
    /// Closed or open.
    pub r#loop: Loop,
    /// Clients.
    pub connections: u32,
    /// Load threads.
    pub threads: usize,
    /// Of the open loop.
    pub rate_per_s: Option<f64>,
    /// Of the open loop.
    pub arrival: Option<Arrival>,
    /// Outstanding requests of one client at most.
    pub pipeline: usize,
    /// Of the closed loop.
    #[serde(default)]
    pub think_s: Option<f64>,
    /// New connections each second at most.
    #[serde(default)]
    pub connect_rate_per_s: Option<u64>,
    /// After so many replies a client connects anew.
    #[serde(default)]
    pub requests_per_connection: Option<u64>,
    /// Bytes of a message.
    pub size: usize,
    /// The file the message came from.
    #[serde(default)]
    pub message: Option<String>,
    /// What the replies must be.
    pub expect: Expect,
    /// Before the window.
    pub warmup_s: f64,
    /// The window; None when the run is limited by its requests alone.
    pub duration_s: Option<f64>,
    /// Requests at most.
    #[serde(default)]
    pub requests: Option<u64>,
    /// For a connection.
    pub connect_timeout_s: f64,
    /// For a reply.
    pub timeout_s: f64,
    /// The intervals' length.
    pub interval_s: f64,
    /// What everything random was drawn from.
    pub seed: u64,
    /// The kernel was asked when replies were ready to be read.
    #[serde(default)]
    pub kernel_timestamps: bool,
    /// When the load was to begin, in milliseconds since 1970 (UTC); None: as soon as it was ready.
    #[serde(default)]
    pub start_at_unix_ms: Option<u64>,
    /// What was asked of the result.
    #[serde(default)]
    pub slo: Vec<String>,
}

/// Where the run was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Of this program.
    pub version: String,
    /// Its release.
    pub kernel: String,
    /// Its model name.
    pub cpu: String,
    /// How many this process may use.
    pub cpus: usize,
    /// How they were divided between the load and the run's own server; None where they were not.
    #[serde(default)]
    pub division: Option<Division>,
    /// After it was raised.
    pub open_files_limit: u64,
}

/// Requests that were due in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Written, at least in part.
    pub sent: u64,
    /// Replied to in full, as expected.
    pub completed: u64,
    /// Not: failed after they were sent, or never sent. `completed + failed` are all that were due.
    pub failed: u64,
    /// Completed ones whose every byte was checked.
    pub verified: u64,
    /// Completed ones whose reply's rest came 38 to 56 ms after its first part: as long as a delayed acknowledgement takes.
    #[serde(default)]
    pub delayed_rests: u64,
    /// Bytes of the sent ones.
    pub bytes_sent: u64,
    /// Bytes of their replies.
    pub bytes_received: u64,
}

/// Requests a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// What the open loop's schedule asked for.
    pub offered_per_s: Option<f64>,
    /// Replies that were complete inside the window.
    pub achieved_per_s: f64,
}

/// Connections, over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Those that were established.
    pub established: u64,
    /// Those that were lost to a failure: their clients had to connect again.
    pub lost: u64,
}

/// The times, each with its two ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// From due to replied: what a user would have felt.
    pub response: Latency,
    /// From written to replied.
    pub service: Latency,
    /// From due to written, as far as the generator itself was late; open loop only.
    pub schedule_lag: Option<Latency>,
    /// Of connections, over the whole run.
    pub connect: Latency,
    /// From due to written: the generator's lateness, and the client's own queue while it has no place to ask from.
    #[serde(default)]
    pub due_to_written: Latency,
    /// From written until the kernel had the reply ready to be read: network and server. With the next one it makes up the
    /// service time. None where the kernel was not asked (`--kernel-timestamps`) or does not tell.
    #[serde(default)]
    pub written_to_ready: Option<Latency>,
    /// From then until it was read: the generator's own delay.
    #[serde(default)]
    pub ready_to_read: Option<Latency>,
}

/// A distribution of times in nanoseconds. What has not enough samples behind it is None.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Samples.
    pub count: u64,
    /// The shortest.
    pub min: Option<u64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The standard deviation.
    pub stdev: Option<f64>,
    /// The median.
    pub p50: Option<u64>,
    /// 90% are not longer.
    pub p90: Option<u64>,
    /// 99% are not longer.
    pub p99: Option<u64>,
    /// 99.9% are not longer.
    pub p99_9: Option<u64>,
    /// 99.99% are not longer.
    pub p99_99: Option<u64>,
    /// The longest.
    pub max: Option<u64>,
    /// Everything, as an HdrHistogram (V2, compressed) in base64.
    pub hdr: String,
}

/// A row of a histogram: the times from `from_ns` up to, and without, `to_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// The first time of the row.
    pub from_ns: u64,
    /// The first time after it.
    pub to_ns: u64,
    /// Samples.
    pub count: u64,
    /// Their part of all, from 0 to 1.
    pub share: f64,
    /// The part of all samples in this row and those before it.
    pub cumulative_share: f64,
}

/// How evenly the clients were served in the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// Clients.
    pub clients: u64,
    /// Those that were owed a reply at any time in the window.
    #[serde(default)]
    pub asked: u64,
    /// Those that were, and got no reply in the window, nor ever to a request that was due in it.
    #[serde(default)]
    pub starved: u64,
    /// Those that got at least one reply.
    pub served: u64,
    /// Jain's index over their replies: 1 is even. None without a reply.
    pub jain: Option<f64>,
    /// The replies of the client that got the fewest.
    pub requests_min: u64,
    /// The replies of the client that got the most.
    pub requests_max: u64,
    /// The longest time for which a client was owed a reply and got none.
    pub longest_silence_ns: u64,
    /// The longest time for which a load thread was owed replies and got none; of several threads, what their longest ones
    /// have in common, as a server that stands still is seen by all.
    #[serde(default)]
    pub longest_stall_ns: u64,
    /// When that began, after the window's beginning; None where there was none.
    #[serde(default)]
    pub longest_stall_at_ns: Option<u64>,
    /// Requests under way on average, by Little's law.
    pub effective_concurrency: Option<f64>,
    /// The same of the time from written to replied: requests that the server has been asked, on average.
    #[serde(default)]
    pub service_concurrency: Option<f64>,
    /// All clients' replies inside the window.
    #[serde(default)]
    pub replies_sum: u64,
    /// The sum of the squares of the clients' replies: with it, Jain's indices of several generators can be joined.
    #[serde(default)]
    pub replies_sum_of_squares: f64,
    /// How many replies the clients got: an HdrHistogram (V2, compressed) in base64 with a sample for each client.
    #[serde(default)]
    pub replies_hdr: String,
}

/// What the measuring cost in the window, and what disturbed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time of the whole process.
    pub cpu_s: f64,
    /// The same for each reply. None without a reply.
    pub cpu_ns_per_request: Option<f64>,
    /// How much of the window the busiest load thread was on a CPU, from 0 to 1.
    pub busiest_thread_share: f64,
    /// How much of the window the load thread with the least time to spare had nothing to do, from 0 to 1. None where
    /// the kernel does not tell.
    #[serde(default)]
    pub idle_share_min: Option<f64>,
    /// How much of the window a load thread waited for a CPU at most, from 0 to 1. None where the kernel does not tell.
    #[serde(default)]
    pub cpu_wait_share_max: Option<f64>,
    /// How often a second a load thread was taken off its CPU at most. None where the kernel does not tell.
    #[serde(default)]
    pub preemptions_per_s_max: Option<f64>,
    /// Which part of the time of this machine's CPUs its hypervisor gave to others, from 0 to 1. None where the kernel
    /// does not tell.
    #[serde(default)]
    pub steal_share: Option<f64>,
    /// The smallest step that was seen of the clock.
    #[serde(default)]
    pub clock_step_ns: u64,
}

/// What the network stack of the generator's machine counted from the first connection to the window's end (proc(5),
/// `/proc/net/snmp` and `/proc/net/netstat`; tcp(7), `TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Segments that the clients' own connections had to send again, of those that lived at the end.
    pub client_retransmissions: u64,
    /// Segments that all connections of this network namespace had to send again.
    pub retransmissions: u64,
    /// Connections that found a listener's queue full, in this network namespace: what a server here did not accept.
    pub listen_overflows: u64,
}

/// What the serving cost in the window, of a server that was started for the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its concurrency model; None where it is not loadgen's own server.
    pub mode: Option<String>,
    /// The threads of loadgen's own server; None where each connection has one of its own.
    #[serde(default)]
    pub threads: Option<u64>,
    /// The simulated work of loadgen's own server for each read; None where there is none.
    #[serde(default)]
    pub work: Option<String>,
    /// CPU time of the whole process, and of all that it has started.
    pub cpu_s: f64,
    /// The same for each reply. None without a reply.
    pub cpu_ns_per_request: Option<f64>,
    /// Resident memory at the window's end.
    pub rss_bytes: u64,
    /// The same with each shared page divided by its users.
    #[serde(default)]
    pub pss_bytes: Option<u64>,
    /// Of its threads that lived through the window. None without a reply.
    pub context_switches_per_request: Option<f64>,
}

/// A part of the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// When it began, after the window's beginning.
    pub t_s: f64,
    /// Requests of the window that were replied to in it; those after the window's end are in the last one.
    pub completed: u64,
    /// Requests of the window that failed in it.
    pub failed: u64,
    /// Replies a second.
    pub achieved_per_s: f64,
    /// The median response time, in nanoseconds.
    pub p50: Option<u64>,
    /// 90% of the response times are not longer.
    #[serde(default)]
    pub p90: Option<u64>,
    /// 99% of the response times are not longer.
    pub p99: Option<u64>,
    /// 99.9% of the response times are not longer.
    #[serde(default)]
    pub p99_9: Option<u64>,
    /// The longest response time.
    pub max: Option<u64>,
    /// All response times, as an HdrHistogram (V2, compressed) in base64.
    #[serde(default)]
    pub hdr: String,
}

/// Something that was asked of the result, and whether it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloOutcome {
    /// As it was asked.
    pub slo: String,
    /// Whether it holds. What is withheld for want of samples does not hold.
    pub met: bool,
    /// What was seen: nanoseconds, a share from 0 to 1, or a rate a second. None where it is withheld.
    pub actual: Option<f64>,
    /// For people.
    pub message: String,
}

/// The same load against an echo inside the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Whether these numbers deserve trust.
    #[serde(default = "valid")]
    pub verdict: Verdict,
    /// Replies a second.
    pub achieved_per_s: f64,
    /// From due to replied.
    pub response: Latency,
    /// From written to replied.
    pub service: Latency,
    /// Which part of each percentile of the response is the generator's and the kernel's own.
    pub floor: Vec<Floor>,
}

/// A calibration that does not say it was not judged.
fn valid() -> Verdict {
    Verdict { status: Status::Valid, reasons: Vec::new() }
}

/// What a percentile of the response would be if the server took no time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// As in [`Latency`]: `p50`, `p99_9`.
    pub percentile: String,
    /// Of the echo inside the generator.
    pub floor_ns: Option<u64>,
    /// Of the server.
    pub response_ns: Option<u64>,
    /// The one as a part of the other, at most 1. None in a closed loop, in which the echo is asked more often than the
    /// server, and the floor is mostly the queue of its own clients.
    pub share: Option<f64>,
}

/// What a result is the sum of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// How many generators' results.
    pub generators: usize,
    /// From the earliest beginning of a window to the latest.
    pub start_skew_ns: u64,
}

impl Report {
    /// The parts of the window, each with its length in seconds: until the next begins, or until the window's end.
    pub fn intervals_with_length_s(&self) -> impl Iterator<Item = (&Interval, f64)> {
        let ends = self.intervals.iter().skip(1).map(|next| next.t_s).chain([self.elapsed_s]);
        self.intervals.iter().zip(ends).map(|(interval, end_s)| (interval, (end_s - interval.t_s).max(0.0)))
    }
}
