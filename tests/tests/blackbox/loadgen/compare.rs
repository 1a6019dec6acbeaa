//! `loadgen compare`: several servers in turn.

use std::{fs, io::Write, path::Path};

use rustix::process::Signal;
use serde_json::Value;
use server::mode::{MODES, Mode};

use crate::{
    behaviour::group,
    harness::{
        Finished,
        load::{Loadgen, Report},
        machine, programs, wait_until,
    },
};

group! {
    in every mode {
        an_interrupted_comparison_prints_its_complete_rounds,
    }
    once {
        every_mode_is_compared_by_default needs machine::every_mode,
        only_the_named_modes_are_compared needs machine::every_mode,
        an_external_server_is_compared_with_a_mode,
        child_processes_of_a_server_command_are_measured_too,
        only_external_servers_are_compared_if_no_mode_is_named needs machine::python,
        an_open_loop_offers_every_server_the_same_rate,
        the_baseline_can_be_chosen,
        a_server_can_have_requests_of_its_own,
        a_usage_error_says_what_to_do,
        a_server_that_fails_to_start_is_named_and_the_others_are_measured needs machine::python,
        a_mode_that_fails_to_start_is_named_with_its_log,
        a_server_with_wrong_replies_is_named_and_the_others_are_measured needs machine::python,
        a_silent_server_is_named needs machine::python,
        a_server_that_dies_in_a_round_is_named_and_started_again needs machine::python,
        a_server_that_starves_clients_is_marked_and_never_compared needs machine::python,
        a_server_that_cannot_keep_up_is_marked_and_never_compared,
        the_order_follows_from_the_seed needs machine::every_mode,
        pinned_servers_and_load_run_on_different_cpus,
        json_holds_every_round_and_can_be_shown_again,
        every_format_names_rounds_that_are_not_valid,
        a_comparison_is_not_shown_together_with_other_results,
        off_a_terminal_progress_is_a_line_for_each_turn,
        a_killed_comparison_leaves_no_server_behind needs machine::python,
        a_second_signal_leaves_no_server_behind needs machine::python,
        the_help_explains_the_comparison,
    }
}

/// A short comparison of few clients.
const SHORT: &str = "-c 5 -d 200ms -w 50ms";
/// A comparison with one client, so that a busy machine cannot serve one client less than another.
const FAIR: &str = "-c 1 -d 500ms -w 50ms";

/// A server in Python with a function `serve` for each connection. `number` counts the connections from 0.
const PEER: &str = "
import os, signal, socket, sys, threading, time
def upper(stream):
    while part := stream.recv(65536):
        stream.sendall(part.upper())
def echo(stream):
    while part := stream.recv(65536):
        stream.sendall(part)
def mute(stream):
    while stream.recv(65536):
        pass
def serve(number, stream):
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    SERVE
def each(number, stream):
    try:
        serve(number, stream)
    except OSError:
        pass
    stream.close()
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])), backlog=100)
number = 0
while True:
    stream, _ = listener.accept()
    threading.Thread(target=each, args=(number, stream), daemon=True).start()
    number += 1
";

fn every_mode_is_compared_by_default() {
    let finished = compare(&format!("{SHORT} --rounds 3")).finish();
    let text = &finished.expect_code(0).stdout;
    for mode in MODES {
        let rows = text.lines().filter(|line| line.starts_with(mode.name)).count();
        assert!(rows >= 1, "no row of {}; {finished}", mode.name);
    }
    for part in ["3 rounds", "closed loop", "resp.", "serv.", "CPU", "switch", "memory", "Jain"] {
        assert!(text.contains(part), "'{part}' is missing; {finished}");
    }
    expect_conclusion(text, MODES[0].name);
    for line in text.lines() {
        assert!(line.chars().count() <= 120, "too wide: {line}");
        assert!(!line.contains('\u{1b}'), "an escape sequence where no terminal is: {line}");
    }
}

fn only_the_named_modes_are_compared() {
    let result = json(&format!("{SHORT} --rounds 1 --modes tokio-task,thread-pool"), &[], 0);
    assert_eq!(names(&result), ["tokio-task", "thread-pool"]);
    let every = json(&format!("{SHORT} --rounds 1 --modes all"), &[], 0);
    assert_eq!(names(&every), MODES.iter().map(|mode| mode.name).collect::<Vec<_>>());
}

