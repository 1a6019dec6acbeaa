//! The bytes: all of them, in order, ASCII letters in upper case and nothing else changed.

use std::thread;

use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Server,
        client::exchange_all,
        text::{Random, expect_same, noise, upper},
    },
};

group! {
    in every mode {
        every_byte_value_comes_back_and_only_ascii_letters_change,
        utf8_text_keeps_its_other_letters,
        one_byte_at_a_time,
        any_chunking_keeps_the_order,
        eight_mebibytes_stream_through_a_client_that_reads_meanwhile,
        clients_get_their_own_bytes,
        five_hundred_clients_on_four_threads_all_make_progress,
    }
}

fn every_byte_value_comes_back_and_only_ascii_letters_change(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    let all: Vec<u8> = (0..=255).collect();
    client.send(&all);
    for (value, reply) in all.iter().zip(client.receive(256)) {
        let expected = match value {
            b'a'..=b'z' => value - 32,
            other => *other,
        };
        assert_eq!(reply, expected, "the reply to {value}");
    }
}

fn utf8_text_keeps_its_other_letters(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    client.send("straße, ñandú, ΑΒγ, 日本, ı, 🦀 crab\r\n".as_bytes());
    let expected = "STRAßE, ñANDú, ΑΒγ, 日本, ı, 🦀 CRAB\r\n";
    assert_eq!(String::from_utf8(client.receive(expected.len())).unwrap(), expected);
}

fn one_byte_at_a_time(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    let bytes = noise(500);
    for byte in &bytes {
        client.exchange(&[*byte]);
    }
    // And without waiting for the replies.
    for byte in &bytes {
        client.send(&[*byte]);
    }
    client.expect_reply_to(&bytes);
}

fn any_chunking_keeps_the_order(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    let bytes = noise(2_000_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut rest, mut random) = (&bytes[..], Random(7));
            while !rest.is_empty() {
                // Mostly a few bytes, sometimes more than any buffer.
                let longest = [16, 1_000, 200_000][random.next() as usize % 3];
                let (chunk, left) = rest.split_at(rest.len().min(1 + random.next() as usize % longest));
                client.send(chunk);
                rest = left;
            }
        });
        client.expect_reply_to(&bytes);
    });
}

fn eight_mebibytes_stream_through_a_client_that_reads_meanwhile(mode: &'static Mode) {
    let server = Server::start(mode, &[]);
    let client = server.connect();
    let bytes = noise(8 << 20);
    thread::scope(|scope| {
        scope.spawn(|| client.send(&bytes));
        client.expect_reply_to(&bytes);
    });
}

fn clients_get_their_own_bytes(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "3"]);
    let clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    let message = |client: usize, round: usize| format!("client {client}, round {round};").into_bytes();
    for round in 0..20 {
        for (number, client) in clients.iter().enumerate() {
            client.send(&message(number, round));
        }
    }
    for (number, client) in clients.iter().enumerate() {
        let sent: Vec<u8> = (0..20).flat_map(|round| message(number, round)).collect();
        expect_same(&client.receive(sent.len()), &upper(&sent));
    }
}

fn five_hundred_clients_on_four_threads_all_make_progress(mode: &'static Mode) {
    let server = Server::start(mode, &["--threads", "4"]);
    let clients: Vec<_> = (0..500).map(|_| server.connect()).collect();
    // Nobody's second request is sent before everybody's first is replied to.
    for _ in 0..5 {
        exchange_all(&clients, b"one of five hundred");
    }
    drop(clients);
    assert_eq!(server.stop().counted("connections"), 500);
}
