//! The report as a page, shown in a real browser.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        browser::{Scheme, measure, picture_bytes},
        faulty::FaultyServer,
        load::{Loadgen, Peer, converse},
        machine,
    },
};

group! {
    once {
        a_page_is_one_file_that_needs_nothing_else,
        a_run_can_be_read_by_day_and_by_night_on_a_desk_and_on_a_phone needs machine::browser,
        a_comparison_can_be_read_by_day_and_by_night_on_a_desk_and_on_a_phone needs machine::browser,
        a_sweep_can_be_read_by_day_and_by_night_on_a_desk_and_on_a_phone needs machine::browser,
        the_page_says_once_that_the_loop_is_closed needs machine::browser,
        every_nine_of_a_long_run_has_a_legible_label needs machine::browser,
        a_comparison_begins_with_its_conclusion needs machine::browser,
        an_invalid_run_begins_with_its_verdict_and_marks_failed_requests needs machine::browser,
        requests_without_a_reply_are_at_the_end_of_every_curve needs machine::browser,
        pauses_of_the_generator_are_marked_apart_from_failures needs machine::browser,
        errors_before_the_window_are_shown_separately needs machine::browser,
        a_stall_is_a_gap_and_then_a_high_column needs machine::browser,
        several_runs_are_drawn_over_each_other needs machine::browser,
        a_page_has_at_most_eight_runs,
        a_script_in_a_name_is_shown_and_not_run needs machine::browser,
        a_page_is_not_blank_under_its_own_policy needs machine::browser,
    }
}

/// The width of a page on a desk, and on a phone.
const DESK: u32 = 1280;
const PHONE: u32 = 390;

/// A name that would run a script if the page did not escape it.
const SCRIPT: &str = "</svg><img src=x onerror=\"evil=true\"><script>evil=true</script>";

fn a_page_is_one_file_that_needs_nothing_else() {
    let finished = Loadgen::run(None, "-c 5 -d 300ms -w 0s -q --format html").finish();
    let page = &finished.stdout;
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{finished}");
    let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for part in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(part), "'{part}' is in the page");
    }
    assert!(page.contains("default-src 'none'"), "everything else is forbidden");
}

fn a_run_can_be_read_by_day_and_by_night_on_a_desk_and_on_a_phone() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 20 -r 2k -d 1s -w 100ms -i 200ms -q"));
    let status = kept.json()["verdict"]["status"].as_str().unwrap().to_owned();
    let slow_numbers = ["p99.9", "Jain's index", "due → written", "seed", "Linux"];
    let page = kept.page();
    for found in everywhere(&page) {
        assert_eq!(
            (found["heading"].as_str(), found["first"].as_str()),
            (Some(&*status), Some(&*format!("verdict {status}")))
        );
        for part in slow_numbers {
            assert!(found["text"].as_str().unwrap().contains(part), "'{part}' is not on the page");
        }
        let plots = plots(&found);
        for title in [
            "Latency by percentile",
            "Where the time went",
            "Rate",
            "Response time",
            "Response times over time",
            "Replies of each client",
        ] {
            assert!(plots.iter().any(|plot| plot["title"] == title), "there is no plot '{title}'");
        }
        let of_plot = |title: &str| *plots.iter().find(|plot| plot["title"] == title).unwrap();
        let clients = of_plot("Replies of each client");
        assert_eq!(
            (&clients["lines"], clients["tiles"].as_u64() >= Some(20)),
            (&json!(1), true),
            "{clients}"
        );
        let map = of_plot("Response times over time");
        // Five intervals, with a reply in each.
        assert!(map["tiles"].as_u64() >= Some(5) && map["tints"].as_u64() >= Some(2), "{map}");
        assert!(map["label"].as_str().unwrap().contains("in 5 columns of 200 ms"), "{map}");
        let percentiles = plots[0];
        assert_eq!(percentiles["lines"], 3, "response, service and schedule lag: {percentiles}");
        for tick in ["50%", "90%", "99%"] {
            assert!(has_text(percentiles, tick), "{tick}: {percentiles}");
        }
        // About 2,000 samples are no 200 beyond p99.9, and not ten.
        assert!(!has_text(percentiles, "99.9%"), "{percentiles}");
    }
}

