//! Failures of the server are counted by kind. Reasons that make a run impossible are errors before it begins.

use std::{
    io::Write,
    net::{Shutdown, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use common::Address;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        faulty::{self, FaultyServer},
        load::{Loadgen, Peer, Report, converse, ignore},
        machine,
    },
};

group! {
    once {
        a_refused_connection_fails_the_run_and_says_what_to_do,
        an_unknown_host_fails_the_run,
        it_waits_until_the_server_appears,
        the_wait_for_a_server_ends_after_its_limit,
        the_loss_of_the_server_is_counted_and_the_run_ends_in_time,
        clients_reconnect_to_a_server_that_was_restarted,
        a_reply_that_is_not_upper_case_is_a_mismatch,
        a_swapped_reply_is_a_mismatch,
        a_reply_that_is_too_long_is_a_mismatch,
        a_truncated_reply_counts_as_a_closed_connection,
        a_missing_reply_is_a_timeout,
        every_dropped_request_of_an_open_loop_is_a_timeout_and_no_other,
        the_delay_of_a_slow_server_is_in_every_service_time,
        clients_of_a_refusing_target_reconnect_at_growing_intervals,
        a_reply_after_the_window_is_awaited_for_the_timeout,
        a_run_without_a_server_ends_with_its_window,
        too_many_connections_for_the_open_files_limit_fail_the_run_before_it_begins,
        clients_use_more_loopback_addresses_when_local_ports_run_out needs machine::own_network,
        too_many_connections_for_the_local_ports_fail_the_run_before_it_begins needs machine::own_network,
        ports_in_time_wait_do_not_stop_a_churn needs machine::own_network,
    }
}

fn a_refused_connection_fails_the_run_and_says_what_to_do() {
    let address = unused_address();
    let failed = Loadgen::run(Some(&address), "-c 5 -d 1s -w 0s").finish();
    failed.expect_code(1).expect_stderr(&[&address.to_string(), "connection refused", "--wait-for-server"]);
    assert_eq!(failed.stdout, "");
    let missing = Loadgen::new(&["run", "unix:/nowhere/echo.sock", "-c", "5", "-d", "1s"]).finish();
    missing.expect_code(1).expect_stderr(&["/nowhere/echo.sock"]);
}

fn an_unknown_host_fails_the_run() {
    // A name that never resolves (RFC 6761).
    let failed = Loadgen::new(&["run", "no-such-host.invalid:80", "-c", "5", "-d", "1s"]).finish();
    failed.expect_code(1).expect_stderr(&["no-such-host.invalid"]);
}

fn it_waits_until_the_server_appears() {
    let address = unused_address();
    let args = "-c 5 -n 100 -w 0s --wait-for-server 1m --format json";
    let waiting = Loadgen::run(Some(&address), args).start();
    waiting.stderr.wait_for("waiting");
    let _server = ServerCommand::bare().listen(&address).start();
    let finished = waiting.finish();
    Report::read(finished.expect_report()).expect_all_verified();
    assert_eq!(finished.stderr.matches("waiting").count(), 1, "{finished}");
}

fn the_wait_for_a_server_ends_after_its_limit() {
    let address = unused_address();
    let begin = Instant::now();
    let failed = Loadgen::run(Some(&address), "-c 5 -d 1s --wait-for-server 300ms").finish();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    failed.expect_code(1).expect_stderr(&[&address.to_string(), "did not answer"]);
}

fn the_loss_of_the_server_is_counted_and_the_run_ends_in_time() {
    let server = ServerCommand::bare().start();
    let begin = Instant::now();
    let load = Loadgen::run(Some(server.address()), "-c 20 -d 2s -w 0s -i 200ms --format json").start();
    load.stderr.wait_for("p50");
    // SIGKILL: the server closes nothing in an orderly way.
    drop(server);
    let finished = load.finish();
    assert!(begin.elapsed() >= Duration::from_secs(2), "it ended before its time");
    let report = Report::read(&finished);
    assert!(report.count("errors.connect_refused") > 0, "{}", report.at("errors"));
    let lost = report.count("errors.reset") + report.count("errors.closed");
    assert!(lost > 0 && lost <= 20, "each client loses its connection once: {}", report.at("errors"));
    assert!(report.count("requests.completed") > 0);
    assert_eq!(report.at("interrupted"), false);
    let elapsed = report.number("elapsed_s");
    assert!((1.9..2.1).contains(&elapsed), "{elapsed}");
    let silence = report.number("fairness.longest_silence_ns");
    assert!(silence > 0.5e9, "no reply for most of the time: {silence}");
}