fn an_external_server_is_compared_with_a_mode() {
    let ours = format!("ours={} -m thread-pool -l 127.0.0.1:{{port}}", programs::server().display());
    let result = json(&format!("{FAIR} --rounds 3 --modes thread-pool"), &[&ours], 0);
    assert_eq!(names(&result), ["thread-pool", "ours"]);
    let ours = subject(&result, "ours");
    assert_eq!((&ours["failure"], &ours["mode"]), (&Value::Null, &Value::Null));
    assert!(ours["command"].as_str().unwrap().contains("{port}"));
    assert!(number(&ours["summary"]["memory_bytes"]["median"]) > 100_000.0);
    if !is_compared(&result, "ours") {
        return;
    }
    for metric in ["replies_per_s", "response_p50_ns", "memory_bytes"] {
        let ratio = &ours["against_baseline"][metric];
        let [low, at, high] = ["low", "ratio", "high"].map(|name| ratio[name].as_f64().unwrap());
        assert!(low <= at && at <= high && low > 0.0, "{metric}: {ratio}");
        let holds_one = low <= 1.0 && 1.0 <= high;
        assert_eq!(ratio["verdict"] == "no detectable difference", holds_one, "{metric}: {ratio}");
    }
}

fn child_processes_of_a_server_command_are_measured_too() {
    let server = programs::server().display();
    let wrapped = format!("wrapped=sh -c '{server} -l 127.0.0.1:{{port}}; exit 0'");
    // A number of requests, so that the CPU time has many steps of its clock on a busy machine too.
    let result = json("-c 20 -n 20k -w 50ms --rounds 1", &[&wrapped], 0);
    let summary = &subject(&result, "wrapped")["summary"];
    // The shell itself uses hardly any CPU time.
    assert!(number(&summary["server_cpu_ns_per_request"]["min"]) > 500.0, "{summary}");
    assert!(number(&summary["memory_bytes"]["min"]) > 100_000.0, "{summary}");
}

fn only_external_servers_are_compared_if_no_mode_is_named() {
    let folder = folder();
    let one = peer(&folder, "one", "upper(stream)");
    let result = json(&format!("{SHORT} --rounds 1"), &[&one], 0);
    assert_eq!(names(&result), ["one"]);
    assert_eq!(subject(&result, "one")["against_baseline"], Value::Object(Default::default()));
}

fn an_open_loop_offers_every_server_the_same_rate() {
    let result = json(&format!("{SHORT} -r 500 --rounds 1 --modes thread-pool,tokio-task"), &[], 0);
    for name in ["thread-pool", "tokio-task"] {
        let subject = subject(&result, name);
        assert_eq!(number(&subject["rounds"][0]["rate"]["offered_per_s"]), 500.0);
        assert!(subject["summary"].get("service_p50_ns").is_some());
        // The command line asks for it.
        assert!(subject["against_baseline"].get("replies_per_s").is_none());
    }
}

fn the_baseline_can_be_chosen() {
    let args = format!("{FAIR} --rounds 1 --modes thread-pool,tokio-task --baseline tokio-task");
    let result = json(&args, &[], 0);
    assert_eq!(result.at("plan.baseline"), "tokio-task");
    let compared = |name| !subject(&result, name)["against_baseline"].as_object().unwrap().is_empty();
    assert!(compared("thread-pool") && !compared("tokio-task"));
    if is_compared(&result, "thread-pool") {
        let ratio = &subject(&result, "thread-pool")["against_baseline"]["replies_per_s"];
        assert_eq!((&ratio["verdict"], &ratio["low"]), (&"not compared".into(), &Value::Null));
        assert_eq!(ratio["reason"], "too few rounds");
    }
}

