//! `loadgen sweep`: the capacity of servers.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use server::mode::MODES;

use super::compare::{folder, names, peer, subject};
use crate::{
    behaviour::group,
    harness::{
        Client, ServerCommand,
        faulty::FaultyServer,
        load::{Loadgen, Report},
        machine,
    },
};

group! {
    once {
        a_server_of_known_capacity_stops_keeping_up_above_it,
        the_capacity_has_a_bracket_and_orders_the_servers,
        an_slo_that_holds_at_no_level_exits_with_3,
        a_level_with_too_few_replies_does_not_decide_the_slo,
        a_level_with_failed_requests_is_marked_and_is_not_the_knee,
        a_running_server_is_not_ended_by_a_sweep,
        all_servers_get_the_same_load_at_a_level_and_each_level_another_one,
        clients_can_be_swept_instead_of_rates,
        clients_can_be_swept_at_a_fixed_rate,
        a_server_that_dies_is_named_and_the_others_are_swept needs machine::python,
        a_server_that_fails_to_start_is_named_once,
        an_interrupted_sweep_prints_its_complete_levels,
        a_level_in_doubt_has_a_footnote_with_its_reason,
        a_stored_sweep_can_be_shown_again_but_only_alone,
        a_usage_error_says_what_to_do,
        off_a_terminal_progress_is_a_line_for_each_run,
        the_help_explains_the_sweep,
    }
}

/// Short runs of few clients. Constant arrivals make the number of due requests exact.
const SHORT: &str = "-c 10 -d 300ms -w 50ms --arrival constant --timeout 5s";
/// A server that cannot answer more than 200 requests a second, as one thread sleeps for each of them.
const CAPPED: &str = "--modes thread-pool --work sleep:5ms --server-threads 1";

fn a_server_of_known_capacity_stops_keeping_up_above_it() {
    let args = format!("{SHORT} {CAPPED} --rates 20..1280 --factor 4");
    let result = json(&args, &[], 0);
    assert_eq!((result.at("kind"), result.at("plan.axis")), (&"sweep".into(), &"rate".into()));
    let server = subject(&result, "thread-pool");
    let curve = server["curve"].as_array().unwrap();
    // 20, 80, 320 and 1280: the first is a tenth of the capacity, the third is above it.
    // On a busy machine, a client may get no reply in a short window.
    let end = server["end"]["trouble"].as_str().expect("it ended with trouble");
    assert!(["cannot_keep_up", "starved"].contains(&end), "{}", server["end"]);
    assert!(number(&server["end"]["level"]) <= 320.0, "{}", server["end"]);
    for point in curve {
        let (level, achieved) = (number(&point["level"]), number(&point["achieved_per_s"]));
        assert_eq!(number(&point["offered_per_s"]), level);
        // Each sleep takes at least this long; the last reply may be at the edge of the window.
        assert!(achieved < 210.0, "{point}");
        assert_eq!(point["keeps_up"], point["trouble"] == Value::Null, "{point}");
        if level >= 320.0 {
            assert_eq!(point["keeps_up"], false, "{point}");
        }
        // Each takes at least the sleep.
        assert!(number(&point["p50_ns"]) >= 5e6, "{point}");
    }
    let knee = &server["knee"];
    match curve.iter().any(|point| point["keeps_up"] == true) {
        true => assert!(number(&knee["level"]) < 320.0 && number(&knee["mean_ns"]) >= 5e6, "{knee}"),
        false => assert!(knee.is_null(), "{knee}"),
    }
    assert_eq!(server["capacity"], Value::Null);
}