fn a_comparison_can_be_read_by_day_and_by_night_on_a_desk_and_on_a_phone() {
    let kept = Kept::new();
    // Enough requests to use more CPU time than the clock's step of 10 ms.
    let args = "-m event-loop,thread-pool --rounds 2 -c 10 -r 5k -d 500ms -w 100ms -q";
    kept.make(Loadgen::new(&["compare"]).args(args.split(' ')));
    let page = kept.page();
    for found in everywhere(&page) {
        let plots = plots(&found);
        assert_eq!(plots.len(), 2, "{plots:?}");
        for plot in plots {
            assert_eq!(plot["lines"], 2, "a line for each server: {plot}");
        }
        for part in ["event-loop", "thread-pool", "CPU/req", "95% interval"] {
            assert!(found["text"].as_str().unwrap().contains(part), "'{part}' is not on the page");
        }
    }
}

fn a_sweep_can_be_read_by_day_and_by_night_on_a_desk_and_on_a_phone() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 2 -n 20 -w 0s -q"));
    kept.write(&sweep(&kept.json(), "one"));
    let page = kept.page();
    for found in everywhere(&page) {
        let plots = plots(&found);
        let titles: Vec<_> = plots.iter().map(|plot| plot["title"].as_str().unwrap()).collect();
        assert_eq!(titles, ["Response p99", "Response p50", "Achieved"]);
        let lines: Vec<_> = plots.iter().map(|plot| plot["lines"].as_u64().unwrap()).collect();
        assert_eq!(lines, [2, 2, 3], "a line for each server, and one for the offered rate");
        for part in [
            "the knee: ",
            "further right",
            "holds the SLO",
            "did not keep up",
            "1,000 – 2,000/s",
            "CANNOT KEEP UP",
        ] {
            assert!(found["text"].as_str().unwrap().contains(part), "'{part}' is not on the page");
        }
        // The knee of the other server may be further right.
        assert_eq!(plots[0]["arrows"], 1, "{}", plots[0]);
    }
}

fn the_page_says_once_that_the_loop_is_closed() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 5 -d 300ms -w 0s -q"));
    let closed = kept.json();
    let mut older = closed.clone();
    older["notes"] = json!([]);
    for result in [closed, older] {
        kept.write(&result);
        for found in everywhere(&kept.page()) {
            let text = found["text"].as_str().unwrap();
            assert_eq!(text.matches("cannot see the queues").count(), 1, "{text}");
        }
    }
}

fn every_nine_of_a_long_run_has_a_legible_label() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 20 -r 2k -d 1s -w 100ms -q"));
    let mut long = kept.json();
    for samples in [100_000, 1_000_000, 10_000_000, 100_000_000] {
        long["latency_ns"]["response"]["hdr"] = json!(histogram(samples));
        kept.write(&long);
        for found in everywhere(&kept.page()) {
            let last = format!("99.{}%", "9".repeat(samples.ilog10() as usize - 3));
            assert!(has_text(plots(&found)[0], &last), "{last} is not in {}", plots(&found)[0]);
        }
    }
}

/// An encoded histogram with this many samples.
fn histogram(samples: u64) -> String {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    histogram.record_n(100_000, samples - 1).unwrap();
    histogram.record(5_000_000).unwrap();
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    STANDARD.encode(bytes)
}

