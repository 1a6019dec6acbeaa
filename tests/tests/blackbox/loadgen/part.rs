//! `--part`: several generators put one load on a server.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::Address;
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        Server, ServerCommand,
        load::{Loadgen, Peer, Report, converse, ignore},
        process::Finished,
        request_log::RequestLog,
        wait_until,
    },
};

group! {
    once {
        the_parts_of_a_load_send_what_one_generator_sends,
        a_late_client_sends_its_own_requests_of_a_number,
        requests_of_a_client_without_a_reply_end_a_load_with_a_number,
        a_client_without_requests_of_the_window_warms_up,
        the_parts_add_up_to_the_whole_and_merge_holds_it_against_the_slo,
        a_part_is_taken_from_the_variables_of_the_engine,
        parts_that_begin_late_make_the_sum_invalid,
        a_rounded_start_time_is_a_full_step_of_the_clock,
        the_abort_condition_on_a_rate_is_divided,
    }
}

const PARTS: u32 = 4;
/// Time from the start of the generators to the start of their load.
const AHEAD: Duration = Duration::from_millis(2_500);

/// A request: its client, its number among those of the client, and when it was due after the start of the window.
type Request = (u32, u64, i64);

fn the_parts_of_a_load_send_what_one_generator_sends() {
    let server = ServerCommand::bare().start();
    for load in [
        "-c 22 -r 1k --arrival poisson --seed 7 -d 1s -w 300ms -t 1",
        "-c 22 -r 1k --arrival poisson --seed 7 -n 700 -w 300ms -t 1",
        "-c 22 --stages 0..2k/500ms,2k..100/500ms --seed 7 -w 100ms -t 1",
    ] {
        let folder = folder();
        let logged = |name: &str| {
            let path = folder.path().join(name);
            (format!("{load} --log {}", path.display()), path)
        };
        let at = start_time();
        let parts: Vec<_> = (0..PARTS).map(|number| logged(&format!("{number}.csv"))).collect();
        let running: Vec<_> = (0..PARTS)
            .zip(&parts)
            .map(|(number, (args, _))| {
                run(&server, &format!("{args} --part {number}/{PARTS} --start-at {at}")).start()
            })
            .collect();
        for load in running {
            load.finish().expect_report();
        }
        let (args, path) = logged("whole.csv");
        run(&server, &format!("{args} --start-at {}", start_time())).finish().expect_report();

        let whole = requests(&RequestLog::read(&path));
        assert!(whole.len() > 500, "{load}: {}", whole.len());
        let mut union = Vec::new();
        for (number, (_, path)) in (0..PARTS).zip(&parts) {
            let part = requests(&RequestLog::read(path));
            assert!(part.iter().all(|(client, ..)| client % PARTS == number), "{load}");
            union.extend(part);
        }
        union.sort_unstable();
        assert!(union == whole, "{load}: {} and {} requests", union.len(), whole.len());
    }
}

fn a_late_client_sends_its_own_requests_of_a_number() {
    // The client with the first request waits for its reply for longer than all requests of both take.
    let is_late = AtomicBool::new(false);
    let server = Peer::start(move |_, stream| {
        converse(&stream, |bytes| {
            if !is_late.swap(true, Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1_700));
            }
            bytes.make_ascii_uppercase();
        })
    });
    let folder = folder();
    let path = folder.path().join("log.csv");
    let args = format!("-c 2 -t 1 -r 20 -n 20 -w 0s --fail-on never --format json --log {}", path.display());
    let finished = Loadgen::run(Some(server.address()), &args).finish();
    let report = Report::read(finished.expect_code(0));
    assert_eq!(report.count("requests.completed"), 20);
    let mut sent = requests(&RequestLog::read(&path));
    sent.sort_unstable_by_key(|(.., due_ns)| *due_ns);
    let expected: Vec<_> =
        (0..20).map(|number| (number % 2, u64::from(number / 2), i64::from(number) * 50_000_000)).collect();
    assert_eq!(sent, expected);
}

fn requests_of_a_client_without_a_reply_end_a_load_with_a_number() {
    // One client gets no reply, on no connection. The other one does not send its requests.
    let is_served = AtomicBool::new(false);
    let server = Peer::start(move |_, stream| {
        stream.peek(&mut [0])?;
        match is_served.swap(true, Ordering::SeqCst) {
            false => converse(&stream, |bytes| bytes.make_ascii_uppercase()),
            true => ignore(&stream),
        }
    });
    let args = "-c 2 -t 1 -r 100 -n 40 -w 0s --timeout 300ms --fail-on never --format json";
    let finished = Loadgen::run(Some(server.address()), args).finish();
    let report = Report::read(finished.expect_code(0));
    let of = |name: &str| report.count(&format!("requests.{name}"));
    assert_eq!((of("due"), of("completed")), (40, 20), "{}", report.at("requests"));
    assert_eq!(of("failed") + of("cut_off"), 20, "{}", report.at("requests"));
    assert!(of("unsent") > 0, "{}", report.at("requests"));
}

