//! The load: closed and open loops, sizes, counts, several targets.

use std::fs;

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Server, ServerCommand,
        load::{Loadgen, Peer, Report},
    },
};

group! {
    in every mode {
        a_closed_loop_against_a_started_server_is_verified,
        an_open_loop_keeps_its_rate,
        five_hundred_clients_are_served_evenly,
        clients_that_reconnect_for_each_request_are_verified,
        a_pipeline_is_verified,
    }
    once {
        a_constant_rate_is_kept_exactly,
        a_fractional_rate_is_kept_exactly,
        a_count_of_requests_is_kept_exactly,
        requests_in_flight_after_the_warm_up_do_not_fail_a_count,
        the_first_limit_of_count_and_duration_ends_the_run,
        clients_with_think_time_send_fewer_requests,
        every_size_is_verified,
        a_message_file_is_sent_unchanged,
        replies_are_checked_against_the_expectation,
        several_targets_share_the_clients_evenly,
        a_unix_socket_is_a_target,
        an_ipv6_address_is_a_target needs crate::harness::machine::ipv6,
        a_started_server_gets_flags_and_variables,
        connections_are_opened_at_most_at_the_given_rate,
        several_load_threads_make_one_report,
        the_same_seed_makes_the_same_load,
    }
}

const SHORT: &str = "-d 1s -w 200ms";

fn a_closed_loop_against_a_started_server_is_verified(mode: &'static Mode) {
    let report = Loadgen::run(None, &format!("-c 50 {SHORT} --mode {}", mode.name)).report();
    report.expect_all_verified();
    assert_eq!(report.at("schema"), 1);
    assert_eq!(report.at("interrupted"), false);
    assert_eq!(report.at("plan.loop"), "closed");
    assert_eq!(report.count("plan.connections"), 50);
    assert_eq!(report.count("fairness.clients"), 50);
    assert_eq!(report.count("fairness.served"), 50);
    assert!((0.0..=1.0).contains(&report.number("fairness.jain")));
    assert!(report.at("rate.offered_per_s").is_null());
    assert!(report.at("latency_ns.schedule_lag").is_null());
    let completed = report.count("requests.completed");
    for latency in ["response", "service"] {
        let at = |field: &str| report.number(&format!("latency_ns.{latency}.{field}"));
        assert_eq!(at("count"), completed as f64);
        let rising = [at("min"), at("p50"), at("p90"), at("p99"), at("max")];
        assert!(rising[0] > 0.0 && rising.is_sorted(), "{rising:?}");
        assert!((at("min")..=at("max")).contains(&at("mean")) && at("stdev") >= 0.0);
        assert!(report.at(&format!("latency_ns.{latency}.hdr")).as_str().is_some_and(|hdr| hdr.len() > 20));
    }
    assert!(report.count("latency_ns.connect.count") >= 50);
    assert_eq!(report.at("server.mode"), mode.name);
    assert!(report.count("server.rss_bytes") > 100_000);
    assert!(report.number("server.cpu_s") > 0.0 && report.number("generator.cpu_s") > 0.0);
    let share = report.number("generator.busiest_thread_share");
    assert!(share > 0.0 && share <= 1.1, "{share}");
    // Little's law: each client has one outstanding request.
    let under_way = report.number("fairness.effective_concurrency");
    assert!((40.0..60.0).contains(&under_way) || report.has_reason("concurrency"), "{under_way}");
    let per_s = completed as f64 / report.number("elapsed_s");
    let achieved = report.number("rate.achieved_per_s");
    assert!((per_s - achieved).abs() < per_s * 0.05, "{per_s} and {achieved}");
}

fn an_open_loop_keeps_its_rate(mode: &'static Mode) {
    let args = format!("-c 50 -r 2k --arrival poisson -d 2s -w 200ms --mode {}", mode.name);
    let report = Loadgen::run(None, &args).report();
    report.expect_all_verified();
    assert_eq!(report.at("plan.loop"), "open");
    assert_eq!(report.at("plan.arrival"), "poisson");
    let (offered, achieved) = (report.number("rate.offered_per_s"), report.number("rate.achieved_per_s"));
    assert_eq!(offered, 2000.0);
    let has_missed = ["cannot_keep_up", "generator_saturated"].iter().any(|code| report.has_reason(code));
    assert!((achieved - offered).abs() < offered * 0.05 || has_missed, "{achieved} a second");
    assert_eq!(report.count("latency_ns.schedule_lag.count"), report.count("requests.sent"));
    // The response time is never shorter than the service time.
    for field in ["mean", "p50", "p90", "max"] {
        let at = |latency: &str| report.number(&format!("latency_ns.{latency}.{field}"));
        assert!(at("response") >= at("service"), "{field}");
    }
}

fn five_hundred_clients_are_served_evenly(mode: &'static Mode) {
    let report =
        Loadgen::run(None, &format!("-d 2s -w 500ms --mode {} --server-threads 4", mode.name)).report();
    report.expect_all_verified();
    assert_eq!(report.count("fairness.served"), 500);
    assert!(report.number("fairness.jain") > 0.8, "{}", report.at("fairness"));
}

