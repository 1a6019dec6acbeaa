//! The echo: all bytes, in order, with ASCII letters in upper case and nothing else changed.

use std::thread;

use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        Client, Server,
        client::{counting, exchange_with_all},
        text::{Random, expect_same, noise, upper},
    },
};

group! {
    in every mode {
        every_byte_value_is_echoed_and_only_ascii_letters_change,
        utf8_text_keeps_its_other_letters,
        one_byte_at_a_time,
        any_chunking_keeps_the_order,
        eight_mebibytes_are_echoed_to_a_client_that_reads_meanwhile,
        clients_get_their_own_bytes,
        five_hundred_clients_on_four_threads_all_make_progress,
        six_hundred_clients_of_one_thread_get_large_echoes_completely,
        clients_that_read_in_short_pieces_get_every_byte_in_order,
    }
}

fn every_byte_value_is_echoed_and_only_ascii_letters_change(mode: &'static Mode) {
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
    // The same without waiting for the replies.
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
        scope.spawn(|| client.send_in_pieces(&bytes, &mut Random(7)));
        client.expect_reply_to(&bytes);
    });
}

fn eight_mebibytes_are_echoed_to_a_client_that_reads_meanwhile(mode: &'static Mode) {
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
    // Every client gets its first reply before any client sends its second request.
    for _ in 0..5 {
        exchange_with_all(&clients, b"one of five hundred");
    }
    drop(clients);
    assert_eq!(server.stop().counted("connections"), 500);
}

/// Far more bytes at once than the shared buffers of any mode hold.
fn six_hundred_clients_of_one_thread_get_large_echoes_completely(mode: &'static Mode) {
    const CLIENTS: usize = 600;
    let server = Server::start(mode, &["--threads", "1"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    // Twice: the buffers used in the first round must be free again.
    for round in 0..2 {
        let bytes = counting(round, 64 * 1024);
        server.signal(Signal::STOP);
        for client in &clients {
            client.send(&bytes);
        }
        server.signal(Signal::CONT);
        for client in &clients {
            client.expect_reply_to(&bytes);
        }
    }
}

fn clients_that_read_in_short_pieces_get_every_byte_in_order(mode: &'static Mode) {
    const CLIENTS: usize = 16;
    const BYTES: usize = 2 << 20;
    let server = Server::start(mode, &["--threads", "2"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect_narrow(server.address(), 32 * 1024)).collect();
    thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            // Each client's stream begins at another offset, so bytes of another client's stream are detected.
            let bytes = counting(number * 7, BYTES);
            scope.spawn(move || client.send_in_pieces(&bytes, &mut Random(1 + number as u64)));
            scope.spawn(move || {
                let (expected, mut random) =
                    (upper(&counting(number * 7, BYTES)), Random(100 + number as u64));
                let mut received = 0;
                while received < BYTES {
                    let piece = (1 + random.next() as usize % 20_000).min(BYTES - received);
                    let got = client.receive(piece);
                    expect_same(&got, &expected[received..received + piece]);
                    received += piece;
                }
            });
        }
    });
    drop(clients);
    assert_eq!(server.stop().counted("bytes_sent"), (CLIENTS * BYTES) as u64);
}