fn a_client_without_requests_of_the_window_warms_up() {
    let server = ServerCommand::bare().start();
    let folder = folder();
    let path = folder.path().join("log.csv");
    // The clients of the second thread have no request of the window.
    let args = format!("-c 4 -t 2 -r 100 -n 1 -w 200ms --log {}", path.display());
    // On a busy machine, the only request of the window may be late.
    Loadgen::run(Some(server.address()), &args).finish().expect_report();
    let mut clients = [0; 4];
    requests(&RequestLog::read(&path)).iter().for_each(|(client, ..)| clients[*client as usize] += 1);
    // 20 requests of the warm-up, and the first one of the window.
    assert_eq!(clients, [6, 5, 5, 5]);
}

fn the_parts_add_up_to_the_whole_and_merge_holds_it_against_the_slo() {
    let server = ServerCommand::bare().start();
    // Each part has a quarter of the rate, and so would miss the first objective.
    let load = "-c 30 -t 2 -r 800 --connect-rate 1001 -d 1s -w 200ms --slo rate>=700 --slo rate>=900";
    let (_folder, paths) = run_parts(&server, load, |part| {
        part.expect_code(0);
    });
    let parts = paths.each_ref().map(|path| read(path));
    for (number, part) in parts.iter().enumerate() {
        assert_eq!((part.count("plan.part.number"), part.count("plan.part.of")), (number as u64, 4));
        assert_eq!((part.count("plan.part.connections"), part.number("plan.part.rate_per_s")), (30, 800.0));
        assert!(part.at("plan.part.requests").is_null());
        assert_eq!(part.at("slo").as_array().map(Vec::len), Some(0));
        assert_eq!(part.at("plan.slo").as_array().map(Vec::len), Some(2));
        let notes = part.at("notes").to_string();
        assert!(notes.contains("this part is not held against them"), "{notes}");
        assert_eq!(part.count("plan.connections"), [8, 8, 7, 7][number]);
        assert!(part.at("environment.boot_id").is_string() && part.at("environment.clock").is_object());
    }
    let merged = merge(&paths).args(["--format", "json", "--fail-on", "never"]).finish();
    merged.expect_code(3);
    let sum = Report::read(&merged);
    assert_eq!((sum.count("plan.connections"), sum.count("plan.connect_rate_per_s")), (30, 1_001));
    assert!((sum.number("plan.rate_per_s") - 800.0).abs() < 1e-6, "{}", sum.at("plan.rate_per_s"));
    assert_eq!(sum.count("requests.due"), 800);
    assert!(sum.0.pointer("/plan/part").is_none());
    let met: Vec<_> = sum.at("slo").as_array().unwrap().iter().map(|slo| slo["met"] == true).collect();
    assert_eq!(met, [true, false], "{}", sum.at("slo"));
    // What was said of a part is not true of the whole, and parts with one seed are not copies of each other.
    let notes = sum.at("notes").to_string();
    assert!(!notes.contains("not held against them") && !notes.contains("same --seed"), "{notes}");
    // All parts ran on this machine, which has one clock.
    assert!(!sum.has_reason("clock_skew"), "{}", sum.at("verdict"));
    assert_eq!(*sum.at("merged.parts.3.boot_id"), *parts[3].at("environment.boot_id"));
    assert!(Loadgen::new(&["show", &paths[0]]).finish().stdout.contains("part 1 of 4 (number 0)"));
}

fn a_part_is_taken_from_the_variables_of_the_engine() {
    let server = ServerCommand::bare().start();
    let asked = |variables: &[(&str, &str)]| {
        let load = run(&server, "-c 6 -n 60 -w 0s --format json");
        variables.iter().fold(load, |load, (name, value)| load.env(name, value))
    };
    let kubernetes = ("JOB_COMPLETION_INDEX", "2");
    let slurm = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")];
    for (variables, number, of) in [
        (vec![("LOADGEN_PART", "2/3")], 2, 3),
        (vec![("LOADGEN_PART", "auto/3"), kubernetes], 2, 3),
        (vec![("LOADGEN_PART", "auto/3"), slurm[0]], 1, 3),
        (vec![("LOADGEN_PART", "auto"), slurm[0], slurm[1]], 1, 2),
    ] {
        let report = Report::read(asked(&variables).finish().expect_report());
        assert_eq!((report.count("plan.part.number"), report.count("plan.part.of")), (number, of));
        assert_eq!(report.count("plan.connections"), 6 / of);
        assert_eq!(report.count("requests.completed"), 60 / of);
        // The run can be repeated.
        for (name, value) in &variables {
            let assignment = format!("{name}={value} ");
            assert!(report.text("command").contains(&assignment), "{}", report.text("command"));
        }
    }
    // Without the flag, a run in a batch script is the whole load.
    let whole = Report::read(asked(&[kubernetes, slurm[0], slurm[1]]).finish().expect_report());
    assert!(whole.0.pointer("/plan/part").is_none());
    assert_eq!(whole.count("plan.connections"), 6);
    for (variables, said) in [
        (vec![("LOADGEN_PART", "auto/3")], "neither JOB_COMPLETION_INDEX"),
        (vec![("LOADGEN_PART", "auto"), kubernetes], "SLURM_PROCID is not set"),
        (vec![("LOADGEN_PART", "3/3")], "part 3 of 3 does not exist"),
    ] {
        asked(&variables).finish().expect_code(2).expect_stderr(&[said]);
    }
}