fn clients_that_reconnect_for_each_request_are_verified(mode: &'static Mode) {
    let args = format!("-c 20 {SHORT} --requests-per-connection 5 --mode {}", mode.name);
    let report = Loadgen::run(None, &args).report();
    report.expect_all_verified();
    let (connections, requests) =
        (report.number("latency_ns.connect.count"), report.number("requests.completed"));
    // Connections are counted in the whole run, requests in the window.
    assert!(connections >= requests / 5.0, "{connections} connections for {requests} requests");
}

fn a_pipeline_is_verified(mode: &'static Mode) {
    let report = Loadgen::run(None, &format!("-c 10 -p 8 {SHORT} --mode {}", mode.name)).report();
    report.expect_all_verified();
    let under_way = report.number("fairness.effective_concurrency");
    let is_full = (60.0..100.0).contains(&under_way);
    assert!(is_full || report.has_reason("concurrency"), "{under_way} requests of 10 clients with 8 each");
}

fn a_constant_rate_is_kept_exactly() {
    let server = server();
    let report = Loadgen::run(Some(server.address()), "-c 7 -r 1k -d 2s -w 0s").report();
    report.expect_all_verified();
    assert_eq!(report.at("plan.arrival"), "constant");
    assert_eq!(report.count("requests.sent"), 2000);
    // Each client sends its share of the rate.
    assert!((285..=286).contains(&report.count("fairness.requests_min")));
    assert!((285..=286).contains(&report.count("fairness.requests_max")));
}

fn a_fractional_rate_is_kept_exactly() {
    // Requests are due at 0 s, 2/3 s, 4/3 s and so on; the first at 2 s is outside.
    for (rate, per_s, sent) in [("90/min", 1.5, 3), ("0.5", 0.5, 1), ("1800/h", 0.5, 1)] {
        let report = Loadgen::run(None, &format!("-c 1 -r {rate} -d 2s -w 0s")).any_report();
        assert_eq!(report.number("plan.rate_per_s"), per_s, "{rate}");
        assert_eq!(report.number("rate.offered_per_s"), per_s, "{rate}");
        assert_eq!(report.count("requests.sent"), sent, "{rate}");
    }
}

fn a_count_of_requests_is_kept_exactly() {
    let server = server();
    for args in
        ["-n 1000 -c 7 -w 0s", "-n 1001 -c 50 -t 2 -w 100ms", "-n 3 -c 10 -w 0s", "-n 500 -r 2k -w 0s"]
    {
        let report = Loadgen::run(Some(server.address()), args).report();
        let wanted: u64 = args.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(report.count("requests.sent"), wanted, "{args}");
        report.expect_all_verified();
    }
}

fn requests_in_flight_after_the_warm_up_do_not_fail_a_count() {
    // Ten requests of the window end while the server still works on requests of the warm-up.
    let args = "-c 100 -n 10 -w 120ms --mode tokio-task --work sleep:50ms";
    let report = Loadgen::run(None, args).report();
    report.expect_all_verified();
    assert_eq!((report.count("requests.completed"), report.count("fairness.starved")), (10, 0));
}

fn the_first_limit_of_count_and_duration_ends_the_run() {
    let server = server();
    let report = Loadgen::run(Some(server.address()), "-n 100 -d 1h -c 10 -w 0s").report();
    assert_eq!(report.count("requests.completed"), 100);
    let report = Loadgen::run(Some(server.address()), "-n 1000k -d 500ms -c 2 --think 10ms -w 0s").report();
    assert!((0.4..0.6).contains(&report.number("elapsed_s")));
}

fn clients_with_think_time_send_fewer_requests() {
    let server = server();
    let report = Loadgen::run(Some(server.address()), "-c 10 --think 100ms -d 1s -w 0s").report();
    report.expect_all_verified();
    // Ten clients with a think time of 0.1 s send at most 100 requests per second.
    assert!((20..=110).contains(&report.count("requests.sent")), "{}", report.at("requests"));
}

fn every_size_is_verified() {
    let server = server();
    for (size, requests) in [("1", 2000), ("2", 500), ("15", 500), ("17", 500), ("64", 500), ("10k", 200)] {
        let args = format!("-c 8 -n {requests} -w 0s -s {size}");
        Loadgen::run(Some(server.address()), &args).report().expect_all_verified();
    }
    let report = Loadgen::run(Some(server.address()), "-c 4 -n 20 -w 0s -s 1048576").report();
    report.expect_all_verified();
    assert_eq!(report.count("requests.bytes_sent"), 20 << 20);
    assert_eq!(report.count("requests.bytes_received"), 20 << 20);
}

fn a_message_file_is_sent_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("message");
    let message = b"GET / of \x00\xff anything\r\n\r\n";
    fs::write(&path, message).unwrap();
    // The server closes a connection with any other message.
    let peer = Peer::start(move |_, stream| {
        crate::harness::load::converse(&stream, |bytes| {
            assert!(message.iter().cycle().zip(bytes.iter()).all(|(expected, got)| expected == got));
            bytes.make_ascii_uppercase();
        })
    });
    let report = Loadgen::run(Some(peer.address()), "-c 3 -n 50 -w 0s")
        .args(["--message", &format!("@{}", path.display())])
        .report();
    report.expect_all_verified();
    assert_eq!(report.count("plan.size"), message.len() as u64);
    assert_eq!(report.count("requests.bytes_sent"), 50 * message.len() as u64);
}

