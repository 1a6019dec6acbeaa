//! How connections spread over the workers: none has far more of them than another.

use server::mode::{Mode, Threads};

use crate::{
    behaviour::group,
    harness::{Client, Server, queues::Queues, wait_until},
};

group! {
    in every mode {
        five_hundred_clients_spread_evenly_over_two_workers,
        who_comes_after_others_have_left_makes_up_for_them,
    }
}

const CLIENTS: usize = 500;

fn five_hundred_clients_spread_evenly_over_two_workers(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "2"]);
    let before = served_by_nobody(&mut server);
    let _clients = server.connect_served(CLIENTS);
    expect_even(mode, &mut server, &before);
}

fn who_comes_after_others_have_left_makes_up_for_them(mode: &'static Mode) {
    let mut server = Server::start(mode, &["--threads", "2"]);
    let before = served_by_nobody(&mut server);
    // They come and go in an order that no worker has a say in.
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

/// The queues of a server that has begun to serve and has nobody to serve.
fn served_by_nobody(server: &mut Server) -> Queues {
    server.descriptors_at_rest();
    Queues::of(server.process().id())
}

/// A mode with a queue for each worker has not less than 45% of the connections in either of two. One with a queue that
/// all workers share has them all there, and one without queues has none.
#[track_caller]
fn expect_even(mode: &Mode, server: &mut Server, before: &Queues) {
    let mut spread = Vec::new();
    wait_until("every connection is waited for", || {
        spread = Queues::of(server.process().id()).newcomers(before);
        mode.threads == Threads::PerConnection || spread.iter().sum::<usize>() == CLIENTS
    });
    let most = spread.iter().max().copied().unwrap_or(0);
    assert!(spread.len() <= 1 || most <= CLIENTS * 55 / 100, "{spread:?} of {CLIENTS} connections");
}