fn parts_that_begin_late_make_the_sum_invalid() {
    let server = ServerCommand::bare().start();
    let folder = folder();
    let paths = [0, 1].map(|number| folder.path().join(format!("{number}.json")).display().to_string());
    let at = SystemTime::now() + Duration::from_millis(1_500);
    // Nothing serves before that time.
    let address = unused_address();
    let running: Vec<_> = (0..2)
        .zip(&paths)
        .map(|(number, path)| {
            let target = if number == 0 { server.address() } else { &address };
            let args = format!(
                "-c 6 -r 200 -d 3s -w 0s --part {number}/2 --wait-for-server 1m --start-at {} -q --format json -o {path}",
                seconds(at)
            );
            Loadgen::run(Some(target), &args).start()
        })
        .collect();
    wait_until("the moment is past", || SystemTime::now() > at);
    let _other = ServerCommand::bare().listen(&address).start();
    // The late part is only suspect.
    for load in running {
        load.finish().expect_report();
    }
    let late = read(&paths[1]);
    assert!(late.has_reason("late_start"), "{}", late.at("verdict"));
    let status = |report: &Report| {
        let reasons = report.at("verdict.reasons").as_array().expect("reasons are a list").clone();
        reasons
            .into_iter()
            .find(|reason| reason["code"] == "late_start")
            .map(|reason| reason["status"].clone())
    };
    assert_eq!(status(&late), Some("suspect".into()));
    let merged = merge(&paths).args(["--format", "json"]).finish();
    merged.expect_code(4);
    assert_eq!(status(&Report::read(&merged)), Some("invalid".into()));
}

fn a_rounded_start_time_is_a_full_step_of_the_clock() {
    let server = ServerCommand::bare().start();
    let before_ms = unix_ms(SystemTime::now());
    let load = run(&server, "-c 2 -n 20 -w 0s --start-at +1500ms/700ms --format json").start();
    let said = load.stderr.wait_for("waiting until");
    let finished = load.finish();
    let report = Report::read(finished.expect_report());
    let at_ms = report.count("plan.start_at_unix_ms");
    assert_eq!(at_ms % 700, 0);
    assert!(at_ms >= before_ms + 1_500, "{at_ms} is too soon after {before_ms}");
    // The line has the time itself.
    let second = format!(":{:02}", at_ms / 1_000 % 60);
    assert!(said.contains(&second), "{said}: no {second}");
}

fn the_abort_condition_on_a_rate_is_divided() {
    let server = ServerCommand::bare().start();
    let aborted = |condition: &str| {
        let args = "-c 8 -r 400 -d 1s -w 200ms -i 250ms --part 1/4 --fail-on never --format json";
        run(&server, args).args(["--abort-on", condition]).finish()
    };
    // This part has 100 requests per second.
    assert!(Report::read(aborted("rate<200/500ms").expect_code(0)).at("aborted").is_null());
    let report = Report::read(aborted("rate<800/500ms").expect_code(3));
    let message = report.text("aborted.message");
    assert!(
        message.starts_with("rate<800/500ms: ") && message.contains("share of the bound is 200"),
        "{message}"
    );
}

/// Runs the four parts of a load, and returns the paths of their results.
#[track_caller]
fn run_parts(server: &Server, load: &str, expect: fn(&Finished)) -> (TempDir, [String; 4]) {
    let folder = folder();
    let paths = [0, 1, 2, 3].map(|number| folder.path().join(format!("{number}.json")).display().to_string());
    let at = start_time();
    let running: Vec<_> = (0..PARTS)
        .zip(&paths)
        .map(|(number, path)| {
            let args = format!(
                "{load} --part {number}/{PARTS} --start-at {at} --fail-on never -q --format json -o {path}"
            );
            run(server, &args).start()
        })
        .collect();
    running.into_iter().for_each(|load| expect(&load.finish()));
    (folder, paths)
}

fn run(server: &Server, args: &str) -> Loadgen {
    Loadgen::run(Some(server.address()), args)
}

fn merge(paths: &[String]) -> Loadgen {
    Loadgen::new(&["merge"]).args(paths.iter().map(String::as_str))
}

/// The requests of a log in order.
fn requests(log: &RequestLog) -> Vec<Request> {
    assert_eq!(log.comments, [""; 0]);
    let mut requests: Vec<_> =
        log.lines.iter().map(|line| (line.client, line.request, line.due_ns)).collect();
    requests.sort_unstable();
    requests
}

#[track_caller]
fn read(path: &str) -> Report {
    let text = fs::read_to_string(path).expect("the result is there");
    Report(serde_json::from_str(&text).expect("it is JSON"))
}

/// A moment at which all generators are connected, as seconds since 1970.
fn start_time() -> String {
    seconds(SystemTime::now() + AHEAD)
}

fn seconds(at: SystemTime) -> String {
    format!("@{:.6}", at.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64())
}

fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as u64
}

/// An address of this machine without a listener.
fn unused_address() -> Address {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").into()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}
