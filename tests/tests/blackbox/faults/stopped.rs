//! Processes that are stopped and continued under load.

use std::{thread, time::Duration};

use rustix::process::Signal;
use server::mode::Mode;

use super::extent::STOPS;
use crate::{
    behaviour::group,
    harness::{
        Server,
        load::{Loadgen, Report},
    },
};

group! {
    in every mode {
        a_server_that_is_stopped_and_continued_loses_nothing,
        a_generator_that_is_stopped_and_continued_loses_nothing,
    }
}

const STOP: Duration = Duration::from_millis(200);
const STOP_NS: f64 = 200e6;
const LOAD: &str = "-c 20 -t 1 -r 1k -w 0s -d 1h -i 100ms --fail-on never --format json";

fn a_server_that_is_stopped_and_continued_loses_nothing(mode: &'static Mode) {
    // A deadline that counts the stop as idle time would close connections.
    let server = Server::start(mode, &["--idle-timeout", "10s", "--write-timeout", "10s"]);
    let load = Loadgen::run(Some(server.address()), LOAD).start();
    load.stderr.wait_for("p50");
    stop_and_continue(|signal| server.signal(signal));
    load.signal(Signal::INT);
    let report = Report::read(load.finish().expect_code(130));
    report.expect_nothing_lost();
    let longest_ns = report.number("latency_ns.successful.max");
    assert!(longest_ns >= STOP_NS * 0.9, "the stops are not in the response times: {longest_ns} ns");
    server.stop();
}

fn a_generator_that_is_stopped_and_continued_loses_nothing(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let load = Loadgen::run(Some(server.address()), LOAD).start();
    load.stderr.wait_for("p50");
    stop_and_continue(|signal| load.signal(signal));
    load.signal(Signal::INT);
    let report = Report::read(load.finish().expect_code(130));
    report.expect_nothing_lost();
    assert!(report.has_reason("paused"), "{}", report.at("verdict"));
    server.stop();
}

fn stop_and_continue(send: impl Fn(Signal)) {
    for signal in [Signal::STOP, Signal::CONT].into_iter().cycle().take(2 * STOPS.count() as usize) {
        send(signal);
        thread::sleep(STOP);
    }
}
