//! The server's memory for an idle connection, without the kernel's memory for the socket.

use server::mode::{MODES, Mode};

use crate::{
    behaviour::group,
    harness::{Client, Server, machine},
};

group! {
    alone {
        idle_connections_take_little_memory_in_every_mode needs machine::many_open_files,
    }
}

/// A message of typical size.
const MESSAGE: &[u8] = &[b'm'; 64];

fn idle_connections_take_little_memory_in_every_mode() {
    for mode in MODES.iter().filter(|mode| machine::mode(mode).is_ok()) {
        let (connections, bytes_at_most) = match mode.name {
            "thread-per-connection" => (1_000, 12_000),
            "tokio-task" => (8_000, 850),
            _ => (8_000, 150),
        };
        let each = memory_of_each(mode, connections, |server| {
            // Each client makes an echo as soon as it is connected.
            let serve = |_| {
                let client = Client::connect(server.address());
                client.exchange(MESSAGE);
                client
            };
            (0..connections).map(serve).collect()
        });
        let after = memory_of_each(mode, connections, |server| {
            // All clients connect, and then each makes an echo.
            let clients: Vec<_> = (0..connections).map(|_| Client::connect(server.address())).collect();
            clients.iter().for_each(|client| client.exchange(b"m"));
            clients
        });
        let most = each.max(after);
        assert!(most <= bytes_at_most, "{}: {each} and {after} bytes for each connection", mode.name);
    }
}

/// Growth of the server's memory for each connection, in bytes.
fn memory_of_each(
    mode: &'static Mode,
    connections: u64,
    connect: impl FnOnce(&Server) -> Vec<Client>,
) -> u64 {
    let mut server = Server::start(mode, &["--threads", "1"]);
    // Memory that is allocated once, with the first connection, does not count.
    let first = Client::connect(server.address());
    first.exchange(MESSAGE);
    let before = server.process().anonymous_memory_bytes();
    let _clients = connect(&server);
    let after = server.process().anonymous_memory_bytes();
    after.saturating_sub(before) / connections
}
