//! `loadgen compare --against`: today's servers held against an earlier result.

use std::{fs, path::PathBuf};

use super::compare::peer;
use crate::{
    behaviour::group,
    harness::{
        Finished,
        load::{Loadgen, Report},
        machine,
    },
};

group! {
    once {
        identical_servers_are_no_regression needs machine::every_mode,
        a_slower_server_is_a_regression,
        a_faster_server_is_no_regression,
        a_regression_is_in_every_format,
        servers_are_matched_by_name_and_the_others_are_named needs machine::every_mode,
        a_kept_run_is_held_against_the_only_server,
        without_an_interval_the_report_says_how_to_get_one,
        the_report_may_replace_the_kept_result,
        another_load_is_refused,
        a_result_that_fits_no_server_is_refused needs machine::every_mode,
        a_file_that_is_no_result_is_refused,
        another_machine_is_a_warning,
        an_invalid_verdict_precedes_a_regression needs machine::python,
        the_help_explains_the_exit_code,
    }
}

/// A comparison with one client, so that a busy machine cannot serve one client less than another.
const LOAD: &str = "-c 1 -d 200ms -w 50ms --rounds 3";
/// The server is many times slower than without work, however busy the machine is.
const SLOW: &str = "--work sleep:20ms";
/// No noise of the machine is so large.
const WIDE: &str = "--tolerance 10000%";

/// A kept result of a comparison with these arguments.
struct Kept {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Kept {
    #[track_caller]
    fn new(args: &str) -> Self {
        Self::by(compare(args))
    }

