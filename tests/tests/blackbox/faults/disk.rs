//! A disk that fills up while loadgen runs: nothing half-written is left under a name that was asked for, and the report is
//! printed. Files that are refused before the run have tests in `loadgen/files.rs`.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use crate::{
    behaviour::group,
    harness::{
        Finished,
        load::Loadgen,
        machine::{small_disk, with_small_disk},
    },
};

group! {
    once {
        every_flag_that_names_a_file_is_known,
        a_disk_that_fills_up_during_a_run_leaves_nothing_half_written needs small_disk,
        a_disk_that_fills_up_under_the_log_ends_the_log_and_not_the_run needs small_disk,
        replies_that_cannot_be_saved_are_an_error,
    }
}

/// Flags of the commands that write a file, in the order of the commands. The tests below cover each.
const WRITING: [(&str, &[&str]); 6] = [
    ("run", &["--output", "--hdr", "--log"]),
    ("compare", &["--output"]),
    ("sweep", &["--output"]),
    ("merge", &["--output"]),
    ("show", &["--output", "--hdr"]),
    ("talk", &["--save"]),
];
/// Flags that name a file to read.
const READING: [&str; 5] = ["--messages", "--tls-ca", "--tls-cert", "--tls-key", "--against"];

fn every_flag_that_names_a_file_is_known() {
    for (command, writing) in WRITING {
        let help = Loadgen::new(&[command, "--help"]).finish().stdout;
        for flag in flags_with(&help, &["<FILE>", "<PREFIX>", "<DIR>", "<PATH>"]) {
            let is_known = writing.contains(&flag.as_str()) || READING.contains(&flag.as_str());
            assert!(is_known, "{command} {flag} needs a test with a full disk");
        }
        writing.iter().for_each(|flag| assert!(help.contains(flag), "{command} has no {flag}"));
    }
}

fn flags_with(help: &str, values: &[&str]) -> Vec<String> {
    let all: Vec<_> = help.lines().filter(|line| values.iter().any(|value| line.contains(value))).collect();
    let words =
        all.iter().filter(|line| line.trim_start().starts_with('-')).flat_map(|line| line.split_whitespace());
    words.filter(|word| word.starts_with("--")).map(|word| word.trim_end_matches(',').to_owned()).collect()
}

/// A run long enough to fill the disk in it, also with a busy machine.
const RUN: &str = "run -c 2 -r 200 -w 0s -d 3s -i 100ms";
const COMPARE: &str = "compare --modes tokio-task,event-loop --rounds 1 -c 2 -r 200 -w 0s -d 800ms";
const SWEEP: &str = "sweep --modes event-loop --rates 100,200 -c 2 -w 0s -d 800ms";

fn a_disk_that_fills_up_during_a_run_leaves_nothing_half_written() {
    for (args, flag, begun) in [
        (RUN, "--output", "p50"),
        (RUN, "--hdr", "p50"),
        (COMPARE, "--output", "p50"),
        (SWEEP, "--output", "p50"),
    ] {
        let finished = fill_disk_during(args, flag, begun);
        let shown = format!("{args} {flag}: {finished}");
        assert_eq!(finished.code, Some(1), "{shown}");
        for part in ["target", "No space left"] {
            assert!(finished.stderr.contains(part), "{part}: {shown}");
        }
        assert!(finished.stdout.contains("verdict"), "the report is printed: {shown}");
        assert_eq!(left(&finished), ["filler"], "{shown}");
    }
}

fn a_disk_that_fills_up_under_the_log_ends_the_log_and_not_the_run() {
    let finished = fill_disk_during(RUN, "--log", "p50");
    assert!(finished.stdout.contains("verdict"), "the report is printed: {finished}");
    finished.expect_code(1).expect_stderr(&["target", "No space left"]);
}

fn replies_that_cannot_be_saved_are_an_error() {
    let server = crate::harness::ServerCommand::bare().start();
    let address = server.address().to_string();
    let talk = Loadgen::new(&["talk", &address, "--save", "/dev/full"]).finish_with(b"hello\n");
    talk.expect_code(1).expect_stderr(&["/dev/full", "No space left"]);
}

/// Runs loadgen with a file on a small disk, and fills the disk when it has printed `begun`.
#[track_caller]
fn fill_disk_during(args: &str, flag: &str, begun: &str) -> Finished {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let target = folder.path().join("target");
    let target = target.to_str().expect("temporary folders have names in ASCII");
    let load = Loadgen::new(&[]).args(args.split(' ')).args([flag, target]);
    let load = load.within(|command| with_small_disk(command, folder.path())).start();
    load.stderr.wait_for(begun);
    let of_process = format!("/proc/{}/root", load.id());
    fill(&Path::new(&of_process).join(folder.path().strip_prefix("/").expect("it is absolute")));
    load.finish()
}

fn fill(folder: &Path) {
    let mut filler = File::create(folder.join("filler")).expect("the disk has space for a name");
    for part in [1 << 16, 1 << 12, 1] {
        while filler.write_all(&vec![0; part]).is_ok() {}
    }
    assert!(
        fs::metadata(folder.join("filler")).is_ok_and(|filler| filler.len() < 2 << 20),
        "it is the small disk"
    );
}

/// The names on the small disk at the end.
fn left(finished: &Finished) -> Vec<&str> {
    let lines = finished.stderr.lines().filter_map(|line| line.strip_prefix("on the disk: "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}
