//! Loads whose rate changes over time, and loads that end early.

use std::fs;

use serde_json::Value;

use crate::{
    behaviour::group,
    harness::load::{Loadgen, Report},
};

group! {
    once {
        each_stage_has_its_requests_and_a_row_in_every_format,
        a_stored_result_is_shown_with_its_stages,
        requests_that_are_never_sent_belong_to_their_stage,
        stages_exclude_the_flags_that_contradict_them,
        a_comparison_runs_the_stages_and_a_sweep_does_not,
        a_slow_server_ends_a_load_early,
        errors_end_an_open_loop_early,
        a_condition_that_does_not_hold_ends_nothing,
        a_condition_says_what_is_wrong_with_it,
    }
}

/// 100, 50, 0 and 25 requests.
const STAGES: &str = "0..200/1s,100/500ms,0/200ms,6000/min..0/500ms";
const DUE: [u64; 4] = [100, 50, 0, 25];

fn staged(format: &str) -> Loadgen {
    let args = "-c 4 -w 100ms -i 100ms -q --mode thread-pool --fail-on never";
    Loadgen::run(None, args).args(["--stages", STAGES, "--format", format])
}

fn each_stage_has_its_requests_and_a_row_in_every_format() {
    for arrival in ["constant", "poisson"] {
        let report = Report::read(staged("json").args(["--arrival", arrival]).finish().expect_code(0));
        let stages = report.at("stages").as_array().unwrap();
        assert_eq!(stages.len(), DUE.len());
        let of = |name: &str| stages.iter().map(|stage| stage[name].as_u64().unwrap()).collect::<Vec<_>>();
        for (due, expected) in of("due").into_iter().zip(DUE) {
            match arrival {
                "constant" => assert!(due.abs_diff(expected) <= 1, "{due} instead of {expected}"),
                // Four standard deviations of a Poisson count.
                _ => assert!((due as f64 - expected as f64).abs() <= 4.0 * (expected as f64).sqrt(), "{due}"),
            }
        }
        for name in ["due", "completed", "failed", "unsent", "cut_off"] {
            assert_eq!(of(name).iter().sum::<u64>(), report.count(&format!("requests.{name}")), "{name}");
        }
        let written: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
        assert_eq!(written.join(","), STAGES);
        for (index, per_s) in [100.0, 100.0, 0.0, 50.0].into_iter().enumerate() {
            assert!((stages[index]["offered_per_s"].as_f64().unwrap() - per_s).abs() < 1e-6, "{stages:?}");
        }
        assert_eq!(report.at("plan.stages").as_array().unwrap().len(), DUE.len());
        assert!((report.number("plan.rate_per_s") - 175.0 / 2.2).abs() < 1e-6);
        assert_eq!((report.at("plan.loop"), report.number("plan.duration_s")), (&Value::from("open"), 2.2));
    }
}

fn a_stored_result_is_shown_with_its_stages() {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let path = folder.path().join("staged.json").to_str().unwrap().to_owned();
    staged("json").args(["-o", &path]).finish().expect_code(0);
    let show = |format: &str| {
        Loadgen::new(&["show", &path, "--format", format]).finish().expect_code(0).stdout.clone()
    };
    assert_eq!(show("json"), fs::read_to_string(&path).unwrap());
    let (text, html, csv) = (show("text"), show("html"), show("csv"));
    for stage in STAGES.split(',') {
        assert!(
            text.contains(stage) && html.contains(stage) && csv.contains(stage),
            "{stage}\n{text}\n{csv}"
        );
    }
    assert!(text.contains("achieved/s"), "{text}");
    assert_eq!(csv.lines().filter(|line| line.starts_with("stage,")).count(), DUE.len(), "{csv}");
    // A result of an older version has no stages.
    let mut older: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for name in ["stages", "recovery", "aborted"] {
        older.as_object_mut().unwrap().remove(name);
    }
    for name in ["stages", "abort_on"] {
        older["plan"].as_object_mut().unwrap().remove(name);
    }
    fs::write(&path, older.to_string()).unwrap();
    assert!(!show("text").contains("achieved/s"), "{}", show("text"));
}

fn requests_that_are_never_sent_belong_to_their_stage() {
    // A server that answers 20 requests per second gets 1,000.
    let args = "-c 2 -w 0s -q --timeout 100ms --mode thread-pool --server-threads 1 --work sleep:50ms --fail-on never";
    for arrival in ["constant", "poisson"] {
        let load = Loadgen::run(None, args).args([
            "--stages",
            "1k/300ms,1k/200ms",
            "--arrival",
            arrival,
            "--format",
            "json",
        ]);
        let report = Report::read(load.finish().expect_code(0));
        let of = |index: usize, name: &str| report.count(&format!("stages.{index}.{name}"));
        assert!(of(0, "due").abs_diff(300) <= if arrival == "constant" { 1 } else { 70 }, "{}", of(0, "due"));
        for name in ["due", "unsent", "failed"] {
            assert_eq!(of(0, name) + of(1, name), report.count(&format!("requests.{name}")), "{name}");
        }
        assert!(of(0, "unsent") > 0 && of(1, "unsent") > of(0, "unsent") / 2, "{:?}", report.at("stages"));
        assert_eq!(report.at("stages.1.errors")["unsent"], of(1, "unsent"));
    }
}

