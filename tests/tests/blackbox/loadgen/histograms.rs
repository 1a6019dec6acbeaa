//! The files of `--hdr`, which the tools of HdrHistogram read.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        Finished,
        faulty::FaultyServer,
        load::{Loadgen, Report},
        machine,
    },
};

group! {
    once {
        the_python_library_reads_the_log_of_a_run needs machine::python_with_hdrhistogram,
        the_percentiles_are_those_of_the_report,
        the_rows_end_where_the_failed_requests_begin,
        a_stored_result_gives_the_same_files,
        unwritable_histogram_files_are_an_error_before_the_run,
        only_one_run_has_histograms,
    }
}

/// The names of the files, behind the prefix.
const FILES: [&str; 4] = [".hgrm", ".successful.hgrm", ".service.hgrm", ".hlog"];

/// A program that adds up the intervals of a log and prints the result.
const READ: &str = "
import json, sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
bounds = (1, 3600 * 10**9, 3)
total = HdrHistogram(*bounds)
reader = HistogramLogReader(sys.argv[1], HdrHistogram(*bounds))
intervals = []
while (interval := reader.get_next_interval_histogram()) is not None:
    began, ended = interval.get_start_time_stamp(), interval.get_end_time_stamp()
    intervals.append({'count': interval.get_total_count(), 'began_ms': began, 'ended_ms': ended})
    total.add(interval)
values = [(at.value_iterated_to, at.total_count_to_this_value) for at in total.get_recorded_iterator()]
print(json.dumps({'start_s': reader.get_start_time_sec(), 'intervals': intervals, 'count': total.get_total_count(),
                  'min': total.get_min_value(), 'max': total.get_max_value(), 'values': values}))
";

fn the_python_library_reads_the_log_of_a_run() {
    let (_folder, prefix) = folder();
    let report = measure(&prefix);
    let python = machine::hdrhistogram_python().expect("the test needs it");
    let read = Finished::of(Command::new(python).args(["-c", READ, &format!("{prefix}.hlog")]), b"");
    let read: Value = serde_json::from_str(&read.expect_code(0).stdout).unwrap();
    assert_eq!(read["count"], *report.at("latency_ns.response.count"));
    assert_eq!(read["max"], *report.at("latency_ns.response.max"));
    // A percentile is the lowest value with enough samples up to it.
    let values = read["values"].as_array().unwrap();
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let enough = (share * report.number("latency_ns.response.count")).ceil();
        let first = values.iter().find(|value| value[1].as_f64().unwrap() >= enough).unwrap();
        assert_eq!(first[0], *report.at(&format!("latency_ns.response.{name}")), "{name}");
    }
    // The intervals have their wall-clock times.
    let began_s = report.number("window_started_at_unix_us") / 1e6;
    assert!((read["start_s"].as_f64().unwrap() - began_s).abs() < 2e-3, "{read}");
    let (intervals, expected) = (read["intervals"].as_array().unwrap(), report.at("intervals"));
    // The last row holds the replies after the window.
    let (tail, intervals) = match report.count("tail.completed") {
        0 => (None, intervals.as_slice()),
        _ => intervals.split_last().map(|(tail, intervals)| (Some(tail), intervals)).unwrap(),
    };
    if let Some(tail) = tail {
        assert_eq!(tail["count"], *report.at("tail.completed"));
    }
    assert_eq!(intervals.len(), expected.as_array().unwrap().len());
    for (interval, expected) in intervals.iter().zip(expected.as_array().unwrap()) {
        assert_eq!(interval["count"], expected["completed"]);
        let [began_ms, ended_ms] = ["began_ms", "ended_ms"].map(|name| interval[name].as_f64().unwrap());
        let expected_ms = (began_s + expected["t_s"].as_f64().unwrap()) * 1e3;
        assert!((began_ms - expected_ms).abs() < 3.0 && began_ms <= ended_ms, "{read}");
    }
    let ended_ms = intervals.last().unwrap()["ended_ms"].as_f64().unwrap();
    assert!((ended_ms - (began_s + report.number("elapsed_s")) * 1e3).abs() < 3.0, "{read}");
}

