//! The time of day, set forward and back by an hour under load. A library gives both programs another time of day; the
//! machine's clock is untouched.
//!
//! The library sees what a program asks the C library for. So a second test traces the system calls: no kernel timer and
//! no wait may follow the time of day.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, SystemTime},
};

use rustix::process::Signal;
use server::mode::Mode;

use super::extent::CLOCK_STEPS;
use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::{Loadgen, Report},
        machine::{faketime, strace, with_clock_offset, with_trace},
    },
};

group! {
    in every mode {
        setting_the_clock_by_an_hour_affects_neither_program needs faketime,
        no_timer_and_no_wait_follows_the_time_of_day needs strace,
    }
}

const HOUR_MS: u64 = 3_600_000;
const BETWEEN_STEPS: Duration = Duration::from_millis(200);
/// Shorter than the step of the clock, and longer than the test.
const TIMEOUTS: [&str; 6] = ["--idle-timeout", "20m", "--write-timeout", "20m", "--drain-timeout", "20m"];
const LOAD: &str = "-c 20 -t 1 -r 1k -w 0s -d 1h -i 100ms --timeout 10m --fail-on never --format json";

fn setting_the_clock_by_an_hour_affects_neither_program(mode: &'static Mode) {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let clock = folder.path().join("offset");
    set(&clock, "+1h");
    let changed = |command: &mut std::process::Command| with_clock_offset(command, &clock);
    let server = ServerCommand::new(mode).args(&TIMEOUTS).within(changed).start();
    let idle = server.connect_served(3);
    let load = Loadgen::run(Some(server.address()), LOAD).within(changed).start();
    load.stderr.wait_for("p50");
    let begin = std::time::Instant::now();
    for step in 0..CLOCK_STEPS.count() {
        // Forward and back, from the hour at which the programs began.
        set(&clock, ["+2h", "+1h", "+0", "+1h"][step as usize % 4]);
        thread::sleep(BETWEEN_STEPS);
    }
    let lasted = begin.elapsed();
    load.signal(Signal::INT);
    let report = Report::read(load.finish().expect_code(130));
    report.expect_nothing_lost();
    // The library is in force: the run began in an hour.
    let now_ms = SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_millis();
    let began_ms = u128::from(report.count("started_at_unix_ms"));
    assert!(began_ms > now_ms + u128::from(HOUR_MS) / 2, "the program saw the real time of day");
    // No time in the report has the steps in it.
    assert!(report.number("elapsed_s") < lasted.as_secs_f64() + 60.0, "{}", report.at("elapsed_s"));
    assert!(report.number("latency_ns.successful.max") < 60e9, "{}", report.at("latency_ns.successful.max"));
    let intervals = report.at("intervals").as_array().expect("a list").len() as f64;
    assert!(intervals <= report.number("elapsed_s") / 0.1 + 2.0, "{intervals} intervals");
    for client in &idle {
        client.exchange(b"an hour is nothing");
    }
    drop(idle);
    let stopped = server.stop();
    assert_eq!((stopped.counted("idle_timeouts"), stopped.counted("write_timeouts")), (0, 0));
    assert_eq!(stopped.counted("cut_off"), 0);
}

fn no_timer_and_no_wait_follows_the_time_of_day(mode: &'static Mode) {
    const CALLS: &str = "timerfd_create,timer_create,clock_nanosleep,futex,setitimer,alarm";
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let [of_server, of_load] = ["server", "load"].map(|name| folder.path().join(name));
    let server =
        ServerCommand::new(mode).args(&TIMEOUTS).within(|command| with_trace(command, CALLS, &of_server));
    let server = server.start();
    let load = Loadgen::run(
        Some(server.address()),
        "-c 5 -t 1 -r 200 -w 0s -d 500ms --requests-per-connection 20 --fail-on never",
    );
    load.within(|command| with_trace(command, CALLS, &of_load)).finish().expect_report();
    // The signal goes to the traced process, and its tracer ends with it.
    let id = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id()))
        .expect("the tracer has a child");
    let id: u32 = id.trim().parse().expect("one child");
    rustix::process::kill_process(crate::harness::process::pid(id), Signal::TERM).expect("it runs");
    server.wait_for_exit().finished.expect_code(0);
    for trace in [of_server, of_load] {
        let trace = fs::read_to_string(trace).expect("it was written");
        assert!(trace.contains("futex("), "nothing was traced:\n{trace}");
        // A futex without a timeout follows no clock, whatever its flags say: the C library joins threads so.
        let follows = |line: &&str| line.contains("CLOCK_REALTIME") && !line.contains(", NULL,");
        let of_day: Vec<_> = trace.lines().filter(follows).collect();
        assert!(of_day.is_empty(), "{of_day:#?}");
    }
}

/// Replaces the file at once: the programs read it all the time.
fn set(clock: &Path, offset: &str) {
    let next = clock.with_extension("next");
    fs::write(&next, format!("{offset}\n"))
        .and_then(|()| fs::rename(next, clock))
        .expect("it is our own folder");
}
