//! The report of loadgen about a server with known behaviour, compared with the actual response times.

use std::{fmt::Write as _, fs::OpenOptions, io::Write as _};

use super::{
    actual::{Actual, Load, quantile},
    server::{KnownServer, Record},
};
use crate::harness::load::{Loadgen, Report};

/// Relative error of a histogram and its percentiles.
const RELATIVE_ERROR: f64 = 0.01;
/// A percentile above the median is reported only with this many samples beyond it.
const SAMPLES_BEYOND: f64 = 10.0;
/// The percentiles of a result, and the share of the samples below each.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];
/// Reasons that a busy machine can cause with any server.
const MACHINE_REASONS: [&str; 9] = [
    "late",
    "paused",
    "cpu_wait",
    "steal",
    "preempted",
    "throttled",
    "generator_saturated",
    "retransmissions",
    "listen_overflow",
];
/// A delay of this length counts as a stall of the machine.
const MACHINE_STALL_NS: u64 = 40_000_000;
const STALL_REASONS: [&str; 5] = ["stall", "cannot_keep_up", "concurrency", "warm_up", "drift"];
/// Environment variable with the path of a file. Each test appends a row of a Markdown table to it: the name of the server,
/// actual (lower bound) and reported response times in ms for p50, p90, p99, p99.9 and the maximum, and the verdict.
const TABLE: &str = "TRUTH_TABLE";

/// A report, and the actual response times.
pub(super) struct Reported {
    pub(super) report: Report,
    pub(super) records: Vec<Record>,
    load: Load,
    actual: Actual,
    server: &'static str,
}

impl Reported {
    /// Loads the server. `args` are further arguments of loadgen.
    #[track_caller]
    pub(super) fn by(server: &KnownServer, load: Load, name: &'static str, args: &str) -> Self {
        let finished = Loadgen::run(Some(server.address()), &format!("{} {args}", load.args())).finish();
        assert!(matches!(finished.code, Some(0 | 4)), "{finished}");
        let report = Report::read(&finished);
        assert_eq!(finished.code == Some(4), report.at("verdict.status") == "invalid", "{finished}");
        let records = server.records();
        let actual = load.actual(&records);
        let reported = Self { report, records, load, actual, server: name };
        reported.add_to_table();
        reported
    }

    /// Expects that no percentile of the actual response times is shorter than planned. A busy machine may lengthen them.
    /// `actual_ns` takes the number of a request among those of all clients and its due time.
    #[track_caller]
    pub(super) fn expect_planned_times(&self, actual_ns: impl Fn(u64, u64) -> u64) {
        let mut ideal_ns: Vec<_> = self.load.window().map(|(turn, due_ns)| actual_ns(turn, due_ns)).collect();
        ideal_ns.sort_unstable();
        for (name, share) in &PERCENTILES[..3] {
            let [ideal_ms, actual_ms] =
                [&ideal_ns, &self.actual.at_least_ns].map(|sorted| quantile(sorted, *share) as f64 / 1e6);
            assert!(actual_ms > ideal_ms * 0.98 - 1.0, "{name}: {actual_ms} ms instead of {ideal_ms} ms");
        }
    }

    /// Number of errors of a kind, in the window and before it.
    #[track_caller]
    pub(super) fn errors(&self, kind: &str) -> u64 {
        let of = |map: &str| self.report.count(&format!("{map}.{kind}"));
        of("errors") + of("errors_before_window")
    }

    /// Expects that the reported response times are the actual ones.
    #[track_caller]
    pub(super) fn expect_actual_times(&self) {
        let Actual { at_least_ns, at_most_ns, answered_per_s, .. } = &self.actual;
        self.expect_failed_after_the_others();
        let count = at_least_ns.len();
        let at = |field: &str| self.report.at(&format!("latency_ns.successful.{field}")).as_f64();
        assert_eq!(at("count"), Some(count as f64), "{}", self.comparison());
        let expect = |field: &str, least_ns: f64, most_ns: f64| {
            let reported =
                at(field).unwrap_or_else(|| panic!("{field} is not reported; {}", self.comparison()));
            let bounds = least_ns * (1.0 - RELATIVE_ERROR)..=most_ns * (1.0 + RELATIVE_ERROR);
            assert!(
                bounds.contains(&reported),
                "{field} is {reported} ns, not in {bounds:?}; {}",
                self.comparison()
            );
        };
        for (field, share) in PERCENTILES {
            // The tolerance is the rounding error of the share.
            if share > 0.5 && (1.0 - share) * (count as f64) < SAMPLES_BEYOND - 1e-6 {
                assert_eq!(at(field), None, "{field} of {count} samples");
            } else {
                expect(field, quantile(at_least_ns, share) as f64, quantile(at_most_ns, share) as f64);
            }
        }
        for (field, share) in [("min", 0.0), ("max", 1.0)] {
            expect(field, quantile(at_least_ns, share) as f64, quantile(at_most_ns, share) as f64);
        }
        let [least, most] =
            [at_least_ns, at_most_ns].map(|all| all.iter().sum::<u64>() as f64 / count as f64);
        expect("mean", least, most);
        let achieved_per_s = self.report.number("rate.achieved_per_s");
        assert!(
            (achieved_per_s / answered_per_s - 1.0).abs() < 0.02,
            "{achieved_per_s} and {answered_per_s}"
        );
    }

