//! The report: plain values that hold everything a format prints, and the table of the formats.

pub mod comparison;
pub mod csv;
pub mod hdr;
pub mod html;
pub mod json;
pub mod measured;
pub mod sweep;
pub mod text;

use std::io;

use serde::{Serialize, Serializer};

pub use self::measured::*;
use self::{comparison::Comparison, sweep::Sweep};

/// The version of the contract of all results.
pub const SCHEMA: u32 = 1;

/// A result, of which every format prints every kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// Of a run.
    Run(Box<Report>),
    /// Of a comparison.
    Comparison(Box<Comparison>),
    /// Of a sweep.
    Sweep(Box<Sweep>),
}

/// A format that a result can be printed in. To add one, write its file beside the others and its row in
/// [`FORMATS`].
#[derive(Debug)]
pub struct Format {
    /// What `--format` calls it.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// Prints a result.
    pub write: fn(&Document, &mut dyn io::Write) -> io::Result<()>,
    /// Prints the results of several runs side by side, each with its name; None where the format is of one result.
    pub write_several: Option<WriteSeveral>,
}

/// Prints the results of several runs side by side, each with its name.
pub type WriteSeveral = fn(&[(String, Report)], &mut dyn io::Write) -> io::Result<()>;

/// Every format; the first is the default.
pub static FORMATS: &[Format] = &[
    Format {
        name: "text",
        summary: "for people",
        write: text::write,
        write_several: Some(text::table::write),
    },
    Format {
        name: "json",
        summary: "for machines; 'loadgen show' reads it",
        write: json::write,
        write_several: None,
    },
    Format {
        name: "csv",
        summary: "for spreadsheets: a row for each interval, and one for the whole",
        write: csv::write,
        write_several: Some(csv::write_several),
    },
    Format {
        name: "html",
        summary: "one page with pictures, for people with a browser",
        write: html::write,
        write_several: None,
    },
];

impl Serialize for Document {
    /// As what it holds: all but a run tell by their `kind` what they are.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Document::Run(report) => report.serialize(serializer),
            Document::Comparison(comparison) => comparison.serialize(serializer),
            Document::Sweep(sweep) => sweep.serialize(serializer),
        }
    }
}

/// The format of that name.
pub fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{cpus::Division, failure::Failure, message::Expect, recording, schedule::Arrival, summary};

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
                kernel_timestamps: false,
                start_at_unix_ms: None,
                slo: Vec::new(),
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
            window_started_at_unix_us: 1_800_000_001_000_000,
            late_start_ns: 0,
            elapsed_s: 2.0,
            requests: Requests {
                sent: 2_000,
                completed: 2_000,
                failed: 0,
                verified: 2_000,
                delayed_rests: 0,
                bytes_sent: 128_000,
                bytes_received: 128_000,
            },
            rate: Rate { offered_per_s: Some(1_000.0), achieved_per_s: 999.5 },
            errors: Failure::ALL.iter().map(|(_, name, _)| ((*name).to_owned(), 0)).collect(),
            first_mismatch: None,
            response_histogram: summary::bars(response.histogram()),
            connections: Connections { established: 50, lost: 0 },
            latency_ns: Latencies {
                response: summary::latency(&response),
                service: summary::latency(&service),
                schedule_lag: Some(summary::latency(&lag)),
                connect: summary::latency(&recording::Latency::default()),
                due_to_written: summary::latency(&lag),
                written_to_ready: None,
                ready_to_read: None,
            },
            fairness: Fairness {
                clients: 50,
                asked: 50,
                starved: 0,
                served: 50,
                jain: Some(0.9987),
                requests_min: 31,
                requests_max: 52,
                longest_silence_ns: 4_100_000,
                longest_stall_ns: 4_100_000,
                longest_stall_at_ns: Some(1_000_000),
                effective_concurrency: Some(1.37),
                service_concurrency: Some(0.14),
                replies_sum: 1_999,
                replies_sum_of_squares: 80_024.0,
                replies_hdr: summary::replies((0..50).map(|client| 31 + client * 21 / 49)),
            },
            generator: Generator {
                cpu_s: 0.02,
                cpu_ns_per_request: Some(10_000.0),
                busiest_thread_share: 0.0099,
                idle_share_min: Some(0.98),
                cpu_wait_share_max: Some(0.002),
                preemptions_per_s_max: Some(1.5),
                steal_share: Some(0.001),
                clock_step_ns: 20,
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
            network: Some(Network::default()),
            server_ended_early: false,
            slo: Vec::new(),
            calibration: None,
            merged: None,
            intervals: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The same for a second and a half, of which the last half was slower.
    pub(crate) fn with_intervals() -> Report {
        let interval = |t_s: f64, times_ns: std::ops::Range<u64>, achieved_per_s| {
            let mut response = recording::Latency::default();
            times_ns.for_each(|number| response.record(number * 1_000));
            let response = response.histogram();
            Interval {
                t_s,
                completed: response.len(),
                failed: 0,
                achieved_per_s,
                p50: summary::percentile(response, 5_000),
                p90: summary::percentile(response, 9_000),
                p99: summary::percentile(response, 9_900),
                p99_9: summary::percentile(response, 9_990),
                max: summary::max(response),
                hdr: summary::serialise(response),
            }
        };
        let intervals = vec![interval(0.0, 1_000..2_000, 1_000.0), interval(1.0, 9_000..9_500, 1_000.0)];
        Report { elapsed_s: 1.5, intervals, ..example() }
    }

    #[test]
    fn what_is_printed_as_json_can_be_read_again() {
        let report = Document::Run(Box::new(example()));
        let mut text = Vec::new();
        json::write(&report, &mut text).unwrap();
        assert_eq!(json::read(std::str::from_utf8(&text).unwrap()).unwrap(), report);
    }

    #[test]
    fn each_format_can_be_found_by_its_name() {
        for entry in FORMATS {
            assert_eq!(format(entry.name).unwrap().summary, entry.summary);
        }
        assert!(format("nonsense").is_none());
    }
}
