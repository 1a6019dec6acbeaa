//! What the service manager is told: ready, the status, reloading, stopping.

use std::{fs, os::unix::net::UnixDatagram, path::PathBuf};

use rustix::process::Signal;
use server::mode::Mode;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{Client, Server, ServerCommand, wait::PATIENCE},
};

group! {
    in every mode {
        a_server_is_ready_when_it_serves,
        the_status_follows_the_number_of_connections,
        the_drain_is_announced,
        a_hangup_logs_the_configuration_and_ends_nothing,
        an_idle_server_reports_to_the_watchdog,
        a_draining_server_reports_to_the_watchdog,
        a_worker_that_hangs_keeps_the_watchdog_waiting,
    }
    once {
        a_hangup_without_a_service_manager_logs_the_configuration,
        without_a_service_manager_no_thread_reports,
        a_service_manager_that_is_gone_ends_nothing,
    }
}

/// A service manager that listens for notifications.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path, _folder: folder }
    }

    fn start(&self, command: ServerCommand) -> Server {
        command.env("NOTIFY_SOCKET", &self.path).start()
    }

    /// The next notification's lines.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a notification comes");
        String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect()
    }

    /// The lines of the notifications that were sent and not received yet.
    fn discard_sent(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            lines.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
        }
        self.socket.set_nonblocking(false).unwrap();
        lines
    }

    /// Waits for a notification with this line.
    #[track_caller]
    fn wait_for(&self, line: &str) {
        while !self.next().iter().any(|told| told == line) {}
    }
}

fn a_server_is_ready_when_it_serves(mode: &'static Mode) {
    let manager = Manager::new();
    let server = manager.start(ServerCommand::new(mode));
    let status = format!("STATUS=serving in mode {}; open connections: 0", mode.name);
    assert_eq!(manager.next(), ["READY=1", &status]);
    server.expect_service();
}

fn the_status_follows_the_number_of_connections(mode: &'static Mode) {
    let manager = Manager::new();
    let server = manager.start(ServerCommand::new(mode));
    let clients = server.connect_served(5);
    manager.wait_for(&format!("STATUS=serving in mode {}; open connections: 5", mode.name));
    drop(clients);
    manager.wait_for(&format!("STATUS=serving in mode {}; open connections: 0", mode.name));
}

fn the_drain_is_announced(mode: &'static Mode) {
    let manager = Manager::new();
    let server = manager.start(ServerCommand::new(mode).args(&["--drain-timeout", "1h"]));
    let client = server.connect_served(1);
    server.begin_drain(Signal::TERM);
    manager.wait_for("STOPPING=1");
    drop(client);
    server.wait_for_exit().finished.expect_code(0);
    // A server without connections ends at once, but not before it has said so.
    let server = manager.start(ServerCommand::new(mode));
    server.stop();
    manager.wait_for("STOPPING=1");
}

fn a_hangup_logs_the_configuration_and_ends_nothing(mode: &'static Mode) {
    let manager = Manager::new();
    let server = manager.start(ServerCommand::new(mode).args(&["--idle-timeout", "5m"]));
    let client = server.connect_served(1);
    manager.wait_for("READY=1");
    for _ in 0..2 {
        server.signal(Signal::HUP);
        let reloading = loop {
            let told = manager.next();
            if told.iter().any(|line| line == "RELOADING=1") {
                break told;
            }
        };
        let usec = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(usec.is_some_and(|usec| usec.parse::<u64>().is_ok_and(|usec| usec > 0)), "{reloading:?}");
        manager.wait_for("READY=1");
    }
    let logged = server.log().wait_for("configuration");
    for part in [mode.name, "idle_timeout=\"5m\"", &server.address().to_string()] {
        assert!(logged.contains(part), "{logged}");
    }
    client[0].exchange(b"still here");
    drop(client);
    server.stop();
}

/// The watchdog's time in microseconds. A report is due in each quarter of it.
const WATCHDOG_USEC: &str = "400000";

fn an_idle_server_reports_to_the_watchdog(mode: &'static Mode) {
    let manager = Manager::new();
    let server = manager.start(ServerCommand::new(mode).env("WATCHDOG_USEC", WATCHDOG_USEC));
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    let client = server.connect_served(1);
    manager.wait_for("WATCHDOG=1");
    drop(client);
    server.stop();
}

fn a_draining_server_reports_to_the_watchdog(mode: &'static Mode) {
    let manager = Manager::new();
    let command = ServerCommand::new(mode).args(&["--drain-timeout", "1h", "--drain-grace", "0s"]);
    let server = manager.start(command.env("WATCHDOG_USEC", WATCHDOG_USEC));
    let client = server.connect_served(1);
    server.begin_drain(Signal::TERM);
    manager.wait_for("STOPPING=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    drop(client);
    server.wait_for_exit().finished.expect_code(0);
}

fn a_worker_that_hangs_keeps_the_watchdog_waiting(mode: &'static Mode) {
    let manager = Manager::new();
    let command = ServerCommand::new(mode).args(&["--threads", "2", "--work", "block:1h"]);
    let server = manager.start(command.env("WATCHDOG_USEC", WATCHDOG_USEC));
    manager.wait_for("WATCHDOG=1");
    // One of two workers hangs. The other one accepts and waits, but does not report.
    let client = server.connect();
    client.send(b"hello");
    server.log().wait_for("a worker hangs");
    manager.discard_sent();
    server.log().wait_for_parts(&["a worker hangs"; 3]);
    assert_eq!(manager.discard_sent().iter().filter(|line| *line == "WATCHDOG=1").count(), 0);
}

fn a_hangup_without_a_service_manager_logs_the_configuration() {
    let server = ServerCommand::bare().start();
    // What is served has its handlers installed: "listening on" comes before them.
    server.expect_service();
    server.log().wait_for("started");
    crate::harness::wait_until("SIGHUP is handled", || {
        let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("it has signals");
        u64::from_str_radix(caught.trim(), 16).expect("a mask in hexadecimal") & 1 != 0
    });
    server.signal(Signal::HUP);
    server.log().wait_for("configuration");
    server.stop();
}

fn without_a_service_manager_no_thread_reports() {
    let manager = Manager::new();
    let with = manager.start(ServerCommand::bare());
    manager.wait_for("READY=1");
    assert!(threads(&with).contains(&"notifier".to_owned()));
    let without = ServerCommand::bare().start();
    without.expect_service();
    assert!(!threads(&without).contains(&"notifier".to_owned()));
}

fn threads(server: &Server) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap().trim().to_owned())
        .collect()
}

fn a_service_manager_that_is_gone_ends_nothing() {
    let server = ServerCommand::bare().env("NOTIFY_SOCKET", "/nowhere/notify").start();
    server.log().wait_for("cannot notify the service manager");
    Client::connect(server.address()).exchange(b"hello");
    server.stop();
}