fn a_comparison_begins_with_its_conclusion() {
    let kept = Kept::new();
    let args = "-m event-loop,thread-pool --rounds 1 -c 10 -r 1k -d 300ms -w 100ms -q";
    kept.make(Loadgen::new(&["compare"]).args(args.split(' ')));
    let mut comparison = kept.json();
    comparison["plan"]["baseline"] = json!("event-loop");
    let ratio =
        |verdict: &str| json!({ "ratio": 0.5, "low": 0.4, "high": 0.6, "verdict": verdict, "reason": null });
    for subject in comparison["subjects"].as_array_mut().unwrap() {
        (subject["status"], subject["marks"]) = (json!("ok"), json!([]));
    }
    comparison["subjects"][1]["against_baseline"] = json!({ "response_p99_ns": ratio("lower") });
    kept.write(&comparison);
    let found = measure(&kept.page(), Scheme::Light, &[DESK]).remove(0);
    assert_eq!(found["heading"], "thread-pool has a lower p99 than event-loop");
    assert!(found["text"].as_str().unwrap().contains("thread-pool -50.0%"), "{}", found["text"]);
}

fn an_invalid_run_begins_with_its_verdict_and_marks_failed_requests() {
    let wrong = Peer::start(|_, stream| converse(&stream, |bytes| bytes.fill(b'x')));
    let kept = Kept::new();
    let args = "-c 5 -r 500 -d 1s -w 0s -i 250ms -q";
    let made = kept.try_make(Loadgen::run(Some(wrong.address()), args));
    assert_eq!(made, Some(4), "the verdict is invalid");
    let found = measure(&kept.page(), Scheme::Light, &[DESK]).remove(0);
    assert_eq!(
        (found["heading"].as_str(), found["first"].as_str()),
        (Some("invalid"), Some("verdict invalid"))
    );
    let text = found["text"].as_str().unwrap();
    for part in ["mismatch", "→", "requests failed", "The first wrong byte"] {
        assert!(text.contains(part), "'{part}' is not in {text}");
    }
}

fn requests_without_a_reply_are_at_the_end_of_every_curve() {
    for every in [200, 40] {
        let server = FaultyServer::dropping_every(every);
        let kept = Kept::new();
        let args = "-c 50 -r 2k -d 2s -w 200ms --timeout 300ms -i 500ms -q";
        assert_eq!(kept.try_make(Loadgen::run(Some(server.address()), args)), Some(4), "too many failed");
        let result = kept.json();
        let response = &result["latency_ns"]["response"];
        let unanswered = response["failed_tail"]["count"].as_u64().unwrap();
        let share = 100.0 * (1.0 - unanswered as f64 / 4_000.0);
        let in_p99 = response["p99"].is_null();
        assert!(unanswered >= 10 && (in_p99 || every > 100), "{}", response["failed_tail"]);
        let requests = &result["requests"];
        let of = |name: &str| requests[name].as_u64().unwrap();
        for found in everywhere(&kept.page()) {
            let text = found["text"].as_str().unwrap();
            assert!(text.contains("successful"), "{text}");
            // The probe returns the text of the page without markup.
            let failed = |row: &str| {
                let line = text.lines().find(|line| line.starts_with(&format!("{row}\t"))).expect("a row");
                line.split('\t').nth(1).unwrap().ends_with(" (failed)")
            };
            assert_eq!((failed("p50"), failed("p99"), failed("max")), (false, in_p99, true), "{text}");
            let plots = plots(&found);
            let of_plot = |title: &str| *plots.iter().find(|plot| plot["title"] == title).unwrap();
            let curves = of_plot("Latency by percentile");
            assert_eq!((&curves["lines"], &curves["arrows"]), (&json!(4), &json!(1)), "{curves}");
            let begin = text.split_once("from p").unwrap().1.split_once(" on: no reply").unwrap().0;
            let begin: f64 = begin.parse().unwrap();
            assert!((begin - share).abs() < 0.06, "from {begin} on, and it is {share}");
            assert!(of_plot("Response time")["arrows"].as_u64().unwrap() > 0);
            let histogram = of_plot("Response times");
            assert_eq!((&histogram["lines"], &histogram["arrows"]), (&json!(2), &json!(1)), "{histogram}");
            assert!(text.contains(&format!("{unanswered} of 4,000 requests got no reply: longer than ")));
            // Each count appears once, and they add up.
            let count = |name: &str| {
                let after: Vec<_> = text.split(&format!("\n{name}\n")).skip(1).collect();
                assert_eq!(after.len(), 1, "{name} in {text}");
                after[0].lines().next().unwrap().replace(',', "").parse::<u64>().unwrap()
            };
            let replied = count("completed in the window") + count("completed after the window");
            assert_eq!((count("due"), replied), (of("due"), of("completed")));
            assert_eq!(
                (count("failed, never sent"), count("cut off by the end of the run")),
                (of("unsent"), of("cut_off"))
            );
        }
    }
    let good = Kept::new();
    good.make(Loadgen::run(None, "-c 5 -r 1k -d 500ms -w 0s -q"));
    let found = measure(&good.page(), Scheme::Light, &[DESK]).remove(0);
    let text = found["text"].as_str().unwrap();
    for part in ["successful", "(failed)", "no reply"] {
        assert!(!text.contains(part), "'{part}' is in {text}");
    }
}

