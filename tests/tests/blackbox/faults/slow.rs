//! Thousands of clients that send a byte a second, beside a hundred busy ones.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use server::mode::Mode;

use super::extent::{SLOW_CLIENTS, SLOW_PAIRS, is_long};
use crate::{
    behaviour::group,
    harness::{
        Client, Server,
        client::exchange_with_all,
        load::{Loadgen, Report},
        machine,
    },
};

group! {
    in every mode {
        clients_that_send_a_byte_a_second_do_not_disturb_a_hundred_busy_ones needs machine::many_open_files,
    }
}

const BUSY: &str = "-c 100 -t 1 -w 200ms -d 2s --fail-on never";
const BETWEEN_BYTES: Duration = Duration::from_secs(1);
/// Of the p99 of the busy clients beside the slow ones to that alone.
const RATIO_MAX: f64 = 1.2;

fn clients_that_send_a_byte_a_second_do_not_disturb_a_hundred_busy_ones(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "1"]);
    let mut ratios = Vec::new();
    for _ in 0..SLOW_PAIRS.count() {
        let alone = if is_long() { Some(busy_p99_ms(&server)) } else { None };
        let slow: Vec<_> = (0..SLOW_CLIENTS.count()).map(|_| server.connect()).collect();
        let stop = AtomicBool::new(false);
        let beside = thread::scope(|scope| {
            scope.spawn(|| send_a_byte_a_second(&slow, &stop));
            // The slow clients stop also if this run fails.
            let beside = catch_unwind(AssertUnwindSafe(|| busy_p99_ms(&server)));
            stop.store(true, Ordering::Relaxed);
            beside.unwrap_or_else(|panic| resume_unwind(panic))
        });
        ratios.extend(alone.map(|alone| beside / alone));
    }
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        println!("{}: p99 beside the slow clients is {median:.2} x that alone, {ratios:.2?}", mode.name);
        assert!(*median <= RATIO_MAX, "{ratios:.2?}");
    }
    server.stop();
}

/// The p99 of busy clients, all of which have to be served.
fn busy_p99_ms(server: &Server) -> f64 {
    let report: Report = Loadgen::run(Some(server.address()), BUSY).any_report();
    report.expect_replies_verified();
    assert_eq!(report.count("fairness.starved"), 0, "{}", report.at("fairness"));
    // Without enough replies there is no p99, and the short form needs none.
    report.at("latency_ns.response.p99").as_f64().filter(|_| is_long()).unwrap_or_default() / 1e6
}

/// Every client gets each of its bytes back before the next one.
fn send_a_byte_a_second(clients: &[Client], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let round = Instant::now();
        exchange_with_all(clients, b"b");
        while round.elapsed() < BETWEEN_BYTES && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}
