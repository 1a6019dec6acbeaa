//! Misbehaving clients: the server serves the others.

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Server,
        client::{counting, exchange_with_all},
    },
};

group! {
    in every mode {
        a_reset_in_the_middle_does_not_affect_other_clients,
        connections_aborted_before_accept_do_not_affect_other_clients,
        short_connections_leave_no_resources_behind,
        a_client_that_closes_with_an_unread_reply_does_not_affect_others,
    }
}

fn a_reset_in_the_middle_does_not_affect_other_clients(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2"]);
    let others = server.connect_served(10);
    for _ in 0..5 {
        let rude = server.connect_served(10);
        for client in rude {
            client.send(&counting(0, 100_000));
            client.reset();
        }
        exchange_with_all(&others, b"unimpressed");
    }
    drop(others);
    assert_eq!(server.stop().counted("connections"), 60);
}

fn connections_aborted_before_accept_do_not_affect_other_clients(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2"]);
    let others = server.connect_served(3);
    for _ in 0..10 {
        for _ in 0..30 {
            server.connect().reset();
        }
        exchange_with_all(&others, b"unimpressed");
    }
    server.expect_service();
}

fn short_connections_leave_no_resources_behind(mode: &'static Mode) {
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

fn a_client_that_closes_with_an_unread_reply_does_not_affect_others(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2", "--work", "sleep:20ms"]);
    let others = server.connect_served(3);
    for _ in 0..20 {
        // The reply arrives at a closed socket.
        server.connect().send(b"never mind");
    }
    exchange_with_all(&others, b"unimpressed");
    drop(others);
    assert_eq!(server.stop().counted("connections"), 23);
}