fn a_server_can_have_requests_of_its_own() {
    let folder = folder();
    let file = folder.path().join("result.json");
    let file = file.to_str().unwrap();
    compare(&format!("{SHORT} --rounds 1 --modes event-loop,tokio-task --format json"))
        .args(["--dialogue", "event-loop=--protocol line --message 'abc {client}'", "-o", file])
        .finish()
        .expect_code(0);
    let result = Report(serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap());
    for (server, protocol) in [("event-loop", "line"), ("tokio-task", "echo")] {
        let report = &subject(&result, server)["rounds"][0];
        assert_eq!(report["plan"]["protocol"], protocol);
        assert!(report["requests"]["completed"].as_u64().unwrap() > 0, "{server}");
    }
    assert_eq!(result.0["plan"]["own_loads"]["event-loop"]["messages"][0], "abc {client}");
    let shown = Loadgen::new(&["show", file]).finish();
    let words: Vec<_> = shown.stdout.split_whitespace().collect();
    let shown = words.join(" ");
    assert!(shown.contains("event-loop: line: 6 bytes (abc {client}); expected reply"), "{shown}");
    // The same requests can be held against it, others cannot.
    for (message, code, said) in [("abc {client}", 0, ""), ("xyz", 2, "--message abc {client}")] {
        compare(&format!("{SHORT} --rounds 1 --modes event-loop --tolerance 10000%"))
            .args([
                "--dialogue",
                &format!("event-loop=--protocol line --message '{message}'"),
                "--against",
                file,
            ])
            .finish()
            .expect_code(if code == 0 { 1 } else { code })
            .expect_stderr(&[said]);
    }
}

fn a_usage_error_says_what_to_do() {
    for (args, said) in [
        (&["--server", "x=serve 8080"][..], "{port}"),
        (&["--server", "serve {port}"], "NAME=COMMAND"),
        (&["--server", "x='serve {port}"], "quote"),
        (&["--server", "x="], "the command after 'x=' is missing"),
        (&["--server", "x=a {port}", "--server", "x=b {port}"], "'x' is given twice"),
        (&["--server", "tokio-task=a {port}"], "another name"),
        (&["--modes", "tokio-task,tokio-task"], "'tokio-task' is given twice"),
        (&["--modes", "fibers"], "tokio-task"),
        (&["--modes", "tokio-task", "--baseline", "thread-pool"], "choose one of tokio-task"),
        (&["--rounds", "0"], "at least 1"),
        (&["--rounds", "1m"], "--rounds"),
        (&["--rate", "5", "--think", "1s"], "--think"),
        (&["--message", "@/nowhere/message"], "/nowhere/message"),
        (&["nowhere"], "no port: write nowhere:PORT"),
        (&["tokio-task=127.0.0.1:80"], "another name"),
        (&["x=127.0.0.1:0"], "port 0"),
        (&["--dialogue", "tokio-task"], "NAME=FLAGS"),
        (&["--dialogue", "tokio-task="], "NAME=FLAGS"),
        (&["--dialogue", "tokio-task=--message 'x"], "a quote is not closed"),
        (&["--dialogue", "tokio-task=--rate 5"], "unexpected argument '--rate' found"),
        (&["--dialogue", "tokio-task=--protocol ftp"], "invalid value 'ftp'"),
        (&["--dialogue", "nobody=--size 5"], "there is no server of this name"),
        (
            &["--dialogue", "tokio-task=--protocol line"],
            "--dialogue tokio-task: --protocol line needs a request",
        ),
        (&["--dialogue", "tokio-task=--size 5", "--dialogue", "tokio-task=--size 6"], "given twice"),
        (&["--dialogue", "tokio-task=--protocol resp --message PING"], "is an echo and does not speak resp"),
    ] {
        let failed = compare("").args(args.iter().copied()).finish();
        failed.expect_code(2).expect_stderr(&[said]);
        assert_eq!(failed.stdout, "", "{args:?}");
    }
}

fn a_server_that_fails_to_start_is_named_and_the_others_are_measured() {
    let folder = folder();
    let script = folder.path().join("absent.py");
    fs::write(&script, "import sys\nprint('one\\ntwo')\nsys.exit('the moon is not right')").unwrap();
    let absent = format!("absent=python3 {} {{port}}", script.display());
    let missing = "missing=/nowhere/server {port}";
    let args = format!("{SHORT} --rounds 2 --modes tokio-task");
    let finished = compare(&args).args(["--server", &absent, "--server", missing]).finish();
    finished.expect_code(1);
    for part in ["absent did not start", "exit status: 1", "| the moon is not right", "/nowhere/server"] {
        assert!(finished.stdout.contains(part), "'{part}' is missing; {finished}");
    }
    // The server is named once, and not started again.
    assert_eq!(finished.stderr.matches("absent").count(), 1, "{finished}");
    let result = json(&args, &[&absent], 1);
    assert_eq!(subject(&result, "tokio-task")["rounds"].as_array().unwrap().len(), 2);
    let absent = subject(&result, "absent");
    assert_eq!((&absent["status"], absent["rounds"].as_array().unwrap().len()), (&"failed".into(), 0));
    let output = absent["failure"]["output"].as_array().unwrap();
    assert!(output.contains(&"the moon is not right".into()), "{output:?}");
    assert_eq!(absent["against_baseline"]["memory_bytes"]["verdict"], "not compared");
}

