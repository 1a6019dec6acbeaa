//! Truth: what is reported of servers whose behaviour is known is what their users have felt, and what was wrong with
//! them, and nothing else, is named.

mod felt;
mod server;
mod told;

use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use self::{
    felt::Load,
    server::{Deed, KnownServer, Record, Request},
    told::Told,
};
use crate::behaviour::{Group, group};

group! {
    alone {
        a_server_that_answers_at_once_is_called_nothing,
        a_fixed_delay_is_reported_as_it_was,
        two_delays_are_reported_each_with_its_share,
        a_stall_is_felt_by_everybody_who_was_due_in_it,
        a_capped_rate_is_felt_as_a_queue_that_grows,
        clients_that_are_never_served_are_counted_and_the_others_are_reported_as_they_were,
        one_wrong_byte_in_100_000_is_found_each_time,
        every_connection_that_is_closed_is_counted,
    }
}

pub(crate) fn groups() -> Vec<Group> {
    vec![group()]
}

const MS: u64 = 1_000_000;
/// Of a message, where nothing else is said.
const SIZE: usize = 64;

fn a_server_that_answers_at_once_is_called_nothing() {
    let load = Load { clients: 50, rate_per_s: 4000, warm_up_ms: 200, window_ms: 2500 };
    let server = KnownServer::start(SIZE, at_once);
    let told = Told::by(&server, load, "an answer at once", "");
    told.expect_as_felt();
    told.expect_named(&[], &[]);
}

fn a_fixed_delay_is_reported_as_it_was() {
    const DELAY_NS: u64 = 20 * MS;
    let load = Load { clients: 50, rate_per_s: 2000, warm_up_ms: 200, window_ms: 2000 };
    let server = KnownServer::start(SIZE, |request| after(request, DELAY_NS));
    let told = Told::by(&server, load, "20 ms for each", "");
    told.expect_ideal(|_, _| DELAY_NS);
    told.expect_as_felt();
    told.expect_named(&[], &[]);
}

fn two_delays_are_reported_each_with_its_share() {
    /// By chance, but known: 5% take ten times as long.
    fn delay_ns(turn: u64) -> u64 {
        if chance(turn) < 0.05 { 30 * MS } else { 3 * MS }
    }
    let load = Load { clients: 200, rate_per_s: 4000, warm_up_ms: 200, window_ms: 2500 };
    let server = KnownServer::start(SIZE, move |request| after(request, delay_ns(turn(load, request))));
    let told = Told::by(&server, load, "3 ms for 95%, 30 ms for 5%", "");
    told.expect_ideal(|turn, _| delay_ns(turn));
    told.expect_as_felt();
    told.expect_named(&[], &[]);
}

fn a_stall_is_felt_by_everybody_who_was_due_in_it() {
    const FIRST_NS: u64 = 800 * MS;
    const LENGTH_NS: u64 = 300 * MS;
    const PERIOD_NS: u64 = 1000 * MS;
    /// How much of a stall is left so long after the beginning.
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
    let told = Told::by(&server, load, "stands still for 300 ms of each 1 s", "");
    told.expect_ideal(|_, due_ns| left_ns(due_ns));
    told.expect_as_felt();
    // What is as usual is no stall, and a machine may be so busy that the usual takes as long.
    let is_unusual = 10 * told.usual_ns() < LENGTH_NS;
    told.expect_named(if is_unusual { &["stall"] } else { &[] }, &["stall"]);
}

fn a_capped_rate_is_felt_as_a_queue_that_grows() {
    const CAPPED_PER_S: u64 = 1000;
    // Each reply takes 100 ms in the end: not the 40 ms that a delayed acknowledgement would take.
    let load = Load { clients: 100, rate_per_s: 1500, warm_up_ms: 200, window_ms: 2000 };
    let next_ns = Mutex::new(0);
    let server = KnownServer::start(SIZE, move |request| {
        let mut next_ns = next_ns.lock().unwrap();
        let at_ns = request.received_ns.max(*next_ns);
        *next_ns = at_ns + 1000 * MS / CAPPED_PER_S;
        Deed::Answer { at_ns }
    });
    let told = Told::by(&server, load, "1,000/s of 1,500/s", "-i 250ms");
    // What is due after t is the 1,500 t-th, and answered after 1.5 t.
    told.expect_ideal(|_, due_ns| due_ns * load.rate_per_s / CAPPED_PER_S - due_ns);
    told.expect_as_felt();
    told.expect_named(&["cannot_keep_up", "drift"], &["concurrency", "warm_up"]);
}

