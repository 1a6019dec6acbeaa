//! Coordinated omission: a stall of the server is in the response time of every request that was due during it.

use std::{thread, time::Duration};

use rustix::process::Signal;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::{Loadgen, Report},
    },
};

group! {
    once {
        a_stall_is_in_the_response_time_of_an_open_loop_and_not_in_the_service_time,
    }
}

const STALL: Duration = Duration::from_millis(500);

fn a_stall_is_in_the_response_time_of_an_open_loop_and_not_in_the_service_time() {
    let server = ServerCommand::bare().start();
    let args = "-c 20 -r 2k -d 3s -w 200ms -i 500ms --format json";
    let load = Loadgen::run(Some(server.address()), args).start();
    load.stderr.wait_for("p50");
    server.signal(Signal::STOP);
    thread::sleep(STALL);
    server.signal(Signal::CONT);
    let report = Report::read(load.finish().expect_report());
    report.expect_all_verified();
    assert!(report.reasons().contains(&"stall".to_owned()), "{}", report.at("verdict"));
    let stall_ns = STALL.as_nanos() as f64;
    let at = |path: &str| report.number(&format!("latency_ns.{path}"));
    assert!(at("response.max") > stall_ns * 0.8, "{}", at("response.max"));
    // A sixth of all requests were due in the stall, half of them in its first half.
    assert!(at("response.p90") > stall_ns * 0.2, "{}", at("response.p90"));
    // When the stall began, each client had one outstanding request: 20 of 6,000.
    assert!(at("service.p99") < at("response.p90") / 2.0, "{}", at("service.p99"));
    assert!(at("service.max") > stall_ns * 0.8, "{}", at("service.max"));
    // All due requests were sent.
    assert_eq!(report.count("requests.completed"), 6000);
}
