//! `loadgen merge`: the results of several generators as one.

use std::{
    fs,
    path::Path,
    slice,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::{Loadgen, Report},
    },
};

group! {
    once {
        runs_side_by_side_add_up_exactly,
        a_sum_is_shown_and_added_up_like_any_other_result,
        results_that_do_not_fit_together_are_refused_and_named,
        a_run_is_not_added_twice_to_a_sum,
        a_sum_that_is_invalid_exits_with_its_code,
        only_runs_can_be_merged,
        results_are_read_from_logs_and_other_lines_are_counted,
        a_result_on_one_line_is_read_like_any_other,
        a_result_that_is_cut_off_is_an_error_unless_parts_may_be_missing,
        missing_parts_mark_the_report_and_set_the_exit_code,
        missing_parts_are_named_by_their_numbers,
        an_objective_that_each_part_meets_may_be_missed_by_the_whole,
        an_input_without_a_result_is_an_error_that_says_what_to_do,
    }
}

/// Time from the start of the generators to the start of their load.
const AHEAD: Duration = Duration::from_millis(1_500);

/// Fields that are sums over all generators.
const ADDED: [&str; 15] = [
    "requests.sent",
    "requests.completed",
    "requests.failed",
    "requests.verified",
    "requests.bytes_sent",
    "requests.bytes_received",
    "connections.established",
    "connections.lost",
    "latency_ns.response.count",
    "latency_ns.service.count",
    "latency_ns.connect.count",
    "fairness.clients",
    "fairness.asked",
    "fairness.served",
    "fairness.replies_sum",
];

fn runs_side_by_side_add_up_exactly() {
    let folder = folder();
    let names = ["a.json", "b.json", "c.json"];
    // The parts have different sizes, so that they cannot be confused.
    let loads = ["-c 3 --seed 1", "-c 10 --seed 2", "-c 5 -t 2 --seed 3"];
    let paths = side_by_side(&folder, names, loads, "-d 1s -w 0s -i 250ms");
    let parts = paths.each_ref().map(|path| read(path));
    let all = Report::read(merge(&paths).args(["--format", "json"]).finish().expect_report());
    let sum = |path: &str| parts.iter().map(|part| part.count(path)).sum::<u64>();
    for path in ADDED {
        assert_eq!(all.count(path), sum(path), "{path}");
    }
    assert!(all.count("requests.completed") > 0);
    let rates = parts.iter().map(|part| part.number("rate.achieved_per_s")).sum::<f64>();
    assert!((all.number("rate.achieved_per_s") / rates - 1.0).abs() < 1e-9);
    for (kind, count) in all.at("errors").as_object().unwrap() {
        assert_eq!(count.as_u64(), Some(sum(&format!("errors.{kind}"))), "{kind}");
    }
    // The extremes of the sum are extremes of the parts. Percentiles lie between those of the parts.
    let of = |path: &str| parts.each_ref().map(|part| part.number(path));
    let [least, most] = [f64::min, f64::max]
        .map(|choose| move |values: [f64; 3]| values.into_iter().reduce(choose).expect("there are three"));
    assert_eq!(all.number("latency_ns.response.min"), least(of("latency_ns.response.min")));
    assert_eq!(all.number("latency_ns.response.max"), most(of("latency_ns.response.max")));
    for name in ["mean", "p50", "p90", "p99"] {
        let path = format!("latency_ns.response.{name}");
        let [low, high] = [least(of(&path)), most(of(&path))];
        assert!(
            (low..=high).contains(&all.number(&path)),
            "{path}: {} of {:?}",
            all.number(&path),
            of(&path)
        );
    }
    let bars: u64 =
        entries(&all, "response_histogram").iter().map(|bar| bar["count"].as_u64().unwrap()).sum();
    assert_eq!(bars, all.count("requests.completed"));
    let completed = |report: &Report| -> u64 {
        let inside =
            entries(report, "intervals").iter().map(|interval| interval["completed"].as_u64().unwrap());
        inside.sum::<u64>() + report.count("tail.completed")
    };
    assert_eq!(completed(&all), all.count("requests.completed"));
    // The bounds may differ by one client.
    assert_eq!(all.number("fairness.requests_min"), least(of("fairness.requests_min")));
    assert_eq!(all.number("fairness.requests_max"), most(of("fairness.requests_max")));
    assert_eq!((all.count("plan.connections"), all.count("plan.threads")), (18, sum("plan.threads")));
    assert_eq!(all.count("merged.generators"), 3);
    assert_eq!(entries(&all, "plan.targets").len(), 1);
    assert!(all.at("server").is_null() && all.at("calibration").is_null());
    let cpu_s = parts.iter().map(|part| part.number("generator.cpu_s")).sum::<f64>();
    assert!((all.number("generator.cpu_s") / cpu_s - 1.0).abs() < 1e-9);
}