fn a_mode_that_fails_to_start_is_named_with_its_log() {
    // The server needs more descriptors than it may open.
    let args = format!("{SHORT} --rounds 2 --server-threads 200 --modes tokio-task,thread-per-connection");
    let load = compare(&args).with_open_files(100).args(["--format", "json"]);
    let result = Report::read(load.finish().expect_code(1));
    assert_eq!(subject(&result, "thread-per-connection")["rounds"].as_array().unwrap().len(), 2);
    let failure = &subject(&result, "tokio-task")["failure"];
    assert!(failure["message"].as_str().unwrap().starts_with("did not start"), "{failure}");
    assert!(failure["output"].to_string().contains("Too many open files"), "{failure}");
}

fn a_server_with_wrong_replies_is_named_and_the_others_are_measured() {
    let folder = folder();
    let same = peer(&folder, "same", "echo(stream)");
    let args = format!("{SHORT} --rounds 2 --modes tokio-task");
    let result = json(&args, &[&same], 1);
    let failure = subject(&result, "same")["failure"]["message"].as_str().unwrap();
    assert!(failure.contains("does not speak the protocol: expected \"HE QUICK"), "{failure}");
    assert!(failure.contains("got \"he Quick"), "{failure}");
    assert_eq!(subject(&result, "tokio-task")["rounds"].as_array().unwrap().len(), 2);
    // The same replies are correct with another expectation.
    let result = json(&format!("{FAIR} --rounds 1 --expect echo"), &[&same], 0);
    let same = subject(&result, "same");
    assert_eq!((&same["failure"], same["rounds"].as_array().unwrap().len()), (&Value::Null, 1));
    assert_eq!(same["rounds"][0]["errors"]["mismatch"], 0);
}

fn a_silent_server_is_named() {
    let folder = folder();
    let mute = peer(&folder, "mute", "mute(stream)");
    let result = json(&format!("{SHORT} --rounds 2 --timeout 300ms"), &[&mute], 1);
    let failure = subject(&result, "mute")["failure"]["message"].as_str().unwrap();
    assert!(
        failure.contains("does not speak the protocol") && failure.contains("0 bytes within 300ms"),
        "{failure}"
    );
}

