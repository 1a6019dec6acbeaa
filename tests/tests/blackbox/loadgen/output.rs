//! The output of a run, and of `loadgen show`.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        Finished, ServerCommand,
        load::{Loadgen, Peer, converse},
        machine::terminal,
        programs,
    },
};

group! {
    once {
        the_text_report_has_every_section,
        the_report_names_the_options_of_the_started_server,
        off_a_terminal_progress_is_a_line_for_each_interval_on_stderr,
        quiet_prints_only_the_report,
        intervals_add_up_to_the_run,
        the_report_file_is_complete_or_untouched,
        a_stored_result_can_be_shown_in_any_format,
        several_stored_results_are_shown_side_by_side,
        a_count_of_one_is_singular,
        a_file_without_a_result_is_refused,
        a_closed_standard_output_is_an_error,
        a_result_has_the_command_line_that_repeats_it,
        the_log_of_the_started_server_has_a_prefix,
        the_log_of_the_started_server_does_not_break_the_progress_line needs terminal,
    }
}

/// A busy machine can cause each of them.
const VERDICTS: [&str; 3] = ["valid", "SUSPECT", "INVALID"];

fn the_text_report_has_every_section() {
    let closed = Loadgen::run(None, "-c 20 -d 500ms -w 0s --mode thread-pool").finish();
    closed.expect_report();
    let first_line = closed.stdout.lines().next().unwrap_or_default();
    let is_verdict = VERDICTS.iter().any(|verdict| first_line == format!("verdict    {verdict}"));
    assert!(is_verdict, "{closed}");
    // The limits of a closed loop are named above the numbers.
    let [note, numbers] = ["cannot see", "\nrequests "].map(|part| closed.stdout.find(part).unwrap());
    assert!(note < numbers, "{closed}");
    for part in
        ["thread-pool", "closed loop", "20", "p50", "p99", "max", "response", "service", "fairness", "█"]
    {
        assert!(closed.stdout.contains(part), "'{part}' is missing; {closed}");
    }
    assert!(closed.stdout.contains(" of 20 clients served"), "{closed}");
    let open = Loadgen::run(None, "-c 20 -d 500ms -w 0s -r 1k").finish();
    for part in ["open loop", "schedule lag", "offered", "achieved"] {
        assert!(open.expect_report().stdout.contains(part), "'{part}' is missing; {open}");
    }
    for line in closed.stdout.lines().chain(open.stdout.lines()) {
        assert!(line.chars().count() <= 100, "too wide: {line}");
        assert!(!line.contains('\u{1b}'), "an escape sequence where no terminal is: {line}");
    }
}

fn the_report_names_the_options_of_the_started_server() {
    let run = |args: &str| Loadgen::run(None, &format!("-c 2 -n 10 -w 0s {args}"));
    let pool = run("--mode thread-pool --server-threads 3 --work sleep:1ms").report();
    assert_eq!((pool.count("server.threads"), pool.at("server.work")), (3, &"sleep:1ms".into()));
    let text = run("--mode thread-pool --server-threads 3 --work sleep:1ms").finish().stdout;
    assert!(text.contains("thread-pool, 3 threads, work sleep:1ms"), "{text}");
    // Options that loadgen does not set, the server takes from a variable or from its CPUs.
    let tasks = run("--mode tokio-task").env("SERVER_THREADS", "5").report();
    assert_eq!((tasks.count("server.threads"), tasks.at("server.work").is_null()), (5, true));
    let cpus = run("--mode tokio-task").report();
    let division = cpus.at("environment.division")["server"].as_array().map_or(1, Vec::len);
    assert_eq!(cpus.count("server.threads"), division as u64);
    assert!(run("--mode thread-per-connection").report().at("server.threads").is_null());
}

fn off_a_terminal_progress_is_a_line_for_each_interval_on_stderr() {
    let finished = Loadgen::run(None, "-c 10 -d 1s -w 0s -i 200ms").finish();
    let lines = finished.expect_report().stderr.lines().filter(|line| line.contains("p50")).count();
    assert!((4..=6).contains(&lines), "{finished}");
    assert!(!finished.stderr.contains('\r') && !finished.stderr.contains('\u{1b}'), "{finished}");
}

