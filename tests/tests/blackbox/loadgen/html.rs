//! The report as a page, looked at in a real browser.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    behaviour::group,
    harness::{
        browser::{Scheme, measure, picture_bytes},
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
        a_bad_run_says_so_first_and_marks_when_requests_failed needs machine::browser,
        a_name_that_is_a_script_is_shown_and_not_run needs machine::browser,
        a_page_is_not_blank_under_its_own_policy needs machine::browser,
    }
}

/// The width of a page on a desk, and on a phone.
const DESK: u32 = 1280;
const PHONE: u32 = 390;

/// What the results' names are in the tests of what is done with names.
const EVIL: &str = "</svg><img src=x onerror=\"evil=true\"><script>evil=true</script>";

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
            "Replies of each client",
        ] {
            assert!(plots.iter().any(|plot| plot["title"] == title), "there is no plot '{title}'");
        }
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
    let args = "-m event-loop,thread-pool --rounds 2 -c 10 -r 1k -d 300ms -w 100ms -q";
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
        assert_eq!(lines, [2, 2, 3], "a line for each server, and one of what was offered");
        for part in ["the knee", "holds the SLO", "did not do all", "1,000 – 2,000/s", "CANNOT KEEP UP"] {
            assert!(found["text"].as_str().unwrap().contains(part), "'{part}' is not on the page");
        }
    }
}

fn a_bad_run_says_so_first_and_marks_when_requests_failed() {
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
    for part in ["mismatch", "→", "requests failed", "The first wrong reply"] {
        assert!(text.contains(part), "'{part}' is not in {text}");
    }
}

fn a_name_that_is_a_script_is_shown_and_not_run() {
    let kept = Kept::new();
    kept.make(Loadgen::run(None, "-c 2 -n 20 -w 0s -q"));
    let mut run = kept.json();
    run["plan"]["targets"] = json!([EVIL]);
    run["plan"]["message"] = json!(EVIL);
    run["server"] = Value::Null;
    let sweep = sweep(&run, EVIL);
    for result in [run, sweep] {
        kept.write(&result);
        let found = measure(&kept.page(), Scheme::Light, &[DESK]).remove(0);
        assert_eq!(
            (&found["was_evil"], &found["scripts"]),
            (&json!(false), &json!(1)),
            "only the probe's script"
        );
        let shown = EVIL.replace(['<', '>', '&'], "?");
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

/// What the page looks like in each scheme and width, after what holds for every page was checked.
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
        "the page is as dark as it is to be"
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
    assert!(!plots(found).is_empty());
    for plot in plots(found) {
        assert_eq!(plot["pictures"], 1, "one drawing of each plot is seen: {plot}");
        let (left, right, height) =
            (number(&plot["box"][0]), number(&plot["box"][1]), number(&plot["box"][2]));
        assert!(left >= 0.0 && right <= f64::from(width) && right - left > 250.0 && height > 150.0, "{plot}");
        assert_eq!(plot["outside"], json!([]), "words are cut off: {plot}");
        assert!(number(&plot["lines"]) >= 1.0 && number(&plot["faintest"]) >= 3.0, "{plot}");
        assert!(!plot["label"].as_str().unwrap().is_empty(), "{plot}");
    }
}

fn plots(found: &Value) -> Vec<&Value> {
    found["plots"].as_array().expect("a list").iter().collect()
}

fn has_text(plot: &Value, text: &str) -> bool {
    plot["texts"].as_array().expect("a list").iter().any(|shown| shown == text)
}

/// The result of a sweep of two servers, one of which breaks, with what this run says of its plan and environment.
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
    let subject = |name: &str, curve: Value, high: Option<u64>| {
        json!({
            "name": name, "mode": null, "command": name, "target": null, "failure": null, "points": [],
            "curve": curve, "end": { "trouble": null, "level": 4_000, "message": "came to its end" },
            "knee": { "level": 1_000, "achieved_per_s": 1_000.0, "mean_ns": 1e5, "power": 1e7, "beyond": null },
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
        "subjects": [subject(name, breaking, Some(2_000)), subject("other", carrying, None)],
    })
}

/// A result in a folder of its own, and the page of it.
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

    /// Puts another result in its place.
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
