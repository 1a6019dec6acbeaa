//! How precisely percentiles are known, loads that end when they are, and load threads that poll.

use serde_json::Value;

use crate::{
    behaviour::group,
    harness::load::{Loadgen, Report},
};

group! {
    once {
        percentiles_have_intervals,
        a_load_ends_when_its_percentiles_are_precise,
        a_precision_that_is_not_reached_misses_an_objective,
        a_precision_says_what_is_wrong_with_it,
        load_threads_that_poll_are_busy_only_with_work,
        a_polling_thread_without_a_cpu_of_its_own_is_suspect,
        intervals_are_complete_although_the_cpu_is_never_idle,
    }
}

const LOAD: &str = "-c 8 -t 1 -w 0s -q --mode event-loop --fail-on never --format json";

fn percentiles_have_intervals() {
    let report =
        Report::read(Loadgen::run(None, &format!("{LOAD} -d 1s -i 50ms -r 2k")).finish().expect_code(0));
    assert_eq!(report.number("precision.confidence"), 0.95);
    let (blocks, length_s) = (report.count("precision.blocks"), report.number("precision.block_s"));
    assert!(
        blocks >= 10 && blocks as f64 * length_s <= report.number("elapsed_s") + 1e-9,
        "{blocks} {length_s}"
    );
    for known in report.at("precision.percentiles").as_array().unwrap() {
        let value = report.count(&format!("latency_ns.response.{}", known["name"].as_str().unwrap()));
        let low = known["low"].as_u64().unwrap();
        assert!(low <= value && known["high"].as_u64().is_none_or(|high| value <= high), "{known}: {value}");
    }
    let one_interval = Loadgen::run(None, &format!("{LOAD} -d 200ms -r 1k")).finish();
    assert_eq!(*Report::read(one_interval.expect_code(0)).at("precision"), Value::Null);
}

fn a_load_ends_when_its_percentiles_are_precise() {
    // Each reply takes 20 ms, which a busy machine changes little.
    const STEADY: &str =
        "-c 8 -t 1 -w 0s -d 1h -i 50ms -r 200 --mode thread-per-connection --work sleep:20ms --fail-on never";
    let load = || Loadgen::run(None, &format!("{STEADY} -q --format json")).args(["--until", "p50±50%"]);
    let report = Report::read(load().args(["--until", "p10+-50%"]).finish().expect_code(0));
    assert!(report.number("elapsed_s") < 3_600.0 && report.at("aborted").is_null());
    for (index, until) in ["p50±50%", "p10±50%"].iter().enumerate() {
        assert_eq!(report.at(&format!("plan.until.{index}")), until);
        assert_eq!(report.at(&format!("slo.{index}.slo")), until);
        assert_eq!(report.at(&format!("slo.{index}.met")), true);
        assert!(report.number(&format!("slo.{index}.actual")) <= 0.5);
    }
    let finished = Loadgen::run(None, STEADY).args(["--until", "p50±50%"]).finish();
    let shown = &finished.expect_code(0).expect_stderr(&["the precision of --until is reached"]).stdout;
    assert!(shown.contains("SLO        met p50±50%: p50 is "), "{shown}");
}

fn a_precision_that_is_not_reached_misses_an_objective() {
    for (length, said) in [("-i 50ms", " ± "), ("-i 500ms", "the interval of p50 is unknown")] {
        let load =
            Loadgen::run(None, &format!("{LOAD} -d 500ms -r 2k {length}")).args(["--until", "p50±0.1%"]);
        let report = Report::read(load.finish().expect_code(3));
        assert_eq!(report.at("slo.0.met"), false);
        let message = report.at("slo.0.message").as_str().unwrap();
        assert!(message.starts_with("p50±0.1%: ") && message.contains(said), "{message}");
    }
}

fn a_precision_says_what_is_wrong_with_it() {
    for (args, said) in [
        (&["--until", "p99<2%"][..], "no ±"),
        (&["--until", "mean±2%"], "not a percentile"),
        (&["--until", "p99±2ms"], "not a share"),
        (&["--until", "p99±2%", "--stages", "1k/1s"], "--stages and --until exclude each other"),
        (&["--until", "p99±2%", "--part", "1/2", "127.0.0.1:9"], "--until cannot be used with --part"),
    ] {
        Loadgen::run(None, "").args(args.iter().copied()).finish().expect_code(2).expect_stderr(&[said]);
    }
}

fn load_threads_that_poll_are_busy_only_with_work() {
    let run = |flag: &str| {
        let load = Loadgen::run(None, &format!("{LOAD} -d 1s -r 4k {flag}"));
        let report = Report::read(load.finish().expect_code(0));
        assert_eq!(report.at("plan.busy_poll"), !flag.is_empty());
        assert_eq!(report.count("requests.completed"), 4_000);
        let ran = report.number("generator.cpu_s") / report.number("elapsed_s");
        (report.number("generator.busiest_thread_share"), ran)
    };
    let ((polling, ran), (sleeping, _)) = (run("--busy-poll"), run(""));
    // It ran whenever it had the CPU, mostly without work. Its work is that of a thread that sleeps, which also has to wake up.
    assert!(polling < 0.7 * ran, "{polling} {ran}");
    assert!(polling > 0.5 * sleeping, "{polling} {sleeping}");
}

fn a_polling_thread_without_a_cpu_of_its_own_is_suspect() {
    let load = Loadgen::run(None, &format!("{LOAD} -d 300ms -r 200 --busy-poll")).with_one_cpu();
    let report = Report::read(load.finish().expect_code(0));
    assert!(report.has_reason("busy_poll"), "{}", report.at("verdict"));
    assert_eq!(report.count("requests.completed"), 60);
}

/// The thread that gathers runs in idle time, of which a thread that polls leaves none. Another one takes over.
fn intervals_are_complete_although_the_cpu_is_never_idle() {
    let load = Loadgen::run(None, &format!("{LOAD} -d 5s -i 50ms -r 500 --busy-poll")).with_one_cpu();
    let report = Report::read(load.finish().expect_code(0));
    assert!(report.at("notes").to_string().contains("gathering the intervals took time from the load"));
    let intervals = report.at("intervals").as_array().unwrap();
    assert_eq!(intervals.len(), 100);
    let completed: u64 = intervals.iter().map(|interval| interval["completed"].as_u64().unwrap()).sum();
    assert_eq!(completed + report.count("tail.completed"), 2_500);
    assert_eq!(report.count("requests.completed"), 2_500);
}
