//! `deploy/`: one load from many generators on real engines, merged to one report.

use std::process::Command;

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};
use serde_json::{Value, json};

use crate::{
    behaviour::Group,
    harness::{Finished, load::Report, programs},
};

mod compose;
mod kubernetes;
mod slurm;
mod swarm;

pub(crate) fn groups() -> Vec<Group> {
    vec![slurm::group(), swarm::group(), compose::group(), kubernetes::group()]
}

/// The load of all parts together: 1,200 requests in the window, of 20 clients.
const LOAD: &str = "--connections 20 --rate 600 --duration 2s --warmup 500ms";
const REQUESTS: u64 = 1_200;
const PARTS: usize = 4;

/// A file of `deploy/`.
fn deployed(file: &str) -> Command {
    Command::new(programs::workspace().join("deploy").join(file))
}

/// Expects the whole load from these parts, and no request twice.
#[track_caller]
fn expect_whole(report: &Report) {
    assert_eq!(part_numbers(report), [0, 1, 2, 3]);
    assert_eq!(report.0.pointer("/merged/missing"), Some(&serde_json::json!([])));
    assert_eq!((report.count("plan.connections"), report.number("plan.rate_per_s")), (20, 600.0));
    assert_eq!(report.count("requests.completed"), REQUESTS);
    assert_eq!(report.count("fairness.served"), 20);
    report.expect_replies_verified();
}

/// Expects that the report has all parts but this one, and names it.
#[track_caller]
fn expect_missing(finished: &Finished, report: &Report, part: u64) {
    finished.expect_stderr(&[&format!("1 of {PARTS} parts is missing: {part}")]);
    assert_eq!(report.at("merged.missing"), &json!([part]));
    let others: Vec<_> = (0..4).filter(|other| *other != part).collect();
    assert_eq!(part_numbers(report), others);
    assert_eq!(report.count("requests.completed"), REQUESTS * 3 / 4);
}

/// The numbers of the parts that the report is made of, in order.
#[track_caller]
fn part_numbers(report: &Report) -> Vec<u64> {
    let parts = report.at("merged.parts").as_array().expect("parts are a list");
    let mut numbers: Vec<_> = parts.iter().map(|part| part["part"].as_u64().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

/// Expects that the histograms of the whole are the sums of those of the parts.
#[track_caller]
fn expect_sum(whole: &Report, parts: &[Report]) {
    for kind in ["response", "service", "schedule_lag"] {
        let name = format!("latency_ns.{kind}.hdr");
        let mut sum = histogram(parts[0].at(&name));
        for part in &parts[1..] {
            sum.add(histogram(part.at(&name))).expect("all have the same bounds");
        }
        assert_eq!(histogram(whole.at(&name)), sum, "{kind}");
    }
}

fn histogram(encoded: &Value) -> Histogram<u64> {
    let bytes = BASE64_STANDARD.decode(encoded.as_str().expect("it is a text")).expect("it is Base64");
    Deserializer::new().deserialize(&mut bytes.as_slice()).expect("it is a histogram")
}

#[track_caller]
fn json(text: &str) -> Report {
    Report(serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
}