fn the_capacity_has_a_bracket_and_orders_the_servers() {
    // One server sleeps in its only thread. In the other, connections sleep at the same time.
    let args = format!(
        "{SHORT} --modes thread-pool,event-loop --work sleep:5ms --server-threads 1 --rates 40..640 --factor 4 \
         --repeats 2 --tolerance 50% --slo p50<100ms"
    );
    let finished = sweep(&args).args(["--format", "json"]).finish();
    let result = Report::read(&finished);
    let [pool, events] = ["thread-pool", "event-loop"].map(|name| subject(&result, name));
    let low = |server: &Value| server["capacity"]["low"].as_f64();
    // A busy machine may keep every level from holding.
    let none_holds = low(pool).is_none() || low(events).is_none();
    finished.expect_code(if none_holds { 3 } else { 0 });
    assert!(low(pool).is_none_or(|level| level < 210.0), "{}", pool["capacity"]);
    let is_calm = |point: &Value| number(&point["level"]) > 210.0 || point["verdict"]["status"] == "valid";
    if events["points"].as_array().unwrap().iter().all(is_calm) {
        assert!(low(events) >= low(pool), "{} {}", events["capacity"], pool["capacity"]);
    }
    for server in [pool, events] {
        let (capacity, points) = (&server["capacity"], server["points"].as_array().unwrap());
        assert_eq!((&capacity["complete"], &capacity["slo"][0]), (&true.into(), &"p50<100ms".into()));
        let high = capacity["high"].as_f64();
        assert!(high.is_none_or(|high| low(server).is_none_or(|low| low < high)), "{capacity}");
        // Each vote is a run. Every level has `--repeats` runs, or one of the ladder.
        let tried = capacity["tried"].as_array().unwrap();
        let votes: f64 = tried.iter().map(|tried| number(&tried["runs"])).sum();
        assert!((2..=points.len()).contains(&(votes as usize)), "{capacity}");
        for tried in tried {
            assert!(
                [1.0, 2.0].contains(&number(&tried["runs"]))
                    && tried["held"].as_u64() <= tried["runs"].as_u64()
            );
        }
        for said in tried.iter().filter(|tried| tried["level"] == capacity["low"]) {
            assert_eq!(said["runs"], 2, "the holding level was run once only: {capacity}");
        }
    }
}

fn an_slo_that_holds_at_no_level_exits_with_3() {
    let args = format!("{SHORT} --modes event-loop --rates 200,400 --slo p50<1ns");
    let finished = sweep(&args).finish();
    let text = &finished.expect_code(3).stdout;
    // The generator may have been the limit, or late.
    let is_unknown = |text: &str| text.contains("no usable result");
    let is_said = text.contains("does not hold p50<1ns even at 200/s") && text.contains("< 200/s");
    assert!(is_said || is_unknown(text), "{finished}");
    let result = json(&args, &[], 3);
    let capacity = &subject(&result, "event-loop")["capacity"];
    assert_eq!(capacity["low"], Value::Null);
    if !is_unknown(capacity["message"].as_str().unwrap()) {
        assert_eq!(capacity["high"], 200);
        // There was no level to search.
        assert_eq!(capacity["tried"].as_array().unwrap().len(), 2);
    }
}

fn a_level_with_too_few_replies_does_not_decide_the_slo() {
    let args = format!("{SHORT} --modes event-loop --rates 20,40 --slo p99<1h");
    // An undecided level does not count as holding.
    let result = json(&args, &[], 3);
    let server = subject(&result, "event-loop");
    let capacity = &server["capacity"];
    assert_eq!(capacity["low"], Value::Null);
    // A level with trouble does not hold, with any number of replies.
    let (calm, troubled): (Vec<_>, Vec<_>) =
        server["curve"].as_array().unwrap().iter().partition(|point| point["trouble"].is_null());
    assert!(calm.iter().all(|point| point["holds"].is_null()), "{server}");
    if troubled.is_empty() {
        assert_eq!(capacity["high"], Value::Null);
        assert!(capacity["message"].as_str().unwrap().contains("2 runs had no usable result"), "{capacity}");
    }
}