fn the_percentiles_are_those_of_the_report() {
    let (_folder, prefix) = folder();
    let report = measure(&prefix);
    for (suffix, times) in
        [(".hgrm", "response"), (".successful.hgrm", "successful"), (".service.hgrm", "service")]
    {
        let text = fs::read_to_string(format!("{prefix}{suffix}")).unwrap();
        let (head, rows) = text.split_once("\n\n").unwrap();
        assert_eq!(head, "       Value     Percentile TotalCount 1/(1-Percentile)");
        let (rows, trailer): (Vec<_>, Vec<_>) = rows.lines().partition(|line| !line.starts_with('#'));
        assert_eq!(trailer.len(), 3, "{text}");
        let rows: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| row.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
            .collect();
        let at = |field: &str| report.number(&format!("latency_ns.{times}.{field}"));
        // In milliseconds, to the nanosecond.
        let same =
            |row: &[f64], field: &str| assert!((row[0] * 1e6 - at(field)).abs() < 0.6, "{field}: {text}");
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, at("count")), "{text}");
        same(last, "max");
        same(rows.iter().find(|row| row[1] == 0.5).unwrap(), "p50");
        let p90 = rows.iter().find(|row| row[1] == 0.9).unwrap();
        if at("count") % 10.0 == 0.0 {
            // 0.9 of the samples is a whole number. The library adds its levels up as floating-point numbers, so it may
            // print the next sample.
            assert!(p90[0] * 1e6 + 0.6 > at("p90"), "p90: {text}");
        } else {
            same(p90, "p90");
        }
        for pair in rows.windows(2) {
            assert!((0..3).all(|column| pair[0][column] <= pair[1][column]), "{pair:?}");
        }
        for row in &rows[..rows.len() - 1] {
            assert!((row[3] * (1.0 - row[1]) - 1.0).abs() < 0.01, "{row:?}");
        }
    }
}

