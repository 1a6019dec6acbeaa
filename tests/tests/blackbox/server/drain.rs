//! The drain: after SIGTERM or SIGINT, clients can finish.

use std::{thread, time::Duration};

use common::Address;
use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server, ServerCommand,
        client::counting,
        text::{expect_same, upper},
        wait_until,
    },
};

group! {
    in every mode {
        both_signals_drain_until_the_last_client_has_closed,
        new_connections_are_refused_during_the_drain,
        bytes_received_before_the_drain_are_echoed,
        bytes_that_arrive_with_the_signal_are_echoed,
        connections_in_the_accept_queue_at_the_signal_are_served,
        unread_replies_of_a_slow_reader_are_delivered,
        requests_that_wait_for_work_are_echoed,
        connections_in_every_state_end_cleanly,
        bytes_sent_during_the_drain_are_ignored_without_a_reset,
        a_client_that_closed_before_its_echo_does_not_delay_the_drain,
        idle_clients_do_not_delay_the_drain_after_they_close,
        clients_that_do_not_close_are_closed_after_the_drain_timeout,
        clients_that_do_not_read_are_closed_after_the_drain_timeout,
        a_second_signal_ends_it_at_once,
        the_idle_timeout_does_not_cut_the_drain_short,
        a_server_without_clients_ends_at_once,
        it_drains_at_the_end_of_standard_input_if_configured,
    }
}

/// The timeout is far longer than a test waits: a server that ends during a test did not wait for it. There is no grace
/// period, which has tests of its own.
const NEVER: [&str; 4] = ["--drain-timeout", "1h", "--drain-grace", "0s"];

fn both_signals_drain_until_the_last_client_has_closed(mode: &'static Mode) {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut server = Server::start(mode, &NEVER);
        let mut clients = server.connect_served(3);
        server.begin_drain(signal);
        assert!(server.log().wait_for("draining").contains(name));
        for client in &clients {
            client.expect_end();
        }
        // The server still runs after the first client has closed.
        drop(clients.pop());
        thread::sleep(Duration::from_millis(200));
        assert!(server.process().is_running(), "it ended while clients were connected");
        drop(clients);
        let stopped = server.wait_for_exit();
        stopped.finished.expect_code(0);
        assert_eq!((stopped.counted("drained"), stopped.counted("cut_off")), (3, 0));
    }
}

fn new_connections_are_refused_during_the_drain(mode: &'static Mode) {
    let server = Server::start(mode, &NEVER);
    let client = server.connect_served(1);
    server.begin_drain(Signal::TERM);
    wait_until("new connections are refused", || Client::try_connect(server.address()).is_err());
    drop(client);
    server.wait_for_exit().finished.expect_code(0);
}

fn bytes_received_before_the_drain_are_echoed(mode: &'static Mode) {
    let server = Server::start(mode, &NEVER);
    let clients = server.connect_served(20);
    let bytes = counting(0, 30_000);
    for client in &clients {
        client.send(&bytes);
    }
    clients.iter().for_each(Client::wait_until_all_is_delivered);
    server.terminate();
    for client in &clients {
        expect_same(&client.receive_to_end(), &upper(&bytes));
    }
    drop(clients);
    server.wait_for_exit().finished.expect_code(0);
}

fn bytes_that_arrive_with_the_signal_are_echoed(mode: &'static Mode) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let socket = Address::Unix(folder.path().join("echo.sock"));
    for _ in 0..15 {
        let server = ServerCommand::new(mode).args(&NEVER).listen(&socket).start();
        let clients = server.connect_served(300);
        // The server is stopped, so the bytes and the signal arrive at the same moment for it. Bytes sent to a unix socket
        // have arrived when the send returns.
        server.signal(Signal::STOP);
        for client in &clients {
            client.send(b"at the last moment");
        }
        server.terminate();
        server.signal(Signal::CONT);
        for client in clients {
            expect_same(&client.receive_to_end(), b"AT THE LAST MOMENT");
        }
        server.wait_for_exit().finished.expect_code(0);
    }
}