fn clients_reconnect_to_a_server_that_was_restarted() {
    let server = ServerCommand::bare().start();
    let address = server.address().clone();
    let load = Loadgen::run(Some(&address), "-c 10 -d 4s -w 0s -i 200ms --format json").start();
    load.stderr.wait_for("p50");
    drop(server);
    load.stderr.wait_for(" 0/s");
    let _again = ServerCommand::bare().listen(&address).start();
    let report = Report::read(&load.finish());
    let intervals = report.at("intervals").as_array().unwrap();
    let completed: Vec<_> = intervals.iter().map(|part| part["completed"].as_u64().unwrap()).collect();
    let gap = completed.iter().position(|count| *count == 0).expect("there was a gap");
    assert!(completed[gap..].iter().any(|count| *count > 0), "{completed:?}");
    assert_eq!(report.count("fairness.served"), 10);
}

fn a_reply_that_is_not_upper_case_is_a_mismatch() {
    // Only the last byte of the third client's reply is wrong.
    let peer = Peer::start(|number, stream| {
        converse(&stream, |bytes| {
            bytes.make_ascii_uppercase();
            if let (2, Some(last)) = (number, bytes.last_mut()) {
                *last ^= 1;
            }
        })
    });
    let report = mismatches(&peer);
    assert!(report.count("requests.completed") > 0, "the other clients go on");
}

fn a_swapped_reply_is_a_mismatch() {
    // A correct reply, but to the previous request.
    let peer = Peer::start(|_, stream| {
        let mut last = None;
        converse(&stream, |bytes| {
            bytes.make_ascii_uppercase();
            let reply = last.replace(bytes.to_vec()).unwrap_or_else(|| bytes.to_vec());
            bytes.copy_from_slice(&reply);
        })
    });
    mismatches(&peer);
}

fn a_reply_that_is_too_long_is_a_mismatch() {
    let peer = Peer::start(|_, stream| {
        converse(&stream, |bytes| {
            bytes.make_ascii_uppercase();
            let _gone = (&stream).write_all(b"And another thing: ");
        })
    });
    mismatches(&peer);
}

fn a_truncated_reply_counts_as_a_closed_connection() {
    let peer = Peer::start(|_, stream| {
        converse(&stream, |bytes| {
            bytes.make_ascii_uppercase();
            let _gone = (&stream).write_all(&bytes[..bytes.len() / 2]);
            let _gone = stream.shutdown(Shutdown::Both);
        })
    });
    let finished = Loadgen::run(Some(peer.address()), "-c 3 -d 500ms -w 0s --format json").finish();
    let report = Report::read(finished.expect_code(4));
    assert!(report.count("errors.closed") + report.count("errors.reset") > 0, "{}", report.at("errors"));
    assert_eq!((report.count("errors.mismatch"), report.count("requests.completed")), (0, 0));
    assert!(report.at("verdict.reasons").to_string().contains("no_replies"), "{}", report.at("verdict"));
}

fn a_missing_reply_is_a_timeout() {
    let peer = Peer::start(|_, stream| ignore(&stream));
    let args = "-c 3 -d 1s -w 0s --timeout 200ms --format json";
    let report = Report::read(Loadgen::run(Some(peer.address()), args).finish().expect_code(4));
    // A client that has lost a request reconnects and sends the next one.
    assert!(report.count("errors.timeout") > 3, "{}", report.at("errors"));
    assert_eq!(report.count("requests.completed"), 0);
    assert_eq!(report.count("requests.failed"), report.count("requests.sent"));
}

fn every_dropped_request_of_an_open_loop_is_a_timeout_and_no_other() {
    let server = FaultyServer::dropping_every(100);
    let args = "-c 20 -r 500 -d 2s -w 0s --timeout 300ms --format json";
    let report = Report::read(Loadgen::run(Some(server.address()), args).finish().expect_code(4));
    assert!(server.faults() >= 9, "{} of {} requests", server.faults(), server.requests());
    // A client that waited for a dropped reply sends its overdue requests after the window. The end of the run cuts them off.
    let (timeouts, cut_off) = (report.count("errors.timeout"), report.count("requests.cut_off"));
    assert_eq!(timeouts + cut_off, server.faults(), "{}", report.at("errors"));
    assert_eq!(report.errors(), timeouts, "{}", report.at("errors"));
    assert_eq!(report.count("requests.completed") + server.faults(), server.requests());
}

fn the_delay_of_a_slow_server_is_in_every_service_time() {
    let delay = Duration::from_millis(10);
    let peer = faulty::answering_after(delay);
    // Requests that arrive during a wait have the same delay.
    let args = "-c 2 -p 4 -r 200 -d 1s -w 0s";
    let report = Loadgen::run(Some(peer.address()), args).report();
    assert_eq!(report.errors(), 0, "{}", report.at("errors"));
    let [shortest, median] = ["min", "p50"].map(|name| report.number(&format!("latency_ns.service.{name}")));
    let delay_ns = delay.as_nanos() as f64;
    assert!(shortest >= delay_ns && median < 1.9 * delay_ns, "{shortest} and {median}");
}

