//! Clients leave no resources behind, however their connections end.

use std::{sync::atomic::AtomicBool, thread};

use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server,
        client::{counting, exchange_with_all},
        text::expect_same,
    },
};

group! {
    in every mode {
        clients_that_end_in_any_way_leave_no_descriptor_behind,
        a_reset_during_a_pending_echo_does_not_affect_other_clients,
        a_reset_during_simulated_work_does_not_affect_other_clients,
        a_thousand_clients_that_send_and_close_at_once_leave_nothing_behind,
    }
}

fn clients_that_end_in_any_way_leave_no_descriptor_behind(mode: &'static Mode) {
    const ROUNDS: usize = 3;
    let timeouts = ["--idle-timeout", "400ms", "--write-timeout", "400ms"];
    let server = Server::start(mode, &[&["--threads", "2"], &timeouts[..]].concat());
    let at_rest = server.descriptors_at_rest();
    for _ in 0..ROUNDS {
        // After an echo, without sending, with pending bytes, and with a half-close.
        drop(server.connect_served(20));
        for _ in 0..20 {
            server.connect().reset();
        }
        server.connect_served(20).into_iter().for_each(Client::reset);
        for client in server.connect_served(20) {
            client.send(&counting(0, 100_000));
            client.reset();
        }
        for _ in 0..20 {
            expect_same(&server.connect().exchange_to_end(b"and goodbye"), b"AND GOODBYE");
        }
        // Closed by the server's timeout.
        let idle = server.connect_served(20);
        let deaf: Vec<_> = (0..3).map(|_| server.connect()).collect();
        thread::scope(|scope| {
            for client in &deaf {
                scope.spawn(|| client.push_until(&AtomicBool::new(false)));
            }
        });
        idle.iter().for_each(Client::expect_end);
        // The clients keep their sockets open, but the server has closed its own.
        server.expect_descriptors(at_rest);
        drop((idle, deaf));
    }
    let stopped = server.stop();
    assert_eq!(stopped.counted("idle_timeouts"), 20 * ROUNDS as u64);
    assert_eq!(stopped.counted("write_timeouts"), 3 * ROUNDS as u64);
}

fn a_reset_during_a_pending_echo_does_not_affect_other_clients(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "1"]);
    let at_rest = server.descriptors_at_rest();
    let others = server.connect_served(10);
    for _ in 0..3 {
        let rude: Vec<_> = (0..5).map(|_| Client::connect_narrow(server.address(), 4096)).collect();
        thread::scope(|scope| {
            for client in &rude {
                scope.spawn(|| client.push_until_backpressure(64 << 20));
            }
        });
        rude.into_iter().for_each(Client::reset);
        exchange_with_all(&others, b"unimpressed");
    }
    drop(others);
    server.expect_descriptors(at_rest);
    let stopped = server.stop();
    assert_eq!((stopped.counted("connections"), stopped.counted("failed")), (26, 15));
}

fn a_reset_during_simulated_work_does_not_affect_other_clients(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2", "--work", "sleep:50ms"]);
    let at_rest = server.descriptors_at_rest();
    let others = server.connect_served(3);
    for _ in 0..5 {
        let rude: Vec<_> = (0..10).map(|_| server.connect()).collect();
        for client in &rude {
            client.send(b"wake me when it is over");
            client.wait_until_all_is_delivered();
        }
        rude.into_iter().for_each(Client::reset);
        exchange_with_all(&others, b"unimpressed");
    }
    drop(others);
    server.expect_descriptors(at_rest);
    assert_eq!(server.stop().counted("connections"), 54);
}

/// More events at once than one wait returns in any mode.
fn a_thousand_clients_that_send_and_close_at_once_leave_nothing_behind(mode: &'static Mode) {
    const CLIENTS: usize = 1000;
    let server = Server::start(mode, &["--threads", "1"]);
    let at_rest = server.descriptors_at_rest();
    let at_one_moment = |act: &mut dyn FnMut()| {
        server.signal(Signal::STOP);
        act();
        server.signal(Signal::CONT);
    };
    for _ in 0..2 {
        let mut clients = Vec::new();
        at_one_moment(&mut || clients = (0..CLIENTS).map(|_| server.connect()).collect());
        for _ in 0..2 {
            at_one_moment(&mut || clients.iter().for_each(|client| client.send(b"all together now")));
            clients.iter().for_each(|client| client.expect_reply_to(b"all together now"));
        }
        at_one_moment(&mut || clients.clear());
        server.expect_descriptors(at_rest);
    }
    let stopped = server.stop();
    assert_eq!(stopped.counted("connections"), 1 + 2 * CLIENTS as u64);
    assert_eq!(stopped.counted("failed"), 0);
}
