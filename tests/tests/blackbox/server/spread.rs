//! The distribution of connections over workers: no worker has far more than another.

use server::mode::{Mode, Threads};

use crate::{
    behaviour::group,
    harness::{Client, Server, queues::Queues, wait_until},
};

group! {
    in every mode {
        five_hundred_clients_spread_evenly_over_two_workers,
        new_connections_fill_the_workers_that_lost_some,
    }
}

const CLIENTS: usize = 500;

fn five_hundred_clients_spread_evenly_over_two_workers(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "2"]);
    let before = idle_queues(&mut server);
    let _clients = server.connect_served(CLIENTS);
    expect_even(mode, &mut server, &before);
}

fn new_connections_fill_the_workers_that_lost_some(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "2"]);
    let before = idle_queues(&mut server);
    // The clients close in an order that does not depend on their workers.
    let mut clients: Vec<Client> = server.connect_served(CLIENTS / 2);
    for _ in 0..4 {
        let descriptors = server.process().descriptors();
        let stay = clients.split_off(CLIENTS / 4);
        let left = std::mem::replace(&mut clients, stay).len();
        server.expect_descriptors(descriptors - left);
        clients.extend(server.connect_served(CLIENTS / 4));
    }
    clients.extend(server.connect_served(CLIENTS / 2));
    expect_even(mode, &mut server, &before);
}

/// The queues of a server that has started to serve and has no connections.
fn idle_queues(server: &mut Server) -> Queues {
    server.descriptors_at_rest();
    Queues::of(server.process().id())
}

/// In a mode with a queue for each worker, each of two has at least 45% of the connections. A mode with a shared queue has
/// all connections in it. A mode without queues has none.
#[track_caller]
fn expect_even(mode: &Mode, server: &mut Server, before: &Queues) {
    let mut spread = Vec::new();
    wait_until("every connection is waited for", || {
        spread = Queues::of(server.process().id()).added_sockets(before);
        mode.threads == Threads::PerConnection || spread.iter().sum::<usize>() == CLIENTS
    });
    let most = spread.iter().max().copied().unwrap_or(0);
    assert!(spread.len() <= 1 || most <= CLIENTS * 55 / 100, "{spread:?} of {CLIENTS} connections");
}
