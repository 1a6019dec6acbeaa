//! The log lines of the server.

use serde_json::Value;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{Server, ServerCommand, client::exchange_with_all, text::field},
};

group! {
    in every mode {
        it_logs_its_settings_at_the_start_and_its_counts_at_the_end,
        nothing_is_logged_for_each_echo_or_connection,
        debug_shows_a_span_for_each_connection,
        json_lines_are_json,
        standard_output_has_the_addresses_and_nothing_else,
        an_unwritable_log_does_not_end_the_server,
    }
    once {
        lines_for_the_journal_begin_with_their_priority,
    }
}

fn it_logs_its_settings_at_the_start_and_its_counts_at_the_end(mode: &'static Mode) {
    let server = Server::start(mode, &["--idle-timeout", "1m", "--work", "sleep:1us"]);
    let started = server.log().wait_for("started");
    let address = server.address().to_string();
    for (name, value) in
        [("mode", mode.name), ("idle_timeout", "1m"), ("work", "sleep:1us"), ("addresses", &address)]
    {
        assert_eq!(field(&started, name).trim_matches('"'), value, "{started}");
    }
    for limit in ["max_connections", "open_files_limit"] {
        assert!(field(&started, limit).parse::<u64>().unwrap() > 0, "{started}");
    }
    let clients = server.connect_served(7);
    clients[0].exchange(&[b'x'; 1000]);
    drop(clients);
    let stopped = server.stop();
    let bytes = 1000 + 7 * "hello".len() as u64;
    for (name, value) in [
        ("connections", 7),
        ("bytes_received", bytes),
        ("bytes_sent", bytes),
        ("turned_away", 0),
        ("idle_timeouts", 0),
        ("write_timeouts", 0),
        ("cut_off", 0),
    ] {
        assert_eq!(stopped.counted(name), value, "{name}");
    }
}

fn nothing_is_logged_for_each_echo_or_connection(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    server.log().wait_for("started");
    let clients = server.connect_served(100);
    for _ in 0..10 {
        exchange_with_all(&clients, b"psst");
    }
    drop(clients);
    let lines = server.stop().finished.stderr;
    let said: Vec<_> = lines.lines().filter(|line| !line.contains("WARN")).collect();
    assert_eq!(said.len(), 3, "it starts, drains and stops:\n{lines}");
}

fn debug_shows_a_span_for_each_connection(mode: &'static Mode) {
    let server = ServerCommand::new(mode).env("RUST_LOG", "debug").start();
    let client = server.connect();
    client.exchange(b"psst");
    let span = format!("connection{{peer={}}}", client.address());
    drop(client);
    for what in ["accepted", "closed"] {
        assert!(server.log().wait_for(what).contains(&span), "no {span} in\n{}", server.log().so_far());
    }
    let closed = server.log().wait_for("closed");
    assert_eq!((field(&closed, "received"), field(&closed, "sent")), ("4", "4"));
}

fn json_lines_are_json(mode: &'static Mode) {
    let server = ServerCommand::new(mode).args(&["--log-format", "json"]).env("RUST_LOG", "debug").start();
    let address = server.address().to_string();
    drop(server.connect_served(3));
    server.terminate();
    let finished = server.wait_for_exit().finished;
    let lines: Vec<Value> = finished
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    let of = |message: &str| {
        lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("no '{message}'"))
    };
    assert_eq!((&of("started")["mode"], &of("started")["addresses"]), (&mode.name.into(), &address.into()));
    assert_eq!((&of("stopped")["connections"], &of("stopped")["cut_off"]), (&3.into(), &0.into()));
    assert_eq!(of("closed")["span"]["name"], "connection");
}

fn standard_output_has_the_addresses_and_nothing_else(mode: &'static Mode) {
    let server = ServerCommand::new(mode).listen("127.0.0.1:0").listen("127.0.0.1:0").start();
    let expected = match server.addresses() {
        [first, second] if first != second => format!("listening on {first}\nlistening on {second}\n"),
        other => panic!("{other:?}"),
    };
    server.expect_service();
    assert_eq!(server.stop().finished.stdout, expected);
}

fn an_unwritable_log_does_not_end_the_server(mode: &'static Mode) {
    let server = ServerCommand::new(mode).with_full_stderr().start();
    server.expect_service();
    server.stop();
}

fn lines_for_the_journal_begin_with_their_priority() {
    for format in ["text", "json"] {
        let args = ["--log-format", format, "--deny", "127.0.0.0/8"];
        let server = ServerCommand::bare().args(&args).with_stderr_as_journal().start();
        server.connect().expect_close_or_reset();
        let lines = server.stop().finished.stderr;
        for (message, priority) in [("started", "<6>"), ("turned away", "<4>"), ("stopped", "<6>")] {
            let line = lines.lines().find(|line| line.contains(message)).unwrap_or_else(|| panic!("{lines}"));
            let rest = line.strip_prefix(priority).unwrap_or_else(|| panic!("not {priority}: {line}"));
            match format {
                "json" => _ = serde_json::from_str::<Value>(rest).expect("the rest is JSON"),
                // The journal has the time itself.
                _ => assert!(!rest.contains("Z ") && !rest.contains('\u{1b}'), "{line}"),
            }
        }
    }
    // A variable that names another stream, as of a parent process, means nothing.
    let server = ServerCommand::bare().env("JOURNAL_STREAM", "1:2").start();
    let lines = server.stop().finished.stderr;
    assert!(!lines.contains("<6>"), "{lines}");
}