    /// Expects that the percentiles of the response time cover every request that was due. Requests without a reply count as
    /// slower than all others.
    #[track_caller]
    fn expect_failed_after_the_others(&self) {
        let answered = &self.actual.at_least_ns;
        let count = self.report.count("requests.due");
        let unanswered = count - answered.len() as u64;
        assert_eq!(self.report.count("latency_ns.response.count"), count);
        let tail = &self.report.at("latency_ns.response")["failed_tail"];
        assert_eq!(tail["count"].as_u64().unwrap_or(0), unanswered, "{tail}");
        for (field, share) in PERCENTILES.into_iter().chain([("max", 1.0)]) {
            let rank = (share * count as f64 - 1e-6).ceil() as usize;
            let beyond = (1.0 - share) * count as f64;
            let is_reported = field == "max" || share <= 0.5 || beyond >= SAMPLES_BEYOND - 1e-6;
            let reported = self.report.at(&format!("latency_ns.response.{field}")).as_f64();
            let is_failed = rank > answered.len() && (is_reported || unanswered as f64 >= SAMPLES_BEYOND);
            let names = tail["percentiles"].as_array().into_iter().flatten();
            assert_eq!(names.into_iter().any(|name| name == field), is_failed, "{field}: {tail}");
            match reported {
                None => {
                    assert!(is_failed || !is_reported, "{field} of {count}, {unanswered} unanswered: {tail}")
                }
                Some(reported) => {
                    let least = answered[rank - 1] as f64 * (1.0 - RELATIVE_ERROR);
                    assert!(reported >= least, "{field} is {reported} ns, and at least {least}");
                }
            }
        }
    }

    /// Upper bound of the median response time.
    pub(super) fn median_ns(&self) -> u64 {
        quantile(&self.actual.at_most_ns, 0.5)
    }

    /// Expects all reasons of `codes` in the verdict. Those of `allowed` may be there, and those that a busy machine causes.
    #[track_caller]
    pub(super) fn expect_reasons(&self, codes: &[&str], allowed: &[&str]) {
        let named = self.named();
        let missing: Vec<_> = codes.iter().filter(|code| !named.contains(code)).collect();
        assert!(missing.is_empty(), "{missing:?} is missing in {}", self.report.at("verdict"));
        let delayed = self.actual.delayed_ns > MACHINE_STALL_NS;
        let of_a_stall: &[&str] = if delayed { &STALL_REASONS } else { &[] };
        let known = [codes, allowed, &MACHINE_REASONS, of_a_stall].concat();
        let unexpected: Vec<_> = named.iter().filter(|named| !known.contains(named)).collect();
        assert!(unexpected.is_empty(), "{unexpected:?} is unexpected named in {}", self.report.at("verdict"));
    }

    fn named(&self) -> Vec<&str> {
        let reasons = self.report.at("verdict.reasons").as_array().expect("reasons are a list");
        reasons.iter().map(|reason| reason["code"].as_str().expect("a reason has a code")).collect()
    }

    /// Actual and reported response times, for an error message.
    fn comparison(&self) -> String {
        let mut text = format!("{}, in ms:\n", self.server);
        for (field, share) in PERCENTILES.into_iter().chain([("max", 1.0)]) {
            let [least, most] = [&self.actual.at_least_ns, &self.actual.at_most_ns]
                .map(|all| quantile(all, share) as f64 / 1e6);
            let reported = self.reported_ms(field).unwrap_or_else(|| "-".to_owned());
            writeln!(text, "{field:>8}  actual {least:.3} to {most:.3}, reported {reported}")
                .expect("memory can be written");
        }
        text + &format!("verdict: {}", self.report.at("verdict"))
    }

    fn reported_ms(&self, field: &str) -> Option<String> {
        let reported_ns = self.report.at(&format!("latency_ns.response.{field}")).as_f64()?;
        Some(format!("{:.2}", reported_ns / 1e6))
    }

    /// Appends the row of this server.
    fn add_to_table(&self) {
        let Some(path) = std::env::var_os(TABLE) else { return };
        let cells = ["p50", "p90", "p99", "p99_9", "max"].map(|field| {
            let share = PERCENTILES.iter().find(|(name, _)| *name == field).map_or(1.0, |(_, share)| *share);
            let actual_ms = quantile(&self.actual.at_least_ns, share) as f64 / 1e6;
            self.reported_ms(field)
                .map_or_else(|| "–".to_owned(), |reported_ms| format!("{actual_ms:.2} / {reported_ms}"))
        });
        let status = self.report.at("verdict.status").as_str().unwrap_or_default();
        let verdict = [&[status], self.named().as_slice()].concat().join(", ");
        let row = format!("| {} | {} | {verdict} |\n", self.server, cells.join(" | "));
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(row.as_bytes())).expect("the table's file can be written");
    }
}
