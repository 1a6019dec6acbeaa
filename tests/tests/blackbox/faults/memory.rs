//! The memory limit of a cgroup, reached by clients that send and do not read.
//!
//! The kernel then kills the server, as it cannot refuse memory to it. `--max-connections` prevents that: it bounds what all
//! connections together buffer.

use common::Address;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{Client, Server, ServerCommand, cgroup::Cgroup, wait_until},
};

group! {
    in every mode {
        with_too_many_connections_for_its_memory_it_is_killed_and_its_successor_serves needs Cgroup::limits_memory,
        with_few_enough_connections_it_stays_below_the_memory_limit needs Cgroup::limits_memory,
    }
}

const LIMIT_BYTES: u64 = 48 << 20;
/// A connection buffers 64 KiB in the server, and several times as much in the socket.
const TOO_MANY: usize = 1_500;
const FEW: usize = 30;

fn with_too_many_connections_for_its_memory_it_is_killed_and_its_successor_serves(mode: &'static Mode) {
    let limit = Cgroup::of_memory_bytes(LIMIT_BYTES).expect("the test needs it");
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let socket = Address::Unix(folder.path().join("echo.sock"));
    let mut server = start(mode, &limit, &socket, "10k");
    let mut clients: Vec<Client> = Vec::new();
    wait_until("the limit is reached", || {
        if clients.len() < TOO_MANY {
            clients.extend((0..50).map_while(|_| Client::try_connect(&socket).ok()));
        }
        for client in &clients {
            let _is_open: bool = client.push_what_fits();
        }
        !server.process().is_running()
    });
    // No client waits for a server that is gone.
    clients.iter().for_each(Client::expect_close_or_reset);
    let finished = server.wait_for_exit().finished;
    assert_eq!(finished.code, None, "the kernel kills it: {finished}");
    // The same command starts again, also over the socket that the killed server has left.
    let successor = start(mode, &limit, &socket, "10k");
    successor.expect_service();
    successor.stop();
}

fn with_few_enough_connections_it_stays_below_the_memory_limit(mode: &'static Mode) {
    let limit = Cgroup::of_memory_bytes(LIMIT_BYTES).expect("the test needs it");
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let socket = Address::Unix(folder.path().join("echo.sock"));
    let mut server = start(mode, &limit, &socket, &FEW.to_string());
    let clients: Vec<_> = (0..2 * FEW).map(|_| server.connect()).collect();
    for _ in 0..20 {
        clients.iter().for_each(|client| assert!(client.push_what_fits(), "closed"));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(server.process().is_running(), "{}", server.log().so_far());
    drop(clients);
    server.expect_service();
    server.stop();
}

#[track_caller]
fn start(mode: &Mode, limit: &Cgroup, socket: &Address, connections: &str) -> Server {
    let args = ["--threads", "1", "--max-connections", connections];
    ServerCommand::new(mode).args(&args).listen(socket).within(|command| limit.limit(command)).start()
}
