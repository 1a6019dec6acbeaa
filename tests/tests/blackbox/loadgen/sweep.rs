//! `loadgen sweep`: how far servers carry.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use server::mode::MODES;

use super::compare::{folder, names, peer, subject};
use crate::{
    behaviour::group,
    harness::{
        Client, ServerCommand,
        load::{Loadgen, Report},
        machine,
    },
};

group! {
    once {
        a_server_of_a_known_capacity_breaks_where_it_must,
        the_capacity_is_bracketed_and_ordered_as_the_servers_are,
        an_slo_that_holds_nowhere_exits_with_3,
        a_level_with_too_few_replies_says_nothing_of_the_slo,
        a_server_that_is_there_stays_there,
        all_servers_have_the_same_load_at_a_level_and_other_levels_another,
        clients_can_be_swept_instead_of_rates,
        a_rate_can_be_held_while_clients_are_swept,
        a_server_that_dies_is_named_and_the_others_go_on needs machine::python,
        a_server_that_does_not_start_is_named_once,
        an_interrupted_sweep_prints_what_is_complete,
        a_kept_sweep_is_shown_again_and_alone,
        mistakes_are_bad_usage_and_say_what_to_do,
        off_a_terminal_progress_is_a_line_for_each_run,
        the_help_says_what_is_swept,
    }
}

/// Short runs of few clients, evenly spaced: chance has no part in how many requests are due.
const SHORT: &str = "-c 10 -d 300ms -w 50ms --arrival constant --timeout 5s";
/// A server that cannot answer more than 200 requests a second, as one thread sleeps for each of them.
const CAPPED: &str = "--modes thread-pool --work sleep:5ms --server-threads 1";

fn a_server_of_a_known_capacity_breaks_where_it_must() {
    let args = format!("{SHORT} {CAPPED} --rates 20..1280 --factor 4");
    let result = json(&args, &[], 0);
    assert_eq!((result.at("kind"), result.at("plan.axis")), (&"sweep".into(), &"rate".into()));
    let server = subject(&result, "thread-pool");
    let curve = server["curve"].as_array().unwrap();
    // 20, 80, 320 and 1280: the first is a tenth of what it can, the third is more than it can.
    assert_eq!(server["end"]["trouble"], "cannot_keep_up", "{}", server["end"]);
    assert!(number(&server["end"]["level"]) <= 320.0, "{}", server["end"]);
    for point in curve {
        let (level, achieved) = (number(&point["level"]), number(&point["achieved_per_s"]));
        assert_eq!(number(&point["offered_per_s"]), level);
        // It sleeps at least so long; the last reply may just have come in.
        assert!(achieved < 210.0, "{point}");
        assert_eq!(point["keeps_up"], point["trouble"] == Value::Null, "{point}");
        if level >= 320.0 {
            assert_eq!(point["keeps_up"], false, "{point}");
        }
        // Each takes at least the sleep.
        assert!(number(&point["p50_ns"]) >= 5e6, "{point}");
    }
    let knee = &server["knee"];
    assert!(number(&knee["level"]) < 320.0 && number(&knee["mean_ns"]) >= 5e6, "{knee}");
    assert_eq!(server["capacity"], Value::Null);
}

fn the_capacity_is_bracketed_and_ordered_as_the_servers_are() {
    // The one sleeps in its only thread, and the other lets its connections sleep side by side.
    let args = format!(
        "{SHORT} --modes thread-pool,event-loop --work sleep:5ms --server-threads 1 --rates 40..640 --factor 4 \
         --repeats 2 --tolerance 50% --slo p50<100ms"
    );
    let result = json(&args, &[], 0);
    let [pool, events] = ["thread-pool", "event-loop"].map(|name| subject(&result, name));
    let low = |server: &Value| number(&server["capacity"]["low"]);
    assert!(low(pool) < 210.0, "{}", pool["capacity"]);
    assert!(low(events) >= low(pool), "{} {}", events["capacity"], pool["capacity"]);
    for server in [pool, events] {
        let (capacity, points) = (&server["capacity"], server["points"].as_array().unwrap());
        assert_eq!((&capacity["complete"], &capacity["slo"][0]), (&true.into(), &"p50<100ms".into()));
        let high = capacity["high"].as_f64();
        assert!(high.is_none_or(|high| low(server) < high), "{capacity}");
        // A vote is a run that was made, and every level is run as often as was asked, or else by the ladder.
        let tried = capacity["tried"].as_array().unwrap();
        let votes: f64 = tried.iter().map(|tried| number(&tried["runs"])).sum();
        assert!((2..=points.len()).contains(&(votes as usize)), "{capacity}");
        for tried in tried {
            assert!(
                [1.0, 2.0].contains(&number(&tried["runs"]))
                    && tried["held"].as_u64() <= tried["runs"].as_u64()
            );
        }
        let said = tried.iter().find(|tried| tried["level"] == capacity["low"]).unwrap();
        assert_eq!(said["runs"], 2, "what is said to hold was run once only: {capacity}");
    }
}

