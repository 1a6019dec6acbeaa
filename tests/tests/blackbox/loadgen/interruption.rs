//! Ctrl-C, and the end of the started server.

use std::{fs, net::TcpListener};

use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::{Loadgen, Peer, Report, ignore},
        process::Running,
        wait_until,
    },
};

group! {
    in every mode {
        an_interrupted_run_reports_its_results_and_leaves_no_server_behind,
        a_killed_run_leaves_no_server_behind,
    }
    once {
        a_terminated_run_reports_its_results,
        a_second_signal_ends_it_at_once,
        an_interrupt_ends_the_wait_for_a_server,
    }
}

fn an_interrupted_run_reports_its_results_and_leaves_no_server_behind(mode: &'static Mode) {
    let args = format!("-c 20 -d 1h -w 0s -i 200ms --format json --mode {}", mode.name);
    let load = Loadgen::run(None, &args).start();
    load.stderr.wait_for("p50");
    let server = child_of(&load);
    load.signal(Signal::INT);
    let finished = load.finish();
    let report = Report::read(finished.expect_code(130));
    assert_eq!(report.at("interrupted"), true);
    assert!(report.count("requests.completed") > 0);
    assert_eq!(report.errors(), 0, "{}", report.at("errors"));
    assert!((0.1..60.0).contains(&report.number("elapsed_s")));
    assert!(!is_running(server), "the started server still runs");
}

fn a_killed_run_leaves_no_server_behind(mode: &'static Mode) {
    let args = format!("-c 20 -d 1h -w 0s -i 200ms --mode {}", mode.name);
    let load = Loadgen::run(None, &args).start();
    load.stderr.wait_for("p50");
    let server = child_of(&load);
    load.signal(Signal::KILL);
    assert_eq!(load.finish().code, None);
    wait_until("the started server ends", || !is_running(server));
}

fn a_terminated_run_reports_its_results() {
    let server = ServerCommand::bare().start();
    let load = Loadgen::run(Some(server.address()), "-c 20 -d 1h -w 0s -i 200ms").start();
    load.stderr.wait_for("p50");
    load.signal(Signal::TERM);
    let finished = load.finish();
    finished.expect_code(143);
    assert!(finished.stdout.contains("interrupted"), "{finished}");
}

fn a_second_signal_ends_it_at_once() {
    // After the first signal, it would wait for outstanding replies.
    let peer = Peer::start(|_, stream| ignore(&stream));
    let load = Loadgen::run(Some(peer.address()), "-c 5 -d 1h -w 0s -i 200ms").start();
    load.stderr.wait_for("p50");
    load.signal(Signal::INT);
    load.signal(Signal::TERM);
    let finished = load.finish();
    assert!(matches!(finished.code, Some(130 | 143)), "{finished}");
    assert_eq!(finished.stdout, "");
}

fn an_interrupt_ends_the_wait_for_a_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound").into();
    drop(listener);
    let load = Loadgen::run(Some(&address), "-c 5 -d 1s --wait-for-server 1h").start();
    load.stderr.wait_for("waiting");
    load.signal(Signal::INT);
    let finished = load.finish();
    finished.expect_code(130).expect_stderr(&["interrupted"]);
    assert_eq!(finished.stdout, "");
}

/// The child of this process.
#[track_caller]
fn child_of(parent: &Running) -> u32 {
    let parent_of = |id: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let all = fs::read_dir("/proc").expect("there are processes");
    let mut ids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.find(|id| parent_of(*id) == Some(parent.id())).expect("it has a child")
}

/// Whether a process runs. A zombie does not.
fn is_running(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
}
