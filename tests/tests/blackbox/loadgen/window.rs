//! The edges of the measured window: the outcomes of requests that were due in it, before it and after it.

use std::time::Duration;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        faulty::{FaultyServer, answering_after, http_bad_request},
        load::{Loadgen, Report},
    },
};

group! {
    once {
        failed_requests_count_as_slower_than_all_others,
        outstanding_requests_are_awaited_for_their_own_timeout,
        a_request_that_times_out_after_the_window_has_failed,
        an_interrupted_request_counts_as_cut_off_and_not_as_failed,
        the_rate_divides_the_replies_of_the_window_by_its_length,
        errors_of_the_warm_up_are_counted_separately,
        a_target_that_is_not_an_echo_ends_the_run_with_one_reason,
        the_loss_of_the_server_is_reported_with_its_time,
    }
    alone {
        a_low_rate_is_not_late,
        percentiles_do_not_depend_on_how_long_the_end_waits,
    }
}

fn failed_requests_count_as_slower_than_all_others() {
    for (every, in_p99) in [(300, false), (40, true)] {
        let server = FaultyServer::dropping_every(every);
        let args = "-c 100 -r 3k -d 2s -w 200ms --timeout 300ms --format json --slo max<1h --slo p99<1h --slo errors<50%";
        let run = Loadgen::run(Some(server.address()), args).finish();
        // More than one request in a thousand failed.
        let report = Report::read(run.expect_code(4));
        expect_sum(&report);
        let response = |field: &str| report.at("latency_ns.response")[field].clone();
        let tail = response("failed_tail");
        let unanswered = report.count("requests.failed") + report.count("requests.cut_off");
        assert!(unanswered > 0);
        assert_eq!(tail["count"].as_u64(), Some(unanswered));
        assert_eq!(response("count").as_u64(), Some(6_000));
        assert_eq!(report.count("latency_ns.successful.count"), report.count("requests.completed"));
        // A failed request counts as slower than its timeout and than every reply.
        let longer_than_ns = tail["longer_than_ns"].as_f64().unwrap();
        assert!(longer_than_ns >= report.number("latency_ns.successful.max"), "{tail}");
        assert!(longer_than_ns >= 299e6, "{tail}");
        let named = |name: &str| tail["percentiles"].as_array().unwrap().iter().any(|known| known == name);
        assert!(named("max") && response("max").is_null() && response("mean").is_null());
        assert_eq!((named("p99"), response("p99").is_null()), (in_p99, in_p99), "{tail}");
        assert!(report.at("latency_ns.successful.p99").is_number());
        let slo = report.at("slo").as_array().unwrap();
        let met: Vec<_> = slo.iter().map(|slo| slo["met"].as_bool().unwrap()).collect();
        assert_eq!(met, [false, !in_p99, true], "{slo:?}");
        let message = slo[0]["message"].as_str().unwrap();
        assert!(message.starts_with("max<1h: > ") && message.ends_with("(failed)"), "{message}");
    }
}

fn outstanding_requests_are_awaited_for_their_own_timeout() {
    let server = answering_after(Duration::from_millis(10));
    for args in ["-c 1 -r 50 -d 500ms -w 0s --timeout 5s", "-c 5 -d 300ms -w 0s --timeout 5s"] {
        let report = Loadgen::run(Some(server.address()), args).report();
        report.expect_all_verified();
        expect_sum(&report);
        assert_eq!((report.count("requests.cut_off"), report.count("requests.unsent")), (0, 0), "{args}");
    }
}

fn a_request_that_times_out_after_the_window_has_failed() {
    // A request in three gets no reply, so some are outstanding at the end of the window.
    let server = FaultyServer::dropping_every(3);
    let args = "-c 20 -d 500ms -w 0s --timeout 400ms --format json";
    let run = Loadgen::run(Some(server.address()), args).finish();
    let report = Report::read(run.expect_code(4));
    expect_sum(&report);
    assert!(report.count("tail.failed") > 0, "{}", report.at("tail"));
    assert_eq!(report.count("requests.cut_off"), 0);
    assert_eq!(report.count("errors.timeout"), server.faults());
    let tail_s = report.number("tail.length_s");
    assert!((0.1..5.0).contains(&tail_s), "{tail_s}");
}

