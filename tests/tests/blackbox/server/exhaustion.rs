//! The system has no more descriptors or threads to give: the server waits, and does so quietly.

use server::mode::{Mode, Threads};

use super::quiet::expect_quiet;
use crate::{
    behaviour::group,
    harness::{Client, Server, ServerCommand, machine::thread_limit, text::field, wait_until},
};

group! {
    in every mode {
        without_descriptors_it_waits_quietly_and_goes_on_when_there_is_room,
        without_descriptors_it_still_drains,
        the_open_files_limit_is_raised_and_bounds_the_connections,
        without_threads_it_waits_quietly_and_goes_on_when_there_is_room needs thread_limit,
    }
}

const CLIENTS: usize = 60;

fn without_descriptors_it_waits_quietly_and_goes_on_when_there_is_room(mode: &'static Mode) {
    let mut server = start_with_descriptors(mode, 45);
    let clients = connect_waiting(&server);
    server.log().wait_for("raise the open-files limit");
    expect_quiet(&mut server);
    let waiting = serve_the_rest(clients);
    assert!(waiting > 0, "descriptors were not short");
    server.log().wait_for("there is room again");
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
    // As many as it says it takes, it takes; the next one waits, and no descriptor is missing.
    let most: usize = field(&started, "max_connections").parse().unwrap();
    assert!((20..100).contains(&most), "{most} connections");
    let clients = server.connect_served(most);
    let newcomer = server.connect();
    newcomer.send(b"one too many");
    server.log().wait_for("newcomers wait in the backlog");
    drop(clients);
    newcomer.expect_reply_to(b"one too many");
    assert_eq!(server.log().count("raise the open-files limit"), 0, "{}", server.log().so_far());
}

fn without_threads_it_waits_quietly_and_goes_on_when_there_is_room(mode: &'static Mode) {
    // Without this the limit would be obeyed before it is met.
    let most = ["--threads", "2", "--max-connections", "1k"];
    let mut server = ServerCommand::new(mode).args(&most).with_thread_limit(40).start();
    let clients = connect_waiting(&server);
    match mode.threads {
        Threads::PerConnection => {
            server.log().wait_for("cannot start a thread");
            expect_quiet(&mut server);
            assert!(serve_the_rest(clients) > 0, "threads were not short");
            server.log().wait_for("there is room again");
            assert_eq!(server.log().count("cannot start a thread"), 1, "{}", server.log().so_far());
        }
        // A mode that needs no more threads for more connections misses none.
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
    // Without this the limit would be obeyed before it is met.
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

/// Who is served leaves, until all have been. Returns how many were not at the beginning.
fn serve_the_rest(mut clients: Vec<Client>) -> usize {
    let waiting = clients.iter().filter(|client| !client.has_news()).count();
    wait_until("everybody is served", || {
        clients.retain(|client| {
            let is_served = client.has_news();
            if is_served {
                client.expect_reply_to(b"waiting");
            }
            !is_served
        });
        clients.is_empty()
    });
    waiting
}
