//! Clients that do not behave: whatever one of them does, the others are served.

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Server,
        client::{counting, exchange_all},
    },
};

group! {
    in every mode {
        a_reset_in_the_middle_concerns_nobody_else,
        connections_that_are_aborted_before_they_are_accepted_concern_nobody_else,
        clients_that_come_and_go_leave_nothing_behind,
        a_client_that_closes_with_its_reply_unread_concerns_nobody_else,
    }
}

fn a_reset_in_the_middle_concerns_nobody_else(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2"]);
    let others = server.connect_served(10);
    for _ in 0..5 {
        let rude = server.connect_served(10);
        for client in rude {
            client.send(&counting(0, 100_000));
            client.reset();
        }
        exchange_all(&others, b"unimpressed");
    }
    drop(others);
    assert_eq!(server.stop().counted("connections"), 60);
}

fn connections_that_are_aborted_before_they_are_accepted_concern_nobody_else(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2"]);
    let others = server.connect_served(3);
    for _ in 0..10 {
        for _ in 0..30 {
            server.connect().reset();
        }
        exchange_all(&others, b"unimpressed");
    }
    server.expect_service();
}

fn clients_that_come_and_go_leave_nothing_behind(mode: &'static Mode) {
    const ROUNDS: u64 = 20;
    let mut server = Server::start(mode, &["--threads", "2", "--max-connections", "50"]);
    let come_and_go = |server: &Server| drop(server.connect_served(50));
    for _ in 0..5 {
        come_and_go(&server);
    }
    let before = server.process().memory_bytes();
    for _ in 5..ROUNDS {
        come_and_go(&server);
    }
    let grown = server.process().memory_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes of memory more");
    assert_eq!(server.stop().counted("connections"), 50 * ROUNDS);
}

fn a_client_that_closes_with_its_reply_unread_concerns_nobody_else(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2", "--work", "sleep:20ms"]);
    let others = server.connect_served(3);
    for _ in 0..20 {
        // The reply meets a closed socket.
        server.connect().send(b"never mind");
    }
    exchange_all(&others, b"unimpressed");
    drop(others);
    assert_eq!(server.stop().counted("connections"), 23);
}
