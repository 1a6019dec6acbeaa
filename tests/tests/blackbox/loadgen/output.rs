//! What a run prints, where, and how it is shown again.

use std::{fs, io, path::Path, process::Stdio};

use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{Finished, ServerCommand, load::Loadgen},
};

group! {
    once {
        the_text_report_says_what_a_person_wants_to_know,
        the_report_says_what_its_own_server_was_told,
        off_a_terminal_progress_is_a_line_for_each_interval_on_stderr,
        quiet_says_nothing_but_the_report,
        intervals_add_up_to_the_whole,
        the_report_goes_to_a_file_as_a_whole,
        a_kept_result_is_shown_in_any_format,
        several_kept_results_are_shown_side_by_side,
        what_is_no_result_is_refused,
        nobody_reads_the_report,
    }
}

fn the_text_report_says_what_a_person_wants_to_know() {
    let closed = Loadgen::run(None, "-c 20 -d 500ms -w 0s --mode thread-pool").finish();
    closed.expect_code(0);
    let first_line = closed.stdout.lines().next().unwrap_or_default();
    let is_verdict =
        |line: &str| ["valid", "SUSPECT"].iter().any(|status| line == format!("verdict    {status}"));
    assert!(is_verdict(first_line), "{closed}");
    // What it cannot see stands above the numbers.
    let [note, numbers] = ["cannot see", "requests "].map(|part| closed.stdout.find(part).unwrap());
    assert!(note < numbers, "{closed}");
    for part in
        ["thread-pool", "closed loop", "20", "p50", "p99", "max", "response", "service", "fairness", "█"]
    {
        assert!(closed.stdout.contains(part), "'{part}' is missing; {closed}");
    }
    assert!(closed.stdout.contains("20 of 20 clients served"), "{closed}");
    let open = Loadgen::run(None, "-c 20 -d 500ms -w 0s -r 1k").finish();
    for part in ["open loop", "schedule lag", "offered", "achieved"] {
        assert!(open.expect_report().stdout.contains(part), "'{part}' is missing; {open}");
    }
    for line in closed.stdout.lines().chain(open.stdout.lines()) {
        assert!(line.chars().count() <= 100, "too wide: {line}");
        assert!(!line.contains('\u{1b}'), "an escape sequence where no terminal is: {line}");
    }
}

fn the_report_says_what_its_own_server_was_told() {
    let run = |args: &str| Loadgen::run(None, &format!("-c 2 -n 10 -w 0s {args}"));
    let pool = run("--mode thread-pool --server-threads 3 --work sleep:1ms").report();
    assert_eq!((pool.count("server.threads"), pool.at("server.work")), (3, &"sleep:1ms".into()));
    let text = run("--mode thread-pool --server-threads 3 --work sleep:1ms").finish().stdout;
    assert!(text.contains("thread-pool, 3 threads, work sleep:1ms"), "{text}");
    // What is not said to loadgen, its server decides: by a variable, or by its CPUs.
    let tasks = run("--mode tokio-task").env("SERVER_THREADS", "5").report();
    assert_eq!((tasks.count("server.threads"), tasks.at("server.work").is_null()), (5, true));
    let cpus = run("--mode tokio-task").report();
    let division = cpus.at("environment.division")["server"].as_array().map_or(1, Vec::len);
    assert_eq!(cpus.count("server.threads"), division as u64);
    assert!(run("--mode thread-per-connection").report().at("server.threads").is_null());
}

fn off_a_terminal_progress_is_a_line_for_each_interval_on_stderr() {
    let finished = Loadgen::run(None, "-c 10 -d 1s -w 0s -i 200ms").finish();
    let lines = finished.expect_code(0).stderr.lines().filter(|line| line.contains("p50")).count();
    assert!((4..=6).contains(&lines), "{finished}");
    assert!(!finished.stderr.contains('\r') && !finished.stderr.contains('\u{1b}'), "{finished}");
}

fn quiet_says_nothing_but_the_report() {
    let finished = Loadgen::run(None, "-c 10 -d 500ms -w 0s -i 100ms --quiet").finish();
    assert_eq!(finished.expect_code(0).stderr, "");
    assert!(finished.stdout.contains("verdict"));
}

fn intervals_add_up_to_the_whole() {
    let report = Loadgen::run(None, "-c 10 -d 1s -w 100ms -i 250ms").report();
    let intervals = report.at("intervals").as_array().unwrap();
    assert!((4..=5).contains(&intervals.len()), "{intervals:?}");
    let sum: u64 = intervals.iter().map(|interval| interval["completed"].as_u64().unwrap()).sum();
    assert_eq!(sum, report.count("requests.completed"));
    let begins: Vec<_> = intervals.iter().map(|interval| interval["t_s"].as_f64().unwrap()).collect();
    assert!(begins.is_sorted(), "{begins:?}");
}

