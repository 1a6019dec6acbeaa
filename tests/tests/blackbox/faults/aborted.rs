//! Connections that their client resets, before and after it has sent something.

use std::net::Ipv4Addr;

use server::mode::Mode;

use super::extent::ABORTED_CONNECTS;
use crate::{
    behaviour::group,
    harness::{Client, Server, client::exchange_with_all},
};

group! {
    in every mode {
        aborted_connects_leave_nothing_behind,
    }
}

/// Connections between two looks at the other clients.
const BATCH: u32 = 200;
/// Local addresses in turn, so that no count of connections needs all ports of one.
const SOURCES: u32 = 100;

fn aborted_connects_leave_nothing_behind(mode: &'static Mode) {
    const BYTES_MAX: u64 = 8 << 20;
    const LOG_LINES_MAX: usize = 1_000;
    let mut server = Server::start(mode, &["--threads", "2"]);
    let at_rest = server.descriptors_at_rest();
    let others = server.connect_served(3);
    let mut before = None;
    for number in 0..ABORTED_CONNECTS.count() {
        let source = Ipv4Addr::new(127, 0, 1, 1 + u8::try_from(number % SOURCES).expect("it is below 100"));
        let client = Client::connect_from(server.address(), source);
        match number % 3 {
            0 => {}
            // The send fails if the server has already closed the connection, which it may not.
            1 => client.send(b"never mind"),
            _ => client.exchange(b"goodbye"),
        }
        client.reset();
        if number % BATCH == BATCH - 1 {
            exchange_with_all(&others, b"unimpressed");
            // The first batch allocates what later ones use again.
            before.get_or_insert(server.process().memory_bytes());
        }
    }
    server.expect_descriptors(at_rest + others.len());
    exchange_with_all(&others, b"unimpressed");
    let grown = server.process().memory_bytes().saturating_sub(before.expect("there was a batch"));
    assert!(grown < BYTES_MAX, "{grown} bytes of memory more");
    let lines = server.log().so_far().lines().count();
    assert!(lines < LOG_LINES_MAX, "{lines} lines of log");
    drop(others);
    server.stop();
}