fn pauses_of_the_generator_are_marked_apart_from_failures() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 5 -r 1k -d 1s -w 0s -i 200ms -q"));
    let mut run = kept.json();
    let pause = |t_s: f64, length_ns: u64| json!({ "t_s": t_s, "length_ns": length_ns });
    let longest = [pause(0.25, 100_000_000), pause(0.7, 6_000_000)];
    run["generator"]["pauses"] =
        json!({ "count": 3, "total_ns_max": 111_000_000, "requests": 120, "longest": longest });
    kept.write(&run);
    for found in everywhere(&kept.page()) {
        let text = found["text"].as_str().unwrap();
        assert_eq!(text.matches("‖ the load generator paused").count(), 3, "all plots over time: {text}");
        assert!(!text.contains("requests failed"), "{text}");
        for part in ["pauses\n3", "100 ms, 250 ms into the window", "The 2 longest of 3"] {
            assert!(text.contains(part), "'{part}' is not in {text}");
        }
    }
}

fn a_stall_is_a_gap_and_then_a_high_column() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 10 -r 2k -d 1s -w 0s -i 100ms -q"));
    let mut run = kept.json();
    let intervals = run["intervals"].as_array_mut().unwrap();
    let tiles = |kept: &Kept| {
        let found = measure(&kept.page(), Scheme::Light, &[DESK]).remove(0);
        let plots = plots(&found);
        let map = *plots.iter().find(|plot| plot["title"] == "Response times over time").expect("a heat map");
        (map["tiles"].as_u64().unwrap(), map["label"].as_str().unwrap().to_owned())
    };
    // Without a reply for 200 ms, and then with 200 replies that took up to two seconds: longer than any other.
    for silent in &mut intervals[4..6] {
        (silent["completed"], silent["hdr"]) = (json!(0), json!(""));
    }
    (intervals[6]["completed"], intervals[6]["hdr"]) = (json!(200), json!(stalled()));
    kept.write(&run);
    let (of_stall, words) = tiles(&kept);
    assert!(words.contains("No reply and no failure between 400 ms and 600 ms"), "{words}");
    assert!(words.contains("2.00 s, is between 600 ms and 700 ms"), "{words}");
    let intervals = run["intervals"].as_array_mut().unwrap();
    for failed in &mut intervals[4..6] {
        failed["failed"] = json!(100);
    }
    kept.write(&run);
    let (of_failures, words) = tiles(&kept);
    assert!(words.contains("Every request failed between 400 ms and 600 ms"), "{words}");
    assert_eq!(of_failures, of_stall + 2, "the row at the top");
}

/// An encoded histogram of 200 requests, each of which waited 10 ms less than the one before, and the first one two seconds.
fn stalled() -> String {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
    (1..=200_u64).for_each(|number| histogram.record(number * 10_000_000).unwrap());
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    STANDARD.encode(bytes)
}

