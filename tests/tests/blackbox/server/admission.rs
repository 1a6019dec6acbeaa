//! `--max-connections` and `--when-full`.

use std::time::Duration;

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server, ServerCommand,
        wait::{wait_for, wait_until},
    },
};

group! {
    in every mode {
        a_newcomer_waits_until_somebody_leaves,
        everybody_who_waits_is_served_in_the_end,
        a_newcomer_is_rejected_while_it_is_full,
        rejections_are_counted_and_logged_at_a_bounded_rate,
        whoever_vanishes_leaves_his_place_to_others,
        no_listener_is_starved_while_it_is_full,
        a_storm_that_waits_is_served_to_the_last_and_leaves_every_place_free,
        a_storm_that_is_turned_away_leaves_every_place_free,
    }
}

/// Long enough for a newcomer to be served if anybody served him.
const A_WHILE: Duration = Duration::from_millis(200);

fn a_newcomer_waits_until_somebody_leaves(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "2"]);
    let mut guests = server.connect_served(2);
    let newcomer = server.connect();
    newcomer.send(b"may I come in?");
    newcomer.expect_silence(A_WHILE);
    server.log().wait_for("newcomers wait in the backlog");
    guests[0].exchange(b"it is full");
    drop(guests.pop());
    newcomer.expect_reply_to(b"may I come in?");
    drop((guests, newcomer));
    let stopped = server.stop();
    assert_eq!((stopped.counted("connections"), stopped.counted("turned_away")), (3, 0));
}

fn everybody_who_waits_is_served_in_the_end(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2", "--max-connections", "3"]);
    let clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &clients {
        client.send(b"next, please");
    }
    // In the order of the backlog, each leaves its place to the next.
    for client in clients {
        client.expect_reply_to(b"next, please");
    }
    assert!(server.log().count("wait in the backlog") <= 10, "{}", server.log().so_far());
    assert_eq!(server.stop().counted("connections"), 100);
}

fn a_newcomer_is_rejected_while_it_is_full(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "2", "--when-full", "reject"]);
    let mut guests = server.connect_served(2);
    server.connect().expect_cut_off();
    guests[0].exchange(b"it is full");
    drop(guests.pop());
    // The server has to notice first that somebody has left.
    wait_until("there is room again", || is_served(&server.connect()));
    drop(guests);
    assert!(server.stop().counted("turned_away") >= 1);
}

fn rejections_are_counted_and_logged_at_a_bounded_rate(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "1", "--when-full", "reject"]);
    let guest = server.connect_served(1);
    for _ in 0..50 {
        server.connect().expect_cut_off();
    }
    guest[0].exchange(b"what a crowd");
    drop(guest);
    let stopped = server.stop();
    assert_eq!(stopped.counted("turned_away"), 50);
    let lines = stopped.finished.stderr.lines().filter(|line| line.contains("turned away")).count();
    assert!((1..=10).contains(&lines), "{lines} lines:\n{}", stopped.finished.stderr);
}

fn whoever_vanishes_leaves_his_place_to_others(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "1"]);
    for _ in 0..5 {
        let client = server.connect();
        client.push_until_held(64 << 20);
        client.reset();
    }
    server.expect_service();
}

/// Each listener always has somebody waiting, and one place at a time gets free.
fn no_listener_is_starved_while_it_is_full(mode: &'static Mode) {
    const CLIENTS: usize = 20;
    for (listeners, places) in [(2, "1"), (2, "3"), (3, "1"), (3, "2"), (4, "1")] {
        let command = ServerCommand::new(mode).args(&["--threads", "2", "--max-connections", places]);
        let server = (0..listeners).fold(command, |command, _| command.listen("127.0.0.1:0")).start();
        let mut waiting: Vec<Vec<Client>> = server.addresses().iter().map(|_| Vec::new()).collect();
        // By turns: nobody is to have left before the others came.
        for _ in 0..CLIENTS {
            for (clients, address) in waiting.iter_mut().zip(server.addresses()) {
                let client = Client::connect(address);
                client.send(b"my turn?");
                clients.push(client);
            }
        }
        wait_until("one listener's clients have all been served", || {
            for clients in &mut waiting {
                // Who is served leaves.
                clients.retain(|client| !client.has_news());
            }
            waiting.iter().any(Vec::is_empty)
        });
        let left: Vec<_> = waiting.iter().map(Vec::len).collect();
        assert!(
            left.iter().all(|left| *left <= CLIENTS / 2),
            "{places} places, so many still wait: {left:?}"
        );
    }
}

fn a_storm_that_waits_is_served_to_the_last_and_leaves_every_place_free(mode: &'static Mode) {
    const PLACES: usize = 20;
    const CLIENTS: usize = 400;
    let server = Server::start(mode, &["--threads", "2", "--max-connections", "20"]);
    let at_rest = server.descriptors_at_rest();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients.iter().for_each(|client| client.send(b"in this weather"));
    wait_until("everybody is served", || {
        let served = clients.iter().filter(|client| client.has_news()).count();
        assert!(served <= PLACES, "{served} are served at once");
        clients.retain(|client| {
            let is_served = client.has_news();
            if is_served {
                client.expect_reply_to(b"in this weather");
            }
            !is_served
        });
        clients.is_empty()
    });
    server.expect_descriptors(at_rest);
    // They all hold their places at once.
    let guests = server.connect_served(PLACES);
    drop(guests);
    let stopped = server.stop();
    assert_eq!(stopped.counted("connections"), (1 + CLIENTS + PLACES) as u64);
    assert_eq!((stopped.counted("turned_away"), stopped.counted("failed")), (0, 0));
}

fn a_storm_that_is_turned_away_leaves_every_place_free(mode: &'static Mode) {
    const PLACES: usize = 20;
    const CLIENTS: usize = 400;
    let args = ["--threads", "2", "--max-connections", "20", "--when-full", "reject"];
    let server = Server::start(mode, &args);
    let at_rest = server.descriptors_at_rest();
    let guests = take_all_places(&server, PLACES);
    let storm: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    storm.iter().for_each(Client::expect_cut_off);
    for client in &guests {
        client.exchange(b"what a night");
    }
    drop(guests);
    server.expect_descriptors(at_rest);
    take_all_places(&server, PLACES);
    assert!(server.stop().counted("turned_away") >= CLIENTS as u64);
}

/// As many guests as there are places, all served at once. A place is free only a moment after who had it has gone.
fn take_all_places(server: &Server, places: usize) -> Vec<Client> {
    wait_for("as many as there are places are served at once", || {
        let guests: Vec<_> = (0..places).map(|_| server.connect()).collect();
        guests.iter().all(is_served).then_some(guests)
    })
}

/// Whether the client gets a reply rather than an end.
fn is_served(client: &Client) -> bool {
    client.try_exchange(b"may I?").is_ok()
}
