//! The request log (`--log`): its lines, what is missing from it, and files that cannot be written.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        faulty::FaultyServer,
        load::{Loadgen, Peer, Report, ignore},
        request_log::RequestLog,
    },
};

group! {
    once {
        each_request_has_a_line_and_those_of_an_open_loop_are_due_exactly,
        the_percentiles_of_the_log_are_those_of_the_report,
        failures_are_logged_by_their_names,
        requests_that_the_end_cuts_off_are_logged,
        each_kind_of_request_is_named,
        a_pipe_whose_reader_waits_delays_no_request_and_the_lost_lines_are_counted,
        the_wait_for_a_pipe_without_a_reader_ends,
        the_number_of_lines_is_bounded,
        an_unwritable_log_is_an_error_before_the_run,
        a_log_on_a_full_disk_is_an_error_after_the_report,
        an_existing_log_is_replaced_when_the_load_begins,
    }
}

const NS_PER_MS: i64 = 1_000_000;

fn each_request_has_a_line_and_those_of_an_open_loop_are_due_exactly() {
    let (_folder, path) = log_file();
    // One request each millisecond.
    let args = "-c 7 -r 1k -d 1s -w 300ms -t 2";
    let report = logged(args, &path).report();
    report.expect_replies_verified();
    let log = RequestLog::read(&path);
    log.expect_counted(&report);
    assert_eq!(report.count("requests.sent"), 1_000);
    let mut lines: Vec<_> = log.lines.iter().collect();
    lines.sort_by_key(|line| (line.due_ns, line.client));
    // The warm-up comes before the window, and so before zero.
    let expected: Vec<_> = (-300..1_000).map(|ms| ms * NS_PER_MS).collect();
    assert_eq!(lines.iter().map(|line| line.due_ns).collect::<Vec<_>>(), expected);
    for (number, line) in (0_u64..).zip(lines) {
        assert_eq!((u64::from(line.client), line.request), (number % 7, number / 7), "{line:?}");
        let written_ns = line.written_ns.expect("a request with a reply was written");
        assert!(line.due_ns <= written_ns && written_ns <= line.ended_ns, "{line:?}");
        assert_eq!((line.kind.as_str(), line.outcome.as_str()), ("message", "ok"));
    }
}

fn the_percentiles_of_the_log_are_those_of_the_report() {
    let (_folder, path) = log_file();
    let report = logged("-c 20 -n 20k -w 0s", &path).report();
    let log = RequestLog::read(&path);
    log.expect_counted(&report);
    assert_eq!((log.lines.len(), log.count("ok")), (20_000, 20_000));
    let response = log.lines.iter().map(|line| line.ended_ns - line.due_ns).collect();
    let service = log.lines.iter().map(|line| line.ended_ns - line.written_ns.unwrap()).collect();
    for (name, times) in [("response", response), ("service", service)] {
        let mut times: Vec<i64> = times;
        times.sort_unstable();
        for (percentile, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            // The lowest time with enough samples up to it.
            let exact = times[(share * times.len() as f64).ceil() as usize - 1] as f64;
            let reported = report.number(&format!("latency_ns.{name}.{percentile}"));
            assert!(
                (reported - exact).abs() <= exact * 0.001 + 1.0,
                "{name} {percentile}: {reported}, {exact}"
            );
        }
    }
}

fn failures_are_logged_by_their_names() {
    let (_folder, path) = log_file();
    let server = FaultyServer::dropping_every(10);
    let address = server.address().to_string();
    let args = format!("{address} -c 4 -p 2 -n 100 -w 0s --timeout 300ms");
    let report = logged(&args, &path).any_report();
    let log = RequestLog::read(&path);
    log.expect_counted(&report);
    assert_eq!(log.lines.len() as u64, report.count("requests.sent"));
    assert_eq!(log.count("ok"), report.count("requests.completed"));
    assert!(log.count("timeout") > 0);
    for (name, count) in report.at("errors").as_object().unwrap() {
        assert_eq!(Some(log.count(name)), count.as_u64(), "{name}");
    }
    for line in log.lines.iter().filter(|line| line.outcome == "timeout") {
        let written_ns = line.written_ns.expect("a request that times out was written");
        assert!(line.ended_ns - written_ns >= 300 * NS_PER_MS, "{line:?}");
    }
}

fn requests_that_the_end_cuts_off_are_logged() {
    let (_folder, path) = log_file();
    let peer = Peer::start(|_, stream| ignore(&stream));
    let args = format!("{} -c 3 -d 1h -w 0s -i 100ms --timeout 1m --format json", peer.address());
    let load = logged(&args, &path).start();
    load.stderr.wait_for("p50");
    load.signal(Signal::INT);
    let report = Report::read(load.finish().expect_code(130));
    let log = RequestLog::read(&path);
    log.expect_counted(&report);
    assert_eq!((log.lines.len(), log.count("cut_off"), report.count("requests.cut_off")), (3, 3, 3));
}

fn each_kind_of_request_is_named() {
    let (_folder, path) = log_file();
    let load = logged("-c 2 -n 100 -w 0s", &path);
    let report = load.args(["--message", "3/get:GET {request}", "--message", "1/set:SET"]).report();
    let log = RequestLog::read(&path);
    log.expect_counted(&report);
    assert_eq!(log.lines.len(), 100);
    let kinds: BTreeSet<_> = log.lines.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["get", "set"]));
}

