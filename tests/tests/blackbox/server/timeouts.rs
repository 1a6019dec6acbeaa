//! `--idle-timeout`.

use std::{
    thread,
    time::{Duration, Instant},
};

use server::mode::Mode;

use crate::{behaviour::group, harness::Server};

group! {
    in every mode {
        only_idle_clients_are_closed,
        a_client_that_sends_nothing_is_idle,
        a_client_that_waits_for_its_reply_is_not_idle,
        a_closed_connection_is_not_counted_as_idle,
    }
}

fn only_idle_clients_are_closed(mode: &'static Mode) {
    let timeout = Duration::from_millis(800);
    let server = Server::start(mode, &["--threads", "2", "--idle-timeout", "800ms"]);
    let begin = Instant::now();
    let idle = server.connect_served(3);
    let active = server.connect();
    while begin.elapsed() < 4 * timeout {
        active.exchange(b"I am busy");
        if begin.elapsed() < timeout {
            assert!(!idle.iter().any(|client| client.has_unread_bytes()), "closed before its time");
        }
        thread::sleep(timeout / 40);
    }
    for client in idle {
        client.expect_end();
    }
    active.exchange(b"and still");
    drop(active);
    assert_eq!(server.stop().counted("idle_timeouts"), 3);
}

fn a_client_that_sends_nothing_is_idle(mode: &'static Mode) {
    let server = Server::start(mode, &["--idle-timeout", "200ms"]);
    let begin = Instant::now();
    server.connect().expect_end();
    assert!(begin.elapsed() >= Duration::from_millis(200));
    assert_eq!(server.stop().counted("idle_timeouts"), 1);
}

fn a_client_that_waits_for_its_reply_is_not_idle(mode: &'static Mode) {
    for work in ["sleep:600ms", "block:600ms"] {
        let server = Server::start(mode, &["--idle-timeout", "400ms", "--work", work]);
        let client = server.connect();
        for _ in 0..2 {
            client.exchange(b"take your time");
            // The client may wait a moment before its next request.
            client.expect_silence(Duration::from_millis(50));
        }
    }
}

fn a_closed_connection_is_not_counted_as_idle(mode: &'static Mode) {
    let server = Server::start(mode, &["--idle-timeout", "200ms"]);
    drop(server.connect_served(5));
    // This client's timeout ends after that of the others would have ended.
    server.connect().expect_end();
    assert_eq!(server.stop().counted("idle_timeouts"), 1);
}