fn connections_in_the_accept_queue_at_the_signal_are_served(mode: &'static Mode) {
    for _ in 0..5 {
        let server = ServerCommand::new(mode).args(&NEVER).args(&["--threads", "2"]).start();
        let served = server.connect_served(5);
        server.signal(Signal::STOP);
        let waiting: Vec<_> = (0..50).map(|_| server.connect()).collect();
        for client in &waiting {
            client.send(b"just in time");
            client.wait_until_all_is_delivered();
        }
        server.terminate();
        server.signal(Signal::CONT);
        for client in &waiting {
            expect_same(&client.receive_to_end(), b"JUST IN TIME");
        }
        served.iter().for_each(Client::expect_end);
        drop((served, waiting));
        let stopped = server.wait_for_exit();
        stopped.finished.expect_code(0);
        assert_eq!((stopped.counted("connections"), stopped.counted("drained")), (55, 55));
    }
}

fn unread_replies_of_a_slow_reader_are_delivered(mode: &'static Mode) {
    let server = Server::start(mode, &NEVER);
    let client = Client::connect_narrow(server.address(), 16 * 1024);
    let sent = client.push_until_backpressure(64 << 20);
    let mut received = Vec::new();
    while client.undelivered_bytes() > 0 {
        received.extend(client.receive(4096));
    }
    assert!(received.len() < sent, "nothing is in the slow reader's way");
    server.begin_drain(Signal::TERM);
    received.extend(client.receive_to_end());
    expect_same(&received, &upper(&counting(0, sent)));
    drop(client);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!(stopped.counted("bytes_sent"), sent as u64);
}

fn requests_that_wait_for_work_are_echoed(mode: &'static Mode) {
    for work in ["sleep:200ms", "block:200ms"] {
        let server = ServerCommand::new(mode).args(&NEVER).args(&["--threads", "1", "--work", work]).start();
        let clients = [server.connect(), server.connect()];
        for client in &clients {
            client.send(b"the first, ");
            client.wait_until_all_is_delivered();
        }
        for client in &clients {
            client.send(b"the second");
            client.wait_until_all_is_delivered();
        }
        server.terminate();
        for client in clients {
            expect_same(&client.receive_to_end(), b"THE FIRST, THE SECOND");
        }
        server.wait_for_exit().finished.expect_code(0);
    }
}

fn connections_in_every_state_end_cleanly(mode: &'static Mode) {
    let args = ["--threads", "2", "--work", "sleep:20ms", "--idle-timeout", "1h"];
    let server = ServerCommand::new(mode).args(&NEVER).args(&args).start();
    let silent: Vec<_> = (0..10).map(|_| server.connect()).collect();
    let idle = server.connect_served(10);
    let held: Vec<_> = (0..3).map(|_| Client::connect_narrow(server.address(), 4096)).collect();
    let pushed: Vec<_> = thread::scope(|scope| {
        let pushing: Vec<_> =
            held.iter().map(|client| scope.spawn(|| client.push_until_backpressure(64 << 20))).collect();
        pushing.into_iter().map(|pushing| pushing.join().expect("it is held")).collect()
    });
    let half_closed: Vec<_> = (0..10).map(|_| server.connect()).collect();
    let asleep: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &half_closed {
        client.send(b"that is all");
        client.finish_sending();
    }
    for client in &asleep {
        client.send(b"are you awake?");
        client.wait_until_all_is_delivered();
    }
    server.terminate();
    for client in &half_closed {
        expect_same(&client.receive_to_end(), b"THAT IS ALL");
    }
    for client in &asleep {
        expect_same(&client.receive_to_end(), b"ARE YOU AWAKE?");
    }
    silent.iter().chain(&idle).for_each(Client::expect_end);
    drop((silent, idle, half_closed, asleep));
    // The server may lose bytes of these that it had not received before the drain. The echoed ones have no gap.
    for (client, pushed) in held.iter().zip(pushed) {
        let received = client.receive_to_end();
        assert!(!received.is_empty() && received.len() <= pushed, "{} of {pushed} bytes", received.len());
        expect_same(&received, &upper(&counting(0, received.len())));
    }
    drop(held);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!((stopped.counted("connections"), stopped.counted("cut_off")), (43, 0));
    assert_eq!((stopped.counted("failed"), stopped.counted("idle_timeouts")), (0, 0));
}

