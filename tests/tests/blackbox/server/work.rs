//! `--work`: threads hide waiting, a blocking call in a coroutine stalls its neighbours, nothing hides computing.
//!
//! The tests check orders and ratios: the time of many clients, relative to the time that they would need one after
//! another.

use std::time::Duration;

use server::mode::{Mode, Threads};

use crate::{
    behaviour::group,
    harness::{
        Server,
        client::{exchange_with_all, timed},
    },
};

group! {
    in every mode {
        a_reply_waits_for_its_work,
        sleeping_clients_do_not_wait_for_each_other_while_a_thread_is_free,
        a_sleep_occupies_a_worker_only_where_the_thread_itself_sleeps,
        new_and_idle_clients_do_not_wait_for_sleeping_ones,
        a_thread_per_connection_hides_blocking_and_few_threads_do_not,
        no_mode_hides_computing,
    }
    once {
        a_blocking_call_in_a_task_stalls_its_neighbours,
        four_pool_threads_block_for_eight_clients_in_two_rounds,
    }
}

const NAP: Duration = Duration::from_millis(100);

fn a_reply_waits_for_its_work(mode: &'static Mode) {
    for work in ["sleep:100ms", "block:100ms"] {
        let server = Server::start(mode, &["--work", work]);
        let client = server.connect();
        for _ in 0..2 {
            assert!(timed(|| client.exchange(b"one read")) >= NAP);
        }
    }
}

fn sleeping_clients_do_not_wait_for_each_other_while_a_thread_is_free(mode: &'static Mode) {
    const CLIENTS: u32 = 16;
    let server = Server::start(mode, &["--threads", "16", "--work", "sleep:100ms"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let taken = timed(|| exchange_with_all(&clients, b"zzz"));
    assert!(taken >= NAP && taken < NAP * CLIENTS / 2, "{taken:?} for {CLIENTS} clients");
}

fn a_sleep_occupies_a_worker_only_where_the_thread_itself_sleeps(mode: &'static Mode) {
    const CLIENTS: u32 = 40;
    let server = Server::start(mode, &["--threads", "2", "--work", "sleep:100ms"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let taken = timed(|| exchange_with_all(&clients, b"zzz"));
    if a_worker_sleeps(mode) {
        assert!(taken >= NAP * CLIENTS / 2, "{taken:?} for {CLIENTS} clients");
    } else {
        assert!(taken >= NAP && taken < NAP * CLIENTS / 5, "{taken:?} for {CLIENTS} clients");
    }
}

fn new_and_idle_clients_do_not_wait_for_sleeping_ones(mode: &'static Mode) {
    const NAP: Duration = Duration::from_secs(3);
    let threads = if a_worker_sleeps(mode) { "16" } else { "1" };
    let server = Server::start(mode, &["--threads", threads, "--work", "sleep:3s"]);
    let idle = server.connect();
    let asleep: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &asleep {
        client.send(b"zzz");
        client.wait_until_all_is_delivered();
    }
    let new = server.connect();
    let taken = timed(|| {
        for client in [&idle, &new] {
            client.finish_sending();
            client.expect_end();
        }
    });
    assert!(taken < NAP / 3, "{taken:?} for new and idle clients");
    for client in &asleep {
        client.expect_reply_to(b"zzz");
    }
}

/// Whether a simulated sleep blocks a worker. It does in the mode that hides waiting with more threads.
fn a_worker_sleeps(mode: &Mode) -> bool {
    mode.name == "thread-pool"
}

fn a_thread_per_connection_hides_blocking_and_few_threads_do_not(mode: &'static Mode) {
    const CLIENTS: u32 = 12;
    let server = Server::start(mode, &["--threads", "1", "--work", "block:100ms"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let taken = timed(|| exchange_with_all(&clients, b"zzz"));
    match mode.threads {
        Threads::PerConnection => assert!(taken < NAP * CLIENTS / 2, "{taken:?} for {CLIENTS} clients"),
        Threads::Workers => assert!(taken >= NAP * CLIENTS, "{taken:?} for {CLIENTS} clients"),
    }
}

fn no_mode_hides_computing(mode: &'static Mode) {
    const CLIENTS: u32 = 10;
    let work = Duration::from_millis(50);
    let mut server = Server::start(mode, &["--threads", "4", "--work", "cpu:50ms"]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    let before = server.process().cpu_time();
    exchange_with_all(&clients, b"think");
    let used = server.process().cpu_time() - before;
    // The kernel reports CPU time in steps.
    let step = Duration::from_secs(1) / rustix::param::clock_ticks_per_second() as u32;
    assert!(used + 2 * step >= work * CLIENTS, "{used:?} of CPU time for {CLIENTS} clients");
}

fn a_blocking_call_in_a_task_stalls_its_neighbours() {
    let taken = naps_of("tokio-task", 5, &["--threads", "1", "--work", "block:100ms"]);
    assert!(taken >= NAP * 5, "{taken:?}");
}

fn four_pool_threads_block_for_eight_clients_in_two_rounds() {
    let taken = naps_of("thread-pool", 8, &["--threads", "4", "--work", "block:100ms"]);
    assert!(taken >= NAP * 2 && taken < NAP * 6, "{taken:?}");
}

/// The time that this mode needs for one request of each client.
fn naps_of(mode: &str, clients: usize, args: &[&str]) -> Duration {
    let mode = Mode::by_name(mode).expect("it is in the table");
    let server = Server::start(mode, args);
    let clients: Vec<_> = (0..clients).map(|_| server.connect()).collect();
    timed(|| exchange_with_all(&clients, b"zzz"))
}
