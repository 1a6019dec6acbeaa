//! What loadgen tells of a known server, held against what its users have felt.

use std::{fmt::Write as _, fs::OpenOptions, io::Write as _};

use super::{
    felt::{Felt, Load, quantile},
    server::{KnownServer, Record},
};
use crate::harness::load::{Loadgen, Report};

/// What a histogram and its percentiles may be off.
const RELATIVE_ERROR: f64 = 0.01;
/// Samples that must lie beyond a percentile other than the median for it to be told.
const SAMPLES_BEYOND: f64 = 10.0;
/// The percentiles of a result, and the share of the samples below each.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];
/// What may be said of a busy machine whatever the server does.
const OF_THE_MACHINE: [&str; 7] =
    ["late", "cpu_wait", "steal", "preempted", "generator_saturated", "retransmissions", "listen_overflow"];
/// Whoever is held up for so long has stood still.
const STOOD_STILL_NS: u64 = 40_000_000;
const OF_A_STALL: [&str; 5] = ["stall", "cannot_keep_up", "concurrency", "warm_up", "drift"];
/// Names a file to which a row of a Markdown table is added for each known server: what was felt at least and what is
/// told, in ms, of p50, p90, p99, p99.9 and the longest, and the verdict.
const TABLE: &str = "TRUTH_TABLE";

/// A result, and what it should say.
pub(super) struct Told {
    pub(super) report: Report,
    pub(super) records: Vec<Record>,
    load: Load,
    felt: Felt,
    server: &'static str,
}

impl Told {
    /// Puts the load on the server, with further arguments.
    #[track_caller]
    pub(super) fn by(server: &KnownServer, load: Load, name: &'static str, args: &str) -> Self {
        let finished = Loadgen::run(Some(server.address()), &format!("{} {args}", load.args())).finish();
        assert!(matches!(finished.code, Some(0 | 4)), "{finished}");
        let report = Report::read(&finished);
        assert_eq!(finished.code == Some(4), report.at("verdict.status") == "invalid", "{finished}");
        let records = server.records();
        let felt = load.felt(&records);
        let told = Self { report, records, load, felt, server: name };
        told.add_to_table();
        told
    }

    /// That the server did what it was told: none of its users felt less than they must, and more only as far as the
    /// machine was busy. `felt_ns` takes a request's number among those of all clients, and when it was due.
    #[track_caller]
    pub(super) fn expect_ideal(&self, felt_ns: impl Fn(u64, u64) -> u64) {
        let mut ideal_ns: Vec<_> = self.load.window().map(|(turn, due_ns)| felt_ns(turn, due_ns)).collect();
        ideal_ns.sort_unstable();
        for (name, share) in &PERCENTILES[..3] {
            let [ideal_ms, felt_ms] =
                [&ideal_ns, &self.felt.at_least_ns].map(|sorted| quantile(sorted, *share) as f64 / 1e6);
            assert!(felt_ms > ideal_ms * 0.98 - 1.0, "{name}: {felt_ms} ms instead of {ideal_ms} ms");
        }
    }

    /// That the reported response times are what was felt.
    #[track_caller]
    pub(super) fn expect_as_felt(&self) {
        let Felt { at_least_ns, at_most_ns, answered_per_s, .. } = &self.felt;
        let count = at_least_ns.len();
        let at = |field: &str| self.report.at(&format!("latency_ns.response.{field}")).as_f64();
        assert_eq!(at("count"), Some(count as f64), "{}", self.comparison());
        let expect = |field: &str, least_ns: f64, most_ns: f64| {
            let told = at(field).unwrap_or_else(|| panic!("{field} is withheld; {}", self.comparison()));
            let bounds = least_ns * (1.0 - RELATIVE_ERROR)..=most_ns * (1.0 + RELATIVE_ERROR);
            assert!(bounds.contains(&told), "{field} is {told} ns, not in {bounds:?}; {}", self.comparison());
        };
        for (field, share) in PERCENTILES {
            // Less the rounding error of the share.
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

    /// What half of the users have felt at most.
    pub(super) fn usual_ns(&self) -> u64 {
        quantile(&self.felt.at_most_ns, 0.5)
    }

    /// That the verdict names all of `codes`, perhaps some of `besides`, and nothing else that is the server's doing.
    /// Where the machine was so busy that it made a stall of its own, that may be named, and what comes of it.
    #[track_caller]
    pub(super) fn expect_named(&self, codes: &[&str], besides: &[&str]) {
        let named = self.named();
        let missing: Vec<_> = codes.iter().filter(|code| !named.contains(code)).collect();
        assert!(missing.is_empty(), "{missing:?} is not named in {}", self.report.at("verdict"));
        let held_up = self.felt.held_up_ns > STOOD_STILL_NS;
        let of_a_stall: &[&str] = if held_up { &OF_A_STALL } else { &[] };
        let known = [codes, besides, &OF_THE_MACHINE, of_a_stall].concat();
        let wrongly: Vec<_> = named.iter().filter(|named| !known.contains(named)).collect();
        assert!(wrongly.is_empty(), "{wrongly:?} is wrongly named in {}", self.report.at("verdict"));
    }

    fn named(&self) -> Vec<&str> {
        let reasons = self.report.at("verdict.reasons").as_array().expect("reasons are a list");
        reasons.iter().map(|reason| reason["code"].as_str().expect("a reason has a code")).collect()
    }

    /// What was felt and what is told, for people.
    fn comparison(&self) -> String {
        let mut text = format!("{}, in ms:\n", self.server);
        for (field, share) in PERCENTILES.into_iter().chain([("max", 1.0)]) {
            let [least, most] =
                [&self.felt.at_least_ns, &self.felt.at_most_ns].map(|all| quantile(all, share) as f64 / 1e6);
            let told = self.told_ms(field).unwrap_or_else(|| "-".to_owned());
            writeln!(text, "{field:>8}  felt {least:.3} to {most:.3}, told {told}")
                .expect("memory can be written");
        }
        text + &format!("verdict: {}", self.report.at("verdict"))
    }

    fn told_ms(&self, field: &str) -> Option<String> {
        let told_ns = self.report.at(&format!("latency_ns.response.{field}")).as_f64()?;
        Some(format!("{:.2}", told_ns / 1e6))
    }

    /// A row with what was felt at least, and what is told.
    fn add_to_table(&self) {
        let Some(path) = std::env::var_os(TABLE) else { return };
        let cells = ["p50", "p90", "p99", "p99_9", "max"].map(|field| {
            let share = PERCENTILES.iter().find(|(name, _)| *name == field).map_or(1.0, |(_, share)| *share);
            let felt_ms = quantile(&self.felt.at_least_ns, share) as f64 / 1e6;
            self.told_ms(field).map_or_else(|| "–".to_owned(), |told_ms| format!("{felt_ms:.2} / {told_ms}"))
        });
        let status = self.report.at("verdict.status").as_str().unwrap_or_default();
        let verdict = [&[status], self.named().as_slice()].concat().join(", ");
        let row = format!("| {} | {} | {verdict} |\n", self.server, cells.join(" | "));
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(row.as_bytes())).expect("the table's file can be written");
    }
}
