//! loadgen against servers with known behaviour: it reports the actual response times, and its verdict names the fault of
//! the server and nothing else.

mod actual;
mod reported;
mod server;

use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use self::{
    actual::Load,
    reported::Reported,
    server::{Action, KnownServer, Record, Request},
};
use crate::behaviour::{Group, group};

group! {
    alone {
        a_server_that_replies_at_once_is_valid,
        a_fixed_delay_is_reported_exactly,
        two_delays_are_reported_with_their_shares,
        a_stall_is_in_every_response_time_that_was_due_in_it,
        a_capped_rate_is_reported_as_a_growing_queue,
        starved_clients_are_counted_and_the_others_are_reported_exactly,
        one_wrong_byte_in_100_000_is_always_found,
        every_closed_connection_is_counted,
    }
}

pub(crate) fn groups() -> Vec<Group> {
    vec![group()]
}

const MS: u64 = 1_000_000;
/// Size of a message in bytes, unless the test sets another one.
const SIZE: usize = 64;

fn a_server_that_replies_at_once_is_valid() {
    let load = Load { clients: 50, rate_per_s: 4000, warm_up_ms: 200, window_ms: 2500 };
    let server = KnownServer::start(SIZE, at_once);
    let reported = Reported::by(&server, load, "replies at once", "");
    reported.expect_actual_times();
    reported.expect_reasons(&[], &[]);
}

fn a_fixed_delay_is_reported_exactly() {
    const DELAY_NS: u64 = 20 * MS;
    let load = Load { clients: 50, rate_per_s: 2000, warm_up_ms: 200, window_ms: 2000 };
    let server = KnownServer::start(SIZE, |request| after(request, DELAY_NS));
    let reported = Reported::by(&server, load, "20 ms for each", "");
    reported.expect_planned_times(|_, _| DELAY_NS);
    reported.expect_actual_times();
    reported.expect_reasons(&[], &[]);
}

fn two_delays_are_reported_with_their_shares() {
    /// A known random sequence: 5% take ten times as long.
    fn delay_ns(turn: u64) -> u64 {
        if chance(turn) < 0.05 { 30 * MS } else { 3 * MS }
    }
    let load = Load { clients: 200, rate_per_s: 4000, warm_up_ms: 200, window_ms: 2500 };
    let server = KnownServer::start(SIZE, move |request| after(request, delay_ns(turn(load, request))));
    let reported = Reported::by(&server, load, "3 ms for 95%, 30 ms for 5%", "");
    reported.expect_planned_times(|turn, _| delay_ns(turn));
    reported.expect_actual_times();
    reported.expect_reasons(&[], &[]);
}

fn a_stall_is_in_every_response_time_that_was_due_in_it() {
    const FIRST_NS: u64 = 800 * MS;
    const LENGTH_NS: u64 = 300 * MS;
    const PERIOD_NS: u64 = 1000 * MS;
    /// The rest of the current stall, this long after the first request.
    fn left_ns(since_ns: u64) -> u64 {
        let phase_ns = since_ns.checked_sub(FIRST_NS).map_or(u64::MAX, |since_ns| since_ns % PERIOD_NS);
        LENGTH_NS.saturating_sub(phase_ns)
    }
    let load = Load { clients: 50, rate_per_s: 4000, warm_up_ms: 200, window_ms: 2500 };
    let begun_ns = OnceLock::new();
    let server = KnownServer::start(SIZE, move |request| {
        let since_ns = request.received_ns.saturating_sub(*begun_ns.get_or_init(|| request.received_ns));
        after(request, left_ns(since_ns))
    });
    let reported = Reported::by(&server, load, "stalls for 300 ms of each 1 s", "");
    reported.expect_planned_times(|_, due_ns| left_ns(due_ns));
    reported.expect_actual_times();
    // The verdict compares a stall with the median, which can be as long on a busy machine.
    let is_above_median = 10 * reported.median_ns() < LENGTH_NS;
    reported.expect_reasons(if is_above_median { &["stall"] } else { &[] }, &["stall"]);
}

fn a_capped_rate_is_reported_as_a_growing_queue() {
    const CAPPED_PER_S: u64 = 1000;
    // With 100 clients, replies take 100 ms. They would look like delayed acknowledgements at 40 ms.
    let load = Load { clients: 100, rate_per_s: 1500, warm_up_ms: 200, window_ms: 2000 };
    let next_ns = Mutex::new(0);
    let server = KnownServer::start(SIZE, move |request| {
        let mut next_ns = next_ns.lock().unwrap();
        let at_ns = request.received_ns.max(*next_ns);
        *next_ns = at_ns + 1000 * MS / CAPPED_PER_S;
        Action::Answer { at_ns }
    });
    let reported = Reported::by(&server, load, "1,000/s of 1,500/s", "-i 250ms");
    // The request due at time t has the number 1,500 t, so its reply is written at 1.5 t.
    reported.expect_planned_times(|_, due_ns| due_ns * load.rate_per_s / CAPPED_PER_S - due_ns);
    reported.expect_actual_times();
    reported.expect_reasons(&["cannot_keep_up", "drift"], &["concurrency", "warm_up"]);
}

