//! Pauses of the load generator. They lengthen the response times, so the report must name the generator as their cause.

use std::{fs, thread, time::Duration};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use rustix::process::Signal;

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::{Loadgen, Report},
        process::Running,
    },
};

group! {
    once {
        a_pause_of_the_generator_is_not_reported_as_a_stall_of_the_server,
        short_pauses_are_found,
        several_pauses_are_counted,
        a_pause_of_one_load_thread_of_two_is_found needs tracing,
    }
    alone {
        a_server_with_many_threads_does_not_pause_loadgen,
    }
}

/// A pause may be measured shorter by this: a heartbeat of the load threads, and the time to stop them on a busy machine.
const SHORTER_NS_MAX: f64 = 15e6;
const LOADS: [&str; 2] = ["-c 50 -d 2s -w 200ms", "-c 50 -r 2000 -d 3s -w 200ms"];

fn a_pause_of_the_generator_is_not_reported_as_a_stall_of_the_server() {
    for load in LOADS {
        let report = paused(load, &[Duration::from_millis(700)]);
        expect_pause(&report, Duration::from_millis(700));
        assert_eq!(report.at("verdict.status"), "invalid", "{load}: {}", report.at("verdict"));
        // The server did not stall.
        for code in ["stall", "silence"] {
            assert!(!report.reasons().contains(&code.to_owned()), "{load}: {}", report.at("verdict"));
        }
        assert!(report.number("fairness.longest_stall_ns") < 400e6, "{load}: {}", report.at("fairness"));
        assert!(report.number("fairness.longest_silence_ns") < 400e6, "{load}: {}", report.at("fairness"));
    }
    // In an open loop, a quarter of the requests were due in the pause.
    let report = paused(LOADS[1], &[Duration::from_millis(700)]);
    let share = report.number("generator.pauses.requests") / report.number("requests.due");
    assert!((0.2..0.8).contains(&share), "{share}");
}

fn short_pauses_are_found() {
    for load in LOADS {
        for pause_ms in [20, 60] {
            let pause = Duration::from_millis(pause_ms);
            expect_pause(&paused(load, &[pause]), pause);
        }
    }
}

fn several_pauses_are_counted() {
    let pause = Duration::from_millis(100);
    for load in LOADS {
        let report = paused(load, &[pause; 4]);
        expect_pause(&report, pause);
        let longest = report.at("generator.pauses.longest").as_array().unwrap();
        // On a busy machine, a pause may be found in two parts.
        let long = longest.iter().filter(|pause| pause["length_ns"].as_f64().unwrap() > 50e6).count();
        assert!(long >= 4 && report.count("generator.pauses.count") >= 4, "{longest:?}");
        assert!(report.number("generator.pauses.total_ns_max") > 300e6);
    }
}

fn a_pause_of_one_load_thread_of_two_is_found() {
    let pause = Duration::from_millis(300);
    for load in LOADS {
        let report = while_running(&format!("{load} -t 2"), |run| {
            let thread = load_threads(run)[0];
            ptrace::seize(thread, ptrace::Options::empty()).expect("a child may be traced");
            ptrace::interrupt(thread).expect("a traced thread can be stopped");
            waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
            thread::sleep(pause);
            ptrace::detach(thread, None).expect("a stopped thread can be let go");
        });
        expect_pause(&report, pause);
    }
}

fn a_server_with_many_threads_does_not_pause_loadgen() {
    // The usage of 500 threads is read at the start of the window, on the CPU of the load thread.
    let run = || {
        let report = Loadgen::run(None, "--mode thread-per-connection -r 20k -d 300ms -w 500ms").report();
        let longest = report.at("generator.pauses.longest").as_array().unwrap();
        let at_start = longest.iter().filter(|pause| pause["t_s"].as_f64().unwrap() < 0.02);
        at_start.map(|pause| pause["length_ns"].as_f64().unwrap()).fold(0.0, f64::max)
    };
    // The machine may cause one pause, but not one in each run.
    let shortest = (0..4).map(|_| run()).fold(f64::MAX, f64::min);
    assert!(shortest < 8e6, "each run began with a pause; the shortest took {shortest} ns");
}

/// The report of a load that was stopped for these times.
fn paused(load: &str, pauses: &[Duration]) -> Report {
    while_running(load, |run| {
        for pause in pauses {
            run.signal(Signal::STOP);
            thread::sleep(*pause);
            run.signal(Signal::CONT);
            thread::sleep(Duration::from_millis(50));
        }
    })
}

/// The report of a load. Calls `act` after its first interval.
fn while_running(load: &str, act: impl FnOnce(&Running)) -> Report {
    let server = ServerCommand::bare().start();
    let args = format!("{load} -i 200ms --format json");
    let run = Loadgen::run(Some(server.address()), &args).start();
    run.stderr.wait_for("p50");
    act(&run);
    Report::read(run.finish().expect_report())
}

#[track_caller]
fn expect_pause(report: &Report, pause: Duration) {
    let longest_ns = report.number("generator.pauses.longest.0.length_ns");
    let shortest_ns = pause.as_nanos() as f64 - SHORTER_NS_MAX;
    assert!(longest_ns > shortest_ns, "{longest_ns} of {pause:?}");
    // The verdict's bound is 15 ms.
    if shortest_ns >= 15e6 {
        assert!(report.reasons().contains(&"paused".to_owned()), "{}", report.at("verdict"));
    }
    // A machine that is busy with other tests may add some of its own.
    assert!(longest_ns < pause.as_nanos() as f64 + 400e6, "{longest_ns} of {pause:?}");
}

/// Its load threads, by their names.
fn load_threads(run: &Running) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", run.id())).expect("it runs");
    let is_load = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "load")
    };
    let number = |task: fs::DirEntry| task.file_name().to_str()?.parse().ok().map(Pid::from_raw);
    tasks.flatten().filter(is_load).filter_map(number).collect()
}

/// Whether a test may trace the threads of its children (ptrace(2)).
fn tracing() -> Result<(), String> {
    let mut child =
        std::process::Command::new("sleep").arg("10").spawn().map_err(|error| error.to_string())?;
    let pid = Pid::from_raw(child.id() as i32);
    let traced = ptrace::seize(pid, ptrace::Options::empty());
    // The child of this process is not reaped yet.
    let _ended = child.kill();
    let _collected = child.wait();
    traced.map_err(|error| format!("threads cannot be traced here: {error}"))
}
