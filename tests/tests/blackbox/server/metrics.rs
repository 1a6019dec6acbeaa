//! `--metrics`: the metrics and the health checks of the server.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use common::Address;
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server, ServerCommand,
        exposition::{Exposition, ask, get},
        process::pid,
        text::field,
        wait_until,
    },
};

group! {
    in every mode {
        bytes_of_open_connections_are_counted,
        connections_are_counted_by_how_they_end,
        connections_that_are_turned_away_are_counted_by_reason,
        readiness_ends_when_the_drain_begins,
        a_blocked_worker_shows_in_its_turns,
        a_full_server_is_still_scraped,
        the_lack_of_descriptors_shows,
        a_takeover_hands_the_metrics_over,
    }
    once {
        numbers_of_the_process_are_those_of_the_kernel,
        an_address_that_other_hosts_may_reach_is_warned_of,
        an_address_in_use_is_an_error_that_says_what_to_do,
        an_address_that_cannot_be_served_is_bad_usage,
        other_paths_and_methods_get_an_http_error_and_change_nothing,
    }
}

/// Starts a server with metrics on a free port.
#[track_caller]
fn start(command: ServerCommand) -> (Server, Address) {
    let server = command.args(&["--metrics", "127.0.0.1:0"]).start();
    let address = endpoint(&server);
    (server, address)
}

/// Where the server says that its metrics are.
#[track_caller]
fn endpoint(server: &Server) -> Address {
    let line = server.log().wait_for("/metrics");
    let url = field(&line, "url").trim_matches('"');
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics"));
    address.unwrap_or_else(|| panic!("no URL: {line}")).parse().expect("it is an address")
}

/// Scrapes until this holds.
#[track_caller]
fn scrape_when(metrics: &Address, what: &str, holds: impl Fn(&Exposition) -> bool) -> Exposition {
    let mut last = Exposition::scrape(metrics);
    wait_until(what, || {
        let now = Exposition::scrape(metrics);
        now.expect_grown_from(&last);
        last = now;
        holds(&last)
    });
    last
}

fn bytes_of_open_connections_are_counted(mode: &'static Mode) {
    let (server, metrics) = start(ServerCommand::new(mode).args(&["--threads", "2"]));
    let before = Exposition::scrape(&metrics);
    for name in ["echo_received_bytes_total", "echo_sent_bytes_total", "echo_reads_total", "echo_connections"]
    {
        assert_eq!(before.sum(name, &[]), 0.0, "{name}");
    }
    let clients = server.connect_served(5);
    clients.iter().for_each(|client| client.exchange(&[b'x'; 100_000]));
    let bytes = 5.0 * (5.0 + 100_000.0);
    // A worker counts the bytes after it has sent them.
    let during =
        scrape_when(&metrics, "all bytes are counted", |now| now.sum("echo_sent_bytes_total", &[]) >= bytes);
    during.expect_grown_from(&before);
    for (name, value) in [
        ("echo_sent_bytes_total", bytes),
        ("echo_received_bytes_total", bytes),
        ("echo_connections", 5.0),
        ("echo_accepted_connections_total", 5.0),
        ("echo_draining", 0.0),
        ("echo_accepting_paused", 0.0),
    ] {
        assert_eq!(during.sum(name, &[&format!("mode=\"{}\"", mode.name)]), value, "{name}");
    }
    assert!(during.sum("echo_reads_total", &[]) >= 10.0, "{}", during.text);
    assert!(during.sum("echo_worker_turn_seconds_count", &[]) >= 1.0, "{}", during.text);
    if during.has("echo_worker_connections") {
        let of = |worker| during.sum("echo_worker_connections", &[worker]);
        let (first, second) = (of("worker=\"0\""), of("worker=\"1\""));
        assert!(first + second == 5.0 && first >= 1.0 && second >= 1.0, "{first} and {second}");
    }
    drop(clients);
    let stopped = server.stop();
    assert_eq!(stopped.counted("bytes_sent"), bytes as u64);
}

fn connections_are_counted_by_how_they_end(mode: &'static Mode) {
    let args = ["--drain-timeout", "1h", "--drain-grace", "0s"];
    let (server, metrics) = start(ServerCommand::new(mode).args(&args));
    drop(server.connect_served(2));
    let reset = server.connect_served(1).remove(0);
    reset.reset();
    let ended = |now: &Exposition, reason: &str| {
        now.sum("echo_ended_connections_total", &[&format!("reason=\"{reason}\"")])
    };
    let all = scrape_when(&metrics, "every end is counted", |now| {
        now.sum("echo_ended_connections_total", &[]) == 3.0
    });
    for (reason, count) in [("closed", 2.0), ("reset", 1.0), ("idle_timeout", 0.0), ("drained", 0.0)] {
        assert_eq!(ended(&all, reason), count, "{reason}");
    }
    assert_eq!(all.sum("echo_connections", &[]), 0.0);
    let [drained, other] = <[Client; 2]>::try_from(server.connect_served(2)).expect("there are two");
    server.begin_drain(Signal::TERM);
    wait_until("it is half-closed", || drained.is_half_closed_by_peer());
    drop(drained);
    scrape_when(&metrics, "the drained connection is counted", |now| ended(now, "drained") == 1.0);
    drop(other);
    server.wait_for_exit().finished.expect_code(0);
    let (server, metrics) = start(ServerCommand::new(mode).args(&["--idle-timeout", "1ms"]));
    server.connect().expect_end();
    scrape_when(&metrics, "the idle connection is counted", |now| ended(now, "idle_timeout") == 1.0);
}