/// Stored results with these names, of the same run, and the arguments that show them.
fn copies(kept: &Kept, names: &[&str]) -> Vec<String> {
    let paths = names.iter().map(|name| {
        let path = kept.folder.path().join(name);
        fs::copy(kept.result(), &path).expect("there is room for temporary files");
        path.to_str().expect("it has a name in ASCII").to_owned()
    });
    std::iter::once("show".to_owned()).chain(paths).collect()
}

fn several_runs_are_drawn_over_each_other() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 20 -r 2k -d 1s -w 100ms -i 200ms -q"));
    let evil = "<script>evil=true<!--\".json";
    let mut args = copies(&kept, &["a.json", evil]);
    kept.make(Loadgen::run(None, "-c 10 -r 1k -d 500ms -w 100ms -i 100ms -q"));
    let page = kept.folder.path().join("report.html");
    args.extend([kept.result(), "-o".into(), page.clone()].map(|path| path.to_str().unwrap().to_owned()));
    Loadgen::new(&args.iter().map(String::as_str).collect::<Vec<_>>()).finish().expect_code(0);
    for found in everywhere(&page) {
        let text = found["text"].as_str().unwrap();
        assert_eq!(found["heading"], "3 runs side by side");
        assert_eq!((&found["was_evil"], &found["scripts"]), (&json!(false), &json!(1)), "the probe's script");
        for part in ["a.json", "?script?evil=true", "result.json", "The runs differ in:", "Jain"] {
            assert!(text.contains(part), "'{part}' is not in {text}");
        }
        let plots = plots(&found);
        let titles: Vec<_> = plots.iter().map(|plot| plot["title"].as_str().unwrap()).collect();
        assert_eq!(
            titles,
            ["Response time by percentile", "Service time by percentile", "Rate", "Response p50"]
        );
        assert_eq!((&plots[0]["lines"], &plots[1]["lines"]), (&json!(3), &json!(3)), "{plots:?}");
        // Over time, a line has gaps where an interval has too few samples.
        assert!(plots.iter().all(|plot| plot["lines"].as_u64() >= Some(3)), "{plots:?}");
    }
}

fn a_page_has_at_most_eight_runs() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 2 -n 20 -w 0s -q"));
    let names = ["1.json", "2.json", "3.json", "4.json", "5.json", "6.json", "7.json", "8.json", "9.json"];
    let show = |names: &[&str], format: &str| {
        let args = copies(&kept, names);
        let args: Vec<_> = args.iter().map(String::as_str).chain(["--format", format]).collect();
        Loadgen::new(&args).finish()
    };
    let page = &show(&names[..8], "html").expect_code(0).stdout.clone();
    assert!(names[..8].iter().all(|name| page.contains(name)), "{page}");
    let refused = show(&names, "html");
    refused.expect_code(2).expect_stderr(&["at most 8 results", "9", "text, csv or jsonl"]);
    assert_eq!(refused.stdout, "");
    show(&names, "text").expect_code(0);
    show(&names[..2], "json").expect_code(2).expect_stderr(&["one result only", "html"]);
}

fn errors_before_the_window_are_shown_separately() {
    let server = FaultyServer::wrong_at_first(Duration::from_millis(200));
    let kept = Kept::new();
    kept.make(Loadgen::run(Some(server.address()), "-c 10 -r 200 -d 500ms -w 700ms -q"));
    let found = measure(&kept.page(), Scheme::Light, &[DESK]).remove(0);
    let text = found["text"].as_str().unwrap();
    let (errors, rest) = text.split_once("\nErrors\n").unwrap().1.split_once("Before the window").unwrap();
    assert!(errors.contains("None.") && !errors.contains("mismatch"), "{text}");
    let faults = server.faults();
    assert!(faults > 0 && rest.contains(&format!("mismatch\t{faults}")), "{faults} in {rest}");
}

