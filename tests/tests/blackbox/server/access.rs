//! `--allow`, `--deny` and `--max-connections-per-ip`.

use std::net::Ipv4Addr;

use common::Address;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server, ServerCommand,
        machine::ipv6,
        text::field,
        wait::{wait_for, wait_until},
    },
};

group! {
    in every mode {
        a_denied_client_is_closed_before_a_byte_is_read,
        with_any_allow_only_allowed_clients_are_served,
        deny_wins_over_allow,
        an_ipv4_client_of_a_dual_stack_listener_counts_as_ipv4 needs ipv6,
        unix_sockets_are_not_affected_by_networks_and_client_limits,
        denied_clients_take_no_place_and_fill_no_log,
        each_client_address_has_its_own_limit,
        a_client_over_its_limit_does_not_delay_others_when_full_waits,
        connections_over_the_limit_of_a_client_leave_nothing_behind,
        the_limit_of_a_client_counts_connections_that_ended_in_any_way,
    }
    once {
        the_start_says_who_may_connect,
    }
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THREE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn a_denied_client_is_closed_before_a_byte_is_read(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2", "--deny", "127.0.0.2"]);
    let denied = connect(&server, TWO);
    // The server may have closed the connection already.
    _ = denied.try_exchange(b"hello?");
    denied.expect_close_or_reset();
    connect(&server, ONE).exchange(b"hello");
    let line = server.log().wait_for("turned away");
    assert_eq!((field(&line, "reason").trim_matches('"'), field(&line, "client")), ("denied", "127.0.0.2"));
    let stopped = server.stop();
    assert_eq!((stopped.counted("turned_away"), stopped.counted("turned_away_denied")), (1, 1));
    assert_eq!((stopped.counted("connections"), stopped.counted("bytes_received")), (1, 5));
}

fn with_any_allow_only_allowed_clients_are_served(mode: &'static Mode) {
    let server = Server::start(mode, &["--allow", "127.0.0.2/31", "--allow", "2001:db8::/32"]);
    connect(&server, TWO).exchange(b"hello");
    connect(&server, THREE).exchange(b"hello");
    connect(&server, ONE).expect_close_or_reset();
    assert_eq!(server.stop().counted("turned_away_denied"), 1);
}

fn deny_wins_over_allow(mode: &'static Mode) {
    let server = Server::start(mode, &["--deny", "127.0.0.2,127.0.0.3", "--allow", "127.0.0.0/8"]);
    connect(&server, ONE).exchange(b"hello");
    connect(&server, TWO).expect_close_or_reset();
    connect(&server, THREE).expect_close_or_reset();
    assert_eq!(server.stop().counted("turned_away_denied"), 2);
}

fn an_ipv4_client_of_a_dual_stack_listener_counts_as_ipv4(mode: &'static Mode) {
    let args = ["--deny", "127.0.0.2", "--allow", "127.0.0.0/8", "--max-connections-per-ip", "1"];
    let server = ServerCommand::new(mode).listen("[::]:0").args(&args).start();
    let Address::Tcp { port, .. } = server.address() else { panic!("a TCP listener") };
    let at = |host: &str| format!("{host}:{port}").parse::<Address>().unwrap();
    let client = Client::connect_from(&at("127.0.0.1"), ONE);
    client.exchange(b"hello");
    Client::connect_from(&at("127.0.0.1"), ONE).expect_close_or_reset();
    Client::connect_from(&at("127.0.0.1"), TWO).expect_close_or_reset();
    Client::connect(&at("[::1]")).expect_close_or_reset();
    drop(client);
    let stopped = server.stop();
    assert_eq!((stopped.counted("turned_away_denied"), stopped.counted("turned_away_per_ip")), (2, 1));
}

fn unix_sockets_are_not_affected_by_networks_and_client_limits(mode: &'static Mode) {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let args = ["--deny", "0.0.0.0/0", "--deny", "::/0", "--max-connections-per-ip", "1"];
    let server = ServerCommand::new(mode).listen(&socket).listen("127.0.0.1:0").args(&args).start();
    drop(server.connect_served(3));
    Client::connect(&server.addresses()[1]).expect_close_or_reset();
    assert_eq!(server.stop().counted("connections"), 3);
}

fn denied_clients_take_no_place_and_fill_no_log(mode: &'static Mode) {
    const DENIED: usize = 100;
    let args = ["--threads", "2", "--max-connections", "2", "--deny", "127.0.0.2"];
    let server = Server::start(mode, &args);
    let at_rest = server.descriptors_at_rest();
    let guest = connect(&server, ONE);
    guest.exchange(b"hello");
    for _ in 0..DENIED {
        connect(&server, TWO).expect_close_or_reset();
    }
    let other = connect(&server, ONE);
    other.exchange(b"hello");
    drop((guest, other));
    server.expect_descriptors(at_rest);
    let stopped = server.stop();
    assert_eq!(stopped.counted("turned_away_denied"), DENIED as u64);
    let lines = stopped.finished.stderr.lines().filter(|line| line.contains("turned away")).count();
    assert!((1..=10).contains(&lines), "{lines} lines:\n{}", stopped.finished.stderr);
}

fn each_client_address_has_its_own_limit(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "2", "--max-connections-per-ip", "2"]);
    let mut clients: Vec<_> = [ONE, ONE, TWO, TWO, THREE].map(|source| connect(&server, source)).into();
    clients.iter().for_each(|client| client.exchange(b"hello"));
    connect(&server, ONE).expect_close_or_reset();
    connect(&server, TWO).expect_close_or_reset();
    let line = server.log().wait_for("turned away");
    assert_eq!(field(&line, "reason").trim_matches('"'), "per_ip");
    // One of the first client's connections ends, and makes room for one of the same client.
    drop(clients.remove(0));
    clients.push(wait_for("there is room again", || served(&server, ONE)));
    connect(&server, ONE).expect_close_or_reset();
    connect(&server, TWO).expect_close_or_reset();
    clients.iter().for_each(|client| client.exchange(b"still here"));
    drop(clients);
    assert!(server.stop().counted("turned_away_per_ip") >= 4);
}

