//! Results as CSV.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        faulty::FaultyServer,
        load::{Loadgen, Report},
        machine,
    },
};

group! {
    once {
        a_run_is_a_row_for_each_interval_and_one_for_the_whole,
        failed_requests_have_their_columns_and_intervals_and_tail_add_up,
        a_stored_result_gives_the_same_csv,
        a_comparison_is_a_row_for_each_round_and_the_medians needs machine::every_mode,
    }
}

/// A row, as values by the names of their columns.
type Row = BTreeMap<String, String>;

fn a_run_is_a_row_for_each_interval_and_one_for_the_whole() {
    let run = Loadgen::run(None, "-c 10 -d 1s -w 100ms -i 250ms -q --format csv").finish();
    let rows = rows(&run.expect_report().stdout);
    let (total, parts) = rows.split_last().unwrap();
    let (tail, intervals) = parts.split_last().unwrap();
    assert!((4..=5).contains(&intervals.len()), "{intervals:?}");
    assert!(intervals.iter().all(|row| row["scope"] == "interval" && row["verdict"].is_empty()));
    assert!(intervals.is_sorted_by_key(|row| number(row, "t_s")), "{intervals:?}");
    let sum = |name: &str, rows: &[Row]| rows.iter().map(|row| number(row, name)).sum::<f64>();
    assert_eq!(sum("completed", parts), number(total, "completed"));
    assert_eq!((tail["scope"].as_str(), &tail["completed"]), ("tail", &total["completed_after_window"]));
    assert_eq!(tail["t_s"], total["length_s"]);
    assert!((sum("length_s", intervals) - number(total, "length_s")).abs() < 1e-6, "{rows:?}");
    assert!(total["scope"] == "total" && !total["verdict"].is_empty(), "{total:?}");
    assert_eq!((total["loop"].as_str(), total["connections"].as_str()), ("closed", "10"));
    // There is no SLO, and too few samples for p99.99.
    assert_eq!([&total["slo_met"], &total["offered_per_s"], &total["response_p99_99_ns"]], ["", "", ""]);
}

fn failed_requests_have_their_columns_and_intervals_and_tail_add_up() {
    let server = FaultyServer::dropping_every(100);
    let args = "-c 50 -r 2k -d 1s -w 100ms -i 250ms --timeout 200ms -q --format csv";
    let run = Loadgen::run(Some(server.address()), args).finish();
    let rows = rows(&run.expect_report().stdout);
    let (total, parts) = rows.split_last().unwrap();
    for name in ["completed", "failed", "response_failed"] {
        let sum = parts.iter().filter(|row| !row[name].is_empty()).map(|row| number(row, name)).sum::<f64>();
        assert_eq!(sum, number(total, name), "{name}: {rows:?}");
    }
    let of = |name: &str| number(total, name);
    assert_eq!(of("due"), 2_000.0);
    assert_eq!(of("due"), of("completed") + of("failed") + of("cut_off"));
    assert_eq!(of("sent"), of("due") - of("unsent"));
    assert_eq!(of("error_rate"), of("failed") / of("due"));
    assert_eq!((of("response_count"), of("successful_count")), (of("due"), of("completed")));
    assert_eq!(of("response_failed"), of("failed") + of("cut_off"));
    assert!(of("response_failed_longer_than_ns") >= 199e6, "{total:?}");
    // Percentiles among the failed requests are unknown. The longest successful time is known.
    assert_eq!([&total["response_max_ns"], &total["response_mean_ns"]], ["", ""]);
    assert!(of("successful_max_ns") > 0.0 && of("response_p50_ns") > 0.0);
}

fn a_stored_result_gives_the_same_csv() {
    let folder = folder();
    let path = file(&folder, "kept.json");
    let args = "-c 10 -d 1s -w 100ms -r 2k -i 250ms -q --format json";
    Loadgen::run(None, args).args(["-o", &path]).finish().expect_report();
    let report = Report(serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap());
    let shown = Loadgen::new(&["show", &path, "--format", "csv"]).finish();
    let rows = rows(&shown.expect_code(0).stdout);
    let (total, parts) = rows.split_last().unwrap();
    let (tail, intervals) = parts.split_last().unwrap();
    for (column, field) in
        [("length_s", "tail.length_s"), ("completed", "tail.completed"), ("failed", "tail.failed")]
    {
        same(tail, column, report.at(field));
    }
    for (column, field) in [
        ("length_s", "elapsed_s"),
        ("offered_per_s", "rate.offered_per_s"),
        ("achieved_per_s", "rate.achieved_per_s"),
        ("completed", "requests.completed"),
        ("response_p50_ns", "latency_ns.response.p50"),
        ("response_mean_ns", "latency_ns.response.mean"),
        ("response_p99_9_ns", "latency_ns.response.p99_9"),
        ("service_max_ns", "latency_ns.service.max"),
        ("schedule_lag_p90_ns", "latency_ns.schedule_lag.p90"),
        ("jain", "fairness.jain"),
        ("server_cpu_ns_per_request", "server.cpu_ns_per_request"),
    ] {
        same(total, column, report.at(field));
    }
    let expected = report.at("intervals").as_array().unwrap();
    assert_eq!(intervals.len(), expected.len());
    for (row, interval) in intervals.iter().zip(expected) {
        for (column, field) in [
            ("t_s", "t_s"),
            ("completed", "completed"),
            ("achieved_per_s", "achieved_per_s"),
            ("response_p50_ns", "p50"),
            ("response_p99_ns", "p99"),
            ("response_max_ns", "max"),
        ] {
            same(row, column, &interval[field]);
        }
    }
}

fn a_comparison_is_a_row_for_each_round_and_the_medians() {
    let args = "-c 5 -d 200ms -w 50ms --rounds 2 --modes thread-pool,tokio-task -q --format csv";
    let compared = Loadgen::new(&["compare"]).args(args.split(' ')).finish();
    let rows = rows(&compared.expect_code(0).stdout);
    let seen: Vec<_> = rows.iter().map(|row| ["server", "round", "scope"].map(|name| &*row[name])).collect();
    let of = |server| [[server, "1", "total"], [server, "2", "total"], [server, "", "median"]];
    assert_eq!(seen, [of("thread-pool"), of("tokio-task")].concat());
    for server in rows.chunks(3) {
        let [first, second, median] = [0, 1, 2].map(|row| number(&server[row], "achieved_per_s"));
        assert!((first.midpoint(second) - median).abs() < 1e-6, "{server:?}");
    }
}

/// The rows of a text without quotes.
#[track_caller]
fn rows(text: &str) -> Vec<Row> {
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let names: Vec<_> = lines.next().expect("there is a line with the names of the columns").collect();
    let row = |cells: Vec<String>| {
        assert_eq!(cells.len(), names.len(), "{cells:?}");
        names.iter().cloned().zip(cells).collect()
    };
    lines.map(|cells| row(cells.collect())).collect()
}

#[track_caller]
fn number(row: &Row, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name} is '{}'", row[name]))
}

/// Expects the value of the JSON report in the cell, or an empty cell for null.
#[track_caller]
fn same(row: &Row, column: &str, value: &Value) {
    match value.as_f64() {
        // Parsing the JSON may lose the last digit.
        Some(value) => {
            let cell = number(row, column);
            assert!((cell - value).abs() <= 1e-12 * value.abs(), "{column}: {cell} instead of {value}");
        }
        None => assert_eq!((row[column].as_str(), value), ("", &Value::Null), "{column}"),
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

fn file(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    Path::to_str(&path).expect("temporary files have names in ASCII").to_owned()
}