fn a_script_in_a_name_is_shown_and_not_run() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 2 -n 20 -w 0s -q"));
    let mut run = kept.json();
    run["plan"]["targets"] = json!([SCRIPT]);
    run["plan"]["message"] = json!(SCRIPT);
    run["server"] = Value::Null;
    let sweep = sweep(&run, SCRIPT);
    for result in [run, sweep] {
        kept.write(&result);
        let found = measure(&kept.page(), Scheme::Light, &[DESK]).remove(0);
        assert_eq!(
            (&found["was_evil"], &found["scripts"]),
            (&json!(false), &json!(1)),
            "only the probe's script"
        );
        let shown = SCRIPT.replace(['<', '>', '&'], "?");
        assert!(found["text"].as_str().unwrap().contains(&shown), "{}", found["text"]);
    }
}

fn a_page_is_not_blank_under_its_own_policy() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 5 -r 1k -d 500ms -w 0s -q"));
    let page = kept.page();
    let blank = kept.folder.path().join("blank.html");
    fs::write(&blank, "<!DOCTYPE html><title>blank</title>").unwrap();
    let of_blank = picture_bytes(&blank, Scheme::Light, PHONE);
    for scheme in [Scheme::Light, Scheme::Dark] {
        let of_page = picture_bytes(&page, scheme, PHONE);
        assert!(of_page > 5 * of_blank, "{scheme:?}: {of_page} bytes, and a blank page has {of_blank}");
    }
}

/// Checks the page in each scheme and width, and returns the measurements.
#[track_caller]
fn everywhere(page: &Path) -> Vec<Value> {
    let mut all = Vec::new();
    for scheme in [Scheme::Light, Scheme::Dark] {
        let found = measure(page, scheme, &[DESK, PHONE]);
        expect_legible(&found[0], scheme, DESK);
        expect_legible(&found[1], scheme, PHONE);
        all.extend(found);
    }
    all
}

#[track_caller]
fn expect_legible(found: &Value, scheme: Scheme, width: u32) {
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    assert_eq!((&found["width"], &found["is_dark"]), (&json!(width), &json!(scheme == Scheme::Dark)));
    assert_eq!(
        number(&found["background"]) < 0.1,
        scheme == Scheme::Dark,
        "the page has the colours of the scheme"
    );
    assert!(
        number(&found["scroll_width"]) <= number(&found["width"]),
        "the page scrolls sideways: {}",
        found["scroll_width"]
    );
    assert_eq!((&found["language"], &found["loaded"]), (&json!("en"), &json!(0)));
    assert!(!found["title"].as_str().unwrap().is_empty());
    assert!(number(&found["heading_size"]) >= 30.0, "the verdict is large");
    let texts = found["texts"].as_array().unwrap();
    assert!(texts.len() > 50, "{texts:?}");
    for text in texts {
        assert!(number(&text["contrast"]) >= 4.5, "{scheme:?}: {text}");
        assert!(number(&text["size"]) >= 9.5, "{width}: {text}");
    }
    assert_eq!(found["broken"], json!([]), "{width}: flags are broken at their hyphens");
    assert!(!plots(found).is_empty());
    for plot in plots(found) {
        assert_eq!(plot["collisions"], json!([]), "{width}: words collide: {plot}");
        assert_eq!(plot["hidden"], json!([]), "{width}: a mark hides another: {plot}");
        assert_eq!(plot["pictures"], 1, "one drawing of each plot is seen: {plot}");
        let (left, right, height) =
            (number(&plot["box"][0]), number(&plot["box"][1]), number(&plot["box"][2]));
        assert!(left >= 0.0 && right <= f64::from(width) && right - left > 250.0 && height > 150.0, "{plot}");
        assert_eq!(plot["outside"], json!([]), "words are cut off: {plot}");
        let drawn = number(&plot["lines"]) + number(&plot["tiles"]);
        assert!(drawn >= 1.0 && number(&plot["faintest"]) >= 3.0, "{plot}");
        assert!(!plot["label"].as_str().unwrap().is_empty(), "{plot}");
    }
}