fn a_client_over_its_limit_does_not_delay_others_when_full_waits(mode: &'static Mode) {
    let args = ["--max-connections", "10", "--max-connections-per-ip", "1", "--when-full", "wait"];
    let server = Server::start(mode, &args);
    let greedy = connect(&server, TWO);
    greedy.exchange(b"hello");
    let more: Vec<_> = (0..20).map(|_| connect(&server, TWO)).collect();
    connect(&server, ONE).exchange(b"me too");
    more.iter().for_each(Client::expect_close_or_reset);
    greedy.exchange(b"still here");
    drop(greedy);
    assert_eq!(server.stop().counted("turned_away_per_ip"), 20);
}

fn connections_over_the_limit_of_a_client_leave_nothing_behind(mode: &'static Mode) {
    let args = ["--threads", "2", "--max-connections", "3", "--max-connections-per-ip", "2"];
    let server = Server::start(mode, &args);
    let at_rest = server.descriptors_at_rest();
    for _ in 0..20 {
        let clients: Vec<_> = (0..5).map(|_| connect(&server, TWO)).collect();
        let served = clients.iter().filter(|client| client.try_exchange(b"hello").is_ok()).count();
        assert!(served <= 2, "{served} are served at once");
    }
    wait_until("both places of the client are free", || {
        let clients = [served(&server, TWO), served(&server, TWO)];
        clients.iter().all(Option::is_some)
    });
    server.expect_descriptors(at_rest);
    server.stop();
}

fn the_limit_of_a_client_counts_connections_that_ended_in_any_way(mode: &'static Mode) {
    let args = ["--max-connections-per-ip", "1", "--idle-timeout", "100ms"];
    let server = Server::start(mode, &args);
    for round in 0..6 {
        let client = wait_for("the place is free", || served(&server, TWO));
        match round % 3 {
            0 => drop(client),
            1 => client.reset(),
            _ => client.expect_end(),
        }
    }
    server.stop();
}

fn the_start_says_who_may_connect() {
    let args = ["--allow", "10.0.0.0/8,127.0.0.1", "--deny", "::/0", "--max-connections-per-ip", "3"];
    let server = ServerCommand::bare().args(&args).args(&["--log-format", "json"]).start();
    let started: serde_json::Value = serde_json::from_str(&server.log().wait_for("started")).unwrap();
    assert_eq!((&started["allow"], &started["deny"]), (&"10.0.0.0/8 127.0.0.1/32".into(), &"::/0".into()));
    assert_eq!(started["max_connections_per_ip"], 3);
    let open = ServerCommand::bare().start();
    assert!(!open.log().wait_for("started").contains("allow="));
}

/// A client with this address.
#[track_caller]
fn connect(server: &Server, source: Ipv4Addr) -> Client {
    Client::connect_from(server.address(), source)
}

/// A client with this address, if the server serves it.
fn served(server: &Server, source: Ipv4Addr) -> Option<Client> {
    let client = connect(server, source);
    client.try_exchange(b"may I?").is_ok().then_some(client)
}
