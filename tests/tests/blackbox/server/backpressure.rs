//! Clients that send and do not read: each gets backpressure, and none of them delays others.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server,
        client::{counting, exchange_with_all},
        text::{expect_same, upper},
        wait_until,
    },
};

group! {
    in every mode {
        a_client_that_does_not_read_gets_backpressure_and_loses_nothing,
        twenty_clients_that_do_not_read_use_bounded_memory,
        a_client_that_reads_nothing_is_closed_after_the_write_timeout,
        a_slow_reader_is_not_closed_while_it_reads,
        a_reader_too_slow_to_become_writable_is_kept_and_one_that_reads_nothing_is_closed,
        forty_clients_that_never_read_leave_four_threads_free,
        a_client_that_floods_without_reading_only_delays_other_clients,
        clients_that_flood_and_read_do_not_starve_others,
    }
}

/// More than the kernel's buffers in both directions hold for one client (tcp(7), `tcp_rmem` and `tcp_wmem`).
const BUFFERED_BYTES_MAX: usize = 64 << 20;

fn a_client_that_does_not_read_gets_backpressure_and_loses_nothing(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    let sent = client.push_until_backpressure(BUFFERED_BYTES_MAX);
    server.expect_service();
    client.finish_sending();
    expect_same(&client.receive_to_end(), &upper(&counting(0, sent)));
}

fn twenty_clients_that_do_not_read_use_bounded_memory(mode: &'static Mode) {
    const CLIENTS: usize = 20;
    const BYTES_FOR_EACH_CLIENT_MAX: u64 = 512 * 1024;
    let mut server = Server::start(mode, &["--threads", "2"]);
    let clients = server.connect_served(CLIENTS);
    let before = server.process().memory_bytes();
    for client in &clients {
        client.push_until_backpressure(BUFFERED_BYTES_MAX);
    }
    let after = server.process().memory_bytes();
    let grown = after.saturating_sub(before);
    assert!(grown < CLIENTS as u64 * BYTES_FOR_EACH_CLIENT_MAX, "from {before} to {after} bytes");
    server.expect_service();
}

fn a_client_that_reads_nothing_is_closed_after_the_write_timeout(mode: &'static Mode) {
    let timeout = Duration::from_millis(500);
    let server = Server::start(mode, &["--threads", "2", "--write-timeout", "500ms"]);
    let neighbour = server.connect();
    let deaf = server.connect();
    let address = deaf.address().to_string();
    let begin = Instant::now();
    deaf.push_until(&AtomicBool::new(false));
    assert!(begin.elapsed() >= timeout, "closed after only {:?}", begin.elapsed());
    deaf.expect_close_or_reset();
    let line = server.log().wait_for("closed at the write timeout");
    assert!(line.contains(&address), "the line names the client {address}: {line}");
    neighbour.exchange(b"I am still here");
    drop(neighbour);
    let stopped = server.stop();
    assert_eq!(stopped.counted("write_timeouts"), 1);
}

fn a_slow_reader_is_not_closed_while_it_reads(mode: &'static Mode) {
    let timeout = Duration::from_secs(1);
    let server = Server::start(mode, &["--write-timeout", "1s"]);
    let client = Client::connect_narrow(server.address(), 64 * 1024);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| client.push_until(&stop));
        let begin = Instant::now();
        while begin.elapsed() < 3 * timeout {
            // The server always has more to send, and the client reads regularly.
            client.receive(256 * 1024);
            thread::sleep(timeout / 20);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.log().count("closed at the write timeout"), 0);
    client.finish_sending();
    client.receive_to_end();
    assert_eq!(server.stop().counted("write_timeouts"), 0);
}

