//! Thousands of clients that send until nothing more fits, and never read.

use std::thread;

use common::Address;
use server::mode::Mode;

use super::extent::UNREAD_CLIENTS;
use crate::{
    behaviour::group,
    harness::{
        Client, ServerCommand,
        client::{counting, exchange_with_all},
        text::{expect_same, upper},
    },
};

group! {
    in every mode {
        clients_that_never_read_leave_one_thread_free_and_lose_nothing,
    }
}

/// More than the kernel's buffers in both directions hold for one client.
const BUFFERED_BYTES_MAX: usize = 64 << 20;
/// Clients that send at the same time, each in a thread.
const AT_ONCE: usize = 300;

/// Over a unix socket, whose buffers are small: for nearly every client, the server buffers as much as it may.
fn clients_that_never_read_leave_one_thread_free_and_lose_nothing(mode: &'static Mode) {
    const BYTES_FOR_EACH_CLIENT_MAX: u64 = 256 * 1024;
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let socket = Address::Unix(folder.path().join("echo.sock"));
    let mut server =
        ServerCommand::new(mode).args(&["--threads", "1", "--write-timeout", "1h"]).listen(&socket).start();
    let others = server.connect_served(8);
    let before = server.process().memory_bytes();
    let deaf: Vec<_> = (0..UNREAD_CLIENTS.count()).map(|_| server.connect()).collect();
    let sent: Vec<_> = deaf.chunks(AT_ONCE).flat_map(push_all).collect();
    for _ in 0..20 {
        exchange_with_all(&others, b"served all the same");
    }
    let grown = server.process().memory_bytes().saturating_sub(before);
    assert!(
        grown < u64::from(UNREAD_CLIENTS.count()) * BYTES_FOR_EACH_CLIENT_MAX,
        "{grown} bytes of memory more"
    );
    for (client, sent) in deaf.iter().zip(sent) {
        client.finish_sending();
        expect_same(&client.receive_to_end(), &upper(&counting(0, sent)));
    }
    exchange_with_all(&others, b"and now alone");
}

/// Fills the buffers of all these clients. Returns the number of bytes that each has sent.
fn push_all(clients: &[Client]) -> Vec<usize> {
    thread::scope(|scope| {
        let pushing: Vec<_> = clients
            .iter()
            .map(|client| scope.spawn(|| client.push_until_backpressure(BUFFERED_BYTES_MAX)))
            .collect();
        pushing.into_iter().map(|pushing| pushing.join().expect("it is held")).collect()
    })
}
