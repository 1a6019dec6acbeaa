//! What is sent and what is expected: messages with fields and weights, kinds of requests, protocols.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    sync::{Arc, Mutex},
};

use crate::{
    behaviour::group,
    harness::{
        load::{Loadgen, Peer},
        machine::python,
    },
};

group! {
    once {
        the_kinds_of_requests_add_up_to_the_whole,
        a_kind_that_fails_has_its_errors_in_its_row,
        the_same_seed_sends_the_same_requests,
        each_round_sends_other_requests needs python,
        requests_of_a_file_are_shared_by_the_clients,
        a_reply_that_is_too_long_is_wrong,
        a_mistake_is_a_usage_error_that_says_what_to_write,
    }
}

/// A server that answers each line with the line in upper case, and the lines that it got.
fn recorder() -> (Peer, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let peer = Peer::start(move |_, stream| {
        let mut reader = BufReader::new(&stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok::<(), io::Error>(());
            }
            (&stream).write_all(line.to_ascii_uppercase().as_bytes())?;
            seen.lock().unwrap().push(line);
        }
    });
    (peer, lines)
}

fn the_kinds_of_requests_add_up_to_the_whole() {
    let run =
        || {
            Loadgen::run(None, "-c 4 -n 400 -w 50ms -q --protocol line --expect upper --fail-on never")
                .args(["--message", "3/often:a {random:1..9}", "--message", "b {uuid}"])
        };
    let report = run().any_report();
    let kinds = report.at("kinds").as_array().unwrap();
    let names: Vec<_> = kinds.iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["often", "b"]);
    let sum = |of: &str| kinds.iter().map(|kind| kind[of].as_f64().unwrap()).sum::<f64>();
    for (of, whole) in [("due", "due"), ("completed", "completed"), ("failed", "failed")] {
        assert_eq!(sum(of), report.number(&format!("requests.{whole}")), "{of}");
    }
    let (rates, whole) = (sum("achieved_per_s"), report.number("rate.achieved_per_s"));
    assert!((rates / whole - 1.0).abs() < 1e-6, "{rates} and {whole}");
    let share = kinds[0]["due"].as_f64().unwrap() / 400.0;
    assert!((0.65..0.85).contains(&share), "{share}");
    let text = run().finish().expect_report().stdout.clone();
    assert!(text.lines().any(|line| line.starts_with("often ")), "{text}");
    let csv = run().args(["--format", "csv"]).finish().expect_report().stdout.clone();
    assert_eq!(csv.lines().filter(|line| line.starts_with("kind,")).count(), 2, "{csv}");
}

fn a_kind_that_fails_has_its_errors_in_its_row() {
    let report = Loadgen::run(None, "-c 2 -n 200 -w 0s --protocol line --expect prefix:GOOD --fail-on never")
        .args(["--message", "good", "--message", "bad"])
        .any_report();
    let failed = report.count("kinds.1.failed");
    assert!(failed > 0 && failed == report.count("kinds.1.errors.unexpected"), "{failed}");
    assert_eq!((report.count("kinds.0.failed"), report.count("requests.failed")), (0, failed));
    assert_eq!(report.text("first_unexpected.got"), "BAD\\n");
    // Its connections are kept.
    assert_eq!(report.count("connections.established"), 2);
}

fn the_same_seed_sends_the_same_requests() {
    let sent = |seed: &str| {
        let (peer, lines) = recorder();
        Loadgen::run(Some(peer.address()), "-c 1 -n 30 -w 0s --protocol line --expect upper")
            .args(["--seed", seed, "--message", "2:{zipf:1..1000:1.1} {uuid}", "--message", "{random:1..1m}"])
            .report();
        let lines = lines.lock().unwrap().clone();
        assert_eq!(lines.len(), 30);
        lines
    };
    assert_eq!(sent("7"), sent("7"));
    assert_ne!(sent("7"), sent("8"));
}

/// A server that appends what it gets to a file, after a line for its start.
const RECORDER: &str = "
import socket, sys
record = open(sys.argv[2], 'ab', 0)
record.write(b'start\\n')
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    while part := client.recv(65536):
        record.write(part)
        client.sendall(part.upper())
";