fn a_pipe_whose_reader_waits_delays_no_request_and_the_lost_lines_are_counted() {
    let (_folder, path) = pipe();
    let (begin, may_begin) = mpsc::channel();
    let reader = thread::spawn({
        let path = path.clone();
        move || {
            let mut pipe = File::open(path).expect("the writer opens the pipe");
            let mut text = String::new();
            may_begin.recv().expect("the test goes on");
            pipe.read_to_string(&mut text).expect("the log is text");
            text
        }
    });
    // Each interval uses up a batch, so that the writer falls behind soon.
    let load = logged("-c 20 -p 8 -d 8s -w 0s -i 50ms --format json", &path).start();
    // 7 of the 8 seconds are over.
    load.stderr.wait_for_lines(140).expect("the load goes on");
    begin.send(()).expect("the reader waits");
    let finished = load.finish();
    let log = RequestLog::parse(&reader.join().expect("the log can be read"));
    let report = Report::read(finished.expect_report());
    let (lines, dropped) = (report.count("log.lines"), report.count("log.dropped"));
    assert!(dropped > 0 && lines > 0, "{lines} lines");
    assert_eq!(log.lines.len() as u64, lines);
    assert_eq!(lines + dropped, report.count("requests.sent"));
    assert_eq!(report.count("requests.sent"), report.count("requests.completed"), "{}", report.at("errors"));
    let sum = lines + dropped;
    let comment = format!("# {dropped} of {sum} requests have no line: the writer could not follow");
    assert_eq!(log.comments, [comment]);
    let notes = report.at("notes").to_string();
    assert!(notes.contains("not in the request log: its writer could not follow"), "{notes}");
}

fn the_wait_for_a_pipe_without_a_reader_ends() {
    let (_folder, path) = pipe();
    let finished = logged("-c 2 -n 20 -w 0s --format json", &path).finish();
    finished.expect_code(1).expect_stderr(&[
        "the request log is not complete: it has 0 of 20 requests",
        "took no line for 10 s",
        "start its reader before the load",
    ]);
    let report = Report::read(&finished);
    assert_eq!((report.count("requests.completed"), report.count("log.dropped")), (20, 20));
    assert!(report.text("log.error").contains("took no line"), "{}", report.at("log"));
}

fn the_number_of_lines_is_bounded() {
    let (_folder, path) = log_file();
    let finished = logged("-c 5 -n 1k -w 0s --log-limit 100 -q", &path).finish();
    finished.expect_report();
    let log = RequestLog::read(&path);
    assert_eq!(log.lines.len(), 100);
    assert_eq!(log.comments, ["# 900 of 1000 requests have no line: --log-limit is reached"]);
    for part in
        ["100 lines; 900 requests beyond --log-limit", "900 of 1,000 requests are not in the request log"]
    {
        let text = finished.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(part), "'{part}' is missing; {finished}");
    }
}

fn an_unwritable_log_is_an_error_before_the_run() {
    let (folder, path) = log_file();
    fs::write(&path, "before").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let missing = folder.path().join("missing/log.csv");
    for (file, code, said) in [
        (path.as_path(), 1, "the file is read-only"),
        (&missing, 1, "its folder does not exist"),
        (folder.path(), 1, "it is a folder"),
        (Path::new("-"), 2, "standard output"),
        (Path::new("/dev/stdout"), 2, "standard output"),
    ] {
        let refused = logged("-c 2 -n 20 -w 0s", file).finish();
        refused.expect_code(code).expect_stderr(&[said]);
        assert!(!refused.stderr.contains("started") && refused.stdout.is_empty(), "{refused}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    let twice = folder.path().join("times.hgrm");
    for args in [["-o", text(&twice)], ["--hdr", text(&folder.path().join("times"))]] {
        let refused = logged("-c 2 -n 20 -w 0s --format text", &twice).args(args).finish();
        refused.expect_code(2).expect_stderr(&["--log and another output would both write", "times.hgrm"]);
    }
    let alone = Loadgen::run(None, "-c 2 -n 20 -w 0s --log-limit 5").finish();
    alone.expect_code(2).expect_stderr(&["--log"]);
}

fn a_log_on_a_full_disk_is_an_error_after_the_report() {
    let finished = logged("-c 2 -n 20 -w 0s --format json", Path::new("/dev/full")).finish();
    finished.expect_code(1).expect_stderr(&[
        "the request log is not complete: it has 0 of 20 requests",
        "/dev/full cannot be written",
        "No space left",
    ]);
    let report = Report::read(&finished);
    assert_eq!((report.count("requests.completed"), report.count("log.lines")), (20, 0));
    assert!(report.text("log.error").contains("No space left"), "{}", report.at("log"));
}

fn an_existing_log_is_replaced_when_the_load_begins() {
    let (_folder, path) = log_file();
    fs::write(&path, "before, and longer than the new log\n".repeat(1_000)).unwrap();
    let refused = logged("127.0.0.1:1 -c 2 -n 20 -w 0s", &path).finish();
    refused.expect_code(1).expect_stderr(&["127.0.0.1:1"]);
    assert!(fs::read_to_string(&path).unwrap().starts_with("before"), "no load has begun");
    let report = logged("-c 2 -n 20 -w 0s", &path).report();
    let log = RequestLog::read(&path);
    log.expect_counted(&report);
    assert_eq!(log.lines.len(), 20);
}

/// A run with a request log. The arguments may begin with a target.
fn logged(args: &str, path: &Path) -> Loadgen {
    Loadgen::run(None, args).args(["--log", text(path)])
}

fn log_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let path = folder.path().join("log.csv");
    (folder, path)
}

fn pipe() -> (TempDir, PathBuf) {
    let (folder, path) = log_file();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("the folder takes a pipe");
    (folder, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary files have names in ASCII")
}
