//! Service level objectives of runs and comparisons.

use std::fs;

use rustix::process::Signal;

use crate::{
    behaviour::group,
    harness::load::{Loadgen, Peer, Report},
};

group! {
    once {
        a_met_slo_is_reported_with_exit_code_0,
        a_missed_slo_is_reported_with_exit_code_3,
        an_slo_on_a_percentile_with_too_few_replies_is_not_met,
        an_invalid_verdict_has_precedence_over_a_missed_slo,
        an_interruption_has_precedence_over_a_missed_slo,
        show_repeats_the_slo_of_a_stored_result_with_exit_code_0,
        a_usage_error_says_what_to_write,
        a_comparison_checks_slos_too,
    }
}

/// A short run with far more replies than an SLO of p90 needs.
const SHORT: &str = "-c 5 -d 500ms -w 50ms -q";
/// The same. A busy machine may make it invalid, but the exit code is that of the SLOs.
const WITH_ANY_VERDICT: &str = "-c 5 -d 500ms -w 50ms -q --fail-on never";
/// Bounds that every run meets.
const EASY: [&str; 8] =
    ["p90<1h", "p33.33<1h", "mean<=1h", "max<1h", "errors<100%", "errors<=0%", "rate>=1", "jain>=0"];

fn a_met_slo_is_reported_with_exit_code_0() {
    let asked = || Loadgen::run(None, WITH_ANY_VERDICT).args(EASY.iter().flat_map(|slo| ["--slo", slo]));
    let text = asked().finish().expect_code(0).stdout.clone();
    let said: Vec<_> = text.lines().filter(|line| line.contains(" met ")).collect();
    assert_eq!(said.len(), EASY.len(), "{text}");
    // The line below the verdict.
    let first = text.lines().position(|line| line.starts_with("SLO"));
    assert!(first > text.lines().position(|line| line.starts_with("verdict")), "{text}");
    assert!(first < text.lines().position(|line| line.starts_with("target")), "{text}");
    let report = asked().report();
    let outcomes = report.at("slo").as_array().unwrap();
    for (outcome, asked) in outcomes.iter().zip(EASY) {
        assert_eq!((&outcome["slo"], &outcome["met"]), (&asked.into(), &true.into()));
        assert!(outcome["actual"].as_f64().is_some(), "{outcome}");
    }
    assert_eq!(report.at("plan.slo").as_array().unwrap().len(), EASY.len());
    assert_eq!(outcomes[6]["actual"], *report.at("rate.achieved_per_s"));
    assert_eq!(outcomes[3]["actual"].as_f64(), report.at("latency_ns.response.max").as_f64());
}

fn a_missed_slo_is_reported_with_exit_code_3() {
    for missed in ["p90<1ns", "p50<=1ns", "mean<1ns", "max<1ns", "rate>900m", "jain>1"] {
        let load = Loadgen::run(None, WITH_ANY_VERDICT).args(["--slo", "p90<1h", "--slo", missed]);
        let finished = load.finish();
        let text = &finished.expect_code(3).stdout;
        assert!(text.contains("SLO        met p90<1h: "), "{finished}");
        assert!(text.contains(&format!("MISSED {missed}: ")), "{finished}");
    }
}

fn an_slo_on_a_percentile_with_too_few_replies_is_not_met() {
    let asked = Loadgen::run(None, "-c 1 -n 500 -w 0s -q --fail-on never --slo p99.9<1h --format json");
    let report = Report::read(asked.finish().expect_code(3));
    let outcome = report.at("slo.0");
    assert_eq!((&outcome["met"], &outcome["actual"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(outcome["message"], "p99.9<1h: too few replies (10,000 are needed)");
}

fn an_invalid_verdict_has_precedence_over_a_missed_slo() {
    // An echo without upper case gives wrong replies.
    let peer = Peer::echo();
    let load = Loadgen::run(Some(peer.address()), SHORT).args(["--slo", "p50<1ns"]);
    let finished = load.finish();
    assert!(finished.expect_code(4).stdout.contains("MISSED p50<1ns"), "{finished}");
}

fn an_interruption_has_precedence_over_a_missed_slo() {
    let load = Loadgen::run(None, "-c 5 -d 1h -w 0s").args(["--slo", "p50<1ns"]).start();
    load.stderr.wait_for("p50");
    load.signal(Signal::INT);
    let finished = load.finish();
    assert!(finished.expect_code(130).stdout.contains("MISSED p50<1ns"), "{finished}");
}

fn show_repeats_the_slo_of_a_stored_result_with_exit_code_0() {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let kept = |name: &str, slo: &str, code: i32| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        let load = Loadgen::run(None, WITH_ANY_VERDICT).args(["--slo", slo, "--format", "json", "-o", &path]);
        load.finish().expect_code(code);
        path
    };
    let (met, missed) = (kept("met.json", "p90<1h", 0), kept("missed.json", "p50<1ns", 3));
    let show = |args: &[&str]| {
        Loadgen::new(&["show"]).args(args.iter().copied()).finish().expect_code(0).stdout.clone()
    };
    assert!(show(&[&missed]).contains("SLO        MISSED p50<1ns: "), "{}", show(&[&missed]));
    assert_eq!(show(&[&missed, "--format", "json"]), fs::read_to_string(&missed).unwrap());
    let table = show(&[&met, &missed]);
    assert!(table.contains("SLO") && table.contains("met") && table.contains("MISSED"), "{table}");
}

fn a_usage_error_says_what_to_write() {
    for (slo, said) in [
        ("p99>5ms", "write p99<5ms"),
        ("rate<5k", "write rate>5k"),
        ("p99", "as in 'p99<5ms'"),
        ("p99<5", "write a number and a unit"),
        ("p100<5ms", "max"),
        ("throughput>5k", "mean, max, errors, rate and jain"),
        ("errors<0.001", "as in 0.1%"),
    ] {
        for command in ["run", "compare"] {
            let failed = Loadgen::new(&[command, "--slo", slo]).finish();
            failed.expect_code(2).expect_stderr(&["--slo", said]);
        }
    }
}

fn a_comparison_checks_slos_too() {
    let compare = |slo: &str| {
        let args = "-c 2 -d 200ms -w 50ms --rounds 1 --modes thread-pool,event-loop";
        Loadgen::new(&["compare", "--slo", slo]).args(args.split_whitespace())
    };
    let met = compare("p50<1h").finish();
    assert!(!met.expect_code(0).stdout.contains("MISSED"), "{met}");
    let missed = compare("p50<1ns").finish();
    let text = &missed.expect_code(3).stdout;
    for name in ["thread-pool", "event-loop"] {
        assert!(text.contains(&format!("SLO MISSED {name} p50<1ns: met in 0 of 1 round")), "{missed}");
    }
    let result = Report::read(compare("p50<1ns").args(["--format", "json"]).finish().expect_code(3));
    let slo = result.at("subjects.1.slo.0");
    assert_eq!((&slo["met"], &slo["held"], &slo["rounds"]), (&false.into(), &0.into(), &1.into()));
}