fn an_slo_that_holds_nowhere_exits_with_3() {
    let args = format!("{SHORT} --modes event-loop --rates 200,400 --slo p50<1ns");
    let finished = sweep(&args).finish();
    let text = &finished.expect_code(3).stdout;
    assert!(text.contains("does not hold p50<1ns even at 200/s") && text.contains("< 200/s"), "{finished}");
    let result = json(&args, &[], 3);
    let capacity = &subject(&result, "event-loop")["capacity"];
    assert_eq!((&capacity["low"], &capacity["high"]), (&Value::Null, &200.into()));
    // There was nothing to search for.
    assert_eq!(capacity["tried"].as_array().unwrap().len(), 2);
}

fn a_level_with_too_few_replies_says_nothing_of_the_slo() {
    let args = format!("{SHORT} --modes event-loop --rates 20,40 --slo p99<1h");
    // What is not known is not passed off as good.
    let result = json(&args, &[], 3);
    let capacity = &subject(&result, "event-loop")["capacity"];
    assert_eq!((&capacity["low"], &capacity["high"]), (&Value::Null, &Value::Null));
    assert!(capacity["message"].as_str().unwrap().contains("2 runs could not tell"), "{capacity}");
    assert_eq!(subject(&result, "event-loop")["curve"][0]["holds"], Value::Null);
}

fn a_server_that_is_there_stays_there() {
    let server = ServerCommand::bare().start();
    let target = server.address().to_string();
    let result = json(&format!("{target} {SHORT} --rates 100,200"), &[], 0);
    assert_eq!(names(&result), [target.as_str()]);
    let subject = subject(&result, &target);
    assert_eq!((&subject["target"], &subject["mode"]), (&target.as_str().into(), &Value::Null));
    for (point, level) in subject["points"].as_array().unwrap().iter().zip([100.0, 200.0]) {
        assert_eq!((number(&point["rate"]["offered_per_s"]), &point["server"]), (level, &Value::Null));
        assert_eq!(point["plan"]["targets"][0], target.as_str());
    }
    // It has seen all of it and goes on.
    Client::connect(server.address()).exchange(b"still there");
}

fn all_servers_have_the_same_load_at_a_level_and_other_levels_another() {
    let result =
        json(&format!("{SHORT} --modes thread-pool,event-loop --rates 100..400 --factor 2 --seed 7"), &[], 0);
    let seeds = |name| -> Vec<_> {
        let points = subject(&result, name)["points"].as_array().unwrap();
        points.iter().map(|point| (point["level"].clone(), point["plan"]["seed"].clone())).collect()
    };
    let pool = seeds("thread-pool");
    assert_eq!(pool, seeds("event-loop"));
    assert_eq!(
        pool,
        [(100, 7), (200, 8), (400, 9)].map(|(level, seed)| (Value::from(level), Value::from(seed)))
    );
    assert_eq!(result.at("plan.levels"), &Value::from(vec![100, 200, 400]));
    assert_eq!(subject(&result, "thread-pool")["points"][0]["plan"]["arrival"], "constant");
    // Users are independent where nothing else is said.
    let result = json("-c 5 -d 100ms -w 0s --modes event-loop --rates 100", &[], 0);
    assert_eq!(result.at("plan.load.arrival"), "poisson");
}

