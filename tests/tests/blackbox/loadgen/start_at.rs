//! `--start-at`: many generators begin at the same moment.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::Address;
use rustix::process::Signal;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::{Loadgen, Report},
        wait_until,
    },
};

/// Time from the start of the program to the start of the load: far longer than a few clients need to connect.
const AHEAD: Duration = Duration::from_secs(3);

group! {
    once {
        generators_with_the_same_start_time_begin_together,
        the_start_time_is_printed_in_a_form_that_start_at_accepts,
        an_interrupt_ends_the_wait_for_the_start_time,
        a_late_generator_begins_at_once_and_reports_it,
    }
}

fn generators_with_the_same_start_time_begin_together() {
    let server = ServerCommand::bare().start();
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let paths = ["a.json", "b.json"].map(|name| folder.path().join(name).display().to_string());
    let at = SystemTime::now() + AHEAD;
    let start = |path: &String| {
        let args = format!("-c 5 -d 1s -w 200ms --format json -o {path} --start-at {}", seconds(at));
        Loadgen::run(Some(server.address()), &args).start()
    };
    // The first generator is connected and waits before the second one starts.
    let first = start(&paths[0]);
    first.stderr.wait_for("waiting until");
    let second = start(&paths[1]);
    for load in [first, second] {
        load.finish().expect_report();
    }
    let at_us = at.duration_since(UNIX_EPOCH).unwrap().as_micros() as f64;
    for path in &paths {
        let report = Report(serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap());
        let late_us = report.number("window_started_at_unix_us") - at_us - 200_000.0;
        // A tenth of the window. On an idle machine, it is far less.
        assert!(late_us.abs() < 100_000.0, "the window began {late_us} µs from when it was to");
        assert_eq!(report.count("late_start_ns"), 0);
        assert_eq!(report.count("plan.start_at_unix_ms"), (at_us / 1e3) as u64);
        assert!(report.count("requests.completed") > 0);
    }
    let merged = Loadgen::new(&["merge", &paths[0], &paths[1], "--format", "json"]).finish();
    let merged = Report::read(merged.expect_report());
    let skew_share = merged.number("merged.start_skew_ns") / 1e9 / merged.number("elapsed_s");
    assert!(skew_share < 0.05, "the windows began {skew_share} of their length apart");
    assert_eq!(merged.count("plan.start_at_unix_ms"), (at_us / 1e3) as u64);
}

fn the_start_time_is_printed_in_a_form_that_start_at_accepts() {
    let waits_until = |moment: &str| {
        let load = Loadgen::run(None, "-c 2 -d 1s").args(["--start-at", moment]).start();
        let said = load.stderr.wait_for("waiting until");
        load.signal(Signal::INT);
        load.finish().expect_code(130);
        let moment = said.split_whitespace().find(|word| word.starts_with("20") && word.ends_with('Z'));
        moment.unwrap_or_else(|| panic!("no moment in: {said}")).to_owned()
    };
    let moment = waits_until(&seconds(SystemTime::now() + Duration::from_secs(3600)));
    assert_eq!(waits_until(&moment), moment);
    // A time without a zone is in UTC.
    assert_eq!(waits_until(&moment.replace('T', " ").replace('Z', "")), moment);
}

fn an_interrupt_ends_the_wait_for_the_start_time() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = ServerCommand::bare().start();
        let in_an_hour = seconds(SystemTime::now() + Duration::from_secs(3600));
        let args = format!("-c 20 -t 2 -d 1s --start-at {in_an_hour}");
        let load = Loadgen::run(Some(server.address()), &args).start();
        load.stderr.wait_for("waiting until");
        load.signal(signal);
        // The wait would take an hour without the signal.
        let finished = load.finish();
        finished.expect_code(code).expect_stderr(&["interrupted before the load began"]);
        assert_eq!(finished.stdout, "");
        // The clients connected before the wait.
        assert_eq!(server.stop().counted("connections"), 20);
    }
}

fn a_late_generator_begins_at_once_and_reports_it() {
    let address = unused_address();
    let at = SystemTime::now() + Duration::from_millis(1_500);
    let args = format!("-c 5 -n 100 -w 0s --wait-for-server 1m --format json --start-at {}", seconds(at));
    let load = Loadgen::run(Some(&address), &args).start();
    load.stderr.wait_for("waiting at most");
    wait_until("the moment is past", || SystemTime::now() > at);
    let _server = ServerCommand::bare().listen(&address).start();
    let finished = load.finish();
    finished.expect_report().expect_stderr(&["after --start-at"]);
    let report = Report::read(&finished);
    assert_eq!(report.count("requests.completed"), 100);
    assert!(report.count("late_start_ns") > 0);
    let reasons = report.at("verdict.reasons").as_array().unwrap();
    let reason = reasons.iter().find(|reason| reason["code"] == "late_start").expect("it is a reason");
    assert_eq!(reason["status"], "suspect");
    assert_eq!(reason["value"].as_f64(), Some(report.number("late_start_ns")));
    let notes = report.at("notes").as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains("later than planned")), "{notes:?}");
}

/// A moment as seconds since 1970.
fn seconds(at: SystemTime) -> String {
    format!("@{:.6}", at.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64())
}

/// An address of this machine without a listener.
fn unused_address() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").into()
}
