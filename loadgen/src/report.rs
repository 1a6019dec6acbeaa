//! The report: one plain value that holds everything a format prints, and the table of the formats.

pub mod comparison;
pub mod comparison_text;
pub mod json;
pub mod table;
pub mod text;

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use self::comparison::Comparison;
use crate::{
    cpus::Division,
    message::{Expect, Mismatch},
    schedule::Arrival,
};

/// The version of the report's contract.
pub const SCHEMA: u32 = 1;

/// A format that a report can be printed in. To add one, write its file beside the others and its row in
/// [`FORMATS`].
#[derive(Debug)]
pub struct Format {
    /// What `--format` calls it.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// Prints the report of a run.
    pub write: fn(&Report, &mut dyn io::Write) -> io::Result<()>,
    /// Prints the result of a comparison.
    pub write_comparison: fn(&Comparison, &mut dyn io::Write) -> io::Result<()>,
}

/// Every format; the first is the default.
pub static FORMATS: &[Format] = &[
    Format {
        name: "text",
        summary: "for people",
        write: text::write,
        write_comparison: comparison_text::write,
    },
    Format {
        name: "json",
        summary: "for machines; 'loadgen show' reads it",
        write: json::write,
        write_comparison: json::write,
    },
];

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
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
    /// The measured window.
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
    /// How long it took, in nanoseconds.
    pub latency_ns: Latencies,
    /// The response times on a logarithmic axis, from the shortest to the longest.
    #[serde(default)]
    pub response_histogram: Vec<Bar>,
    /// How evenly the clients were served.
    pub fairness: Fairness,
    /// What the measuring cost.
    pub generator: Generator,
    /// What the serving cost; None where that cannot be known.
    pub server: Option<Server>,
    /// The window in parts.
    pub intervals: Vec<Interval>,
    /// What a reader should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Whether the numbers deserve trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For machines.
    pub code: String,
    /// For people.
    pub message: String,
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
}

/// A distribution of times in nanoseconds. What has not enough samples behind it is None.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// Clients.
    pub clients: u64,
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
    /// Requests under way on average, by Little's law.
    pub effective_concurrency: Option<f64>,
}

/// What the measuring cost in the window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time of the whole process.
    pub cpu_s: f64,
    /// The same for each reply. None without a reply.
    pub cpu_ns_per_request: Option<f64>,
    /// How much of the window the busiest load thread was on a CPU, from 0 to 1.
    pub busiest_thread_share: f64,
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// 99% of the response times are not longer.
    pub p99: Option<u64>,
    /// The longest response time.
    pub max: Option<u64>,
}

/// The format of that name.
pub fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{failure::Failure, recording, summary};

    /// A short run that went well.
    pub(crate) fn example() -> Report {
        let mut response = recording::Latency::default();
        (0..2_000_u64).for_each(|number| response.record(40_000 + number * number));
        let mut service = recording::Latency::default();
        (0..2_000_u64).for_each(|number| service.record(38_000 + number * 100));
        let mut lag = recording::Latency::default();
        (0..2_000_u64).for_each(|number| lag.record(900 + number));
        Report {
            schema: SCHEMA,
            verdict: Verdict { status: Status::Valid, reasons: Vec::new() },
            interrupted: false,
            plan: PlanSummary {
                targets: vec!["127.0.0.1:40123".to_owned()],
                r#loop: Loop::Open,
                connections: 50,
                threads: 1,
                rate_per_s: Some(1_000.0),
                arrival: Some(Arrival::Poisson),
                pipeline: 1,
                think_s: None,
                connect_rate_per_s: None,
                requests_per_connection: None,
                size: 64,
                message: None,
                expect: Expect::Upper,
                warmup_s: 1.0,
                duration_s: Some(2.0),
                requests: None,
                connect_timeout_s: 5.0,
                timeout_s: 10.0,
                interval_s: 1.0,
                seed: 1,
            },
            environment: Environment {
                version: "0.1.0".to_owned(),
                kernel: "6.18.0".to_owned(),
                cpu: "Some CPU".to_owned(),
                cpus: 2,
                division: Some(Division { server: vec![0], load: vec![1] }),
                open_files_limit: 20_000,
            },
            started_at_unix_ms: 1_800_000_000_000,
            elapsed_s: 2.0,
            requests: Requests {
                sent: 2_000,
                completed: 2_000,
                failed: 0,
                verified: 2_000,
                bytes_sent: 128_000,
                bytes_received: 128_000,
            },
            rate: Rate { offered_per_s: Some(1_000.0), achieved_per_s: 999.5 },
            errors: Failure::ALL.iter().map(|(_, name, _)| ((*name).to_owned(), 0)).collect(),
            first_mismatch: None,
            response_histogram: summary::bars(response.histogram()),
            latency_ns: Latencies {
                response: summary::latency(&response),
                service: summary::latency(&service),
                schedule_lag: Some(summary::latency(&lag)),
                connect: summary::latency(&recording::Latency::default()),
            },
            fairness: Fairness {
                clients: 50,
                served: 50,
                jain: Some(0.9987),
                requests_min: 31,
                requests_max: 52,
                longest_silence_ns: 4_100_000,
                effective_concurrency: Some(1.37),
            },
            generator: Generator {
                cpu_s: 0.02,
                cpu_ns_per_request: Some(10_000.0),
                busiest_thread_share: 0.0099,
            },
            server: Some(Server {
                mode: Some("tokio-task".to_owned()),
                threads: Some(1),
                work: Some("cpu:50us".to_owned()),
                cpu_s: 0.03,
                cpu_ns_per_request: Some(15_000.0),
                rss_bytes: 6 << 20,
                pss_bytes: Some(4 << 20),
                context_switches_per_request: Some(0.5),
            }),
            intervals: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn what_is_printed_as_json_can_be_read_again() {
        let report = example();
        let mut text = Vec::new();
        json::write(&report, &mut text).unwrap();
        assert_eq!(json::read::<Report>(std::str::from_utf8(&text).unwrap()).unwrap(), report);
    }

    #[test]
    fn each_format_can_be_found_by_its_name() {
        for entry in FORMATS {
            assert_eq!(format(entry.name).unwrap().summary, entry.summary);
        }
        assert!(format("nonsense").is_none());
    }
}
