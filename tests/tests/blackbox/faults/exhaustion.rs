//! Without free descriptors or threads, the server waits without using CPU time.

use server::mode::{Mode, Threads};

use super::extent::EXHAUSTED_SECONDS;
use crate::{
    behaviour::group,
    harness::{Client, Server, ServerCommand, machine::thread_limit, text::field, wait_until},
    server::expect_quiet,
};

group! {
    in every mode {
        without_descriptors_it_waits_without_cpu_and_accepts_again_later,
        without_descriptors_it_still_drains,
        the_open_files_limit_is_raised_and_bounds_the_connections,
        without_threads_it_waits_without_cpu_and_accepts_again_later needs thread_limit,
    }
}

const CLIENTS: usize = 60;

fn without_descriptors_it_waits_without_cpu_and_accepts_again_later(mode: &'static Mode) {
    let mut server = start_with_descriptors(mode, 45);
    let clients = connect_waiting(&server);
    server.log().wait_for("raise the open-files limit");
    // A look takes a second.
    for _ in 0..EXHAUSTED_SECONDS.count() {
        expect_quiet(&mut server);
    }
    let waiting = serve_the_rest(clients);
    assert!(waiting > 0, "descriptors were not short");
    server.log().wait_for("accepting again");
    server.expect_service();
    assert_eq!(server.log().count("raise the open-files limit, or"), 1, "{}", server.log().so_far());
    assert_eq!(server.stop().counted("turned_away"), 0);
}

fn without_descriptors_it_still_drains(mode: &'static Mode) {
    let server = start_with_descriptors(mode, 45);
    let clients = connect_waiting(&server);
    server.log().wait_for("raise the open-files limit");
    server.terminate();
    drop(clients);
    server.wait_for_exit().finished.expect_code(0);
}

fn the_open_files_limit_is_raised_and_bounds_the_connections(mode: &'static Mode) {
    let server = ServerCommand::new(mode).args(&["--threads", "1"]).with_open_files(64, 100).start();
    let started = server.log().wait_for("started");
    assert!(started.contains("open_files_limit=100"), "{started}");
    // The server accepts as many as it logs. The next one waits, and the server does not run out of descriptors.
    let most: usize = field(&started, "max_connections").parse().unwrap();
    assert!((20..100).contains(&most), "{most} connections");
    let clients = server.connect_served(most);
    let waiting = server.connect();
    waiting.send(b"one too many");
    server.log().wait_for("new connections wait in the accept queue");
    drop(clients);
    waiting.expect_reply_to(b"one too many");
    assert_eq!(server.log().count("raise the open-files limit"), 0, "{}", server.log().so_far());
}

fn without_threads_it_waits_without_cpu_and_accepts_again_later(mode: &'static Mode) {
    // Otherwise the server would stop accepting below the limit.
    let most = ["--threads", "2", "--max-connections", "1k"];
    let mut server = ServerCommand::new(mode).args(&most).with_thread_limit(40).start();
    let clients = connect_waiting(&server);
    match mode.threads {
        Threads::PerConnection => {
            server.log().wait_for("cannot start a thread");
            expect_quiet(&mut server);
            assert!(serve_the_rest(clients) > 0, "threads were not short");
            server.log().wait_for("accepting again");
            assert_eq!(server.log().count("cannot start a thread"), 1, "{}", server.log().so_far());
        }
        // A mode with a fixed number of threads is not affected.
        Threads::Workers => {
            for client in &clients {
                client.expect_reply_to(b"waiting");
            }
            drop(clients);
        }
    }
    server.expect_service();
    assert_eq!(server.stop().counted("turned_away"), 0);
}

fn start_with_descriptors(mode: &Mode, limit: u32) -> Server {
    // Otherwise the server would stop accepting below the limit.
    let most = ["--threads", "2", "--max-connections", "1k"];
    ServerCommand::new(mode).args(&most).with_open_files(limit, limit).start()
}

fn connect_waiting(server: &Server) -> Vec<Client> {
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &clients {
        client.send(b"waiting");
    }
    clients
}

/// Serves and closes clients until all have been served. Returns the number of clients not served at the beginning.
fn serve_the_rest(mut clients: Vec<Client>) -> usize {
    let waiting = clients.iter().filter(|client| !client.has_unread_bytes()).count();
    wait_until("every client is served", || {
        clients.retain(|client| {
            let is_served = client.has_unread_bytes();
            if is_served {
                client.expect_reply_to(b"waiting");
            }
            !is_served
        });
        clients.is_empty()
    });
    waiting
}