fn connections_that_are_turned_away_are_counted_by_reason(mode: &'static Mode) {
    let args = ["--max-connections", "1", "--when-full", "reject"];
    let (server, metrics) = start(ServerCommand::new(mode).args(&args));
    let only = server.connect_served(1);
    for _ in 0..3 {
        server.connect().expect_close_or_reset();
    }
    let now = Exposition::scrape(&metrics);
    assert_eq!(now.sum("echo_refused_connections_total", &["reason=\"full\""]), 3.0);
    assert_eq!(now.sum("echo_refused_connections_total", &[]), 3.0);
    assert_eq!((now.sum("echo_connections", &[]), now.sum("echo_connections_max", &[])), (1.0, 1.0));
    drop(only);
}

fn readiness_ends_when_the_drain_begins(mode: &'static Mode) {
    let (server, metrics) = start(ServerCommand::new(mode).args(&["--drain-timeout", "1h"]));
    let client = server.connect_served(1);
    assert_eq!((get(&metrics, "/livez").status, get(&metrics, "/readyz").status), (200, 200));
    server.begin_drain(Signal::TERM);
    let ready = get(&metrics, "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "draining\n"));
    assert_eq!(get(&metrics, "/livez").status, 200);
    assert_eq!(Exposition::scrape(&metrics).sum("echo_draining", &[]), 1.0);
    drop(client);
    server.wait_for_exit().finished.expect_code(0);
}

fn a_blocked_worker_shows_in_its_turns(mode: &'static Mode) {
    let (server, metrics) =
        start(ServerCommand::new(mode).args(&["--work", "block:300ms", "--threads", "2"]));
    let client = server.connect();
    client.send(b"hello");
    scrape_when_running(&metrics);
    client.expect_reply_to(b"hello");
    let turns = |now: &Exposition, bound: &str| {
        now.sum("echo_worker_turn_seconds_bucket", &[&format!("le=\"{bound}\"")])
    };
    let ended =
        scrape_when(&metrics, "the long turn has ended", |now| turns(now, "+Inf") > turns(now, "0.2"));
    assert_eq!(
        (turns(&ended, "+Inf") - turns(&ended, "0.2"), turns(&ended, "2.0")),
        (1.0, turns(&ended, "+Inf"))
    );
    assert!(ended.sum("echo_worker_busy_seconds_total", &[]) >= 0.28, "{}", ended.text);
}

/// Waits until a worker is in a turn that has lasted for a while.
#[track_caller]
fn scrape_when_running(metrics: &Address) {
    wait_until("a turn lasts", || {
        Exposition::scrape(metrics).sum("echo_worker_running_turn_seconds", &[]) >= 0.05
    });
}

fn a_full_server_is_still_scraped(mode: &'static Mode) {
    // The limit on open files allows fewer than 1,000 connections. The metrics keep their descriptors.
    let command = ServerCommand::new(mode).args(&["--threads", "1", "--max-connections", "1k"]);
    let (server, metrics) = start(command.with_open_files(100, 100));
    let clients: Vec<_> = (0..110).map(|_| server.connect()).collect();
    server.log().wait_for("new connections wait in the accept queue");
    let full = Exposition::scrape(&metrics);
    assert_eq!(full.sum("echo_connections", &[]), full.sum("echo_connections_max", &[]), "{}", full.text);
    assert_eq!(
        (full.sum("echo_accepting_paused", &[]), full.sum("echo_accept_errors_total", &[])),
        (0.0, 0.0)
    );
    assert!(full.sum("process_open_fds", &[]) <= 100.0, "{}", full.text);
    drop(clients);
    server.expect_service();
}

fn the_lack_of_descriptors_shows(mode: &'static Mode) {
    let command = ServerCommand::new(mode).args(&["--threads", "1"]);
    let (server, metrics) = start(command.with_open_files(200, 200));
    // A scrape needs a descriptor, too, so its connection comes first. The server has accepted it when it answers a later one.
    let connect = || TcpStream::connect(metrics.resolve().unwrap().as_slice()).unwrap();
    let scrapers = [connect(), connect()];
    assert_eq!(get(&metrics, "/readyz").status, 200);
    let limit = Rlimit { current: Some(64), maximum: Some(200) };
    prlimit(Some(pid(server.id())), Resource::Nofile, limit)
        .expect("a limit of an own process can be lowered");
    let clients: Vec<_> = (0..80).map(|_| server.connect()).collect();
    server.log().wait_for("cannot accept");
    let paused = format!("echo_accepting_paused{{mode=\"{}\"}} 1\n", mode.name);
    for (mut scraper, (path, expected)) in
        scrapers.into_iter().zip([("/metrics", paused.as_str()), ("/readyz", "503")])
    {
        write!(scraper, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        scraper.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
    drop(clients);
    let after =
        scrape_when(&metrics, "accepting goes on", |now| now.sum("echo_accepting_paused", &[]) == 0.0);
    assert!(after.sum("echo_accept_errors_total", &["kind=\"process_files\""]) >= 1.0, "{}", after.text);
    server.expect_service();
}

fn a_takeover_hands_the_metrics_over(mode: &'static Mode) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let path = folder.path().join("takeover").display().to_string();
    let command = |listen: &Address| {
        let args = ["--takeover", &path, "--drain-timeout", "1h"];
        ServerCommand::new(mode).listen(listen).args(&args)
    };
    let (old, metrics) = start(command(&"127.0.0.1:0".parse().unwrap()));
    let client = old.connect_served(1);
    assert_eq!(Exposition::scrape(&metrics).sum("echo_accepted_connections_total", &[]), 1.0);
    let new = command(old.address()).args(&["--metrics", &metrics.to_string()]).start();
    assert_eq!(endpoint(&new), metrics);
    old.log().wait_for("draining");
    // The old process drains and does not answer any more.
    for _ in 0..5 {
        assert_eq!(get(&metrics, "/readyz").status, 200);
        assert_eq!(Exposition::scrape(&metrics).sum("echo_accepted_connections_total", &[]), 0.0);
    }
    drop(client);
    old.wait_for_exit().finished.expect_code(0);
    new.expect_service();
    scrape_when(&metrics, "the new process counts", |now| {
        now.sum("echo_accepted_connections_total", &[]) == 1.0
    });
}

fn numbers_of_the_process_are_those_of_the_kernel() {
    let (mut server, metrics) = start(ServerCommand::bare());
    let clients = server.connect_served(20);
    let now = Exposition::scrape(&metrics);
    let descriptors = server.process().descriptors() as f64;
    let open = now.sum("process_open_fds", &[]);
    // The scrape has a connection, and the files that it reads.
    assert!((descriptors - 1.0..=descriptors + 4.0).contains(&open), "{open} of {descriptors}");
    assert!(
        now.sum("process_max_fds", &[]) >= open && now.sum("process_threads", &[]) >= 2.0,
        "{}",
        now.text
    );
    assert!(now.sum("process_resident_memory_bytes", &[]) > 1e6, "{}", now.text);
    assert!(now.sum("process_virtual_memory_bytes", &[]) > now.sum("process_resident_memory_bytes", &[]));
    let build = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(now.sum("echo_build_info", &[&build]), 1.0);
    drop(clients);
}

fn an_address_that_other_hosts_may_reach_is_warned_of() {
    let server = ServerCommand::bare().args(&["--metrics", "0.0.0.0:0"]).start();
    let line = server.log().wait_for("other hosts may read them");
    assert!(line.contains("WARN") && line.contains("http://0.0.0.0:"), "{line}");
    let (local, _) = start(ServerCommand::bare());
    local.expect_service();
    assert!(!local.log().so_far().contains("other hosts"), "{}", local.log().so_far());
}

fn an_address_in_use_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    // Even with --reuse-port: scrapes must not get the numbers of one process or another by chance.
    let failed =
        ServerCommand::bare().listen("127.0.0.1:0").args(&["--reuse-port", "--metrics", &address]).fail();
    failed.expect_code(1).expect_stderr(&["cannot serve metrics on", &address, "choose another port"]);
}

fn an_address_that_cannot_be_served_is_bad_usage() {
    for (address, said) in [("unix:/run/metrics", "TCP only"), ("9465", "no host")] {
        let failed = ServerCommand::bare().args(&["--metrics", address]).fail();
        failed.expect_code(2).expect_stderr(&["--metrics", said]);
    }
}

fn other_paths_and_methods_get_an_http_error_and_change_nothing() {
    let (server, metrics) = start(ServerCommand::bare());
    let front = get(&metrics, "/");
    assert_eq!((front.status, front.body.contains("/readyz")), (200, true), "{front:?}");
    for path in ["/metrics/", "/quit", "/-/reload", "/favicon.ico"] {
        assert_eq!(get(&metrics, path).status, 404, "{path}");
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        let post = ask(&metrics, &format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!((post.status, post.headers["allow"].as_str()), (405, "GET, HEAD"), "{post:?}");
    }
    Client::connect(server.address()).exchange(b"still here");
    server.stop();
}