fn quiet_prints_only_the_report() {
    let finished = Loadgen::run(None, "-c 10 -d 500ms -w 0s -i 100ms --quiet").finish();
    assert_eq!(finished.expect_report().stderr, "");
    assert!(finished.stdout.contains("verdict"));
}

fn intervals_add_up_to_the_run() {
    let report = Loadgen::run(None, "-c 10 -d 1s -w 100ms -i 250ms").report();
    let intervals = report.at("intervals").as_array().unwrap();
    assert!((4..=5).contains(&intervals.len()), "{intervals:?}");
    let sum: u64 = intervals.iter().map(|interval| interval["completed"].as_u64().unwrap()).sum();
    // No interval contains replies after the window.
    assert_eq!(sum + report.count("tail.completed"), report.count("requests.completed"));
    assert_eq!(report.count("tail.completed"), report.count("requests.completed_after_window"));
    let begins: Vec<_> = intervals.iter().map(|interval| interval["t_s"].as_f64().unwrap()).collect();
    assert!(begins.is_sorted(), "{begins:?}");
}

fn the_report_file_is_complete_or_untouched() {
    let folder = folder();
    let path = folder.path().join("report.json");
    fs::write(&path, "previous content").unwrap();
    let to = path.to_str().unwrap();
    let finished = Loadgen::run(None, "-c 10 -n 100 -w 0s --format json").args(["-o", to]).finish();
    assert_eq!(finished.expect_report().stdout, "");
    let kept: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(kept["requests"]["completed"], 100);
    let others = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(others, 1, "nothing else is left there");
    let nowhere = Loadgen::run(None, "-c 10 -n 100 -w 0s -o /nowhere/report").finish();
    nowhere.expect_code(1).expect_stderr(&["/nowhere/report"]);
}