fn the_rows_end_where_the_failed_requests_begin() {
    let (folder, prefix) = folder();
    let server = FaultyServer::dropping_every(100);
    let args = "-c 50 -r 2k -d 1s -w 100ms --timeout 200ms -q";
    let report = Loadgen::run(Some(server.address()), args).args(["--hdr", &prefix]).any_report();
    let failed = report.count("latency_ns.response.failed_tail.count");
    let text = fs::read_to_string(format!("{prefix}.hgrm")).unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with('#'))
        .map(|row| row.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
        .collect();
    let (completed, due) = (report.number("requests.completed"), report.number("requests.due"));
    let last = rows.last().unwrap();
    // Not 100%: the plotter draws each row that has four cells.
    assert!(rows.iter().all(|row| row.len() == 4), "{text}");
    assert!((last[1] - completed / due).abs() < 1e-9 && last[2] == completed, "{text}");
    assert!((last[0] * 1e6 - report.number("latency_ns.successful.max")).abs() < 0.6, "{text}");
    let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
    assert!((median[0] * 1e6 - report.number("latency_ns.response.p50")).abs() < 0.6, "{text}");
    assert!(text.contains(&format!("#[Failed  = {failed:>12}, FromPercentile = ")), "{text}");
    assert!(text.contains(&format!("Total count    = {due:>12}]")), "{text}");
    let successful = fs::read_to_string(format!("{prefix}.successful.hgrm")).unwrap();
    assert!(!successful.contains("Failed"), "{successful}");
    assert!(successful.contains(&format!("Total count    = {completed:>12}]")), "{successful}");
    let log = fs::read_to_string(format!("{prefix}.hlog")).unwrap();
    assert!(log.contains("without a reply]"), "{log}");
    // A stored result gives the same in every format.
    let kept = folder.path().join("kept.json");
    fs::write(&kept, report.0.to_string()).unwrap();
    let again = format!("{prefix}-again");
    let shown = Loadgen::new(&["show", kept.to_str().unwrap(), "--hdr", &again]).finish();
    assert_eq!(fs::read_to_string(format!("{again}.hgrm")).unwrap(), text);
    let shown = &shown.expect_code(0).stdout;
    for part in ["(failed)", "successful", "no reply", "2,000 due, all sent: ", "error rate "] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

fn a_stored_result_gives_the_same_files() {
    let (folder, prefix) = folder();
    let report = measure(&prefix);
    let kept = folder.path().join("kept.json");
    fs::write(&kept, report.0.to_string()).unwrap();
    let again = format!("{prefix}-again");
    let shown = Loadgen::new(&["show", kept.to_str().unwrap(), "--hdr", &again]).finish();
    assert!(shown.expect_code(0).stdout.contains("verdict"), "the report is printed too; {shown}");
    for suffix in FILES {
        let [first, second] = [&prefix, &again].map(|prefix| fs::read(format!("{prefix}{suffix}")).unwrap());
        assert_eq!(first, second, "{suffix}");
    }
    let mut older = report.0;
    older["intervals"][0].as_object_mut().unwrap().remove("hdr");
    fs::write(&kept, older.to_string()).unwrap();
    let none = format!("{prefix}-none");
    let failed = Loadgen::new(&["show", kept.to_str().unwrap(), "--hdr", &none]).finish();
    failed.expect_code(1).expect_stderr(&["no histogram of the interval at 0 s"]);
    assert!(FILES.iter().all(|suffix| !Path::new(&format!("{none}{suffix}")).exists()));
}

fn unwritable_histogram_files_are_an_error_before_the_run() {
    let (folder, prefix) = folder();
    fs::create_dir(format!("{prefix}.hlog")).unwrap();
    for (prefix, code, said) in [
        ("/nowhere/run", 1, "/nowhere/run.hgrm"),
        (prefix.as_str(), 1, "it is a folder"),
        ("results/", 2, "FOLDER/NAME"),
        ("", 2, "--hdr"),
    ] {
        // The run would take an hour.
        let failed = Loadgen::run(None, "-c 1 -d 60m -q").args(["--hdr", prefix]).finish();
        failed.expect_code(code).expect_stderr(&[said]);
        assert_eq!(failed.stdout, "");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left there");
}

fn only_one_run_has_histograms() {
    let (folder, prefix) = folder();
    let compared = Loadgen::new(&["compare", "--modes", "tokio-task", "--rounds", "1"])
        .args("-c 2 -d 100ms -w 0s -q --format json".split(' '))
        .finish();
    let kept = folder.path().join("compared.json");
    fs::write(&kept, &compared.expect_code(0).stdout).unwrap();
    let kept = kept.to_str().unwrap();
    let refused = Loadgen::new(&["show", kept, "--hdr", &prefix]).finish();
    refused.expect_code(2).expect_stderr(&["compared.json", "one run"]);
    let run = folder.path().join("run.json");
    fs::write(&run, measure(&prefix).0.to_string()).unwrap();
    let run = run.to_str().unwrap();
    let refused = Loadgen::new(&["show", run, run, "--hdr", &prefix]).finish();
    refused.expect_code(2).expect_stderr(&["--hdr", "one result at a time"]);
}

/// Makes a run with `--hdr` and this prefix.
#[track_caller]
fn measure(prefix: &str) -> Report {
    Loadgen::run(None, "-c 10 -d 1s -w 100ms -i 250ms -q").args(["--hdr", prefix]).any_report()
}

/// A folder, and a prefix for the paths of files in it.
fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let prefix = folder.path().join("run").to_str().expect("temporary files have names in ASCII").to_owned();
    (folder, prefix)
}