fn stages_exclude_the_flags_that_contradict_them() {
    for (args, said) in [
        ("--rate 5k", "--stages and --rate exclude each other: each stage has its own rate"),
        ("--duration 5s", "--stages and --duration exclude each other"),
        ("--requests 5", "--stages and --requests exclude each other"),
        ("--think 5ms", "--stages and --think exclude each other"),
    ] {
        let load = Loadgen::run(None, args).args(["--stages", "1k/1s"]);
        load.finish().expect_code(2).expect_stderr(&[said]);
    }
    for (stages, said) in [
        ("1k", "stage '1k' has no duration"),
        ("30/min", "must end in a slash and its duration"),
        ("0/1s", "at least one stage needs a rate above 0"),
        ("1k/1s,", "stage 2 is empty"),
        ("fast/1s", "'fast' is not a rate"),
    ] {
        Loadgen::run(None, "").args(["--stages", stages]).finish().expect_code(2).expect_stderr(&[said]);
    }
}

fn a_comparison_runs_the_stages_and_a_sweep_does_not() {
    let args = "compare --modes thread-pool -c 2 -w 50ms --rounds 1 -q --stages 100/200ms,0..100/200ms --format json";
    let args: Vec<_> = args.split_whitespace().collect();
    let result = Report::read(&Loadgen::new(&args).finish());
    let stages = result.at("subjects.0.rounds.0.stages").as_array().unwrap();
    let due: Vec<_> = stages.iter().map(|stage| stage["due"].as_u64().unwrap()).collect();
    assert!(due[0].abs_diff(20) <= 1 && due[1].abs_diff(10) <= 1, "{due:?}");
    Loadgen::new(&["sweep", "--stages", "1k/1s"]).finish().expect_code(2).expect_stderr(&["--stages"]);
}

fn a_slow_server_ends_a_load_early() {
    let args = "-c 4 -d 1h -w 0s -i 100ms --mode thread-pool --server-threads 1 --work sleep:20ms";
    let load =
        || Loadgen::run(None, args).args(["--abort-on", "errors>50%/100ms", "--abort-on", "p50>5ms/300ms"]);
    let report = Report::read(load().args(["-q", "--format", "json"]).finish().expect_code(3));
    assert_eq!(report.at("aborted.condition"), "p50>5ms/300ms");
    assert!(report.number("aborted.value") > 5e6 && report.number("aborted.at_s") >= 0.3);
    assert!(report.number("elapsed_s") < 3_600.0 && report.count("requests.completed") > 0);
    assert!(report.number("elapsed_s") >= report.number("aborted.at_s"));
    assert_eq!(report.at("interrupted"), false);
    let shown = load().finish();
    let text = &shown.expect_code(3).expect_stderr(&["the load ends early: p50>5ms/300ms"]).stdout;
    assert!(text.lines().nth(1).unwrap().starts_with("aborted    --abort-on ended the load"), "{text}");
    assert!(text.lines().last().unwrap().contains("ended by --abort-on"), "{text}");
}

fn errors_end_an_open_loop_early() {
    let args = "-c 4 -w 0s -i 100ms -q --timeout 10ms --mode thread-pool --work sleep:500ms --stages 50/1h";
    let load = Loadgen::run(None, args).args(["--abort-on", "errors>1%/200ms", "--format", "json"]);
    let report = Report::read(load.finish().expect_code(3));
    assert_eq!(report.at("aborted.condition"), "errors>1%/200ms");
    assert!(report.number("aborted.value") > 0.01 && report.count("requests.failed") > 0);
    // The stage has run only in part.
    let ran = report.number("stages.0.length_s");
    assert!(ran < 3_600.0 && (ran - report.number("elapsed_s")).abs() < 1e-6, "{ran}");
}

fn a_condition_that_does_not_hold_ends_nothing() {
    let args = "-c 4 -d 500ms -w 0s -i 100ms -q --mode thread-pool --fail-on never";
    let never = ["p99>1h/100ms", "max>=1h/200ms", "errors>99%/100ms", "rate<1/h/100ms"];
    let load = Loadgen::run(None, args).args(never.iter().flat_map(|condition| ["--abort-on", condition]));
    let report = Report::read(load.args(["--format", "json"]).finish().expect_code(0));
    assert_eq!(*report.at("aborted"), Value::Null);
    assert_eq!(report.at("plan.abort_on").as_array().unwrap().len(), never.len());
}

fn a_condition_says_what_is_wrong_with_it() {
    for (condition, said) in [
        ("p99<5ms/5s", "write p99>5ms/5s"),
        ("p99>5ms", "it has no time"),
        ("rate<30/min", "must end in a slash and the time"),
        ("mean>5ms/5s", "not a metric that can end a load"),
        ("p99>5ms/500ms", "shorter than --interval"),
    ] {
        Loadgen::run(None, "").args(["--abort-on", condition]).finish().expect_code(2).expect_stderr(&[said]);
    }
}
