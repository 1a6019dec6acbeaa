//! Stored results that are damaged: every command that reads one refuses it with an error, or uses it, in bounded memory.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{Finished, load::Loadgen, machine},
};

group! {
    once {
        a_damaged_result_is_refused_or_used_by_every_command_that_reads_it,
        a_histogram_that_asks_for_gigabytes_takes_none,
    }
}

/// A compressed histogram that says that 4 GiB of counts follow.
const BOMB: &str = "HISTFAAAACB42pNpmSz8HwgYIIAZSjMCmW4GOxYw2H+ACAAA168IRw==";
/// The memory that a command may map: far more than a result takes, and far less than the bomb asks for.
const MAPPED_BYTES_MAX: u64 = 1 << 30;

fn a_damaged_result_is_refused_or_used_by_every_command_that_reads_it() {
    let folder = folder();
    let whole = result();
    let text = whole.to_string();
    let changed = |path: &str, value: Value| {
        let mut changed = whole.clone();
        *changed.pointer_mut(path).unwrap_or_else(|| panic!("a result has {path}")) = value;
        changed.to_string()
    };
    let cut = |parts: usize| text[..text.len() * parts / 7].to_owned();
    let damaged = [
        cut(1),
        cut(4),
        cut(6),
        text.replacen("\"elapsed_s\":", "\"elapsed_s\":1e400,\"x\":", 1),
        text.replacen("\"elapsed_s\":", "\"elapsed_s\":1,\"elapsed_s\":", 1),
        changed("/requests", Value::Null),
        changed("/requests/due", json!(-1)),
        changed("/requests/due", json!(u64::MAX)),
        changed("/plan/connections", json!(u32::MAX)),
        changed("/plan/threads", json!(u64::MAX)),
        changed("/environment/cpus", json!(u64::MAX)),
        changed("/elapsed_s", json!(1e308)),
        changed("/elapsed_s", json!(5e-324)),
        changed("/elapsed_s", json!(-1.0)),
        changed("/intervals/0/t_s", json!(1e300)),
        changed("/intervals/0/t_s", json!("x".repeat(100_000))),
        changed("/latency_ns/response/hdr", json!("AAAA")),
        changed("/latency_ns/response/hdr", json!(BOMB)),
        changed("/window_started_at_unix_us", json!(u64::MAX)),
        changed("/started_at_unix_ms", json!(u64::MAX)),
        format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)),
        "{".repeat(200_000),
    ];
    for (number, content) in damaged.iter().enumerate() {
        let path = folder.path().join(format!("{number}.json"));
        fs::write(&path, content).expect("there is room");
        let file = path.to_str().expect("its name is ASCII");
        let name = format!("{number}: {}", &content[..content.len().min(60)]);
        for format in ["text", "json", "jsonl", "csv", "html"] {
            expect_code_of(&["show", file, "--format", format], &[0, 1], b"", &name);
        }
        expect_code_of(&["show", file, file], &[0, 1], b"", &name);
        expect_code_of(&["show", file, "--hdr", file], &[0, 1], b"", &name);
        expect_code_of(&["merge", file], &[0, 1, 2, 4], b"", &name);
        expect_code_of(&["merge"], &[0, 1, 2, 4], format!("a line\n{content}\n").as_bytes(), &name);
        expect_code_of(
            &["compare", "a=127.0.0.1:1", "--against", file, "--rounds", "1"],
            &[1, 2],
            b"",
            &name,
        );
    }
}

fn a_histogram_that_asks_for_gigabytes_takes_none() {
    let folder = folder();
    let mut result = result();
    result["latency_ns"]["response"]["hdr"] = BOMB.into();
    let path = folder.path().join("bomb.json");
    fs::write(&path, result.to_string()).expect("there is room");
    let file = path.to_str().expect("its name is ASCII");
    let merged = expect_code_of(&["merge", file], &[1, 2], b"", "the bomb");
    assert!(merged.stderr.contains("bomb.json") && merged.stderr.contains("histogram"), "{merged}");
}

/// Runs loadgen in bounded memory. Its exit code must be one of these; an error says what it is about.
#[track_caller]
fn expect_code_of(args: &[&str], codes: &[i32], input: &[u8], what: &str) -> Finished {
    let finished = Loadgen::new(args)
        .within(|command| machine::with_memory(command, MAPPED_BYTES_MAX))
        .finish_with(input);
    let code = finished.code.unwrap_or_else(|| panic!("{what}: {finished}"));
    assert!(codes.contains(&code), "{what}: {finished}");
    assert!(!finished.stderr.contains("panicked"), "{what}: {finished}");
    assert!(matches!(code, 0 | 4) || finished.stderr.contains("error: "), "{what}: {finished}");
    finished
}

/// The result of a short run.
fn result() -> Value {
    let finished = Loadgen::run(None, "-c 4 -n 200 -w 0s --format json --fail-on never").finish();
    serde_json::from_str(&finished.expect_code(0).stdout).expect("it is JSON")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}
