//! The grace period of the drain: a connection gets the reply to its next request before the server half-closes it.

use std::{thread, time::Duration};

use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server,
        client::timed,
        text::{expect_same, upper},
    },
};

group! {
    in every mode {
        a_new_connection_gets_its_first_reply_during_the_grace_period,
        a_connection_gets_one_more_reply_during_the_grace_period,
        the_last_reply_and_the_half_close_arrive_together,
        a_silent_connection_is_half_closed_after_the_grace_period,
        a_request_in_pieces_gets_its_complete_reply,
        a_request_in_pieces_gets_its_complete_reply_after_a_pause,
        a_request_that_arrives_during_the_work_for_the_last_one_gets_its_reply,
        without_a_grace_period_an_idle_connection_is_half_closed_at_once,
        the_grace_period_ends_early_when_every_client_has_closed,
    }
}

/// A grace period that no test waits for.
const LONG: [&str; 4] = ["--drain-timeout", "1h", "--drain-grace", "1h"];

/// Sends requests until the server half-closes the connection together with a reply. A server thread that has not
/// seen the shutdown yet replies as before.
#[track_caller]
pub(super) fn exchange_until_the_end(client: &Client, request: &[u8]) {
    loop {
        client.send(request);
        client.wait_until_readable();
        let is_last = client.is_half_closed_by_peer();
        expect_same(&client.receive(request.len()), &upper(request));
        if is_last {
            return client.expect_end();
        }
    }
}

fn a_new_connection_gets_its_first_reply_during_the_grace_period(mode: &'static Mode) {
    let server = Server::start(mode, &LONG);
    let clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    server.begin_drain(Signal::TERM);
    for client in &clients {
        exchange_until_the_end(client, b"my first request");
    }
    drop(clients);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!((stopped.counted("drained"), stopped.counted("failed")), (20, 0));
}

fn a_connection_gets_one_more_reply_during_the_grace_period(mode: &'static Mode) {
    let server = Server::start(mode, &LONG);
    let clients = server.connect_served(20);
    server.begin_drain(Signal::TERM);
    for client in &clients {
        exchange_until_the_end(client, b"one more request");
    }
    drop(clients);
    server.wait_for_exit().finished.expect_code(0);
}

fn the_last_reply_and_the_half_close_arrive_together(mode: &'static Mode) {
    let server = Server::start(mode, &LONG);
    let clients = server.connect_served(50);
    server.begin_drain(Signal::TERM);
    for client in &clients {
        // A client that reads the end together with its reply sends no request that the server would discard. A request
        // after the half-close would get no reply, and this would fail.
        exchange_until_the_end(client, b"the last request");
    }
}

fn a_silent_connection_is_half_closed_after_the_grace_period(mode: &'static Mode) {
    let server = Server::start(mode, &["--drain-timeout", "1h", "--drain-grace", "400ms"]);
    let mut clients = server.connect_served(3);
    clients.extend((0..3).map(|_| server.connect()));
    server.begin_drain(Signal::TERM);
    let waited = timed(|| clients.iter().for_each(Client::expect_end));
    assert!(waited >= Duration::from_millis(200), "half-closed after {waited:?}");
    drop(clients);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!(stopped.counted("drained"), 6);
}

fn a_request_in_pieces_gets_its_complete_reply(mode: &'static Mode) {
    let server = Server::start(mode, &LONG);
    let client = server.connect_served(1).remove(0);
    server.begin_drain(Signal::TERM);
    // A piece that fills its segments does not end a message.
    let piece = vec![b'x'; 8 * 1024];
    for _ in 0..5 {
        client.send(&piece);
        expect_same(&client.receive(piece.len()), &upper(&piece));
    }
    exchange_until_the_end(&client, b"the rest");
    drop(client);
    server.wait_for_exit().finished.expect_code(0);
}

fn a_request_in_pieces_gets_its_complete_reply_after_a_pause(mode: &'static Mode) {
    let server = Server::start(mode, &LONG);
    let client = server.connect_served(1).remove(0);
    server.begin_drain(Signal::TERM);
    // Longer than the time without bytes that ends a message in pieces. No piece has arrived yet.
    thread::sleep(Duration::from_millis(250));
    let piece = vec![b'x'; 8 * 1024];
    for _ in 0..3 {
        client.send(&piece);
        expect_same(&client.receive(piece.len()), &upper(&piece));
    }
    exchange_until_the_end(&client, b"the rest");
    drop(client);
    server.wait_for_exit().finished.expect_code(0);
}

fn a_request_that_arrives_during_the_work_for_the_last_one_gets_its_reply(mode: &'static Mode) {
    for work in ["block:100ms", "sleep:100ms"] {
        let server = Server::start(mode, &[&LONG[..], &["--threads", "1", "--work", work]].concat());
        let client = server.connect_served(1).remove(0);
        server.begin_drain(Signal::TERM);
        client.send(b"the first, ");
        // The server has read the first request by now. If it has not, it reads both at once, and this tests less.
        thread::sleep(Duration::from_millis(50));
        client.send(b"the second");
        expect_same(&client.receive(21), b"THE FIRST, THE SECOND");
    }
}

fn without_a_grace_period_an_idle_connection_is_half_closed_at_once(mode: &'static Mode) {
    let server = Server::start(mode, &["--drain-timeout", "1h", "--drain-grace", "0s"]);
    let clients = server.connect_served(3);
    server.begin_drain(Signal::TERM);
    clients.iter().for_each(Client::expect_end);
    drop(clients);
    server.wait_for_exit().finished.expect_code(0);
}

fn the_grace_period_ends_early_when_every_client_has_closed(mode: &'static Mode) {
    let server = Server::start(mode, &LONG);
    let clients = server.connect_served(5);
    server.begin_drain(Signal::TERM);
    drop(clients);
    server.wait_for_exit().finished.expect_code(0);
}