/// The kernel reports a socket as writable only when a third of its buffer is free (tcp_poll, sk_stream_is_writeable). This
/// client reads less than that during the test, but it reads all the time.
fn a_reader_too_slow_to_become_writable_is_kept_and_one_that_reads_nothing_is_closed(mode: &'static Mode) {
    const PART_BYTES: usize = 4096;
    const PARTS_PER_TIMEOUT: u32 = 20;
    let timeout = Duration::from_secs(1);
    let server = Server::start(mode, &["--threads", "2", "--write-timeout", "1s"]);
    let steady = Client::connect_narrow(server.address(), 16 * 1024);
    let deaf = Client::connect_narrow(server.address(), 16 * 1024);
    let deaf_address = deaf.address().to_string();
    let mut taken = 0;
    let sent = thread::scope(|scope| {
        let sent = scope.spawn(|| steady.push_until_backpressure(BUFFERED_BYTES_MAX));
        scope.spawn(|| deaf.push_until(&AtomicBool::new(false)));
        let begin = Instant::now();
        while begin.elapsed() < 3 * timeout || server.log().count("closed at the write timeout") == 0 {
            expect_same(&steady.receive(PART_BYTES), &upper(&counting(taken, PART_BYTES)));
            taken += PART_BYTES;
            assert!(begin.elapsed() < 20 * timeout, "the client that reads nothing is not closed");
            thread::sleep(timeout / PARTS_PER_TIMEOUT);
        }
        sent.join().expect("it is held")
    });
    assert_eq!(server.log().count("closed at the write timeout"), 1, "{}", server.log().so_far());
    let line = server.log().wait_for("closed at the write timeout");
    assert!(line.contains(&deaf_address), "the line names the client {deaf_address}: {line}");
    // The client has lost no bytes.
    steady.finish_sending();
    expect_same(&steady.receive_to_end(), &upper(&counting(taken, sent - taken)));
    assert_eq!(server.stop().counted("write_timeouts"), 1);
}

fn forty_clients_that_never_read_leave_four_threads_free(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "4"]);
    let deaf: Vec<_> = (0..40).map(|_| Client::connect_narrow(server.address(), 4096)).collect();
    thread::scope(|scope| {
        for client in &deaf {
            scope.spawn(|| client.push_until_backpressure(BUFFERED_BYTES_MAX));
        }
    });
    let others = server.connect_served(8);
    for _ in 0..50 {
        for client in &others {
            client.exchange(b"served all the same");
        }
    }
}

fn a_client_that_floods_without_reading_only_delays_other_clients(mode: &'static Mode) {
    const NEIGHBOURS: usize = 100;
    /// Buffers of one connection in any mode, and the buffers of its neighbours.
    const BYTES_MAX: u64 = 8 << 20;
    let mut server = Server::start(mode, &["--threads", "1"]);
    let neighbours = server.connect_served(NEIGHBOURS);
    let before = server.process().memory_bytes();
    let flood = server.connect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| flood.push_until(&stop));
        for _ in 0..20 {
            exchange_with_all(&neighbours, b"I only want a word");
        }
        // By then, an unbounded buffer has grown.
        flood.wait_until_buffers_are_full();
        exchange_with_all(&neighbours, b"and a last one");
        let grown = server.process().memory_bytes().saturating_sub(before);
        assert!(grown < BYTES_MAX, "{grown} bytes of memory more");
        stop.store(true, Ordering::Relaxed);
    });
}

/// Starvation need not last for ever to fail this test, because floods pause now and then.
fn clients_that_flood_and_read_do_not_starve_others(mode: &'static Mode) {
    const ROUNDS: usize = 50;
    /// A flood gets about a mebibyte per turn, and its neighbours get a turn after a few of these. If they got a turn only
    /// when all floods pause, it would be gigabytes.
    const FLOODED_BYTES_FOR_A_ROUND_MAX: usize = 128 << 20;
    let server = Server::start(mode, &["--threads", "1"]);
    let neighbours = server.connect_served(100);
    let floods: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let (stop, flooded) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for flood in &floods {
            scope.spawn(|| {
                flood.push_until(&stop);
                flood.finish_sending();
            });
            scope.spawn(|| flood.drain_counting(&flooded));
        }
        // The floods stop only after all of these clients have been served.
        wait_until("they flood", || flooded.load(Ordering::Relaxed) > 16 << 20);
        let before = flooded.load(Ordering::Relaxed);
        for _ in 0..ROUNDS {
            exchange_with_all(&neighbours, b"may I, too?");
        }
        let meanwhile = flooded.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        assert!(
            meanwhile < ROUNDS * FLOODED_BYTES_FOR_A_ROUND_MAX,
            "{meanwhile} bytes of the floods meanwhile"
        );
    });
}