fn clients_that_are_never_served_are_counted_and_the_others_are_reported_as_they_were() {
    const SERVED: u64 = 5;
    let load = Load { clients: 20, rate_per_s: 2000, warm_up_ms: 200, window_ms: 1500 };
    let server = KnownServer::start(SIZE, |request| match request.client {
        0..SERVED => after(request, 5 * MS),
        _ => Deed::Ignore,
    });
    let told = Told::by(&server, load, "5 ms for 5 clients of 20, nothing for 15", "--timeout 1s");
    told.expect_as_felt();
    let count = |path: &str| told.report.count(path);
    assert_eq!(
        [count("fairness.clients"), count("fairness.served"), count("fairness.starved")],
        [20, SERVED, 15]
    );
    // Each client is owed the same.
    assert_eq!([count("requests.completed"), count("requests.failed")], [750, 2250]);
    told.expect_named(&["starved"], &["errors", "silence", "unfair", "reconnects", "cannot_keep_up"]);
}

fn one_wrong_byte_in_100_000_is_found_each_time() {
    const SIZE: usize = 1000;
    const BYTES: u64 = 100_000;
    let load = Load { clients: 50, rate_per_s: 2000, warm_up_ms: 200, window_ms: 2000 };
    // The first comes after 50,000 bytes, and then one after every 100,000.
    let passed = AtomicU64::new(BYTES / 2);
    let server = KnownServer::start(SIZE, move |request| {
        let before = passed.fetch_add(SIZE as u64, Ordering::SeqCst);
        match BYTES - 1 - before % BYTES {
            offset if offset < SIZE as u64 => Deed::Spoil { offset: offset as usize },
            _ => at_once(request),
        }
    });
    let told = Told::by(&server, load, "a wrong byte in 100,000", &format!("-s {SIZE}"));
    let mut spoiled: Vec<_> = told.records.iter().filter(|record| is_spoiled(record)).collect();
    spoiled.sort_unstable_by_key(|record| record.answering_ns);
    // 4,400 requests, less those of clients that were just connecting again.
    assert!((40..=44).contains(&spoiled.len()), "{} replies were spoiled", spoiled.len());
    assert_eq!(told.report.count("errors.mismatch"), spoiled.len() as u64);
    let first = told.report.at("first_mismatch");
    let (client, number) = (first["client"].as_u64().unwrap(), first["request"].as_u64().unwrap());
    // Whichever of two at the same moment was read first.
    let deed = spoiled
        .iter()
        .take(2)
        .find(|record| (record.request.client, record.request.number) == (client, number));
    let Some(Record { deed: Deed::Spoil { offset }, .. }) = deed else {
        panic!("{first} was not spoiled first")
    };
    assert_eq!(first["offset"], *offset, "{first}");
    told.expect_as_felt();
    told.expect_named(&["mismatch"], &["errors", "reconnects"]);
}

fn every_connection_that_is_closed_is_counted() {
    let load = Load { clients: 50, rate_per_s: 2000, warm_up_ms: 200, window_ms: 2000 };
    let server = KnownServer::start(SIZE, move |request| match chance(turn(load, request)) {
        0.0..0.01 => Deed::Close,
        _ => at_once(request),
    });
    let told = Told::by(&server, load, "closes instead of 1% of the replies", "");
    let closed = told.records.iter().filter(|record| record.deed == Deed::Close).count() as u64;
    assert!((20..80).contains(&closed), "{closed} of 4,400 requests");
    assert_eq!(told.report.count("errors.closed"), closed);
    assert_eq!(told.report.errors(), closed, "{}", told.report.at("errors"));
    told.expect_as_felt();
    told.expect_named(&["errors", "reconnects"], &[]);
}

fn at_once(request: Request) -> Deed {
    after(request, 0)
}

fn after(request: Request, delay_ns: u64) -> Deed {
    Deed::Answer { at_ns: request.received_ns + delay_ns }
}

/// The request's number among those of all clients.
fn turn(load: Load, request: Request) -> u64 {
    request.client + request.number * load.clients
}

fn is_spoiled(record: &Record) -> bool {
    matches!(record.deed, Deed::Spoil { .. })
}

/// From 0 to below 1, evenly, and always the same for a number: SplitMix64's finaliser.
fn chance(number: u64) -> f64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
}
