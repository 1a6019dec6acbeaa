//! `loadgen run --metrics`: the metrics for Prometheus during the load.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use common::Address;
use rustix::process::Signal;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        exposition::{Exposition, ask, get},
        load::{Loadgen, Peer, Report},
        machine,
        scraped_load::{ScrapedLoad, phase},
        wait_until,
    },
};

const COMPLETED: &str = "loadgen_requests_total{result=\"completed\"}";

group! {
    once {
        the_metrics_grow_during_the_load_and_end_equal_to_the_report,
        a_closed_loop_against_a_started_server_has_metrics,
        metrics_count_failures_by_kind_like_the_report,
        nothing_is_counted_before_the_measured_window,
        an_address_in_use_fails_the_run_before_it_begins,
        an_address_that_no_scraper_can_reach_is_bad_usage,
        other_paths_and_methods_get_an_http_error,
        an_endless_request_head_is_refused_and_the_next_scrape_succeeds,
        silent_connections_delay_neither_a_scrape_nor_the_end_of_the_run,
        promtool_accepts_the_metrics needs machine::promtool,
    }
}

fn the_metrics_grow_during_the_load_and_end_equal_to_the_report() {
    let server = ServerCommand::bare().start();
    let load = ScrapedLoad::start(Some(server.address()), "-c 10 -r 500 -d 1h -w 200ms -i 100ms");
    let mut last = load.scrape();
    while last.count(COMPLETED) < 100 {
        let before = last.count(COMPLETED);
        last = load.scrape_when("more requests are counted", |now| now.count(COMPLETED) > before);
        assert_eq!(phase(&last), "measuring");
    }
    let target = format!("loop=\"open\",targets=\"{}\"", server.address());
    assert!(last.series("loadgen_info")[0].contains(&target), "{}", last.text);
    assert_eq!(last.count("loadgen_connections_configured"), 10);
    assert_eq!(last.count("loadgen_offered_requests_per_second"), 500);

    load.running.signal(Signal::INT);
    let (end, report) = load.end(130);
    end.expect_grown_from(&last);
    expect_same_requests(&end, &report);
    assert_eq!(end.count("loadgen_connections_established_total"), 10);
    for (family, name) in [
        ("loadgen_response_seconds", "response"),
        ("loadgen_service_seconds", "service"),
        ("loadgen_schedule_lag_seconds", "schedule_lag"),
        ("loadgen_connect_seconds", "connect"),
    ] {
        expect_same_times(&end, family, &report, name);
    }
}

fn a_closed_loop_against_a_started_server_has_metrics() {
    let (end, report) = ScrapedLoad::start(None, "-c 5 -n 1k -w 0s --mode event-loop --fail-on never").end(0);
    assert!(end.series("loadgen_info")[0].contains("loop=\"closed\",mode=\"event-loop\""), "{}", end.text);
    assert!(!end.has("loadgen_offered_requests_per_second") && !end.has("loadgen_schedule_lag_seconds"));
    assert_eq!(end.count(COMPLETED), 1_000);
    expect_same_requests(&end, &report);
    expect_same_times(&end, "loadgen_response_seconds", &report, "response");
}

fn metrics_count_failures_by_kind_like_the_report() {
    // The replies are in lower case. Each is a mismatch, and the client closes the connection.
    let peer = Peer::echo();
    let (end, report) = ScrapedLoad::start(Some(peer.address()), "-c 5 -d 500ms -w 0s -i 100ms").end(4);
    assert!(end.count("loadgen_errors_total{kind=\"mismatch\"}") > 0, "{}", end.text);
    assert!(end.count("loadgen_requests_total{result=\"failed\"}") > 0, "{}", end.text);
    expect_same_requests(&end, &report);
}

fn nothing_is_counted_before_the_measured_window() {
    let server = ServerCommand::bare().start();
    let load = ScrapedLoad::start(Some(server.address()), "-c 5 -d 1s -w 1h -i 50ms");
    let warming_up = load.scrape_when("the warm-up begins", |now| phase(now) == "warm_up");
    for series in [COMPLETED, "loadgen_replies_total", "loadgen_response_seconds_count"] {
        assert_eq!(warming_up.count(series), 0, "{}", warming_up.text);
    }
    load.running.signal(Signal::INT);
    let (end, report) = load.end(130);
    assert_eq!((end.count(COMPLETED), report.count("requests.completed")), (0, 0));
}

fn an_address_in_use_fails_the_run_before_it_begins() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = Address::from(taken.local_addr().expect("it is bound"));
    let peer = Peer::start(|_, _| panic!("unexpected connection"));
    let failed = Loadgen::run(Some(peer.address()), &format!("-d 1s --metrics {address}")).finish();
    failed.expect_code(1).expect_stderr(&[&address.to_string(), "in use", "another port"]);
    assert_eq!(failed.stdout, "");
}

fn an_address_that_no_scraper_can_reach_is_bad_usage() {
    for (address, said) in [("unix:/run/metrics", "TCP only"), ("9464", "no host"), ("localhost:x", "'x'")] {
        Loadgen::new(&["run", "--metrics", address]).finish().expect_code(2).expect_stderr(&[said]);
    }
    // A comparison has many runs, and no metrics.
    let refused = Loadgen::new(&["compare", "--metrics", "127.0.0.1:0"]).finish();
    refused.expect_code(2).expect_stderr(&["--metrics"]);
}