fn clients_can_be_swept_instead_of_rates() {
    let result = json("-d 100ms -w 20ms --modes event-loop --connection-counts 1..6 --factor 2", &[], 0);
    assert_eq!(result.at("plan.axis"), "connections");
    let points = result.at("subjects.0.points").as_array().unwrap();
    let seen: Vec<_> = points.iter().map(|point| [&point["level"], &point["plan"]["connections"]]).collect();
    assert_eq!(seen, [1, 2, 4, 6].map(Value::from).iter().map(|level| [level, level]).collect::<Vec<_>>());
    for point in points {
        assert_eq!(
            (&point["plan"]["loop"], &point["rate"]["offered_per_s"]),
            (&"closed".into(), &Value::Null)
        );
    }
    assert_eq!(result.at("subjects.0.end.trouble"), &Value::Null);
    let text = sweep("-d 100ms -w 20ms --modes event-loop --connection-counts 1,2").finish();
    for part in ["closed loop", "1 client ", "2 clients", "--rates shows them"] {
        assert!(text.expect_code(0).stdout.contains(part), "'{part}' is missing; {text}");
    }
}

fn a_rate_can_be_held_while_clients_are_swept() {
    let result = json("-d 100ms -w 20ms --modes event-loop --connection-counts 2,4 -r 100", &[], 0);
    for (index, clients) in [2, 4].into_iter().enumerate() {
        let plan = result.at(&format!("subjects.0.points.{index}.plan"));
        assert_eq!((number(&plan["rate_per_s"]), &plan["connections"]), (100.0, &clients.into()));
    }
}

