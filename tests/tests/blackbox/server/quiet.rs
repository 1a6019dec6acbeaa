//! A waiting server uses no CPU time, whatever it waits for.

use std::{thread, time::Duration};

use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{Client, Server},
};

group! {
    in every mode {
        waiting_for_new_and_idle_clients_uses_no_cpu,
        waiting_for_clients_that_do_not_read_uses_no_cpu,
        waiting_at_the_connection_limit_uses_no_cpu,
        waiting_for_the_last_client_uses_no_cpu,
        waiting_for_half_closed_clients_that_do_not_read_uses_no_cpu,
    }
}

fn waiting_for_new_and_idle_clients_uses_no_cpu(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "4", "--idle-timeout", "1h"]);
    let _clients = server.connect_served(100);
    expect_quiet(&mut server);
}

fn waiting_for_clients_that_do_not_read_uses_no_cpu(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "4"]);
    let clients: Vec<_> = (0..5).map(|_| Client::connect_narrow(server.address(), 4096)).collect();
    for client in &clients {
        client.push_until_backpressure(64 << 20);
    }
    expect_quiet(&mut server);
}

fn waiting_at_the_connection_limit_uses_no_cpu(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "4", "--max-connections", "1"]);
    let _guest = server.connect_served(1);
    let _waiting: Vec<_> = (0..5).map(|_| server.connect()).collect();
    server.log().wait_for("new connections wait in the accept queue");
    expect_quiet(&mut server);
}

fn waiting_for_the_last_client_uses_no_cpu(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "4", "--drain-timeout", "1h"]);
    let clients = server.connect_served(5);
    server.begin_drain(Signal::TERM);
    clients.iter().for_each(Client::expect_end);
    expect_quiet(&mut server);
}

fn waiting_for_half_closed_clients_that_do_not_read_uses_no_cpu(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "4"]);
    let client = Client::connect_narrow(server.address(), 4096);
    client.push_until_backpressure(64 << 20);
    client.finish_sending();
    expect_quiet(&mut server);
}

/// A spinning server would use a whole CPU, or as much of it as the machine permits.
#[track_caller]
pub(crate) fn expect_quiet(server: &mut Server) {
    let (window, most) = (Duration::from_secs(1), Duration::from_millis(100));
    let before = server.process().cpu_time();
    thread::sleep(window);
    let used = server.process().cpu_time() - before;
    assert!(used <= most, "{used:?} of CPU time while it waits for {window:?}");
}
