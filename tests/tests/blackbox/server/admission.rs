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
        a_new_connection_waits_for_a_free_place,
        every_waiting_connection_is_served_in_the_end,
        a_new_connection_is_rejected_at_the_limit,
        rejections_are_counted_and_logged_at_a_bounded_rate,
        a_vanished_client_frees_its_place,
        no_listener_is_starved_at_the_limit,
        many_waiting_connections_are_all_served_and_free_every_place,
        many_rejected_connections_leave_every_place_free,
    }
}

/// Long enough to serve a new connection if there were a free place.
const SILENCE: Duration = Duration::from_millis(200);

fn a_new_connection_waits_for_a_free_place(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "2"]);
    let mut served = server.connect_served(2);
    let waiting = server.connect();
    waiting.send(b"is there a free place?");
    waiting.expect_silence(SILENCE);
    server.log().wait_for("new connections wait in the accept queue");
    served[0].exchange(b"it is full");
    drop(served.pop());
    waiting.expect_reply_to(b"is there a free place?");
    drop((served, waiting));
    let stopped = server.stop();
    assert_eq!((stopped.counted("connections"), stopped.counted("turned_away")), (3, 0));
}

fn every_waiting_connection_is_served_in_the_end(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2", "--max-connections", "3"]);
    let clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &clients {
        client.send(b"next, please");
    }
    // The connections are served in the order of the accept queue, one after another.
    for client in clients {
        client.expect_reply_to(b"next, please");
    }
    assert!(server.log().count("wait in the accept queue") <= 10, "{}", server.log().so_far());
    assert_eq!(server.stop().counted("connections"), 100);
}

fn a_new_connection_is_rejected_at_the_limit(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "2", "--when-full", "reject"]);
    let mut served = server.connect_served(2);
    server.connect().expect_close_or_reset();
    served[0].exchange(b"it is full");
    drop(served.pop());
    // The server needs a moment to notice that a client has closed.
    wait_until("there is room again", || is_served(&server.connect()));
    drop(served);
    assert!(server.stop().counted("turned_away") >= 1);
}

fn rejections_are_counted_and_logged_at_a_bounded_rate(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "1", "--when-full", "reject"]);
    let guest = server.connect_served(1);
    for _ in 0..50 {
        server.connect().expect_close_or_reset();
    }
    guest[0].exchange(b"what a crowd");
    drop(guest);
    let stopped = server.stop();
    assert_eq!(stopped.counted("turned_away"), 50);
    let lines = stopped.finished.stderr.lines().filter(|line| line.contains("turned away")).count();
    assert!((1..=10).contains(&lines), "{lines} lines:\n{}", stopped.finished.stderr);
}

fn a_vanished_client_frees_its_place(mode: &'static Mode) {
    let server = Server::start(mode, &["--max-connections", "1"]);
    for _ in 0..5 {
        let client = server.connect();
        client.push_until_backpressure(64 << 20);
        client.reset();
    }
    server.expect_service();
}

/// Each listener always has a waiting connection, and one place at a time becomes free.
fn no_listener_is_starved_at_the_limit(mode: &'static Mode) {
    const CLIENTS: usize = 20;
    for (listeners, places) in [(2, "1"), (2, "3"), (3, "1"), (3, "2"), (4, "1")] {
        let command = ServerCommand::new(mode).args(&["--threads", "2", "--max-connections", places]);
        let server = (0..listeners).fold(command, |command, _| command.listen("127.0.0.1:0")).start();
        let mut waiting: Vec<Vec<Client>> = server.addresses().iter().map(|_| Vec::new()).collect();
        // The clients of both listeners connect in turn, before any of them closes.
        for _ in 0..CLIENTS {
            for (clients, address) in waiting.iter_mut().zip(server.addresses()) {
                let client = Client::connect(address);
                client.send(b"my turn?");
                clients.push(client);
            }
        }
        wait_until("one listener's clients have all been served", || {
            for clients in &mut waiting {
                // A served client closes.
                clients.retain(|client| !client.has_unread_bytes());
            }
            waiting.iter().any(Vec::is_empty)
        });
        let left: Vec<_> = waiting.iter().map(Vec::len).collect();
        assert!(
            left.iter().all(|left| *left <= CLIENTS / 2),
            "{places} places; clients that still wait: {left:?}"
        );
    }
}

fn many_waiting_connections_are_all_served_and_free_every_place(mode: &'static Mode) {
    const PLACES: usize = 20;
    const CLIENTS: usize = 400;
    let server = Server::start(mode, &["--threads", "2", "--max-connections", "20"]);
    let at_rest = server.descriptors_at_rest();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients.iter().for_each(|client| client.send(b"in this weather"));
    wait_until("every client is served", || {
        let served = clients.iter().filter(|client| client.has_unread_bytes()).count();
        assert!(served <= PLACES, "{served} are served at once");
        clients.retain(|client| {
            let is_served = client.has_unread_bytes();
            if is_served {
                client.expect_reply_to(b"in this weather");
            }
            !is_served
        });
        clients.is_empty()
    });
    server.expect_descriptors(at_rest);
    // All of them hold their places at the same time.
    let served = server.connect_served(PLACES);
    drop(served);
    let stopped = server.stop();
    assert_eq!(stopped.counted("connections"), (1 + CLIENTS + PLACES) as u64);
    assert_eq!((stopped.counted("turned_away"), stopped.counted("failed")), (0, 0));
}

fn many_rejected_connections_leave_every_place_free(mode: &'static Mode) {
    const PLACES: usize = 20;
    const CLIENTS: usize = 400;
    let args = ["--threads", "2", "--max-connections", "20", "--when-full", "reject"];
    let server = Server::start(mode, &args);
    let at_rest = server.descriptors_at_rest();
    let served = take_all_places(&server, PLACES);
    let storm: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    storm.iter().for_each(Client::expect_close_or_reset);
    for client in &served {
        client.exchange(b"what a night");
    }
    drop(served);
    server.expect_descriptors(at_rest);
    take_all_places(&server, PLACES);
    assert!(server.stop().counted("turned_away") >= CLIENTS as u64);
}

/// Fills all places with served clients. A place becomes free only a moment after its client has closed.
fn take_all_places(server: &Server, places: usize) -> Vec<Client> {
    wait_for("as many as there are places are served at once", || {
        let served: Vec<_> = (0..places).map(|_| server.connect()).collect();
        served.iter().all(is_served).then_some(served)
    })
}

/// Whether the client gets a reply rather than an end.
fn is_served(client: &Client) -> bool {
    client.try_exchange(b"may I?").is_ok()
}