fn a_server_that_dies_is_named_and_the_others_go_on() {
    let folder = folder();
    let serve = "if number == 40:
        print('goodbye', file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    upper(stream)";
    let mortal = peer(&folder, "mortal", serve);
    // At the first level there are fewer than 20 connections, and far more at the others.
    let args = format!(
        "{SHORT} --requests-per-connection 1 --modes event-loop --rates 20,400,800,1600 --slo p50<1h"
    );
    let result = json(&args, &[&mortal], 1);
    let mortal = subject(&result, "mortal");
    let message = mortal["failure"]["message"].as_str().unwrap();
    assert!(message.starts_with("died at 400/s") && message.contains("SIGKILL"), "{message}");
    assert!(message.ends_with("; it failed again at 800/s"), "{message}");
    assert_eq!(mortal["failure"]["output"][0], "goodbye");
    assert_eq!((&mortal["end"]["trouble"], &mortal["end"]["level"]), (&"failed".into(), &400.into()));
    assert_eq!(mortal["points"].as_array().unwrap().len(), 1);
    // Where it dies is no matter of a search.
    let capacity = &mortal["capacity"];
    assert_eq!((&capacity["high"], &capacity["complete"]), (&400.into(), &false.into()));
    let others = subject(&result, "event-loop")["points"].as_array().unwrap();
    assert!(others.iter().any(|point| point["level"] == 1600), "it stood still with the other");
}

fn a_server_that_does_not_start_is_named_once() {
    let args = format!("{SHORT} --modes event-loop --rates 100,200");
    let finished = sweep(&args).args(["--server", "absent=/nowhere/server {port}"]).finish();
    finished.expect_code(1);
    assert!(finished.stdout.contains("FAILED     absent did not start: '/nowhere/server'"), "{finished}");
    assert_eq!(finished.stderr.matches("absent").count(), 1, "{finished}");
    // Nobody listens there any more.
    let gone = sweep(&format!("{} {SHORT} --rates 100,200", gone())).finish();
    assert!(gone.expect_code(1).stdout.contains("could not be loaded at 100/s"), "{gone}");
}

fn an_interrupted_sweep_prints_what_is_complete() {
    let args = format!("{SHORT} --modes event-loop,thread-pool --rates 50.. --factor 1.05 --format json");
    let load = sweep(&args).start();
    load.stderr.wait_for("53/s");
    load.signal(Signal::INT);
    let finished = load.finish();
    let result = Report::read(finished.expect_code(130));
    assert_eq!(result.at("interrupted"), true);
    let subjects = result.at("subjects").as_array().unwrap();
    assert!(subjects.iter().any(|subject| !subject["points"].as_array().unwrap().is_empty()));
    for subject in subjects {
        assert_eq!(subject["end"], Value::Null);
        let points = subject["points"].as_array().unwrap();
        assert!(points.len() < 60 && points.iter().all(|point| point["interrupted"] == false));
    }
}

fn a_kept_sweep_is_shown_again_and_alone() {
    let folder = folder();
    let path = folder.path().join("sweep.json").to_str().unwrap().to_owned();
    let args = format!("{SHORT} --modes event-loop --rates 100,200 --slo p50<1h -q");
    sweep(&args).args(["--format", "json", "-o", &path]).finish().expect_code(0);
    let show = |args: &[&str]| Loadgen::new(&["show", &path]).args(args.iter().copied()).finish();
    assert_eq!(show(&["--format", "json"]).expect_code(0).stdout, fs::read_to_string(&path).unwrap());
    let text = show(&[]);
    for part in [
        "2 levels from 100/s to 200/s",
        "evenly spaced",
        "keeps up",
        "event-loop holds p50<1h",
        "the knee may lie",
    ] {
        assert!(text.expect_code(0).stdout.contains(part), "'{part}' is missing; {text}");
    }
    show(&[&path]).expect_code(2).expect_said(&["sweep.json", "alone"]);
}

fn mistakes_are_bad_usage_and_say_what_to_do() {
    for (args, said) in [
        ("--rates 5..1", "FROM..TO"),
        ("--rates 0..5", "at least 1"),
        ("--rates many", "'many' is not a count"),
        ("--rates 1..2000m", "2000000000 is too much"),
        ("--rates 2000m..", "2000000000 is too much"),
        ("--rates 1k..1m --factor 1.01", "larger --factor"),
        ("--rates 1k --connection-counts 1", "--connection-counts"),
        ("--rate 5", "--rates FROM..TO"),
        ("--think 1s", "--connection-counts"),
        ("--connection-counts 1..", "FROM..TO"),
        ("--connection-counts 1..2m", "2000000 is too much"),
        ("--connection-counts 1..9 -t 2", "--threads 2"),
        ("--connection-counts 1..9 -c 5", "--connections"),
        ("--connection-counts 1..9 --arrival poisson", "--rate"),
        ("--factor 1", "--factor 1"),
        ("--repeats 0", "at least 1"),
        ("--repeats 100", "--repeats 100"),
        ("--tolerance 5", "in percent"),
        ("--tolerance 0%", "--tolerance 0%"),
        ("--slo p99>5ms", "write p99<5ms"),
        ("--modes fibers", "tokio-task"),
        ("localhost:0", "port 0"),
        ("localhost:1 localhost:1", "twice"),
    ] {
        let failed = sweep(args).finish();
        failed.expect_code(2).expect_said(&[said]);
        assert_eq!(failed.stdout, "", "{args:?}");
    }
}

fn off_a_terminal_progress_is_a_line_for_each_run() {
    let args = format!("{SHORT} --modes thread-pool,event-loop --rates 100,200");
    let finished = sweep(&args).finish();
    let lines: Vec<_> = finished.expect_code(0).stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{finished}");
    for (line, level) in lines.iter().zip(["100/s", "100/s", "200/s", "200/s"]) {
        assert!(line.contains("ladder") && line.contains(level) && line.contains("p50"), "{line}");
    }
    assert_eq!(sweep(&args).args(["--quiet"]).finish().expect_code(0).stderr, "");
}

fn the_help_says_what_is_swept() {
    let help = sweep("--help").finish().expect_code(0).stdout.clone();
    for mode in MODES {
        assert!(help.contains(mode.name), "{} is missing in\n{help}", mode.name);
    }
    for part in [
        "[default: 1k..]",
        "Kleinrock",
        "[default: poisson]",
        "default: 2s",
        "Exit status",
        "bisection",
        "5%",
    ] {
        assert!(help.contains(part), "'{part}' is missing in\n{help}");
    }
}

fn sweep(args: &str) -> Loadgen {
    Loadgen::new(&["sweep"]).args(args.split_whitespace())
}

/// A sweep with these servers of somebody's, whose result is read.
#[track_caller]
fn json(args: &str, servers: &[&str], code: i32) -> Report {
    let servers = servers.iter().flat_map(|server| ["--server", server]);
    let finished = sweep(args).args(["--format", "json"]).args(servers).finish();
    Report::read(finished.expect_code(code))
}

/// An address of this machine at which nobody listens.
fn gone() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").to_string()
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}