fn a_level_with_failed_requests_is_marked_and_is_not_the_knee() {
    // So few failures that the server keeps up, unless the machine is busy.
    let server = FaultyServer::dropping_every(1_500);
    let target = server.address().to_string();
    let args = format!("{target} -c 50 -d 1s -w 50ms --timeout 200ms --rates 100,3000");
    let finished = sweep(&args).args(["--format", "json"]).finish();
    let result = Report::read(finished.expect_report());
    let server = subject(&result, &target);
    let [calm, failing] = server["curve"].as_array().unwrap().as_slice() else { panic!("{server}") };
    assert!(calm["failed_tail"].is_null() && calm["mean_ns"].is_number(), "{calm}");
    let tail = &failing["failed_tail"];
    assert!(number(&tail["count"]) >= 1.0 && number(&tail["longer_than_ns"]) >= 199e6, "{tail}");
    assert!(tail["percentiles"].as_array().unwrap().contains(&"max".into()), "{tail}");
    for unknown in ["mean_ns", "power", "max_ns"] {
        assert!(failing[unknown].is_null(), "{failing}");
    }
    assert_ne!(server["knee"]["level"], 3_000);
    let is_noted = result.at("notes").to_string().contains("is searched without 3,000/s");
    assert_eq!(is_noted, failing["keeps_up"] == true, "{}", result.at("notes"));
    let kept = folder();
    let path = kept.path().join("swept.json");
    fs::write(&path, result.0.to_string()).unwrap();
    let shown = |format: &str| {
        let shown = Loadgen::new(&["show", path.to_str().unwrap(), "--format", format]).finish();
        shown.expect_code(0).stdout.clone()
    };
    assert!(shown("text").contains("ms (failed)"), "{}", shown("text"));
    assert!(shown("csv").lines().next().unwrap().contains("response_failed,response_failed_longer_than_ns"));
}

fn a_running_server_is_not_ended_by_a_sweep() {
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
    // The server has served all runs and still runs.
    Client::connect(server.address()).exchange(b"still there");
}

fn all_servers_get_the_same_load_at_a_level_and_each_level_another_one() {
    let result =
        json(&format!("{SHORT} --modes thread-pool,event-loop --rates 100..400 --factor 2 --seed 7"), &[], 0);
    let seeds = |name| -> Vec<_> {
        let points = subject(&result, name)["points"].as_array().unwrap();
        points.iter().map(|point| (point["level"].clone(), point["plan"]["seed"].clone())).collect()
    };
    let expected = [(100, 7), (200, 8), (400, 9)].map(|(level, seed)| (level.into(), seed.into()));
    for name in ["thread-pool", "event-loop"] {
        // Trouble at two levels ends a ladder.
        let seeds = seeds(name);
        assert!(!seeds.is_empty() && expected.starts_with(&seeds), "{name}: {seeds:?}");
    }
    assert_eq!(result.at("plan.levels"), &Value::from(vec![100, 200, 400]));
    assert_eq!(subject(&result, "thread-pool")["points"][0]["plan"]["arrival"], "constant");
    // Poisson arrivals are the default.
    let result = json("-c 5 -d 100ms -w 0s --modes event-loop --rates 100", &[], 0);
    assert_eq!(result.at("plan.load.arrival"), "poisson");
}

fn clients_can_be_swept_instead_of_rates() {
    let result = json("-d 100ms -w 20ms --modes event-loop --connection-counts 1..6 --factor 2", &[], 0);
    assert_eq!(result.at("plan.axis"), "connections");
    let points = result.at("subjects.0.points").as_array().unwrap();
    let clients: Vec<_> = points.iter().map(|point| &point["plan"]["connections"]).collect();
    assert_eq!(clients, points.iter().map(|point| &point["level"]).collect::<Vec<_>>());
    let clients: Vec<_> = clients.into_iter().filter_map(Value::as_u64).collect();
    for point in points {
        assert_eq!(
            (&point["plan"]["loop"], &point["rate"]["offered_per_s"]),
            (&"closed".into(), &Value::Null)
        );
    }
    match result.at("subjects.0.end.trouble") {
        Value::Null => assert_eq!(clients, [1, 2, 4, 6]),
        // On a busy machine, a client may get no reply in a short window.
        _ => assert!([1, 2, 4, 6].starts_with(&clients), "{clients:?}"),
    }
    let text = sweep("-d 100ms -w 20ms --modes event-loop --connection-counts 1,2").finish();
    for part in ["closed loop", "1 client ", "2 clients", "--rates shows them"] {
        assert!(text.expect_code(0).stdout.contains(part), "'{part}' is missing; {text}");
    }
}