fn starved_clients_are_counted_and_the_others_are_reported_exactly() {
    const SERVED: u64 = 5;
    let load = Load { clients: 20, rate_per_s: 2000, warm_up_ms: 200, window_ms: 1500 };
    let server = KnownServer::start(SIZE, |request| match request.client {
        0..SERVED => after(request, 5 * MS),
        _ => Action::Ignore,
    });
    let reported = Reported::by(&server, load, "5 ms for 5 of 20 clients, no reply for 15", "--timeout 1s");
    reported.expect_actual_times();
    let count = |path: &str| reported.report.count(path);
    assert_eq!(
        [count("fairness.clients"), count("fairness.served"), count("fairness.starved")],
        [20, SERVED, 15]
    );
    // All clients have the same number of due requests.
    assert_eq!([count("requests.due"), count("requests.completed")], [3000, 750]);
    // The starved clients wait for requests of the warm-up.
    assert_eq!([count("requests.failed"), count("requests.unsent")], [2250, 2250]);
    reported.expect_reasons(&["starved"], &["errors", "silence", "unfair", "reconnects", "cannot_keep_up"]);
}

fn one_wrong_byte_in_100_000_is_always_found() {
    const SIZE: usize = 1000;
    const BYTES: u64 = 100_000;
    let load = Load { clients: 50, rate_per_s: 2000, warm_up_ms: 200, window_ms: 2000 };
    // The first wrong byte is after 50,000 bytes, and then one follows after every 100,000.
    let passed = AtomicU64::new(BYTES / 2);
    let server = KnownServer::start(SIZE, move |request| {
        let before = passed.fetch_add(SIZE as u64, Ordering::SeqCst);
        match BYTES - 1 - before % BYTES {
            offset if offset < SIZE as u64 => Action::Corrupt { offset: offset as usize },
            _ => at_once(request),
        }
    });
    let reported = Reported::by(&server, load, "a wrong byte in 100,000", &format!("-s {SIZE}"));
    let mut corrupted: Vec<_> = reported.records.iter().filter(|record| is_corrupted(record)).collect();
    corrupted.sort_unstable_by_key(|record| record.answering_ns);
    // 4,400 requests, less those of clients that were reconnecting.
    assert!((40..=44).contains(&corrupted.len()), "{} replies were corrupted", corrupted.len());
    assert_eq!(reported.errors("mismatch"), corrupted.len() as u64);
    let first = reported.report.at("first_mismatch");
    let (client, number) = (first["client"].as_u64().unwrap(), first["request"].as_u64().unwrap());
    // Of two replies at the same time, either may be read first.
    let action = corrupted
        .iter()
        .take(2)
        .find(|record| (record.request.client, record.request.number) == (client, number));
    let Some(Record { action: Action::Corrupt { offset }, .. }) = action else {
        panic!("{first} was not corrupted first")
    };
    assert_eq!(first["offset"], *offset, "{first}");
    reported.expect_actual_times();
    reported.expect_reasons(&["mismatch"], &["errors", "reconnects"]);
}

fn every_closed_connection_is_counted() {
    let load = Load { clients: 50, rate_per_s: 2000, warm_up_ms: 200, window_ms: 2000 };
    let server = KnownServer::start(SIZE, move |request| match chance(turn(load, request)) {
        0.0..0.01 => Action::Close,
        _ => at_once(request),
    });
    let reported = Reported::by(&server, load, "closes instead of replying to 1%", "");
    let closed = reported.records.iter().filter(|record| record.action == Action::Close).count() as u64;
    assert!((20..80).contains(&closed), "{closed} of 4,400 requests");
    assert_eq!(reported.errors("closed"), closed);
    assert_eq!(
        reported.report.errors(),
        reported.report.count("errors.closed"),
        "{}",
        reported.report.at("errors")
    );
    reported.expect_actual_times();
    reported.expect_reasons(&["errors", "reconnects"], &[]);
}

fn at_once(request: Request) -> Action {
    after(request, 0)
}

fn after(request: Request, delay_ns: u64) -> Action {
    Action::Answer { at_ns: request.received_ns + delay_ns }
}

/// The request's number among those of all clients.
fn turn(load: Load, request: Request) -> u64 {
    request.client + request.number * load.clients
}

fn is_corrupted(record: &Record) -> bool {
    matches!(record.action, Action::Corrupt { .. })
}

/// A uniform value in 0..1 that depends only on the number: the finaliser of SplitMix64.
fn chance(number: u64) -> f64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}
