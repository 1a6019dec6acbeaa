//! Outputs that go away: standard output closed, full, or a pipe without a reader; a terminal that closes during a run.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
};

use rustix::process::Signal;
use server::mode::Mode;

use crate::{
    behaviour::group,
    harness::{ServerCommand, load::Loadgen, machine, wait::PATIENCE, wait_until},
};

group! {
    in every mode {
        a_server_without_outputs_serves,
        when_the_terminal_goes_away_no_process_stays_behind needs machine::terminal,
    }
    once {
        a_report_without_a_standard_output_does_not_crash,
    }
}

/// Started by a shell that redirects like this.
fn redirected(command: &Command, how: &str) -> Command {
    machine::before(&["sh", "-c", &format!("exec \"$@\" {how}"), "sh"], command)
}

fn a_server_without_outputs_serves(mode: &'static Mode) {
    for how in [">&-", ">&- 2>&- <&-", ">/dev/full 2>/dev/full"] {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let path = folder.path().join("echo.sock");
        let socket = common::Address::Unix(path.clone());
        let mut server =
            ServerCommand::new(mode).listen(&socket).within(|command| redirected(command, how)).launch();
        // It does not print its address. It may end because of that, and then says so by its exit code.
        wait_until("it serves, or has ended", || is_served(&path) || !server.is_running());
        if server.is_running() {
            server.signal(Signal::TERM);
        }
        let finished = server.finish();
        assert!(matches!(finished.code, Some(0 | 1)), "{how}: {finished}");
        assert!(!finished.stderr.contains("panic"), "{how}: {finished}");
    }
}

fn is_served(path: &Path) -> bool {
    let exchange = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"hello")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply)?;
        Ok(reply == *b"HELLO")
    };
    exchange().unwrap_or(false)
}

fn a_report_without_a_standard_output_does_not_crash() {
    // Rust's runtime opens /dev/null in place of a closed descriptor, so a closed output is one that nobody reads.
    for (how, code) in [(">&-", 0), (">/dev/full", 1)] {
        let load = Loadgen::run(None, "-c 2 -n 20 -w 0s --fail-on never");
        let finished = load.within(|command| redirected(command, how)).finish();
        assert!(!finished.stderr.contains("panic"), "{how}: {finished}");
        assert_eq!(finished.code, Some(code), "{how}: {finished}");
        // Nothing is lost: the report is on standard error.
        assert!(code == 0 || finished.stderr.contains("verdict"), "{how}: {finished}");
    }
}

fn when_the_terminal_goes_away_no_process_stays_behind(mode: &'static Mode) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let report = folder.path().join("report.json");
    fs::write(&report, "before").expect("it is our own folder");
    let args = format!("-c 5 -d 1h -w 0s -i 100ms --mode {}", mode.name);
    let load = Loadgen::run(None, &args)
        .args(["-o", report.to_str().expect("it is ASCII")])
        .in_terminal(100)
        .start();
    load.stdout.wait_for_parts(&["p50"]);
    let started = descendants(load.id());
    assert!(started.len() >= 2, "{started:?}");
    // The terminal's other side is gone, and the kernel sends SIGHUP to the programs on it.
    load.signal(Signal::KILL);
    drop(load);
    wait_until("loadgen and its server end", || !started.iter().any(|id| is_running(*id)));
    // A hang-up is no result: the file is as it was, or complete.
    let kept = fs::read_to_string(&report).expect("it is there");
    assert!(kept == "before" || serde_json::from_str::<serde_json::Value>(&kept).is_ok(), "{kept}");
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 1, "nothing else is left");
}

/// The processes that this one has started, and those that they have.
fn descendants(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_whitespace().map(|id| id.parse().expect("a number")).collect();
    children.into_iter().flat_map(|child| [vec![child], descendants(child)].concat()).collect()
}

/// Whether a process runs. A zombie does not.
fn is_running(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
}