fn plots(found: &Value) -> Vec<&Value> {
    found["plots"].as_array().expect("a list").iter().collect()
}

fn has_text(plot: &Value, text: &str) -> bool {
    plot["texts"].as_array().expect("a list").iter().any(|shown| shown == text)
}

/// The result of a sweep of two servers, one of which stops keeping up, with the plan and the environment of this run.
fn sweep(run: &Value, name: &str) -> Value {
    let point = |level: u64, p50_ns: u64, keeps_up: bool| {
        json!({
            "level": level, "runs": 1, "offered_per_s": level, "achieved_per_s": level.min(2_500),
            "mean_ns": p50_ns, "p50_ns": p50_ns, "p90_ns": 2 * p50_ns, "p99_ns": 3 * p50_ns, "p99_9_ns": null,
            "max_ns": 5 * p50_ns, "power": 1.0, "keeps_up": keeps_up,
            "trouble": (!keeps_up).then_some("cannot_keep_up"),
            "verdict": if keeps_up { "valid" } else { "invalid" }, "reasons": [], "holds": keeps_up,
        })
    };
    let subject = |name: &str, curve: Value, high: Option<u64>, beyond: Option<&str>| {
        json!({
            "name": name, "mode": null, "command": name, "target": null, "failure": null, "points": [],
            "curve": curve, "end": { "trouble": null, "level": 4_000, "message": "came to its end" },
            "knee": { "level": 1_000, "achieved_per_s": 1_000.0, "mean_ns": 1e5, "power": 1e7, "beyond": beyond },
            "capacity": {
                "slo": ["p99<5ms"], "low": 1_000, "high": high, "complete": true, "tried": [], "message": "holds",
            },
        })
    };
    let breaking =
        json!([point(1_000, 100_000, true), point(2_000, 300_000, true), point(4_000, 900_000_000, false)]);
    let carrying = json!([point(1_000, 90_000, true), point(2_000, 91_000, true)]);
    json!({
        "schema": 1, "kind": "sweep", "interrupted": false, "environment": run["environment"],
        "started_at_unix_ms": run["started_at_unix_ms"], "elapsed_s": 12.0, "notes": [],
        "plan": {
            "axis": "rate", "levels": [1_000, 2_000, 4_000], "repeats": 3, "slo": ["p99<5ms"], "tolerance": 0.05,
            "pinned": false, "seed": 1, "load": run["plan"],
        },
        "subjects": [subject(name, breaking, Some(2_000), None), subject("other", carrying, None, Some("above"))],
    })
}

/// A stored result, and its page.
struct Kept {
    folder: TempDir,
}

impl Kept {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("there is room for temporary files") }
    }

    /// Makes the result, which is a good one or not: on a busy machine a short run may be called invalid, and has a page
    /// all the same.
    #[track_caller]
    fn make(&self, load: Loadgen) {
        let code = self.try_make(load);
        assert!(matches!(code, Some(0 | 4)), "it ended with {code:?}");
    }

    /// Makes the result.
    fn try_make(&self, load: Loadgen) -> Option<i32> {
        let result = self.result();
        load.args(["--format", "json", "-o", result.to_str().expect("it has a name in ASCII")]).finish().code
    }

    fn json(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.result()).expect("it was made")).expect("it is JSON")
    }

    /// Replaces the result.
    fn write(&self, result: &Value) {
        fs::write(self.result(), result.to_string()).expect("there is room for temporary files");
    }

    /// The page of the result.
    #[track_caller]
    fn page(&self) -> PathBuf {
        let page = self.folder.path().join("report.html");
        let (result, to) = (self.result(), page.to_str().expect("it has a name in ASCII"));
        let result = result.to_str().expect("it has a name in ASCII");
        Loadgen::new(&["show", result, "--format", "html", "-o", to]).finish().expect_code(0);
        page
    }

    fn result(&self) -> PathBuf {
        self.folder.path().join("result.json")
    }
}