    #[track_caller]
    fn by(load: Loadgen) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.json");
        load.args(["-o", path.to_str().unwrap()]).finish().expect_code(0);
        Self { folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// A comparison that is held against it.
    fn compare(&self, args: &str) -> Loadgen {
        compare(args).args(["--against", self.path()])
    }

    #[track_caller]
    fn json(&self, args: &str, code: i32) -> Report {
        Report::read(self.compare(args).args(["--format", "json"]).finish().expect_code(code))
    }

    /// Changes the kept result.
    fn edit(&self, change: impl FnOnce(&mut Report)) {
        let mut kept = Report(serde_json::from_str(&fs::read_to_string(&self.path).unwrap()).unwrap());
        change(&mut kept);
        fs::write(&self.path, kept.0.to_string()).unwrap();
    }
}

fn compare(args: &str) -> Loadgen {
    Loadgen::new(&["compare"]).args(args.split_whitespace())
}

fn identical_servers_are_no_regression() {
    let args = format!("{LOAD} --modes tokio-task,thread-pool");
    let result = Kept::new(&args).json(&format!("{args} {WIDE}"), 0);
    assert_eq!(result.at("against.outcome"), "no regression shown");
    assert_eq!(result.number("against.tolerance"), 100.0);
    for place in 0..2 {
        let metrics = result.at(&format!("against.servers.{place}.metrics"));
        for name in ["replies_per_s", "response_p50_ns", "memory_bytes"] {
            let change = &metrics[name];
            let [low, ratio, high] = ["low", "ratio", "high"].map(|name| change[name].as_f64().unwrap());
            assert!(low > 0.0 && low <= ratio && ratio <= high, "{name}: {change}");
            assert_eq!(
                change["change"] == "no difference shown",
                low <= 1.0 && 1.0 <= high,
                "{name}: {change}"
            );
            assert_eq!(change["regression"], false, "{name}: {change}");
        }
    }
}

fn a_slower_server_is_a_regression() {
    let args = format!("{LOAD} --modes tokio-task");
    let result = Kept::new(&args).json(&format!("{args} {SLOW}"), 3);
    assert_eq!(result.at("against.outcome"), "regression");
    assert_eq!(result.number("against.tolerance"), 0.05);
    let metrics = result.at("against.servers.0.metrics");
    for name in ["replies_per_s", "response_p50_ns"] {
        assert_eq!(
            (&metrics[name]["change"], &metrics[name]["regression"]),
            (&"slower".into(), &true.into())
        );
    }
}

fn a_faster_server_is_no_regression() {
    let args = format!("{LOAD} --modes tokio-task");
    // One of its costs may be higher: it serves far more requests.
    let result = Kept::new(&format!("{args} {SLOW}")).json(&format!("{args} {WIDE}"), 0);
    let metrics = result.at("against.servers.0.metrics");
    assert_eq!(metrics["replies_per_s"]["change"], "faster");
    assert_eq!(metrics["response_p50_ns"]["change"], "faster");
}

fn a_regression_is_in_every_format() {
    let args = format!("{LOAD} --modes tokio-task");
    let kept = Kept::new(&args);
    let path = kept.folder.path().join("today.json");
    let today = path.to_str().unwrap();
    let load = kept.compare(&format!("{args} {SLOW}")).args(["-o", today]);
    load.finish().expect_code(3).expect_stderr(&["REGRESSION: worse than in", "kept.json"]);
    let show = |format: &str| {
        Loadgen::new(&["show"]).args([today, "--format", format]).finish().expect_code(0).stdout.clone()
    };
    let text = show("text");
    for part in [
        "against    REGRESSION: worse than in ",
        "held against ",
        "REGRESSION: slower",
        "tokio-task in 3 rounds",
    ] {
        assert!(text.contains(part), "'{part}' is missing in\n{text}");
    }
    let csv = show("csv");
    let row = csv.lines().skip(1).find(|line| line.contains(",response_p50_ns,")).unwrap_or_default();
    assert!(row.starts_with("tokio-task,ok,,") && row.contains(",slower,true,0.05,"), "{csv}");
    let page = show("html");
    for part in ["REGRESSION: slower", "Held against "] {
        assert!(page.contains(part), "'{part}' is not on the page");
    }
    assert_eq!(show("json"), fs::read_to_string(&path).unwrap());
}

fn servers_are_matched_by_name_and_the_others_are_named() {
    let kept = Kept::new(&format!("{LOAD} --modes tokio-task,thread-pool"));
    let finished = kept.compare(&format!("{LOAD} --modes event-loop,thread-pool {WIDE}")).finish();
    finished.expect_code(0);
    for part in ["event-loop: ", "has no server with this name", "kept, and not measured today: tokio-task"] {
        assert!(finished.stdout.contains(part), "'{part}' is missing; {finished}");
    }
}

fn a_kept_run_is_held_against_the_only_server() {
    let kept = Kept::by(Loadgen::run(None, "-c 1 -d 200ms -w 50ms --fail-on never"));
    // Like 'run', with separate CPUs for the server and the load.
    let result = kept.json(&format!("{LOAD} --modes thread-pool --pin"), 1);
    assert_eq!(result.at("against.outcome"), "unknown");
    assert_eq!(result.at("against.servers.0.kept.name"), "tokio-task");
    let rate = &result.at("against.servers.0.metrics")["replies_per_s"];
    assert!(rate["ratio"].as_f64().unwrap() > 0.0 && rate["low"].is_null(), "{rate}");
    assert_eq!(rate["reason"], "no interval with 1 round");
    let refused = kept.compare(&format!("{LOAD} --modes thread-pool,tokio-task --pin")).finish();
    refused.expect_code(2).expect_stderr(&["kept.json", "one run", "--modes tokio-task"]);
}

fn without_an_interval_the_report_says_how_to_get_one() {
    let kept = Kept::new("-c 1 -d 200ms -w 50ms --modes tokio-task --rounds 1");
    let finished = kept.compare(&format!("{LOAD} --modes tokio-task")).finish();
    finished.expect_code(1).expect_stderr(&["has 1 round of tokio-task", "no interval", "--rounds 5"]);
    assert!(finished.stdout.contains("no interval with 1 round"), "{finished}");
    assert!(finished.stdout.contains("against    unknown"), "{finished}");
}

fn the_report_may_replace_the_kept_result() {
    let args = format!("{LOAD} --modes tokio-task");
    let kept = Kept::new(&args);
    for _ in 0..2 {
        kept.compare(&format!("{args} {WIDE}")).args(["-o", kept.path()]).finish().expect_code(0);
    }
    let last = Report(serde_json::from_str(&fs::read_to_string(&kept.path).unwrap()).unwrap());
    assert_eq!(last.at("against.kept.file"), kept.path());
}

fn another_load_is_refused() {
    let kept = Kept::new(&format!("{LOAD} --modes tokio-task"));
    for (args, said) in [
        ("-c 2 -d 200ms -w 50ms", "it has 1 client, this comparison 2 clients;"),
        ("-c 1 -d 200ms -w 50ms -r 100", "it has no --rate, this comparison a --rate of 100"),
        ("-c 1 -d 200ms -w 50ms -s 65", "messages of 64 bytes, this comparison messages of 65 bytes"),
        ("-c 1 -d 200ms -w 50ms -p 2", "a pipeline of 1, this comparison a pipeline of 2"),
        ("-c 1 -d 400ms -w 50ms", "a --duration of 200ms, this comparison a --duration of 400ms"),
        ("-c 1 -n 10 -w 50ms", "no limit of --requests"),
        ("-c 1", "a warm-up of 50ms, this comparison a warm-up of 500ms; a --duration of 200ms"),
    ] {
        let refused = kept.compare(args).args(["--modes", "tokio-task"]).finish();
        refused.expect_code(2).expect_stderr(&["kept.json", said, "use the same load"]);
        assert_eq!(refused.stdout, "", "{args}");
    }
}

fn a_result_that_fits_no_server_is_refused() {
    let kept = Kept::new(&format!("{LOAD} --modes tokio-task"));
    let refused = kept.compare(&format!("{LOAD} --modes thread-pool,event-loop")).finish();
    refused.expect_code(2).expect_stderr(&["has tokio-task", "thread-pool, event-loop", "matched by name"]);
    let sweep = Loadgen::new(&["sweep"])
        .args("--modes tokio-task --rates 100 --repeats 1 -c 1 -d 100ms -w 0s".split_whitespace());
    let refused = Kept::by(sweep).compare(LOAD).finish();
    refused.expect_code(2).expect_stderr(&["kept.json", "loadgen sweep", "loadgen compare"]);
}

fn a_file_that_is_no_result_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    fs::write(&path, "{\"a\": 1}").unwrap();
    for (file, said) in [
        (path.to_str().unwrap(), "not a result of loadgen"),
        ("/nowhere/kept.json", "/nowhere/kept.json cannot be read: No such file"),
        (folder.path().to_str().unwrap(), "cannot be read: Is a directory"),
    ] {
        let refused = compare(LOAD).args(["--against", file]).finish();
        refused.expect_code(2).expect_stderr(&["--against", said]);
        assert_eq!(refused.stdout, "", "{file}");
    }
    let kept = path.to_str().unwrap();
    for (args, said) in [
        (&["--tolerance", "5%"][..], "add --against"),
        (&["--against", kept, "--tolerance", "5"], "as in 5%"),
        (&["--against", kept, "--tolerance", "-5%"], "as in 5%"),
    ] {
        compare(LOAD).args(args.iter().copied()).finish().expect_code(2).expect_stderr(&[said]);
    }
}

fn another_machine_is_a_warning() {
    let args = format!("{LOAD} --modes tokio-task");
    let kept = Kept::new(&args);
    kept.edit(|kept| {
        kept.0["environment"]["kernel"] = "1.0.0".into();
        kept.0["environment"]["version"] = "0.0.1".into();
    });
    let finished: Finished = kept.compare(&format!("{args} {WIDE}")).finish();
    finished.expect_code(0).expect_stderr(&["kernel 1.0.0 then", "version of loadgen 0.0.1 then"]);
    assert!(
        finished.stdout.contains("WARNING    the machine or loadgen itself is not the same"),
        "{finished}"
    );
}

fn an_invalid_verdict_precedes_a_regression() {
    // loadgen opens the first connection to test whether the server replies. Later, one of two clients gets no reply.
    let folder = tempfile::tempdir().unwrap();
    let fair = peer(&folder, "x", "upper(stream)");
    let starving = peer(&folder, "y", "(upper if number < 2 else mute)(stream)").replacen("y=", "x=", 1);
    let args = "-c 2 -d 500ms -w 50ms --timeout 5s --rounds 3";
    let kept = Kept::by(compare(args).args(["--server", &fair]));
    let today = |more: [&str; 2]| kept.compare(args).args(["--server", &starving]).args(more).finish();
    let worse = today(["--fail-on", "never"]);
    worse.expect_code(3);
    for part in ["REGRESSION", "x: it is marked today (starved"] {
        assert!(worse.stdout.contains(part), "'{part}' is missing; {worse}");
    }
    today(["--fail-on", "invalid"]).expect_code(4);
}

fn the_help_explains_the_exit_code() {
    let help = compare("--help").finish().expect_code(0).stdout.clone();
    for part in ["--against <FILE>", "--tolerance <PERCENT>", "[default: 5%]", "or regressed (--against)"] {
        assert!(help.contains(part), "'{part}' is missing in\n{help}");
    }
}