fn replies_are_checked_against_the_expectation() {
    let echo = Peer::echo();
    let args = "-c 3 -n 100 -w 0s --format json";
    let upper = Loadgen::run(Some(echo.address()), args).finish();
    let report = Report::read(upper.expect_code(4));
    assert_eq!(report.at("verdict.status"), "invalid");
    assert!(report.at("verdict.reasons").to_string().contains("\"mismatch\""), "{}", report.at("verdict"));
    assert!(report.count("errors.mismatch") > 0);
    assert!(report.at("first_mismatch").is_object());
    assert!(report.count("requests.verified") < 100);
    for expect in ["echo", "none"] {
        let report = Loadgen::run(Some(echo.address()), args).args(["--expect", expect]).finish();
        let report = Report::read(report.expect_report());
        assert_eq!((report.errors(), report.count("requests.completed")), (0, 100), "{expect}");
    }
    let server = server();
    let echo = Loadgen::run(Some(server.address()), args).args(["--expect", "echo"]).finish();
    assert!(Report::read(echo.expect_code(4)).count("errors.mismatch") > 0);
    let anything = Loadgen::run(Some(server.address()), args).args(["--expect", "none"]).finish();
    assert_eq!(Report::read(anything.expect_report()).count("requests.verified"), 0);
}

fn several_targets_share_the_clients_evenly() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let servers = [server(), server(), ServerCommand::bare().listen(&socket).start()];
    let targets = servers.each_ref().map(|server| server.address().to_string());
    let report = Loadgen::new(&["run"])
        .args(targets.iter().map(String::as_str))
        .args(["-c", "30", "-n", "3000", "-w", "0s"])
        .report();
    report.expect_all_verified();
    assert_eq!(report.at("plan.targets"), &serde_json::Value::from(targets.to_vec()));
    for server in servers {
        let stopped = server.stop();
        // loadgen may open one more connection to each target before the load.
        assert!((10..=11).contains(&stopped.counted("connections")));
        assert!(stopped.counted("bytes_received") > 0);
    }
}

fn a_unix_socket_is_a_target() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = ServerCommand::bare().listen(&socket).start();
    Loadgen::run(Some(server.address()), "-c 20 -n 1000 -w 0s").report().expect_all_verified();
}

fn an_ipv6_address_is_a_target() {
    let server = ServerCommand::bare().listen("[::1]:0").start();
    Loadgen::run(Some(server.address()), "-c 20 -n 1000 -w 0s").report().expect_all_verified();
}

fn a_started_server_gets_flags_and_variables() {
    let nap = 20e6;
    let by_flag = Loadgen::run(None, "-c 5 -n 20 -w 0s --work sleep:20ms").report();
    assert!(by_flag.number("latency_ns.service.min") >= nap * 0.99);
    let by_variable = Loadgen::run(None, "-c 5 -n 20 -w 0s").env("SERVER_WORK", "sleep:20ms").report();
    assert!(by_variable.number("latency_ns.service.min") >= nap * 0.99);
    // Variables that would change its address are not passed on.
    let elsewhere = Loadgen::run(None, "-c 5 -n 20 -w 0s --mode thread-pool")
        .env("SERVER_LISTEN", "192.0.2.1:1")
        .env("SERVER_MODE", "tokio-task")
        .report();
    assert_eq!(elsewhere.at("server.mode"), "thread-pool");
}

fn connections_are_opened_at_most_at_the_given_rate() {
    let server = server();
    let begin = std::time::Instant::now();
    Loadgen::run(Some(server.address()), "-c 20 -n 20 -w 0s --connect-rate 40")
        .report()
        .expect_all_verified();
    assert!(begin.elapsed().as_millis() >= 19 * 1000 / 40);
}

fn several_load_threads_make_one_report() {
    let server = server();
    let report = Loadgen::run(Some(server.address()), &format!("-c 50 -t 3 {SHORT}")).report();
    report.expect_all_verified();
    assert_eq!(report.count("plan.threads"), 3);
    assert_eq!(report.count("fairness.served"), 50);
    assert_eq!(report.count("latency_ns.response.count"), report.count("requests.completed"));
}

fn the_same_seed_makes_the_same_load() {
    let server = server();
    let sent = |seed: &str| {
        let args = format!("-c 5 -r 1k --arrival poisson -d 500ms -w 0s --seed {seed}");
        let report = Loadgen::run(Some(server.address()), &args).report();
        assert_eq!(report.at("plan.seed").to_string(), seed);
        report.count("requests.sent")
    };
    assert_eq!(sent("7"), sent("7"));
    // Two different loads have the same number of requests in one of fifty pairs. Three pairs never do.
    assert!(["8", "9", "10"].into_iter().any(|seed| sent(seed) != sent("7")));
}

fn server() -> Server {
    ServerCommand::bare().start()
}