fn other_paths_and_methods_get_an_http_error() {
    let load = ScrapedLoad::start(None, "-c 5 -d 1h -w 0s");
    let address = &load.address;
    let front = get(address, "/");
    assert_eq!((front.status, front.body.contains("/metrics")), (200, true), "{front:?}");
    for path in ["/metrics/", "/metric", "/../metrics", "/favicon.ico"] {
        assert_eq!(get(address, path).status, 404, "{path}");
    }
    let head = ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""), "{head:?}");
    assert!(head.headers["content-length"].parse::<usize>().unwrap() > 1_000, "{head:?}");
    let post = ask(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((post.status, post.headers["allow"].as_str()), (405, "GET, HEAD"), "{post:?}");
    let nonsense = ask(address, "\u{1}\u{2}\u{3}\r\n\r\n");
    assert_eq!(nonsense.status, 400, "{nonsense:?}");
    load.scrape();
}

fn an_endless_request_head_is_refused_and_the_next_scrape_succeeds() {
    let load = ScrapedLoad::start(None, "-c 5 -d 1h -w 0s");
    let mut endless = TcpStream::connect(load.address.resolve().unwrap().as_slice()).unwrap();
    endless.write_all(b"GET /metrics HTTP/1.1\r\nEndless: ").unwrap();
    // The test waits until the server closes: then a write fails.
    wait_until("an endless head is refused", || endless.write_all(&[b'x'; 1024]).is_err());
    load.scrape();
}

fn silent_connections_delay_neither_a_scrape_nor_the_end_of_the_run() {
    let load = ScrapedLoad::start(None, "-c 5 -d 1h -w 0s");
    let connect = || TcpStream::connect(load.address.resolve().unwrap().as_slice()).unwrap();
    let silent: Vec<_> = (0..8).map(|_| connect()).collect();
    // They occupy every place until their time limit.
    load.scrape();
    let more: Vec<_> = (0..16).map(|_| connect()).collect();
    load.running.signal(Signal::INT);
    load.end_unseen(130);
    drop((silent, more));
}

fn promtool_accepts_the_metrics() {
    let load = ScrapedLoad::start(None, "-c 5 -r 100 -d 1h -w 0s -i 50ms");
    let text = load.scrape_when("requests are counted", |now| now.count(COMPLETED) > 0).text;
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("the test needs it");
    promtool.stdin.take().expect("it is a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Expects that the last counters equal the report.
#[track_caller]
fn expect_same_requests(end: &Exposition, report: &Report) {
    assert_eq!(end.count(COMPLETED), report.count("requests.completed"));
    let (failed, unsent) =
        ("loadgen_requests_total{result=\"failed\"}", "loadgen_requests_total{result=\"unsent\"}");
    assert_eq!(end.count(failed) + end.count(unsent), report.count("requests.failed"));
    assert_eq!(end.count("loadgen_sent_bytes_total"), report.count("requests.bytes_sent"));
    assert_eq!(end.count("loadgen_received_bytes_total"), report.count("requests.bytes_received"));
    assert_eq!(end.count("loadgen_connections_established_total"), report.count("connections.established"));
    assert_eq!(end.count("loadgen_connections_lost_total"), report.count("connections.lost"));
    let achieved_per_s = end.count("loadgen_replies_total") as f64 / report.number("elapsed_s");
    assert!((achieved_per_s - report.number("rate.achieved_per_s")).abs() < 1e-6, "{achieved_per_s}");
    let errors = report.at("errors").as_object().expect("errors are counted by kind");
    assert_eq!(end.series("loadgen_errors_total").len(), errors.len());
    for (kind, count) in errors {
        let shown = end.count(&format!("loadgen_errors_total{{kind=\"{kind}\"}}"));
        assert_eq!(Some(shown), count.as_u64(), "{kind}");
    }
}

/// Expects that the last histogram has as many samples as the report.
#[track_caller]
fn expect_same_times(end: &Exposition, family: &str, report: &Report, name: &str) {
    let of = |part: &str| format!("latency_ns.{name}.{part}");
    let count = report.count(&of("count"));
    assert!(count > 0 && end.count(&format!("{family}_count")) == count, "{family}");
    let (sum_s, mean_s) = (end.value(&format!("{family}_sum")), report.number(&of("mean")) / 1e9);
    assert!((sum_s / count as f64 / mean_s - 1.0).abs() < 1e-3, "{family}: {sum_s}, {count} of {mean_s}");
    // The median lies in the bucket that reaches half of the samples.
    let p50_s = report.number(&of("p50")) / 1e9;
    let buckets = end.buckets(family);
    let half = buckets.iter().position(|(_, upto)| upto * 2 >= count).expect("the last has all of them");
    let above_s = if half == 0 { 0.0 } else { buckets[half - 1].0 };
    // Within the histogram's precision.
    assert!(p50_s >= above_s * 0.999 && p50_s <= buckets[half].0 * 1.001, "{family}: {p50_s}, {buckets:?}");
}