fn an_interrupted_request_counts_as_cut_off_and_not_as_failed() {
    let server = answering_after(Duration::from_secs(100));
    let args = "-c 3 -d 1h -w 0s -i 100ms --timeout 1h --format json";
    let run = Loadgen::run(Some(server.address()), args).start();
    // The progress lines of these intervals.
    run.stderr.wait_for("0.2s");
    run.signal(rustix::process::Signal::INT);
    let finished = run.finish();
    let report = Report::read(finished.expect_code(130));
    expect_sum(&report);
    let of = |name: &str| report.count(&format!("requests.{name}"));
    assert_eq!([of("due"), of("completed"), of("failed"), of("cut_off")], [3, 0, 0, 3]);
    assert_eq!(report.errors(), 0, "{}", report.at("errors"));
}

fn the_rate_divides_the_replies_of_the_window_by_its_length() {
    let server = ServerCommand::bare().start();
    for args in ["-n 1 -c 500", "-n 10 -c 500", "-n 100 -c 500", "-n 3 -c 1 -w 0s"] {
        let args = format!("{args} --format json --slo rate>=1 --fail-on never");
        let run = Loadgen::run(Some(server.address()), &args).finish();
        // The window is too short for a verdict on the rate.
        let report = Report::read(run.expect_code(3));
        let replies = report.number("rate.achieved_per_s") * report.number("elapsed_s");
        assert!(replies <= report.number("requests.completed") * 1.000_001, "{args}: {replies} replies");
        assert!(report.reasons().contains(&"too_short".to_owned()), "{args}: {}", report.at("verdict"));
        assert_eq!(report.at("slo.0.met"), false);
    }
    for args in ["-d 1ms -w 0s", "-d 1ms -w 100ms"] {
        let run = Loadgen::run(Some(server.address()), &format!("{args} --format json")).finish();
        let report = Report::read(run.expect_report());
        assert_ne!(report.at("verdict.status"), "valid", "{args}");
    }
    let enough = Loadgen::run(Some(server.address()), "-n 20k -c 20").report();
    assert!(!enough.reasons().contains(&"too_short".to_owned()), "{}", enough.at("verdict"));
    // The last request of an open loop has its share of the time.
    let open = Loadgen::run(Some(server.address()), "-n 10 -r 20 -c 5 -w 0s").report();
    let achieved = open.number("rate.achieved_per_s");
    assert!((15.0..=20.001).contains(&achieved), "{achieved}");
}

fn errors_of_the_warm_up_are_counted_separately() {
    let server = FaultyServer::wrong_at_first(Duration::from_millis(300));
    let report = Loadgen::run(Some(server.address()), "-c 10 -r 200 -d 1s -w 1s").report();
    report.expect_all_verified();
    assert_eq!(report.count("requests.completed"), 200);
    assert_eq!(report.count("connections.lost"), 0);
    assert_eq!(report.count("errors_before_window.mismatch"), server.faults());
    assert!(server.faults() > 0 && server.requests() > 200);
    assert!(report.at("notes").to_string().contains("errors before the window"), "{}", report.at("notes"));
}

fn a_target_that_is_not_an_echo_ends_the_run_with_one_reason() {
    let server = http_bad_request();
    let run = Loadgen::run(Some(server.address()), "-c 10 -d 1h -w 100ms --format json").finish();
    let report = Report::read(run.expect_code(4));
    assert_eq!(report.reasons(), ["mismatch"]);
    let reason = report.at("verdict.reasons.0");
    let says = |field: &str, text: &str| reason[field].as_str().unwrap().contains(text);
    assert!(says("message", "not an echo server") && says("advice", "--expect"), "{reason}");
    assert!(report.count("errors.mismatch") > 0 && report.at("first_mismatch").is_object());
}