fn the_report_goes_to_a_file_as_a_whole() {
    let folder = folder();
    let path = folder.path().join("report.json");
    fs::write(&path, "what was there before").unwrap();
    let to = path.to_str().unwrap();
    let finished = Loadgen::run(None, "-c 10 -n 100 -w 0s --format json").args(["-o", to]).finish();
    assert_eq!(finished.expect_code(0).stdout, "");
    let kept: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(kept["requests"]["completed"], 100);
    let others = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(others, 1, "nothing else is left there");
    let nowhere = Loadgen::run(None, "-c 10 -n 100 -w 0s -o /nowhere/report").finish();
    nowhere.expect_code(1).expect_said(&["/nowhere/report"]);
}

fn a_kept_result_is_shown_in_any_format() {
    let folder = folder();
    let path = keep(&folder, "one.json", "-c 10 -d 300ms -w 0s --mode thread-pool");
    let kept = fs::read_to_string(&path).unwrap();
    let as_json = show(&[&path, "--format", "json"]);
    assert_eq!(as_json.stdout, kept);
    let as_text = show(&[&path]).stdout;
    assert!(as_text.contains("verdict") && as_text.contains("thread-pool"), "{as_text}");
    // The same text as the run itself would have printed.
    let copy = folder.path().join("copy.txt");
    show(&[&path, "-o", copy.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(copy).unwrap(), as_text);
}

fn several_kept_results_are_shown_side_by_side() {
    let folder = folder();
    let server = ServerCommand::bare().start();
    let pool = keep(&folder, "pool.json", "-c 10 -d 300ms -w 0s --mode thread-pool");
    let tasks = keep(&folder, "tasks.json", "-c 10 -d 300ms -w 0s --mode tokio-task");
    let theirs = keep(&folder, "theirs.json", &format!("{} -c 10 -d 300ms -w 0s", server.address()));
    let table = show(&[&pool, &tasks, &theirs]).stdout;
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    // A server of the run's own goes by its mode, another by its file.
    for name in ["thread-pool", "tokio-task", "theirs"] {
        let row = row(name).unwrap_or_else(|| panic!("no row of {name} in\n{table}"));
        assert!(["valid", "SUSPECT"].iter().any(|verdict| row.contains(verdict)), "{row}");
    }
    let formatted = Loadgen::new(&["show", &pool, &tasks, "--format", "json"]).finish();
    formatted.expect_code(2).expect_said(&["--format json", "one at a time"]);
    let csv = show(&[&pool, &tasks, &theirs, "--format", "csv"]).stdout;
    let begins: Vec<_> = csv.lines().map(|line| line.split(",0,").next().unwrap_or_default()).collect();
    assert!(begins[0].starts_with("name,scope,"), "{csv}");
    assert_eq!(begins[1..], ["thread-pool,total", "tokio-task,total", "theirs,total"]);
    assert_eq!(formatted.stdout, "");
    for head in ["verdict", "p50", "max", "served", "errors"] {
        assert!(table.contains(head), "no column {head} in\n{table}");
    }
}

fn what_is_no_result_is_refused() {
    let folder = folder();
    let path = folder.path().join("other.json");
    for (content, said) in
        [("", "no result"), ("{}", "no result"), ("{\"schema\": 1}", "no result"), ("text", "no result")]
    {
        fs::write(&path, content).unwrap();
        let failed = Loadgen::new(&["show", path.to_str().unwrap()]).finish();
        failed.expect_code(1).expect_said(&["other.json", said]);
    }
    let newer = keep(&folder, "newer.json", "-c 1 -n 1 -w 0s");
    let text = fs::read_to_string(&newer).unwrap().replacen("\"schema\": 1", "\"schema\": 999", 1);
    fs::write(&newer, text).unwrap();
    Loadgen::new(&["show", &newer]).finish().expect_code(1).expect_said(&["999"]);
    Loadgen::new(&["show", "/nowhere.json"]).finish().expect_code(1).expect_said(&["/nowhere.json"]);
}

fn nobody_reads_the_report() {
    for args in [&["run", "-c", "5", "-n", "50", "-w", "0s", "-q"][..], &["--generate", "man"], &["--help"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut load = Loadgen::new(args);
        let output = load.command().stdin(Stdio::null()).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panic"), "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

/// Makes a run and keeps its result.
#[track_caller]
fn keep(folder: &TempDir, name: &str, args: &str) -> String {
    let path = folder.path().join(name);
    let path = Path::to_str(&path).expect("temporary files have names in ASCII").to_owned();
    let args = format!("{args} -q --format json");
    let finished = Loadgen::run(None, &args).args(["-o", &path]).finish();
    finished.expect_code(0);
    path
}

#[track_caller]
fn show(args: &[&str]) -> Finished {
    let finished = Loadgen::new(&["show"]).args(args.iter().copied()).finish();
    finished.expect_code(0);
    finished
}