fn a_server_that_dies_in_a_round_is_named_and_started_again() {
    let folder = folder();
    // The first process dies in the middle of the load.
    let died = folder.path().join("died");
    let serve = format!(
        "if number == 60 and not os.path.exists('{0}'):
        open('{0}', 'w').close()
        print('goodbye', file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    upper(stream)",
        died.display()
    );
    let mortal = peer(&folder, "mortal", &serve);
    let args = format!("{SHORT} --requests-per-connection 1 --rounds 3 --modes tokio-task");
    let result = json(&args, &[&mortal], 1);
    let mortal = subject(&result, "mortal");
    let message = mortal["failure"]["message"].as_str().unwrap();
    assert!(message.starts_with("died in round 1") && message.contains("SIGKILL"), "{message}");
    assert_eq!(mortal["failure"]["output"][0], "goodbye");
    let rounds: Vec<_> = mortal["rounds"].as_array().unwrap().iter().map(|round| &round["round"]).collect();
    assert_eq!(rounds, [2, 3]);
    assert_eq!(mortal["against_baseline"]["replies_per_s"]["reason"], "it failed");
}

fn a_server_that_starves_clients_is_marked_and_never_compared() {
    let folder = folder();
    // loadgen opens the first connection to test whether the server replies.
    let starving = peer(&folder, "starving", "(upper if number < 4 else mute)(stream)");
    let args = "-c 5 -d 500ms -w 50ms --timeout 5s --rounds 3 --modes thread-pool";
    let finished = compare(args).args(["--server", &starving]).finish();
    let text = &finished.expect_code(0).stdout;
    // Two of five. On a busy machine, another client may get no reply either.
    for part in ["MARKED     starving starved: ", " of 5 clients got no reply"] {
        assert!(text.contains(part), "'{part}' is missing; {finished}");
    }
    let barred = text.lines().find(|line| line.contains("not compared because it is marked: "));
    assert!(barred.is_some_and(|line| line.contains("starving")), "{finished}");
    // No other server is compared with it either.
    let result = json(args, &[&starving, "--baseline", "starving"], 0);
    assert_eq!(subject(&result, "starving")["status"], "marked");
    assert!(!is_compared(&result, "thread-pool"));
    assert!(result.at("notes").to_string().contains("--baseline NAME"), "{}", result.at("notes"));
}

fn a_server_that_cannot_keep_up_is_marked_and_never_compared() {
    let folder = folder();
    let slow = peer(
        &folder,
        "slow",
        "time.sleep(0.05); part = stream.recv(65536)\n    while part:\n        stream.sendall(part.upper()); time.sleep(0.05); part = stream.recv(65536)",
    );
    let args = format!("{SHORT} -r 1k --timeout 5s --rounds 1 --modes tokio-task");
    let result = json(&args, &[&slow], 0);
    let slow = subject(&result, "slow");
    let codes: Vec<_> = slow["marks"].as_array().unwrap().iter().map(|mark| &mark["code"]).collect();
    assert!(codes.contains(&&"cannot_keep_up".into()), "{codes:?}");
    expect_not_compared(slow, "it is marked");
}

fn the_order_follows_from_the_seed() {
    let order = |seed: &str| {
        let args = format!("-c 1 -n 1 -w 0s --rounds 4 --modes all --seed {seed}");
        json(&args, &[], 0).at("plan.order").clone()
    };
    let first = order("1");
    assert_eq!(first, order("1"));
    assert!((2..6).any(|seed| order(&seed.to_string()) != first));
    for round in first.as_array().unwrap() {
        assert_eq!(round.as_array().unwrap().len(), MODES.len(), "{round}");
    }
}

fn pinned_servers_and_load_run_on_different_cpus() {
    let result = json(&format!("{SHORT} --rounds 1 --modes tokio-task --pin"), &[], 0);
    let several = std::thread::available_parallelism().unwrap().get() > 1;
    assert_eq!(result.at("plan.pinned"), several);
    assert_eq!(result.at("environment.division").is_object(), several);
    let finished = compare(&format!("{SHORT} --rounds 1 --modes tokio-task --pin")).with_one_cpu().finish();
    assert!(finished.expect_code(0).stdout.contains("only one CPU"), "{finished}");
}

fn every_format_names_rounds_that_are_not_valid() {
    let folder = folder();
    let path = folder.path().join("result.json");
    let to = path.to_str().unwrap();
    let args = format!("{SHORT} --rounds 2 --modes thread-pool,tokio-task");
    let mut result = json(&args, &[], 0).0;
    // Whatever this machine has done to the rounds, all of one server are suspect, and all of the other valid. A result of
    // an older version says so of the rounds alone.
    let reason = serde_json::json!({
        "code": "generator_saturated", "status": "suspect", "message": "a load thread was idle for only 0.6% of the time",
        "value": 0.006, "bound": 0.05, "advice": "use more load threads",
    });
    for (place, status, reasons) in [(0, "valid", vec![]), (1, "suspect", vec![reason])] {
        let subject = result["subjects"][place].as_object_mut().unwrap();
        subject.remove("verdict").expect("it has a verdict");
        subject.insert("status".to_owned(), "ok".into());
        subject.insert("marks".to_owned(), Value::Array(Vec::new()));
        for round in subject["rounds"].as_array_mut().unwrap() {
            round["verdict"] = serde_json::json!({ "status": status, "reasons": reasons.clone() });
        }
    }
    fs::write(&path, result.to_string()).unwrap();

    let text = show(&[to]).expect_code(0).stdout.clone();
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(row("thread-pool ").contains("  valid  "), "{text}");
    assert!(row("tokio-task ").contains("  SUSPECT 2/2  "), "{text}");
    for part in [
        "verdict    SUSPECT: ",
        "of 4 rounds, 2 suspect: generator_saturated",
        "generator_saturated: tokio-task 2/2",
        "idle for only 0.6%",
        "→ use more load threads",
    ] {
        assert!(text.contains(part), "'{part}' is missing in\n{text}");
    }
    let shown = Report(serde_json::from_str(&show(&[to, "--format", "json"]).stdout).unwrap());
    assert_eq!(shown.at("subjects.0.verdict.status"), "valid");
    let verdict = shown.at("subjects.1.verdict");
    assert_eq!(
        (&verdict["status"], &verdict["count"], &verdict["rounds"]),
        (&"suspect".into(), &2.into(), &2.into())
    );
    assert_eq!(verdict["reasons"][0]["code"], "generator_saturated");
    assert_eq!(verdict["reasons"][0]["rounds"], serde_json::json!([1, 2]));
    let csv = show(&[to, "--format", "csv"]).stdout;
    let median =
        |name: &str| csv.lines().find(|line| line.starts_with(name) && line.contains(",median,")).unwrap();
    assert!(median("tokio-task").contains(",suspect,generator_saturated,"), "{csv}");
    assert!(median("thread-pool").contains(",valid,,"), "{csv}");
    let page = show(&[to, "--format", "html"]).stdout;
    for part in ["SUSPECT 2/2", "generator_saturated", "idle for only 0.6%"] {
        assert!(page.contains(part), "'{part}' is not on the page");
    }
}

fn json_holds_every_round_and_can_be_shown_again() {
    let folder = folder();
    let path = folder.path().join("result.json");
    let to = path.to_str().unwrap();
    let args = format!("{SHORT} --rounds 2 --modes thread-pool,tokio-task --format json");
    let finished = compare(&args).args(["-o", to]).finish();
    assert_eq!(finished.expect_code(0).stdout, "");
    let kept = fs::read_to_string(&path).unwrap();
    let result = Report(serde_json::from_str(&kept).unwrap());
    assert_eq!((result.at("schema"), result.at("kind")), (&1.into(), &"comparison".into()));
    assert_eq!(result.at("interrupted"), false);
    for subject in result.at("subjects").as_array().unwrap() {
        for round in [1, 2] {
            let report = Report(subject["rounds"][round - 1].clone());
            report.expect_replies_verified();
            assert_eq!(report.count("round"), round as u64);
            assert_eq!(report.count("fairness.clients"), 5);
        }
        let spread = &subject["summary"]["replies_per_s"];
        let [min, median, max] = ["min", "median", "max"].map(|name| number(&spread[name]));
        assert!(min <= median && median <= max, "{spread}");
    }
    assert_eq!(show(&[to, "--format", "json"]).expect_code(0).stdout, kept);
    let table = show(&[to]).expect_code(0).stdout.clone();
    expect_conclusion(&table, "thread-pool");
}

fn a_comparison_is_not_shown_together_with_other_results() {
    let folder = folder();
    let [run, comparison] = ["run.json", "comparison.json"].map(|name| folder.path().join(name));
    let [run, comparison] = [&run, &comparison].map(|path| Path::to_str(path).unwrap());
    Loadgen::run(None, "-c 1 -n 1 -w 0s --format json").args(["-o", run]).finish().expect_code(0);
    let args = "-c 1 -n 1 -w 0s --rounds 1 --modes tokio-task --format json";
    compare(args).args(["-o", comparison]).finish().expect_code(0);
    show(&[run, comparison]).expect_code(2).expect_stderr(&["comparison.json", "alone"]);
}

fn off_a_terminal_progress_is_a_line_for_each_turn() {
    let args = format!("{SHORT} --rounds 2 --modes thread-pool,tokio-task");
    let finished = compare(&args).finish();
    let lines: Vec<_> = finished.expect_code(0).stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{finished}");
    for (line, round) in lines.iter().zip(["1/2", "1/2", "2/2", "2/2"]) {
        assert!(line.contains(round) && line.contains("p50") && line.contains("left"), "{line}");
    }
    assert_eq!(compare(&args).args(["--quiet"]).finish().expect_code(0).stderr, "");
}

fn an_interrupted_comparison_prints_its_complete_rounds(mode: &'static Mode) {
    let args = format!("-c 5 -d 500ms -w 0s --rounds 900 --format json --modes {}", mode.name);
    let load = compare(&args).start();
    load.stderr.wait_for("round 2/900");
    load.signal(Signal::INT);
    let finished = load.finish();
    let result = Report::read(finished.expect_code(130));
    assert_eq!(result.at("interrupted"), true);
    let rounds = result.at("subjects.0.rounds").as_array().unwrap();
    assert!((2..800).contains(&rounds.len()), "{}", rounds.len());
    for round in rounds {
        assert_eq!(round["interrupted"], false);
    }
}

fn a_killed_comparison_leaves_no_server_behind() {
    leaves_no_server_behind(&[Signal::KILL]);
}

fn a_second_signal_leaves_no_server_behind() {
    leaves_no_server_behind(&[Signal::INT, Signal::TERM]);
}

/// A shell starts the server and prints its process number.
#[track_caller]
fn leaves_no_server_behind(signals: &[Signal]) {
    let folder = folder();
    let pid_file = folder.path().join("pid");
    let peer = peer(&folder, "peer", "upper(stream)");
    let (_, command) = peer.split_once('=').unwrap();
    let wrapped = format!("wrapped=sh -c '{command} & echo $! > {}; wait'", pid_file.display());
    let load = compare("-c 5 -d 1h -w 0s").args(["--server", &wrapped]).start();
    let mut id = None;
    wait_until("the server runs", || {
        id = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
        id.is_some_and(is_running)
    });
    for signal in signals {
        load.signal(*signal);
    }
    load.finish();
    let id = id.expect("it was seen");
    wait_until("the server ends", || !is_running(id));
}

fn the_help_explains_the_comparison() {
    let help = compare("--help").finish().expect_code(0).stdout.clone();
    for mode in MODES {
        assert!(help.contains(mode.name), "{} is missing in\n{help}", mode.name);
    }
    for part in ["default: 2s", "[default: 500ms]", "[default: 5]", "{port}", "Exit status", "95%", "--pin"] {
        assert!(help.contains(part), "'{part}' is missing in\n{help}");
    }
}

fn compare(args: &str) -> Loadgen {
    Loadgen::new(&["compare"]).args(args.split_whitespace())
}

/// Runs a comparison with these external servers, and reads its result. Flags may stand among the servers.
#[track_caller]
fn json(args: &str, servers: &[&str], code: i32) -> Report {
    let mut load = compare(args).args(["--format", "json"]);
    for server in servers {
        if server.contains("{port}") {
            load = load.args(["--server"]);
        }
        load = load.args([*server]);
    }
    Report::read(load.finish().expect_code(code))
}

#[track_caller]
fn show(args: &[&str]) -> Finished {
    Loadgen::new(&["show"]).args(args.iter().copied()).finish()
}

/// The `--server` argument of a server in Python with this function `serve`.
pub(super) fn peer(folder: &tempfile::TempDir, name: &str, serve: &str) -> String {
    let path = folder.path().join(format!("{name}.py"));
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(PEER.replace("SERVE", serve).as_bytes()).unwrap();
    format!("{name}=python3 {} {{port}}", path.display())
}

pub(super) fn names(result: &Report) -> Vec<&str> {
    let subjects = result.at("subjects").as_array().unwrap();
    subjects.iter().map(|subject| subject["name"].as_str().unwrap()).collect()
}

#[track_caller]
pub(super) fn subject<'a>(result: &'a Report, name: &str) -> &'a Value {
    let subjects = result.at("subjects").as_array().unwrap();
    subjects.iter().find(|subject| subject["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[track_caller]
fn expect_not_compared(subject: &Value, reason: &str) {
    let ratios = subject["against_baseline"].as_object().unwrap();
    assert!(!ratios.is_empty());
    for (metric, ratio) in ratios {
        assert_eq!(
            (&ratio["verdict"], &ratio["reason"]),
            (&"not compared".into(), &reason.into()),
            "{metric}"
        );
    }
}

/// Whether a server is compared with the baseline. A busy machine may mark one of them. Then the result must say so.
#[track_caller]
fn is_compared(result: &Report, name: &str) -> bool {
    let baseline = result.at("plan.baseline").as_str().expect("it has a name");
    let [is_marked, is_baseline_marked] =
        [name, baseline].map(|name| subject(result, name)["status"] == "marked");
    let reason = match (is_marked, is_baseline_marked) {
        (true, _) => "it is marked",
        (false, true) => "the baseline is marked",
        (false, false) => return true,
    };
    expect_not_compared(subject(result, name), reason);
    false
}

/// Expects that a text concludes on the differences from this baseline. On a busy machine, the conclusion may be that nothing
/// can be compared.
#[track_caller]
fn expect_conclusion(text: &str, baseline: &str) {
    let conclusions =
        [format!(" against {baseline}: "), format!("INVALID: nothing can be compared with {baseline}")];
    assert!(conclusions.iter().any(|said| text.contains(said)), "{text}");
    assert!(text.contains(&format!("compared with {baseline}, the baseline:")), "{text}");
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

/// Whether a process runs. A zombie does not.
fn is_running(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
}