fn each_round_sends_other_requests() {
    let folder = tempfile::tempdir().unwrap();
    let (script, record) = (folder.path().join("recorder.py"), folder.path().join("record"));
    fs::write(&script, RECORDER).unwrap();
    let server = format!("recorder=python3 {} {{port}} {}", script.display(), record.display());
    let args = "compare -c 1 -n 5 -w 0s --rounds 2 -q --protocol line --expect upper";
    Loadgen::new(&args.split_whitespace().collect::<Vec<_>>())
        .args(["--message", "{random:1..1000000000000}", "--server", &server])
        .finish()
        .expect_report();
    let record = fs::read_to_string(&record).unwrap();
    let rounds: Vec<_> = record.split("start\n").filter(|lines| !lines.is_empty()).collect();
    assert!(rounds.len() == 2 && rounds[0] != rounds[1], "{record}");
    assert_eq!(rounds[0].lines().count(), rounds[1].lines().count(), "{record}");
}

fn requests_of_a_file_are_shared_by_the_clients() {
    let (peer, lines) = recorder();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requests");
    fs::write(&file, (0..40).map(|number| format!("line {number}\n")).collect::<String>()).unwrap();
    // In an open loop, the clients take turns.
    Loadgen::run(Some(peer.address()), "-c 4 -t 2 -r 400 -n 40 -w 0s --protocol line --expect upper")
        .args(["--messages", file.to_str().unwrap()])
        .report();
    let mut lines = lines.lock().unwrap().clone();
    lines.sort_by_key(|line| line.trim()[5..].parse::<u32>().unwrap());
    lines.dedup();
    assert_eq!(lines.len(), 40, "{lines:?}");
}

fn a_reply_that_is_too_long_is_wrong() {
    let report =
        Loadgen::run(None, "-c 1 -n 5 -w 0s --protocol line --max-reply 100 --fail-on never --timeout 2s")
            .args(["--message", "{fill:5000}"])
            .any_report();
    assert_eq!(report.count("requests.completed"), 0);
    assert!(report.text("first_mismatch.expected").contains("--max-reply"));
}

fn a_mistake_is_a_usage_error_that_says_what_to_write() {
    for (args, parts) in [
        (&["--message", "{clinet}"][..], &["clinet", "{client}", "{random:1..1000}"][..]),
        (&["--message", "a\\q"], &["\\q"]),
        (&["--protocol", "redis"], &["redis", "resp", "memcached"]),
        (&["--protocol", "line"], &["--message", "hello {client}"]),
        (&["--protocol", "line", "--message", "a\\nb"], &["more than once"]),
        (&["--protocol", "line", "--message", "a", "--reply-size", "3"], &["--reply-size", "fixed"]),
        (&["--protocol", "resp", "--message", "PING"], &["own server", "TARGET"]),
        (&["--protocol", "line", "--message", "a", "--calibrate"], &["--calibrate", "echo"]),
        (&["--protocol", "line", "--message", "a", "--expect", "2xx"], &["2xx", "line"]),
        (&["127.0.0.1:1", "--protocol", "fixed", "--message", "a"], &["--reply-size"]),
        (
            &[
                "127.0.0.1:1",
                "--protocol",
                "fixed",
                "--message",
                "a",
                "--reply-size",
                "9",
                "--max-reply",
                "8",
            ],
            &["--max-reply"],
        ),
        (
            &["127.0.0.1:1", "--protocol", "memcached", "--message", "set a 0 0 1 noreply\\r\\nx"],
            &["noreply"],
        ),
        (&["127.0.0.1:1", "--protocol", "http", "--message", "index.html"], &["GET /index.html"]),
        (&["--messages", "/nowhere/requests"], &["/nowhere/requests"]),
        (&["--expect", "regex:("], &["regular expression"]),
        (&["--message", "1:a", "--messages", "x"], &["--messages"]),
    ] {
        let finished = Loadgen::new(&["run"]).args(args.iter().copied()).finish();
        finished.expect_code(2).expect_stderr(parts);
    }
    let own = Loadgen::new(&["compare", "--protocol", "resp", "--message", "PING"]).finish();
    own.expect_code(2).expect_stderr(&["own server"]);
}