fn a_stored_result_can_be_shown_in_any_format() {
    let folder = folder();
    let path = keep(&folder, "one.json", "-c 10 -d 300ms -w 0s --mode thread-pool");
    let kept = fs::read_to_string(&path).unwrap();
    let as_json = show(&[&path, "--format", "json"]);
    assert_eq!(as_json.stdout, kept);
    let as_text = show(&[&path]).stdout;
    assert!(as_text.contains("verdict") && as_text.contains("thread-pool"), "{as_text}");
    // The same text as the run itself would have printed.
    let copy = folder.path().join("copy.txt");
    show(&[&path, "-o", copy.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(copy).unwrap(), as_text);
}

fn several_stored_results_are_shown_side_by_side() {
    let folder = folder();
    let server = ServerCommand::bare().start();
    let pool = keep(&folder, "pool.json", "-c 10 -d 300ms -w 0s --mode thread-pool");
    let tasks = keep(&folder, "tasks.json", "-c 10 -d 300ms -w 0s --mode tokio-task");
    let theirs = keep(&folder, "theirs.json", &format!("{} -c 10 -d 300ms -w 0s", server.address()));
    let table = show(&[&pool, &tasks, &theirs]).stdout;
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    // A started server is named by its mode, an external one by its file.
    for name in ["thread-pool", "tokio-task", "theirs"] {
        let row = row(name).unwrap_or_else(|| panic!("no row of {name} in\n{table}"));
        assert!(VERDICTS.iter().any(|verdict| row.contains(verdict)), "{row}");
    }
    let formatted = Loadgen::new(&["show", &pool, &tasks, "--format", "json"]).finish();
    formatted.expect_code(2).expect_stderr(&["--format json", "one at a time"]);
    let csv = show(&[&pool, &tasks, &theirs, "--format", "csv"]).stdout;
    let begins: Vec<_> = csv.lines().map(|line| line.split(",0,").next().unwrap_or_default()).collect();
    assert!(begins[0].starts_with("name,scope,"), "{csv}");
    assert_eq!(begins[1..], ["thread-pool,total", "tokio-task,total", "theirs,total"]);
    assert_eq!(formatted.stdout, "");
    for head in ["verdict", "p50", "max", "served", "failed"] {
        assert!(table.contains(head), "no column {head} in\n{table}");
    }
}

fn a_file_without_a_result_is_refused() {
    let folder = folder();
    let path = folder.path().join("other.json");
    for (content, said) in [
        ("", "empty"),
        ("{}", "not a result"),
        ("{\"schema\": 1}", "lacks the field"),
        ("text", "not a JSON document"),
    ] {
        fs::write(&path, content).unwrap();
        let failed = Loadgen::new(&["show", path.to_str().unwrap()]).finish();
        failed.expect_code(1).expect_stderr(&["other.json", said]);
    }
    let newer = keep(&folder, "newer.json", "-c 1 -n 1 -w 0s");
    let text = fs::read_to_string(&newer).unwrap().replacen("\"schema\": 1", "\"schema\": 999", 1);
    fs::write(&newer, text).unwrap();
    Loadgen::new(&["show", &newer]).finish().expect_code(1).expect_stderr(&["999"]);
    Loadgen::new(&["show", "/nowhere.json"]).finish().expect_code(1).expect_stderr(&["/nowhere.json"]);
}

fn a_count_of_one_is_singular() {
    let folder = folder();
    // The second client gets a wrong reply, and another one gets none.
    let wrong = Peer::start(|_, stream| converse(&stream, |bytes| bytes.fill(b'!')));
    let closing = Peer::start(|_, _| Ok(()));
    let all_ones = "-c 1 -n 1 -w 0s -t 1 -s 1 --connect-rate 1 --requests-per-connection 1";
    for target in [None, Some(wrong.address()), Some(closing.address())] {
        let path = folder.path().join("one.json");
        let path = path.to_str().expect("temporary files have names in ASCII");
        Loadgen::run(target, all_ones).args(["-q", "--format", "json", "-o", path]).with_one_cpu().finish();
        for format in ["text", "html"] {
            expect_singular(&show(&[path, "--format", format]).stdout);
        }
    }
    let compare = "compare --modes event-loop --rounds 1 -c 1 -n 1 -w 0s -t 1 -q";
    expect_singular(&Loadgen::new(&compare.split(' ').collect::<Vec<_>>()).with_one_cpu().finish().stdout);
    let sweep = "sweep --modes event-loop --connection-counts 1 -n 1 -w 0s -t 1 -q";
    expect_singular(&Loadgen::new(&sweep.split(' ').collect::<Vec<_>>()).with_one_cpu().finish().stdout);
}

/// Expects that no number 1 precedes a plural.
#[track_caller]
fn expect_singular(text: &str) {
    const PLURALS: &[&str] = &[
        "bytes",
        "clients",
        "connections",
        "CPUs",
        "errors",
        "generators",
        "levels",
        "messages",
        "queues",
        "replies",
        "requests",
        "rounds",
        "runs",
        "segments",
        "servers",
        "threads",
        "times",
    ];
    // A comma or a point between digits belongs to the number.
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != ',');
    let words: Vec<_> = words.map(|word| word.trim_end_matches(['.', ','])).collect();
    for (index, _) in words.iter().enumerate().filter(|(_, word)| **word == "1") {
        // A noun may have a word before it, as in "load thread".
        for noun in words.iter().skip(index + 1).take(2) {
            assert!(
                !PLURALS.contains(noun),
                "'{}' in\n{text}",
                words[index..].iter().take(4).copied().collect::<Vec<_>>().join(" ")
            );
        }
    }
    assert!(words.contains(&"1"), "{text}");
}