fn a_sum_is_shown_and_added_up_like_any_other_result() {
    let folder = folder();
    let loads = ["-c 2", "-c 4", "-c 6"];
    let paths = side_by_side(&folder, ["a.json", "b.json", "c.json"], loads, "-d 1s -w 0s");
    let text = merge(&paths).finish();
    let said = &text.expect_report().stdout;
    for part in ["verdict", "12 clients", "sum of 3 generators", "aligned", "12 of 12 clients served"] {
        assert!(said.contains(part), "'{part}' is missing; {text}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{text}");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let keep = |paths: &[String], to: &str| {
        let kept = merge(paths).args(["--format", "json", "-o", to]).finish();
        assert_eq!(kept.expect_report().stdout, "");
    };
    keep(&paths[..2], &at("ab.json"));
    keep(&[at("ab.json"), paths[2].clone()], &at("in-steps.json"));
    keep(&paths, &at("at-once.json"));
    let shown = Loadgen::new(&["show", &at("at-once.json")]).finish();
    assert_eq!(&shown.expect_code(0).stdout, said);
    let [in_steps, at_once] = ["in-steps.json", "at-once.json"].map(|name| {
        let mut report = read(&at(name));
        // These name the files, or are sums of fractions, which depend on the order.
        for part in ["command", "notes", "rate", "generator", "fairness", "intervals"] {
            report.0[part].take();
        }
        report.0
    });
    assert_eq!(in_steps, at_once);
}

fn results_that_do_not_fit_together_are_refused_and_named() {
    let folder = folder();
    let loads = ["-c 2 -p 1", "-c 2 -p 4", "-c 2 -p 1"];
    let [one, four, again] =
        side_by_side(&folder, ["one.json", "four.json", "again.json"], loads, "-d 1s -w 0s");
    refuse(&[&one, &four], &["one.json has a pipeline of 1, ", "four.json has a pipeline of 4"]);
    refuse(&[&one, &one], &["one.json", "the same run", "twice"]);
    let server = ServerCommand::bare().start();
    let later = keep(&folder, "later.json", &format!("{} -c 2 -d 1s -w 0s", server.address()));
    refuse(&[&later, &one], &["one.json and ", "later.json do not overlap", "after the end of the first"]);
    let edited = |name: &str, edit: fn(&mut Value)| {
        let path = folder.path().join(name).display().to_string();
        let mut report = read(&again).0;
        edit(&mut report);
        fs::write(&path, report.to_string()).unwrap();
        path
    };
    // The format of an older loadgen.
    let older = edited("older.json", |report| {
        report["fairness"].as_object_mut().unwrap().remove("replies_hdr");
    });
    refuse(&[&one, &older], &["older.json is from an older version", "fairness.replies_hdr"]);
    let broken = edited("broken.json", |report| report["latency_ns"]["service"]["hdr"] = "AAAA".into());
    refuse(&[&one, &broken], &["broken.json", "latency_ns.service"]);
    let open = edited("open.json", |report| report["plan"]["loop"] = "open".into());
    refuse(&[&one, &open], &["a closed loop", "an open loop"]);
    // The two fitting results are not named.
    merge(&[one, again]).finish().expect_report();
}

fn a_run_is_not_added_twice_to_a_sum() {
    let folder = folder();
    let [one, again] = side_by_side(&folder, ["one.json", "again.json"], ["-c 2", "-c 3"], "-d 1s -w 0s");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let [sum, of_sum, old] = ["sum.json", "of-sum.json", "old.json"].map(at);
    let keep = |paths: &[String], to: &str| merge(paths).args(["-o", to]).finish().expect_report().code;
    keep(&[one.clone(), again.clone()], &sum);
    refuse(
        &[&one, &again, &sum],
        &[
            "sum.json is a merged result that already holds",
            "one.json",
            "again.json",
            "twice",
            "either the merged",
        ],
    );
    keep(slice::from_ref(&sum), &of_sum);
    refuse(&[&of_sum, &again], &["of-sum.json is a merged result that already holds", "again.json"]);
    refuse(&[&of_sum, &sum], &["of-sum.json and", "sum.json both hold", "give the runs themselves"]);
    // Writing a result again does not change its identity.
    let shown = Loadgen::new(&["show", &one, "-o", &old]).finish();
    shown.expect_code(0);
    let mut rewritten = read(&old).0;
    rewritten.as_object_mut().unwrap().remove("command");
    fs::write(&old, rewritten.to_string()).unwrap();
    refuse(&[&old, &sum], &["already holds", "old.json"]);
    let mut forgetful = read(&sum).0;
    forgetful["merged"].as_object_mut().unwrap().remove("parts");
    fs::write(&old, forgetful.to_string()).unwrap();
    refuse(&[&old, &one], &["old.json is a merged result of an older version", "the runs themselves"]);
}

fn a_sum_that_is_invalid_exits_with_its_code() {
    let folder = folder();
    let loads = ["-c 2", "-c 2"];
    let [one, other] = side_by_side(&folder, ["one.json", "other.json"], loads, "-d 1s -w 0s");
    let mut report = read(&other).0;
    report["errors"]["mismatch"] = 1.into();
    fs::write(&other, report.to_string()).unwrap();
    let paths = [one, other];
    let finished = merge(&paths).args(["--format", "json"]).finish();
    let report = Report::read(finished.expect_code(4));
    assert_eq!((report.at("verdict.status"), report.count("errors.mismatch")), (&"invalid".into(), 1));
    merge(&paths).args(["--fail-on", "never"]).finish().expect_code(0);
}

fn only_runs_can_be_merged() {
    let folder = folder();
    let run = keep(&folder, "run.json", "-c 2 -d 500ms -w 0s");
    let path = folder.path().join("other.json");
    let other = path.to_str().unwrap();
    fs::write(&path, "{}").unwrap();
    let failed = Loadgen::new(&["merge", &run, other]).finish();
    failed.expect_code(1).expect_stderr(&["other.json", "not a result"]);
    assert_eq!(failed.stdout, "");
    Loadgen::new(&["merge", &run, "/nowhere.json"]).finish().expect_code(1).expect_stderr(&["/nowhere.json"]);
    let args = "-c 2 -d 200ms -w 50ms --rounds 1 --modes tokio-task,thread-pool -q --format json -o";
    Loadgen::new(&["compare"]).args(args.split(' ')).args([other]).finish().expect_code(0);
    refuse(&[&run, other], &["other.json is a comparison or a sweep"]);
}

fn results_are_read_from_logs_and_other_lines_are_counted() {
    let folder = folder();
    let loads = ["-c 2", "-c 3", "-c 4"];
    let paths = side_by_side(&folder, ["a.json", "b.json", "c.json"], loads, "-d 1s -w 0s -i 250ms");
    let [a, b, c] = paths.each_ref().map(|path| fs::read_to_string(path).unwrap());
    let line = |result: &str| serde_json::from_str::<Value>(result).unwrap().to_string();
    // Standard error in the middle of a result, lines of a terminal, other JSON, and no end of the last line.
    let (head, rest) = a.split_at(a.find("\n  \"plan\"").unwrap());
    let log = format!(
        "\u{1b}[2Jstarted\n{head}\n  \n2 s: 900 replies/s{rest}{}{{\"level\":\"info\"}}\n\n{}",
        b.replace('\n', "\r\n"),
        line(&c)
    );
    let at_once = Report::read(merge(&paths).args(["--format", "json"]).finish().expect_report());
    let finished = Loadgen::new(&["merge", "--format", "json"]).finish_with(log.as_bytes());
    let skipped =
        r"3 lines of stdin were skipped, as they are not results; the first is line 1: \u{1b}[2Jstarted";
    finished.expect_report().expect_stderr(&[skipped]);
    let from_log = Report::read(&finished);
    let notes = entries(&from_log, "notes");
    assert!(notes.iter().any(|note| note.as_str() == Some(skipped)), "{notes:?}");
    let names: Vec<_> = entries(&from_log, "merged.parts").iter().map(|part| part["name"].clone()).collect();
    let lines = |result: &str| result.lines().count();
    let second = 2 + lines(&a) + 2;
    let third = second + lines(&b) + 2;
    assert_eq!(names, ["stdin:2".to_owned(), format!("stdin:{second}"), format!("stdin:{third}")]);
    let rest = |mut report: Report| {
        for part in ["command", "notes", "merged"] {
            report.0[part].take();
        }
        report.0
    };
    let at = folder.path().join("all.log").display().to_string();
    fs::write(&at, &log).unwrap();
    let files = Report::read(Loadgen::new(&["merge", "--format", "json", &at]).finish().expect_report());
    let expected = rest(at_once);
    assert_eq!([rest(from_log), rest(files)], [expected.clone(), expected]);
    // A result of a log and one of a file.
    let mixed = Loadgen::new(&["merge", "-", &paths[1], "--format", "json"]).finish_with(a.as_bytes());
    assert_eq!(Report::read(mixed.expect_report()).count("merged.generators"), 2);
}

fn a_result_on_one_line_is_read_like_any_other() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (one, all) = (at("one.json"), at("all.jsonl"));
    keep(&folder, "one.json", "-c 2 -d 500ms -w 0s");
    let line = Loadgen::run(None, "-c 3 -d 500ms -w 0s -q --format jsonl").finish();
    let line = &line.expect_report().stdout;
    assert_eq!((line.lines().count(), line.ends_with('\n')), (1, true), "{line}");
    let shown = Loadgen::new(&["show", &one, "-o", &at("one.jsonl")]).finish();
    shown.expect_code(0);
    let kept = fs::read_to_string(at("one.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 1);
    let back = Loadgen::new(&["show", &at("one.jsonl"), "--format", "json"]).finish();
    assert_eq!(back.expect_code(0).stdout, fs::read_to_string(&one).unwrap());
    // A file with several results is shown like several files.
    fs::write(&all, format!("a line of a log\n{kept}{line}")).unwrap();
    let side_by_side = Loadgen::new(&["show", &all]).finish();
    let table = &side_by_side.expect_code(0).stdout;
    assert!(
        ["all:2 ", "all:3 "].iter().all(|name| table.lines().any(|row| row.starts_with(name))),
        "{table}"
    );
    let again = Loadgen::new(&["show", &all, "--format", "jsonl"]).finish();
    assert_eq!(again.expect_code(0).stdout, format!("{kept}{line}"));
    Loadgen::new(&["show", &all, "--format", "json"]).finish().expect_code(2).expect_stderr(&["jsonl"]);
}

fn a_result_that_is_cut_off_is_an_error_unless_parts_may_be_missing() {
    let folder = folder();
    let [one, other] = side_by_side(&folder, ["one.json", "other.json"], ["-c 2", "-c 3"], "-d 1s -w 0s");
    let [whole, cut] = [&one, &other].map(|path| fs::read_to_string(path).unwrap());
    let log = format!("started\n{}\n{whole}", &cut[..cut.len() / 2]);
    let failed = Loadgen::new(&["merge"]).finish_with(log.as_bytes());
    failed
        .expect_code(1)
        .expect_stderr(&["stdin:2: the result cannot be used: it is incomplete", "--expect-parts"]);
    assert_eq!(failed.stdout, "");
    let partial =
        Loadgen::new(&["merge", "--expect-parts", "2", "--format", "json"]).finish_with(log.as_bytes());
    partial
        .expect_code(1)
        .expect_stderr(&["the result at stdin:2 is left out: it is incomplete", "1 of 2 parts is missing"]);
    let report = Report::read(&partial);
    assert_eq!((report.count("merged.generators"), report.count("merged.expected")), (1, 2));
    assert!(report.at("notes").to_string().contains("stdin:2 is left out"), "{report:?}");
    // A generator that died has an empty file, a file without a result, or no file.
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (empty, log, none) = (at("empty.json"), at("died.log"), at("none.json"));
    fs::write(&empty, "").unwrap();
    fs::write(&log, "panicked at main.rs\n").unwrap();
    merge(&[one.clone(), empty.clone()])
        .finish()
        .expect_code(1)
        .expect_stderr(&["empty.json holds no result", "it is empty"]);
    let all = [one, empty, log, none];
    let partial = merge(&all).args(["--expect-parts", "4"]).finish();
    partial.expect_code(1).expect_stderr(&[
        "empty.json holds",
        "died.log holds",
        "none.json holds",
        "3 of 4 parts are missing",
    ]);
}

fn missing_parts_mark_the_report_and_set_the_exit_code() {
    let folder = folder();
    let [one, other] = side_by_side(&folder, ["one.json", "other.json"], ["-c 2", "-c 3"], "-d 1s -w 0s");
    let paths = [one, other];
    let expecting = |parts: &str, rest: &[&str]| {
        merge(&paths)
            .args(["--fail-on", "never", "--expect-parts", parts])
            .args(rest.iter().copied())
            .finish()
    };
    let complete = expecting("2", &["--format", "json"]);
    let report = Report::read(complete.expect_code(0));
    assert!(!report.reasons().contains(&"missing_parts".to_owned()), "{report:?}");
    // The exit code is 1 even if an SLO is missed.
    for rest in [&[][..], &["--slo", "p50<1ns"]] {
        let partial = expecting("3", rest);
        let text = &partial.expect_code(1).expect_stderr(&["1 of 3 parts is missing"]).stdout;
        for part in
            ["INVALID, partial: the numbers cover 2 of 3 parts", "missing_parts: 1 of 3 parts is missing"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
    let html = expecting("3", &["--format", "html"]);
    assert!(html.expect_code(1).stdout.contains("Partial: the numbers cover 2 of 3 parts."), "{html}");
    let csv = expecting("3", &["--format", "csv"]);
    let total = csv.expect_code(1).stdout.lines().last().unwrap().to_owned();
    assert!(total.contains(",missing_parts") && total.ends_with(",true,"), "{total}");
    // A result too many belongs to another load.
    expecting("1", &[]).expect_code(2).expect_stderr(&["there are 2 results, but the load has 1 part"]);
    Loadgen::new(&["merge", &paths[0], "--expect-parts", "0"]).finish().expect_code(2);
}

fn missing_parts_are_named_by_their_numbers() {
    let folder = folder();
    let names = ["zero.json", "two.json", "three.json"];
    let paths = side_by_side(&folder, names, ["-c 1", "-c 1", "-c 1"], "-d 1s -w 0s");
    let numbered = |path: &str, number: u64, of: u64| {
        let mut report = read(path).0;
        report["plan"]["part"] = serde_json::json!({"number": number, "of": of, "connections": 5, "rate_per_s": null, "requests": null});
        fs::write(path, report.to_string()).unwrap();
    };
    for (path, number) in paths.iter().zip([0, 2, 3]) {
        numbered(path, number, 5);
    }
    let finished = merge(&paths).args(["--format", "json"]).finish();
    let report = Report::read(finished.expect_code(4));
    assert_eq!(report.reasons()[0], "missing_parts");
    assert_eq!(
        (report.at("merged.missing"), report.count("merged.expected")),
        (&serde_json::json!([1, 4]), 5)
    );
    let parts: Vec<_> = entries(&report, "merged.parts").iter().map(|part| part["part"].as_u64()).collect();
    assert_eq!(parts, [Some(0), Some(2), Some(3)]);
    let expected = merge(&paths).args(["--expect-parts", "5"]).finish();
    expected.expect_code(1).expect_stderr(&["2 of 5 parts are missing: 1, 4"]);
    assert!(expected.stdout.contains("2 of 5 parts are missing: 1, 4"), "{expected}");
    merge(&paths)
        .args(["--expect-parts", "4"])
        .finish()
        .expect_code(2)
        .expect_stderr(&["give --expect-parts 5"]);
    numbered(&paths[1], 0, 5);
    refuse(&[&paths[0], &paths[1]], &["zero.json and ", "two.json are both part 0"]);
    numbered(&paths[1], 2, 6);
    refuse(&[&paths[0], &paths[1]], &["a --part of 5", "a --part of 6"]);
}

fn an_objective_that_each_part_meets_may_be_missed_by_the_whole() {
    let folder = folder();
    // Clients of one generator are treated alike, and those of the other get ten times as much.
    let loads = ["-c 2 -r 20 --slo jain>=0.9", "-c 2 -r 200 --slo jain>=0.9"];
    let paths = side_by_side(&folder, ["one.json", "other.json"], loads, "-d 2s -w 0s");
    for path in &paths {
        assert_eq!(read(path).at("slo.0.met"), &Value::Bool(true), "{path}");
    }
    let finished = merge(&paths).args(["--fail-on", "never", "--format", "json"]).finish();
    let report = Report::read(finished.expect_code(3));
    assert_eq!((report.at("slo.0.slo"), report.at("slo.0.met")), (&"jain>=0.9".into(), &Value::Bool(false)));
    // Objectives of the merge are checked besides.
    let further = ["--fail-on", "never", "--format", "json", "--slo", "rate>=150", "--slo", "rate>=100k"];
    let report = Report::read(merge(&paths).args(further).finish().expect_code(3));
    let met: Vec<_> = entries(&report, "slo").iter().map(|slo| slo["met"].as_bool().unwrap()).collect();
    assert_eq!(met, [false, true, false]);
    Loadgen::new(&["merge", &paths[0], "--slo", "p99>5ms"])
        .finish()
        .expect_code(2)
        .expect_stderr(&["p99<5ms"]);
}

fn an_input_without_a_result_is_an_error_that_says_what_to_do() {
    let folder = folder();
    let path = keep(&folder, "run.json", "-c 2 -d 500ms -w 0s");
    let result = fs::read_to_string(&path).unwrap();
    let with_prefix: String = result.lines().map(|line| format!("load.1.x@host    | {line}\n")).collect();
    for (input, parts) in [
        ("", &["stdin holds no result", "it is empty", "--format jsonl"][..]),
        ("panicked\n", &["stdin holds no result", "the first is line 1: panicked"]),
        (&with_prefix, &["prefix", "--raw", "--prefix=false"]),
    ] {
        let failed = Loadgen::new(&["merge"]).finish_with(input.as_bytes());
        failed.expect_code(1).expect_stderr(parts);
        assert_eq!(failed.stdout, "");
        Loadgen::new(&["merge", "--expect-parts", "2"])
            .finish_with(input.as_bytes())
            .expect_code(1)
            .expect_stderr(parts);
    }
    let terminal = Loadgen::new(&["merge"]).in_terminal(200).finish();
    assert!(terminal.stdout.contains("standard input is a terminal: name the results"), "{terminal}");
}

/// Runs these loads at the same time against one server, and returns the paths of their results.
#[track_caller]
fn side_by_side<const N: usize>(
    folder: &TempDir,
    names: [&str; N],
    loads: [&str; N],
    all: &str,
) -> [String; N] {
    let server = ServerCommand::bare().start();
    let paths = names.map(|name| folder.path().join(name).display().to_string());
    // Their windows overlap even if a busy machine starts them slowly.
    let at = (SystemTime::now() + AHEAD).duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64();
    let running: Vec<_> = paths
        .iter()
        .zip(loads)
        .map(|(path, load)| {
            let args = format!("{load} {all} --start-at @{at:.3} -q --format json -o {path}");
            Loadgen::run(Some(server.address()), &args).start()
        })
        .collect();
    for load in running {
        load.finish().expect_report();
    }
    paths
}

/// Makes a run and keeps its result.
#[track_caller]
fn keep(folder: &TempDir, name: &str, args: &str) -> String {
    let path = folder.path().join(name).display().to_string();
    let args = format!("{args} -q --format json -o {path}");
    Loadgen::run(None, &args).finish().expect_report();
    path
}

fn merge(paths: &[String]) -> Loadgen {
    Loadgen::new(&["merge"]).args(paths.iter().map(String::as_str))
}

/// Expects that these are refused, with these parts in the error.
#[track_caller]
fn refuse(paths: &[&str], parts: &[&str]) {
    let refused = Loadgen::new(&["merge"]).args(paths.iter().copied()).finish();
    refused.expect_code(2).expect_stderr(parts);
    assert_eq!(refused.stdout, "");
}

#[track_caller]
fn read(path: &str) -> Report {
    let text = fs::read_to_string(Path::new(path)).expect("the result is there");
    Report(serde_json::from_str(&text).expect("it is JSON"))
}

#[track_caller]
fn entries<'a>(report: &'a Report, path: &str) -> &'a [Value] {
    report.at(path).as_array().expect("it is a list")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}
