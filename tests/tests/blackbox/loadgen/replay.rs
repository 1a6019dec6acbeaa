//! Recorded requests at their own times (`--replay`).

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        load::{Loadgen, Report},
        request_log::RequestLog,
    },
};

group! {
    once {
        requests_are_due_at_the_times_of_the_file,
        requests_that_are_all_due_at_once_are_sent,
        a_replay_takes_nothing_else_that_the_file_says,
        a_file_without_times_cannot_be_replayed,
    }
}

const CLIENTS: u64 = 7;
const REQUESTS: u64 = 200;

/// The time of a request in microseconds. The gaps grow, and some are zero.
fn at_us(number: u64) -> u64 {
    (number / 3).pow(2) * 200
}

fn requests_are_due_at_the_times_of_the_file() {
    let line = |number: u64| {
        let at_us = 5_000_000 + at_us(number);
        let kind = if number.is_multiple_of(2) { "even" } else { "odd" };
        let at_s = format!("{}.{:06}", at_us / 1_000_000, at_us % 1_000_000);
        format!("{{\"message\": \"request {number}\", \"kind\": \"{kind}\", \"at_s\": {at_s}}}\n")
    };
    let (folder, file) = recorded(&(0..REQUESTS).map(line).collect::<String>());
    let log = folder.path().join("log.csv");
    for (speed, ns_per_us) in [("1", 1_000), ("2", 500), ("0.5", 2_000)] {
        let load = replay(&file, &format!("-c {CLIENTS} -t 2 --replay-speed {speed}"));
        let report = load.args(["--log", log.to_str().unwrap()]).report();
        report.expect_replies_verified();
        let span_s = (at_us(REQUESTS - 1) * ns_per_us) as f64 / 1e9;
        expect_plan(&report, REQUESTS);
        assert_eq!(report.number("plan.replay_speed").to_string(), speed);
        let offered = report.number("rate.offered_per_s");
        assert!((offered / (REQUESTS as f64 / span_s) - 1.0).abs() < 1e-9, "{offered}");
        assert!(report.number("elapsed_s") >= span_s);
        assert!(report.number("rate.achieved_per_s") <= offered * (1.0 + 1e-9));

        let log = RequestLog::read(&log);
        log.expect_counted(&report);
        let mut lines: Vec<_> = log.lines.iter().collect();
        lines.sort_by_key(|line| line.request * CLIENTS + u64::from(line.client));
        assert_eq!(lines.len() as u64, REQUESTS);
        for (number, line) in (0..).zip(lines) {
            assert_eq!((u64::from(line.client), line.request), (number % CLIENTS, number / CLIENTS));
            assert_eq!(line.due_ns, (at_us(number) * ns_per_us) as i64, "request {number} at speed {speed}");
            assert_eq!(line.kind, if number.is_multiple_of(2) { "even" } else { "odd" });
        }
    }
}

fn requests_that_are_all_due_at_once_are_sent() {
    let (_folder, file) = recorded(&"{\"message\": \"now\", \"at_s\": 3}\n".repeat(50));
    // More clients than requests.
    for clients in ["-c 4 -t 2", "-c 60 -t 2", "-c 1"] {
        let report = replay(&file, clients).report();
        report.expect_replies_verified();
        expect_plan(&report, 50);
        assert!(report.at("rate.offered_per_s").is_null());
    }
}

fn a_replay_takes_nothing_else_that_the_file_says() {
    let (_folder, file) = recorded("{\"message\": \"now\", \"at_s\": 3}\n");
    for flag in [
        "--rate 5",
        "--arrival poisson",
        "--think 1s",
        "--duration 1s",
        "--requests 5",
        "--warmup 1s",
        "--messages-order random",
    ] {
        let name = flag.split(' ').next().unwrap();
        replay(&file, flag).finish().expect_code(2).expect_stderr(&["--replay", name]);
    }
    Loadgen::run(None, "--replay").finish().expect_code(2).expect_stderr(&["--messages"]);
    Loadgen::run(None, "--replay-speed 2").finish().expect_code(2).expect_stderr(&["--replay"]);
    for speed in ["0", "fast", "-1", "1001"] {
        let refused = replay(&file, &format!("--replay-speed {speed}")).finish();
        refused.expect_code(2).expect_stderr(&["--replay-speed", "speed"]);
    }
}

fn a_file_without_times_cannot_be_replayed() {
    for lines in ["PING\nPING\n", "{\"message\": \"PING\"}\n"] {
        let (_folder, file) = recorded(lines);
        let refused = replay(&file, "-c 1").finish();
        refused.expect_code(2).expect_stderr(&["--replay", "have none", "add \"at_s\"", "\"at_s\": 0.25"]);
    }
}

fn expect_plan(report: &Report, requests: u64) {
    assert_eq!(report.at("plan.loop"), "open");
    assert_eq!(report.at("plan.warmup_s").as_f64(), Some(0.0));
    assert!(report.at("plan.duration_s").is_null() && report.at("plan.arrival").is_null());
    assert_eq!((report.count("plan.requests"), report.count("requests.completed")), (requests, requests));
}

fn replay(file: &str, args: &str) -> Loadgen {
    Loadgen::run(None, args).args(["--replay", "--messages", file])
}

fn recorded(lines: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let file: PathBuf = folder.path().join("requests.jsonl");
    fs::write(&file, lines).expect("the folder is new");
    let name = file.to_str().expect("temporary files have names in ASCII").to_owned();
    (folder, name)
}
