//! Every flag of both programs with values at its extremes: the real programs refuse them or end as usual, and never panic.

use std::process::Command;

use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{Finished, load::Loadgen, programs, text::flags},
};

group! {
    once {
        every_flag_of_a_run_takes_its_extremes_or_refuses_them,
        every_flag_of_the_server_takes_its_extremes_or_refuses_them,
    }
}

/// The values at which the types of the flags end. The tests of the parsers have many more.
const EXTREMES: [&str; 9] =
    ["", "0", "1", "-1", "NaN", "1000000000000000", "18446744073709551616", "1ns", "366d"];

fn every_flag_of_a_run_takes_its_extremes_or_refuses_them() {
    let folder = folder();
    let help = Loadgen::new(&["run", "--help"]).finish();
    for flag in flags(&help.expect_code(0).stdout) {
        for value in EXTREMES {
            // It waits for the server, for as long as the flag says.
            if flag == "--wait-for-server" && value == "366d" {
                continue;
            }
            let given = format!("{flag}={value}");
            // Nothing listens there, so a run that is possible ends at once. With one client, a low --connect-rate takes no time.
            let client: &[&str] = if flag == "--connections" { &[] } else { &["--connections=1"] };
            let mut run = Loadgen::new(&[&["run", "127.0.0.1:1", &given], client].concat());
            run.command().current_dir(folder.path());
            expect_no_panic(&run.finish(), &given);
        }
    }
}

fn every_flag_of_the_server_takes_its_extremes_or_refuses_them() {
    let folder = folder();
    let server = |args: &[&str]| {
        let mut command = Command::new(programs::server());
        Finished::of(command.args(args).current_dir(folder.path()), b"")
    };
    for flag in flags(&server(&["--help"]).expect_code(0).stdout) {
        for value in EXTREMES {
            let given = format!("{flag}={value}");
            // It cannot bind this address, so a server that is possible ends at once.
            expect_no_panic(&server(&["--listen", "unix:/nowhere/socket", &given]), &given);
        }
    }
}

/// Expects the end of a program that was given this flag with a value.
#[track_caller]
fn expect_no_panic(finished: &Finished, given: &str) {
    let flag = given.split('=').next().unwrap_or_default();
    assert!(finished.code.is_some_and(|code| matches!(code, 1 | 2)), "{given}: {finished}");
    assert!(!finished.stderr.contains("panicked"), "{given}: {finished}");
    let is_named = finished.stderr.contains(flag) || flag == "--source";
    assert!(finished.code != Some(2) || is_named, "{given}: {finished}");
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}
