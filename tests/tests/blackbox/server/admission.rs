//! `--max-connections` and `--when-full`.

use std::time::Duration;

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{Client, Server, wait_until},
};

group! {
    in every mode {
        a_newcomer_waits_until_somebody_leaves,
        everybody_who_waits_is_served_in_the_end,
        a_newcomer_is_rejected_while_it_is_full,
        rejections_are_counted_and_logged_at_a_bounded_rate,
        whoever_vanishes_leaves_his_place_to_others,
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

/// Whether the client gets a reply rather than an end.
fn is_served(client: &Client) -> bool {
    client.try_exchange(b"may I?").is_ok()
}