fn clients_can_be_swept_at_a_fixed_rate() {
    let result = json("-d 100ms -w 20ms --modes event-loop --connection-counts 2,4 -r 100", &[], 0);
    for (index, clients) in [2, 4].into_iter().enumerate() {
        let plan = result.at(&format!("subjects.0.points.{index}.plan"));
        assert_eq!((number(&plan["rate_per_s"]), &plan["connections"]), (100.0, &clients.into()));
    }
}

fn a_server_that_dies_is_named_and_the_others_are_swept() {
    let folder = folder();
    let serve = "if number == 40:
        print('goodbye', file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    upper(stream)";
    let mortal = peer(&folder, "mortal", serve);
    // The first level opens fewer than 20 connections, the others far more.
    let args = format!(
        "{SHORT} --requests-per-connection 1 --modes event-loop --rates 20,400,800,1600 --slo p50<1h"
    );
    let result = json(&args, &[&mortal], 1);
    let mortal = subject(&result, "mortal");
    let message = mortal["failure"]["message"].as_str().unwrap();
    assert!(message.starts_with("died at 400/s") && message.contains("SIGKILL"), "{message}");
    assert!(message.ends_with("; it failed again at 800/s"), "{message}");
    assert_eq!(mortal["failure"]["output"][0], "goodbye");
    assert_eq!(mortal["points"].as_array().unwrap().len(), 1);
    // A death ends the ladder, without a search.
    let capacity = &mortal["capacity"];
    assert_eq!(capacity["complete"], false);
    if mortal["curve"][0]["trouble"].is_null() {
        assert_eq!((&mortal["end"]["trouble"], &mortal["end"]["level"]), (&"failed".into(), &400.into()));
        assert_eq!(capacity["high"], 400);
    }
    let other = subject(&result, "event-loop");
    let is_swept = other["points"].as_array().unwrap().iter().any(|point| point["level"] == 1600);
    assert!(
        is_swept || other["end"]["trouble"].is_string(),
        "it stood still with the other: {}",
        other["end"]
    );
}

fn a_server_that_fails_to_start_is_named_once() {
    let args = format!("{SHORT} --modes event-loop --rates 100,200");
    let finished = sweep(&args).args(["--server", "absent=/nowhere/server {port}"]).finish();
    finished.expect_code(1);
    assert!(finished.stdout.contains("FAILED     absent did not start: '/nowhere/server'"), "{finished}");
    assert_eq!(finished.stderr.matches("absent").count(), 1, "{finished}");
    // Nothing listens on that port any more.
    let gone = sweep(&format!("{} {SHORT} --rates 100,200", gone())).finish();
    assert!(gone.expect_code(1).stdout.contains("could not be loaded at 100/s"), "{gone}");
}

fn an_interrupted_sweep_prints_its_complete_levels() {
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

fn a_level_in_doubt_has_a_footnote_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sweep.json");
    let mut result = json("-m event-loop --rates 500..1k -c 2 -d 200ms -w 50ms", &[], 0).0;
    let subject = &mut result["subjects"][0];
    let verdict = serde_json::json!({ "status": "suspect", "reasons": [{
        "code": "steal", "status": "suspect", "message": "the hypervisor gave 25.0% of the time to others", "value": 0.25,
        "bound": 0.05, "advice": "use a machine of your own",
    }] });
    let level = subject["curve"][0]["level"].clone();
    subject["points"].as_array_mut().unwrap().iter_mut().filter(|run| run["level"] == level).for_each(
        |run| {
            run["verdict"] = verdict.clone();
        },
    );
    for (name, value) in [("verdict", "suspect".into()), ("keeps_up", true.into()), ("trouble", Value::Null)]
    {
        subject["curve"][0][name] = value;
    }
    fs::write(&path, result.to_string()).unwrap();
    let show = |format: &str| Loadgen::new(&["show", path.to_str().unwrap(), "--format", format]).finish();
    let text = show("text").expect_code(0).stdout.clone();
    assert!(text.lines().any(|line| line.starts_with("500/s") && line.contains("suspect [1]")), "{text}");
    for part in ["[1]        steal: at 500/s: the hypervisor gave 25.0% of the time to others", "in doubt"] {
        assert!(text.contains(part), "'{part}' is missing in\n{text}");
    }
    let page = show("html").expect_code(0).stdout.clone();
    assert!(page.contains("suspect [1]") && page.contains("the hypervisor gave 25.0%"), "{page}");
}

fn a_stored_sweep_can_be_shown_again_but_only_alone() {
    let folder = folder();
    let path = folder.path().join("sweep.json").to_str().unwrap().to_owned();
    let args = format!("{SHORT} --modes event-loop --rates 100,200 --slo p50<1h -q");
    let made = sweep(&args).args(["--format", "json", "-o", &path]).finish();
    let show = |args: &[&str]| Loadgen::new(&["show", &path]).args(args.iter().copied()).finish();
    assert_eq!(show(&["--format", "json"]).expect_code(0).stdout, fs::read_to_string(&path).unwrap());
    let text = show(&[]);
    let (common, held) = (
        &["2 levels from 100/s to 200/s", "evenly spaced", "SLO up to"][..],
        &["event-loop holds p50<1h", "may lie beyond it"],
    );
    // On a busy machine, no level may hold.
    let parts = match made.code {
        Some(3) => common.to_vec(),
        _ => {
            made.expect_code(0);
            [common, held].concat()
        }
    };
    for part in parts {
        assert!(text.expect_code(0).stdout.contains(part), "'{part}' is missing; {text}");
    }
    show(&[&path]).expect_code(2).expect_stderr(&["sweep.json", "alone"]);
}

fn a_usage_error_says_what_to_do() {
    for (args, said) in [
        ("--rates 5..1", "FROM..TO"),
        ("--rates 0..5", "at least 1"),
        ("--rates many", "'many' is not a count"),
        ("--rates 1..2000m", "2000000000 is too large"),
        ("--rates 2000m..", "2000000000 is too large"),
        ("--rates 1k..1m --factor 1.01", "larger --factor"),
        ("--rates 1k --connection-counts 1", "--connection-counts"),
        ("--rate 5", "--rates FROM..TO"),
        ("--think 1s", "--connection-counts"),
        ("--connection-counts 1..", "FROM..TO"),
        ("--connection-counts 1..2m", "2000000 is too large"),
        ("--connection-counts 1..9 -t 2", "--threads 2"),
        ("--connection-counts 1..9 -c 5", "--connections"),
        ("--connection-counts 1..9 --arrival poisson", "--rate"),
        ("--factor 1", "--factor 1"),
        ("--repeats 0", "at least 1"),
        ("--repeats 100", "--repeats 100"),
        ("--tolerance 5", "a percentage"),
        ("--tolerance 0%", "--tolerance 0%"),
        ("--slo p99>5ms", "write p99<5ms"),
        ("--modes fibers", "tokio-task"),
        ("localhost:0", "port 0"),
        ("localhost:1 localhost:1", "twice"),
    ] {
        let failed = sweep(args).finish();
        failed.expect_code(2).expect_stderr(&[said]);
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

fn the_help_explains_the_sweep() {
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

/// Runs a sweep with these external servers, and reads its result.
#[track_caller]
fn json(args: &str, servers: &[&str], code: i32) -> Report {
    let servers = servers.iter().flat_map(|server| ["--server", server]);
    let finished = sweep(args).args(["--format", "json"]).args(servers).finish();
    Report::read(finished.expect_code(code))
}

/// An address of this machine without a listener.
fn gone() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").to_string()
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}