fn a_closed_standard_output_is_an_error() {
    let run = ["run", "-c", "5", "-n", "50", "-w", "0s", "-q", "--fail-on", "never"];
    for args in [&run[..], &["--generate", "man"], &["--help"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut load = Loadgen::new(args);
        let output = load.command().stdin(Stdio::null()).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panic"), "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
    }
}

fn a_result_has_the_command_line_that_repeats_it() {
    let folder = folder();
    let [path, page] = ["a b.json", "page.html"].map(|name| folder.path().join(name));
    let result = |path: &Path| -> Value { serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let run = "run -c 2 -n 20 -w 0s --seed 7 --slo p50<1m --fail-on never -q";
    let run: Vec<_> = run.split(' ').collect();
    let compare =
        ["compare", "--modes", "tokio-task", "--rounds", "1", "-c", "2", "-n", "20", "--seed", "7", "-q"];
    let sweep =
        ["sweep", "--modes", "tokio-task", "--rates", "100", "-d", "200ms", "-w", "0s", "--seed", "7", "-q"];
    let server = "--server=it's mine=sh -c 'exec false {port}'";
    for args in [&run[..], &[&compare[..], &[server]].concat(), &sweep] {
        let load = || Loadgen::new(args).env("SERVER_THREADS", "2");
        let finished = load().args(["-o", path.to_str().unwrap()]).finish();
        let made = result(&path);
        let command = made["command"].as_str().unwrap_or_else(|| panic!("no command; {finished}"));
        assert!(command.starts_with("SERVER_THREADS=2 /"), "{command}");
        let seed = if args[0] == "run" { &made["plan"]["seed"] } else { &made["plan"]["load"]["seed"] };
        assert_eq!(seed, 7);
        // A shell splits it into the original arguments.
        fs::remove_file(&path).unwrap();
        let again = Command::new("sh").args(["-c", command]).stderr(Stdio::null()).status().unwrap();
        assert_eq!((again.code(), &result(&path)["command"]), (finished.code, &command.into()));
        let finished = load().args(["-o", page.to_str().unwrap()]).finish();
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{error}; {finished}"));
        assert!(text.contains("<code>SERVER_THREADS=2 /") && text.contains("seed 7</p>"), "{finished}");
    }
    let [one, sum] = ["one.json", "sum.json"].map(|name| folder.path().join(name));
    Loadgen::new(&run).args(["-o", one.to_str().unwrap()]).finish().expect_report();
    for to in [&sum, &page] {
        Loadgen::new(&["merge", one.to_str().unwrap(), "-o", to.to_str().unwrap()]).finish().expect_report();
    }
    let (made, part) = (result(&sum), &result(&sum)["merged"]["parts"][0]);
    assert!(made["command"].as_str().unwrap().ends_with("sum.json"), "{}", made["command"]);
    assert_eq!((&part["seed"], &part["command"]), (&7.into(), &result(&one)["command"]));
    let text = fs::read_to_string(&page).unwrap();
    // Flags are in spans, so that no line breaks within them.
    assert!(text.contains("one.json: seed 7</p>") && text.contains(">--slo</span> 'p50&lt;1m'"), "{text}");
}

/// More clients than the started server permits, so that it logs in the middle of the run.
const FULL: &str = "-c 4 -d 1s -w 0s -i 200ms --timeout 300ms --connect-timeout 300ms";

fn the_log_of_the_started_server_has_a_prefix() {
    for args in [FULL.to_owned(), format!("{FULL} -q")] {
        let finished = Loadgen::run(None, &args).env("SERVER_MAX_CONNECTIONS", "3").finish();
        let of_server = |line: &&str| line.contains("max_connections=3");
        let lines: Vec<_> = finished.stderr.lines().filter(of_server).collect();
        assert!(!lines.is_empty(), "{finished}");
        assert!(lines.iter().all(|line| line.starts_with("server: WARN full")), "{finished}");
        assert!(!finished.stdout.contains("max_connections"), "{finished}");
    }
}

fn the_log_of_the_started_server_does_not_break_the_progress_line() {
    let command = format!("'{}' run {FULL}", programs::loadgen().display());
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    let finished = Finished::of(terminal.env("TERM", "xterm").env("SERVER_MAX_CONNECTIONS", "3"), b"");
    let lines = finished.stdout.split(['\r', '\n']).filter(|line| line.contains("max_connections=3"));
    let lines: Vec<_> = lines.collect();
    assert!(!lines.is_empty(), "{finished}");
    for line in lines {
        // Only escape sequences that move the cursor and clear the line precede it.
        let before = line.split("server: WARN full").next().unwrap_or_default();
        assert!(before.split('\u{1b}').all(|part| part.len() <= 3), "{line:?}");
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

/// Makes a run and keeps its result.
#[track_caller]
fn keep(folder: &TempDir, name: &str, args: &str) -> String {
    let path = folder.path().join(name);
    let path = Path::to_str(&path).expect("temporary files have names in ASCII").to_owned();
    let args = format!("{args} -q --format json");
    let finished = Loadgen::run(None, &args).args(["-o", &path]).finish();
    finished.expect_report();
    path
}

#[track_caller]
fn show(args: &[&str]) -> Finished {
    let finished = Loadgen::new(&["show"]).args(args.iter().copied()).finish();
    finished.expect_code(0);
    finished
}