fn the_loss_of_the_server_is_reported_with_its_time() {
    for load in ["", "-r 1k"] {
        let server = ServerCommand::bare().start();
        let args = format!("-c 20 -d 3s -w 0s -i 200ms --format json {load}");
        let run = Loadgen::run(Some(server.address()), &args).start();
        run.stderr.wait_for("p50");
        drop(server);
        let finished = run.finish();
        finished.expect_stderr(&["x connection refused"]);
        let report = Report::read(finished.expect_code(4));
        expect_sum(&report);
        let reasons = report.reasons();
        assert!(reasons.contains(&"server_gone".to_owned()), "{}", report.at("verdict"));
        // There is no other advice.
        for code in ["cannot_keep_up", "stall", "silence"] {
            assert!(!reasons.contains(&code.to_owned()), "{}", report.at("verdict"));
        }
        let gone_at_s = report.number("server_gone_at_ns") / 1e9;
        assert!((0.1..2.5).contains(&gone_at_s), "{gone_at_s}");
    }
    let stays = ServerCommand::bare().start();
    let report = Loadgen::run(Some(stays.address()), "-c 5 -d 300ms -w 0s").report();
    assert!(report.at("server_gone_at_ns").is_null());
}

fn a_low_rate_is_not_late() {
    for (rate, duration) in [("1", "3s"), ("5", "2s"), ("10", "2s"), ("100", "2s")] {
        let args = format!("-c 5 -r {rate} -d {duration} -w 200ms --mode event-loop");
        let report = Loadgen::run(None, &args).report();
        report.expect_all_verified();
        for code in ["late", "cannot_keep_up", "too_short"] {
            assert!(!report.reasons().contains(&code.to_owned()), "{rate}: {}", report.at("verdict"));
        }
    }
}

fn percentiles_do_not_depend_on_how_long_the_end_waits() {
    // One reply each 5 ms, and two requests: the response times grow to a second.
    let run = |timeout: &str| {
        let args =
            "-c 20 -r 400 -d 1s -w 0s --mode thread-pool --server-threads 1 --work block:5ms --format json";
        let run = Loadgen::run(None, &format!("{args} --timeout {timeout}")).finish();
        let report = Report::read(run.expect_code(4));
        expect_sum(&report);
        run.expect_stderr(&["the window has ended; waiting for outstanding replies, up to"]);
        assert_eq!(report.count("requests.due"), 400);
        // No interval contains replies after the window.
        let intervals = report.at("intervals").as_array().unwrap();
        let inside: u64 = intervals.iter().map(|interval| interval["completed"].as_u64().unwrap()).sum();
        let after = report.count("requests.completed_after_window");
        assert_eq!(
            (inside + after, after),
            (report.count("requests.completed"), report.count("tail.completed"))
        );
        assert!(after > 0);
        report
    };
    let (short, long) = (run("300ms"), run("20s"));
    let at = |report: &Report, field: &str| report.number(&format!("latency_ns.response.{field}"));
    let (one, other) = (at(&short, "p50"), at(&long, "p50"));
    assert!((one / other - 1.0).abs() < 0.15, "{one} and {other}");
    assert_eq!(long.count("requests.failed"), 0);
    assert!(at(&long, "p90") > 600e6, "{}", at(&long, "p90"));
    // With the shorter wait, fewer than 90% of the requests got a reply.
    assert!(short.at("latency_ns.response.p90").is_null(), "{}", short.at("latency_ns.response"));
    assert!((0.25..1.0).contains(&short.number("tail.length_s")), "{}", short.at("tail"));
}

/// Expects that each due request has one outcome, and that the response time covers each.
#[track_caller]
fn expect_sum(report: &Report) {
    let of = |name: &str| report.count(&format!("requests.{name}"));
    assert_eq!(of("due"), of("completed") + of("failed") + of("cut_off"), "{}", report.at("requests"));
    assert_eq!(of("sent"), of("due") - of("unsent"), "{}", report.at("requests"));
    assert_eq!(report.count("latency_ns.response.count"), of("due"));
    assert_eq!(report.count("latency_ns.successful.count"), of("completed"));
}
