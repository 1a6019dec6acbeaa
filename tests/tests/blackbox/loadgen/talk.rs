//! `loadgen talk`: manual requests, line by line.

use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use crate::{
    behaviour::group,
    harness::{
        Finished, ServerCommand,
        load::{Loadgen, Peer, ignore},
        machine::{terminal, with_file_size_limit},
        process::Running,
        programs,
        text::expect_same,
    },
};

group! {
    in every mode {
        piped_input_is_echoed_line_by_line,
    }
    once {
        the_last_line_needs_no_newline,
        bytes_that_are_not_text_are_echoed_unchanged,
        a_long_line_is_echoed_completely,
        replies_are_appended_to_a_file,
        unwritable_replies_are_still_printed,
        a_reply_is_printed_before_the_next_line_is_typed,
        a_missing_server_is_an_error,
        a_server_that_closes_in_the_middle_is_an_error,
        a_silent_server_is_an_error,
        talk_reaches_a_unix_socket,
        a_terminal_gets_a_prompt needs terminal,
    }
}

fn piped_input_is_echoed_line_by_line(mode: &'static server::mode::Mode) {
    let server = ServerCommand::new(mode).start();
    let finished = talk(server.address(), &[], b"hello\n\nstra\xc3\x9fe\n\n\nlast words\n");
    assert_eq!(finished.expect_code(0).stdout, "HELLO\nSTRAßE\nLAST WORDS\n");
    assert_eq!(finished.stderr, "");
}

fn the_last_line_needs_no_newline() {
    let server = ServerCommand::bare().start();
    assert_eq!(talk(server.address(), &[], b"one\ntwo").expect_code(0).stdout, "ONE\nTWO\n");
    assert_eq!(talk(server.address(), &[], b"").expect_code(0).stdout, "");
    assert_eq!(talk(server.address(), &[], b"\n\n\n").expect_code(0).stdout, "");
}

fn bytes_that_are_not_text_are_echoed_unchanged() {
    let server = ServerCommand::bare().start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replies");
    let line: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let finished = talk(server.address(), &["--save", path.to_str().unwrap()], &line);
    finished.expect_code(0);
    expect_same(&fs::read(path).unwrap(), &[&line.to_ascii_uppercase()[..], b"\n"].concat());
}

fn a_long_line_is_echoed_completely() {
    let server = ServerCommand::bare().start();
    let line = "abcdefghij".repeat(100_000);
    let finished = talk(server.address(), &[], line.as_bytes());
    expect_same(finished.expect_code(0).stdout.trim_end().as_bytes(), line.to_uppercase().as_bytes());
}

fn replies_are_appended_to_a_file() {
    let server = ServerCommand::bare().start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replies");
    for (line, said) in [(&b"one\ntwo\n"[..], "appended 2 replies to"), (b"three\n", "appended 1 reply to")] {
        let talked = talk(server.address(), &["--save", path.to_str().unwrap()], line);
        talked.expect_code(0).expect_stderr(&[said, "replies\n"]);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "ONE\nTWO\nTHREE\n");
    let nowhere = talk(server.address(), &["--save", "/nowhere/replies"], b"one\n");
    nowhere.expect_code(1).expect_stderr(&["/nowhere/replies"]);
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    let read_only = talk(server.address(), &["--save", path.to_str().unwrap()], b"four\n");
    read_only.expect_code(1).expect_stderr(&["replies", "read-only"]);
    talk(server.address(), &["--save", "-"], b"five\n")
        .expect_code(2)
        .expect_stderr(&["always printed to standard output"]);
}

fn unwritable_replies_are_still_printed() {
    let server = ServerCommand::bare().start();
    let full = talk(server.address(), &["--save", "/dev/full"], b"one\ntwo\nthree\n");
    full.expect_code(1).expect_stderr(&[
        "/dev/full cannot be written",
        "on standard output only",
        "last 3 replies",
    ]);
    assert_eq!(full.stdout, "ONE\nTWO\nTHREE\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replies");
    let limited = Loadgen::new(&["talk", &server.address().to_string(), "--save", path.to_str().unwrap()])
        .within(|command| with_file_size_limit(command, 8))
        .finish_with(b"one\ntwo\nthree\n");
    limited.expect_code(1).expect_stderr(&["replies cannot be written", "last reply"]);
    assert_eq!(limited.stdout, "ONE\nTWO\nTHREE\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "ONE\nTWO\n");
}

fn a_reply_is_printed_before_the_next_line_is_typed() {
    let server = ServerCommand::bare().start();
    let mut talk = Loadgen::new(&["talk", &server.address().to_string()]).start();
    for line in ["first", "second"] {
        talk.type_in(format!("{line}\n").as_bytes());
        talk.stdout.wait_for(&line.to_uppercase());
    }
    talk.end_input();
    talk.finish().expect_code(0);
}

fn a_missing_server_is_an_error() {
    let gone = ServerCommand::bare().start();
    let address = gone.address().clone();
    gone.stop();
    talk(&address, &[], b"hello\n").expect_code(1).expect_stderr(&[&address.to_string(), "refused"]);
}

fn a_server_that_closes_in_the_middle_is_an_error() {
    let peer = Peer::start(|_, mut stream| {
        let mut line = [0; 5];
        stream.read_exact(&mut line)?;
        stream.write_all(b"HELLO")?;
        // The server receives the second line, and echoes only half of it.
        stream.read_exact(&mut line)?;
        stream.write_all(b"HE")
    });
    let finished = talk(peer.address(), &[], b"hello\nhello\nhello\n");
    finished.expect_code(1).expect_stderr(&["closed the connection"]);
    assert_eq!(finished.stdout, "HELLO\n");
}

fn a_silent_server_is_an_error() {
    let peer = Peer::start(|_, stream| ignore(&stream));
    let finished = talk(peer.address(), &["--timeout", "200ms"], b"hello\n");
    finished.expect_code(1).expect_stderr(&["200ms"]);
}

fn talk_reaches_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = ServerCommand::bare().listen(&socket).start();
    assert_eq!(talk(server.address(), &[], b"hello\n").expect_code(0).stdout, "HELLO\n");
}

fn a_terminal_gets_a_prompt() {
    let server = ServerCommand::bare().start();
    let command = format!("'{}' talk {}", programs::loadgen().display(), server.address());
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]).env("TERM", "xterm");
    let mut terminal = Running::start(&mut terminal);
    terminal.stdout.wait_for_parts(&[">>: "]);
    terminal.type_in(b"hello\r");
    terminal.stdout.wait_for_parts(&[">>: ", "HELLO", ">>: "]);
    // Ctrl-D ends the conversation.
    terminal.type_in(b"\x04");
    terminal.finish().expect_code(0);
}

#[track_caller]
fn talk(target: &common::Address, args: &[&str], input: &[u8]) -> Finished {
    Loadgen::new(&["talk", &target.to_string()]).args(args.iter().copied()).finish_with(input)
}