fn clients_of_a_refusing_target_reconnect_at_growing_intervals() {
    // A client waits for 10 ms after its first failure, twice as long after each further one, and for 1 s at most; chance
    // shortens each wait by up to a half. So 2.7 s have room for twelve attempts.
    let (clients, each_at_most) = (50, 12);
    let args = format!("-c {clients} -d 2700ms -w 0s -i 100ms --format json");
    let expect_few = |attempts: u64, what: &str| {
        let bounds = 3 * clients..=each_at_most * clients;
        assert!(bounds.contains(&attempts), "{attempts} attempts of {clients} clients: {what}");
    };
    // Nothing listens on this port, so every connection is refused.
    let server = ServerCommand::bare().start();
    let load = Loadgen::run(Some(server.address()), &args).start();
    load.stderr.wait_for("p50");
    drop(server);
    let report = Report::read(&load.finish());
    expect_few(report.count("errors.connect_refused"), "refused");
    // A full server may accept a connection and close it.
    let accepted = Arc::<AtomicU64>::default();
    let peer = Peer::start({
        let accepted = Arc::clone(&accepted);
        move |_, _| {
            accepted.fetch_add(1, SeqCst);
            Ok(())
        }
    });
    let report = Report::read(Loadgen::run(Some(peer.address()), &args).finish().expect_code(4));
    expect_few(accepted.load(SeqCst), "closed");
    let lost = report.count("errors.closed") + report.count("errors.reset");
    assert!(lost <= accepted.load(SeqCst), "{}", report.at("errors"));
}

fn a_reply_after_the_window_is_awaited_for_the_timeout() {
    // Several windows late, and far within the timeout.
    let late = Duration::from_secs(3);
    let peer = Peer::start(move |_, stream| {
        converse(&stream, |bytes| {
            bytes.make_ascii_uppercase();
            thread::sleep(late);
        })
    });
    for load in ["", "-r 10"] {
        let begin = Instant::now();
        let args = format!("-c 3 -d 500ms -w 0s --timeout 25s {load}");
        let report = Loadgen::run(Some(peer.address()), &args).report();
        assert!(begin.elapsed() >= late);
        // Closed: each client has sent one request. Open: the requests due in the window are sent one after another.
        let asked = if load.is_empty() { 3 } else { 5 };
        assert_eq!((report.count("requests.completed"), report.errors()), (asked, 0), "{load}");
        assert_eq!(report.count("requests.verified"), asked);
    }
}

fn a_run_without_a_server_ends_with_its_window() {
    // In an open loop, requests remain due although there is no server.
    for load in ["", "-r 100"] {
        let server = ServerCommand::bare().start();
        // The timeout is longer than a test waits, but there is no outstanding request.
        let args = format!("-c 10 -d 1s -w 0s -i 200ms --timeout 1h --format json {load}");
        let load = Loadgen::run(Some(server.address()), &args).start();
        load.stderr.wait_for("p50");
        drop(server);
        let report = Report::read(&load.finish());
        assert!(report.count("errors.connect_refused") > 0, "{}", report.at("errors"));
    }
}

fn too_many_connections_for_the_open_files_limit_fail_the_run_before_it_begins() {
    let peer = Peer::start(|_, _| panic!("unexpected connection"));
    let begun = Loadgen::run(Some(peer.address()), "-c 500 -d 1s").with_open_files(100).finish();
    begun.expect_code(1).expect_stderr(&["500 connections", "100", "open files", "ulimit -n", "-c "]);
    assert_eq!(begun.stdout, "");
}

fn clients_use_more_loopback_addresses_when_local_ports_run_out() {
    let report = Loadgen::run(None, "-c 500 -d 1s -w 0s").with_few_local_ports().report();
    report.expect_all_verified();
    assert_eq!(report.count("fairness.served"), 500);
}

fn too_many_connections_for_the_local_ports_fail_the_run_before_it_begins() {
    // There is only one IPv6 loopback address.
    let run =
        Loadgen::run(Some(&"[::1]:9".parse().expect("an address")), "-c 500 -d 1s").with_few_local_ports();
    run.finish().expect_code(1).expect_stderr(&[
        "500 connections",
        "local ports",
        "ip_local_port_range",
        "-c ",
    ]);
}

fn ports_in_time_wait_do_not_stop_a_churn() {
    // Each connection leaves its port in TIME_WAIT, and there are far more connections than ports.
    let report =
        Loadgen::run(None, "-c 20 -n 2k -w 0s --requests-per-connection 1").with_few_local_ports().report();
    report.expect_all_verified();
    assert!(report.count("latency_ns.connect.count") >= 2_000);
}

fn mismatches(peer: &Peer) -> Report {
    let finished = Loadgen::run(Some(peer.address()), "-c 3 -d 500ms -w 0s --format json").finish();
    let report = Report::read(finished.expect_code(4));
    assert!(report.count("errors.mismatch") > 0, "{}", report.at("errors"));
    assert!(report.at("first_mismatch").is_object());
    report
}

/// An address without a listener. The kernel gives it to no other program during the test.
fn unused_address() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").into()
}