fn bytes_sent_during_the_drain_are_ignored_without_a_reset(mode: &'static Mode) {
    let server = Server::start(mode, &NEVER);
    let client = server.connect_served(1).remove(0);
    server.begin_drain(Signal::TERM);
    client.expect_end();
    // More than all buffers hold: the server receives the bytes, and does not reset the connection.
    client.send(&counting(0, 16 << 20));
    client.finish_sending();
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!(stopped.counted("drained"), 1);
}

fn a_client_that_closed_before_its_echo_does_not_delay_the_drain(mode: &'static Mode) {
    let server = ServerCommand::new(mode).args(&NEVER).args(&["--work", "sleep:300ms"]).start();
    let client = server.connect();
    client.send(b"no time to wait");
    client.wait_until_all_is_delivered();
    server.terminate();
    client.reset();
    server.wait_for_exit().finished.expect_code(0);
}

fn idle_clients_do_not_delay_the_drain_after_they_close(mode: &'static Mode) {
    let server = Server::start(mode, &NEVER);
    let clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    server.begin_drain(Signal::TERM);
    for client in &clients {
        client.expect_end();
    }
    drop(clients);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!((stopped.counted("connections"), stopped.counted("drained")), (200, 200));
}

fn clients_that_do_not_close_are_closed_after_the_drain_timeout(mode: &'static Mode) {
    let server = Server::start(mode, &["--drain-timeout", "300ms"]);
    let clients = server.connect_served(3);
    server.terminate();
    // Two of the three clients see the end of the stream and close.
    for client in &clients[1..] {
        client.expect_end();
        client.finish_sending();
    }
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(1);
    assert_eq!((stopped.counted("cut_off"), stopped.counted("drained")), (1, 2));
}

fn clients_that_do_not_read_are_closed_after_the_drain_timeout(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "1", "--drain-timeout", "300ms"]);
    let deaf = server.connect();
    deaf.push_until_backpressure(64 << 20);
    server.terminate();
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(1);
    assert_eq!(stopped.counted("cut_off"), 1);
}

fn a_second_signal_ends_it_at_once(mode: &'static Mode) {
    for second in [Signal::TERM, Signal::INT] {
        let server = Server::start(mode, &NEVER);
        let client = server.connect_served(1);
        server.begin_drain(Signal::TERM);
        client[0].expect_end();
        server.signal(second);
        server.wait_for_exit().finished.expect_code(1);
    }
}

fn the_idle_timeout_does_not_cut_the_drain_short(mode: &'static Mode) {
    let mut server = ServerCommand::new(mode).args(&NEVER).args(&["--idle-timeout", "200ms"]).start();
    let client = server.connect_served(1);
    server.begin_drain(Signal::TERM);
    client[0].expect_end();
    thread::sleep(Duration::from_millis(600));
    assert!(server.process().is_running(), "the client was not waited for");
    drop(client);
    let stopped = server.wait_for_exit();
    stopped.finished.expect_code(0);
    assert_eq!((stopped.counted("drained"), stopped.counted("idle_timeouts")), (1, 0));
}

fn a_server_without_clients_ends_at_once(mode: &'static Mode) {
    let server = Server::start(mode, &NEVER);
    drop(server.connect_served(5));
    let stopped = server.stop();
    assert_eq!(stopped.counted("connections"), 5);
}

fn it_drains_at_the_end_of_standard_input_if_configured(mode: &'static Mode) {
    let mut server = ServerCommand::new(mode).args(&NEVER).args(&["--stop-at-stdin-end"]).start();
    let client = server.connect_served(1);
    server.process().end_input();
    client[0].expect_end();
    drop(client);
    server.wait_for_exit().finished.expect_code(0);

    let mut server = Server::start(mode, &[]);
    server.process().end_input();
    server.expect_service();
    server.stop();
}
