mod several;
mod tiles;

use self::several::side_by_side;
use super::*;
use crate::{
    command::compare::against::tests::held,
    engine::latency,
    result::{
        Calibration, Floor, Interval, Latency, Merged, MergedPart, Pause, Pauses, Report, Requests,
        SloOutcome, Tail,
        comparison::tests::example as comparison,
        precision::{KnownPercentile, Precision},
        summary::{self, Unanswered},
        sweep::tests::example as sweep,
        tests::example as run,
    },
};

/// A run of 4,000 requests, 100 of which got no reply: they timed out, were never sent, or were cut off.
fn failing() -> Report {
    let mut report = run();
    let mut times = latency::Latency::default();
    (1..=3_900).for_each(|number| times.record(number * 1_000));
    let none = Unanswered { count: 100, waited_ns_min: 300_000_000 };
    report.latency_ns.response = summary::distribution(times.histogram(), none);
    report.latency_ns.successful = summary::latency(&times);
    report.latency_ns.service = summary::latency(&times);
    report.response_histogram = summary::bars(times.histogram());
    report.requests = Requests {
        due: 4_000,
        sent: 3_993,
        completed: 3_900,
        completed_after_window: 11,
        failed: 95,
        unsent: 7,
        cut_off: 5,
        ..Requests::default()
    };
    report.errors.insert("timeout".to_owned(), 88);
    report.errors.insert("unsent".to_owned(), 7);
    report.errors_before_window.insert("mismatch".to_owned(), 13);
    report.tail = Tail { length_s: 0.3, completed: 11, failed: 20 };
    let interval =
        |t_s, count| summary::interval(t_s, 1_900.0, times.histogram(), Unanswered { count, ..none });
    report.intervals = vec![interval(0.0, 0), interval(1.0, 75)];
    report.generator.pauses = Pauses {
        count: 20,
        total_ns_max: 80_000_000,
        requests: 60,
        longest: vec![Pause { t_s: 0.5, length_ns: 70_000_000 }, Pause { t_s: 1.5, length_ns: 10_000_000 }],
    };
    report
}

fn text(document: &Document) -> String {
    let mut text = Vec::new();
    write(document, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_confidence_intervals_stand_below_the_percentiles() {
    let mut report = run();
    assert!(!text(&Document::Run(Box::new(report.clone()))).contains("intervals: "));
    let known = |name: &str, low, high| KnownPercentile { name: name.to_owned(), low, high };
    report.precision = Some(Precision {
        confidence: 0.95,
        blocks: 12,
        block_s: 0.2,
        percentiles: vec![known("p50", 1_000_000, Some(1_200_000)), known("p99_9", 7_000_000, None)],
    });
    let page = text(&Document::Run(Box::new(report)));
    let expected =
        "Response, 95% intervals: p50 1.00 ms to 1.20 ms, p99.9 7.00 ms or more (12 blocks of 200 ms).";
    assert!(page.contains(expected), "{page}");
}

#[test]
fn names_from_users_are_text_and_never_markup() {
    let evil = "\"><script>alert('&')</script>";
    let mut report = run();
    report.plan.targets = vec![evil.to_owned()];
    report.plan.message = Some(evil.to_owned());
    report.notes = vec![evil.to_owned()];
    report.environment.cpu = evil.to_owned();
    let mut of_several = comparison();
    of_several.plan.baseline = evil.to_owned();
    of_several.subjects.iter_mut().for_each(|subject| {
        subject.name = evil.to_owned();
        subject.command = Some(evil.to_owned());
        subject.failure.iter_mut().for_each(|failure| failure.output = vec![evil.to_owned()]);
    });
    let mut curves = sweep();
    curves.plan.slo = vec![evil.to_owned()];
    curves.subjects.iter_mut().for_each(|subject| {
        subject.name = evil.to_owned();
        subject.command = Some(evil.to_owned());
        subject.target = Some(evil.to_owned());
        subject.failure.iter_mut().for_each(|failure| failure.output = vec![evil.to_owned()]);
    });
    let several = side_by_side(&[(evil, report.clone()), (evil, report.clone())]);
    let pages = [
        Document::Run(Box::new(report)),
        Document::Comparison(Box::new(of_several)),
        Document::Sweep(Box::new(curves)),
    ];
    for text in pages.iter().map(text).chain([several]) {
        assert!(!text.contains("<script") && !text.contains("'&'"), "{text}");
        assert!(text.contains("&lt;script&gt;"), "{text}");
    }
}

#[test]
fn a_page_refers_to_no_other_file() {
    let pages = [
        Document::Run(Box::new(run())),
        Document::Comparison(Box::new(comparison())),
        Document::Sweep(Box::new(sweep())),
    ];
    let several = side_by_side(&[("a", failing()), ("b", run())]);
    for text in pages.iter().map(text).chain([several]) {
        let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for part in ["http:", "https:", "src=", "href=", "@import", "url(", "<link", "<script"] {
            assert!(!text.contains(part), "{part} in {text}");
        }
        assert!(text.starts_with("<!DOCTYPE html>") && text.contains("default-src 'none'"), "{text}");
    }
}

#[test]
fn a_page_shows_all_known_values_and_omits_the_others() {
    let plain = text(&Document::Run(Box::new(run())));
    let mut report = run();
    let response = report.latency_ns.response.clone();
    report.slo = [("p99<1ms", false), ("errors<1%", true)]
        .map(|(slo, met)| SloOutcome {
            slo: slo.to_owned(),
            met,
            actual: None,
            failed: false,
            message: "was seen".to_owned(),
        })
        .into();
    report.calibration = Some(Calibration {
        verdict: report.verdict.clone(),
        offered_per_s: None,
        achieved_per_s: 123_456.0,
        response: response.clone(),
        service: response.clone(),
        floor: vec![Floor {
            percentile: "p99_9".to_owned(),
            floor_ns: Some(20_000),
            response_ns: Some(40_000),
            share: Some(0.5),
        }],
    });
    report.latency_ns.written_to_ready = Some(response.clone());
    report.latency_ns.ready_to_read = Some(response);
    report.merged = Some(Merged {
        generators: 3,
        start_skew_ns: 2_000_000,
        expected: Some(4),
        missing: vec![2],
        ..Merged::default()
    });
    let full = text(&Document::Run(Box::new(report)));
    for part in [
        "<strong>missed</strong> <code>p99&lt;1ms</code> was seen",
        "<strong>met</strong> <code>errors&lt;1%</code>",
        "reached 123,456 replies per second",
        "<th scope=\"row\">p99.9</th><td>40.0 µs</td><td>20.0 µs</td><td>50.0%</td>",
        "<th scope=\"col\">written → ready</th><th scope=\"col\">ready → read</th>",
        "3 generators; their windows began within 2.00 ms",
        "Partial: the numbers cover 3 of 4 parts.",
    ] {
        assert!(full.contains(part) && !plain.contains(part), "{part} in {full}");
    }
}

/// The page without the spans that keep flags whole.
fn shown(document: &Document) -> String {
    text(document).replace("<span class=\"whole\">", "").replace("</span>", "")
}

#[test]
fn every_page_has_the_commands_that_reproduce_it() {
    let command = "loadgen run --slo 'p99<5ms' --seed 7";
    for mut document in [
        Document::Run(Box::new(run())),
        Document::Comparison(Box::new(comparison())),
        Document::Sweep(Box::new(sweep())),
    ] {
        assert!(!text(&document).contains(">Reproduce<"));
        document.set_command(command.to_owned());
        let text = shown(&document);
        assert!(text.contains("<code>loadgen run --slo 'p99&lt;5ms' --seed 7</code>"), "{text}");
        assert!(text.contains("seed "), "{text}");
    }
    let part = |name: &str, seed, command: Option<&str>| MergedPart {
        id: String::new(),
        name: name.to_owned(),
        seed,
        command: command.map(str::to_owned),
        ..MergedPart::default()
    };
    let mut sum = run();
    sum.merged = Some(Merged {
        parts: vec![part("a.json", 7, Some(command)), part("b.json", 8, None)],
        ..Merged::default()
    });
    let text = shown(&Document::Run(Box::new(sum)));
    for part in ["a.json: seed 7", "--seed 7</code>", "b.json: seed 8"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_run_without_a_reply_has_a_page() {
    let mut report = run();
    let nothing =
        Latency { hdr: summary::serialise(latency::Latency::default().histogram()), ..Latency::default() };
    report.latency_ns.response = nothing.clone();
    report.latency_ns.service = nothing.clone();
    report.latency_ns.schedule_lag = None;
    // As in older results.
    report.latency_ns.due_to_written = Latency::default();
    report.response_histogram.clear();
    report.fairness.replies_hdr.clear();
    let without = text(&Document::Run(Box::new(report.clone())));
    assert!(!without.contains("<figure") && without.contains("holds no intervals"), "{without}");
    // Requests without a reply are shown even if no request got one.
    let none = Unanswered { count: 50, waited_ns_min: 1_000_000_000 };
    report.latency_ns.response = summary::distribution(latency::Latency::default().histogram(), none);
    let failed = text(&Document::Run(Box::new(report)));
    for part in ["from p0 on: no reply", "50 of 50 requests got no reply: longer than 1.00 s"] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
}

#[test]
fn requests_without_a_reply_are_in_every_part_of_a_page() {
    let good = text(&Document::Run(Box::new(run())));
    let report = failing();
    let text = text(&Document::Run(Box::new(report)));
    for part in [
        // The main numbers and the table.
        "<span class=\"whole\">300 ms</span> (failed)",
        "<dd>successful 3.86 ms</dd>",
        "<th scope=\"col\">response</th><th scope=\"col\">successful</th>",
        "<th scope=\"row\">p99</th><td>&gt; 300 ms (failed)</td><td>3.86 ms</td>",
        "<th scope=\"row\">mean</th><td>-</td><td>1.95 ms</td>",
        // The curve, the intervals, the histogram.
        "</span> from p97.5 on: no reply</li>",
        "100 of 4,000 requests got no reply and count as the slowest.",
        "</span> p99, max: longer than this, among the failed requests</li>",
        "</span> requests failed</li>",
        "20 more requests failed after the window and are in no interval.",
        "</span> 100 of 4,000 requests got no reply: longer than 300 ms</li>",
        "p99 &gt; 300 ms (failed), longest &gt; 300 ms (failed)",
        "11 requests got a reply and 20 failed.",
        // Separate from errors before the window.
        "Before the window, in no other number:",
        "<th scope=\"row\">mismatch</th><td>13</td>",
    ] {
        assert!(text.contains(part) && !good.contains(part), "{part} in {text}");
    }
    for (name, fact) in [
        ("due", "4,000"),
        ("completed in the window", "3,889"),
        ("completed after the window", "11"),
        ("failed", "95"),
        ("failed, never sent", "7"),
        ("cut off by the end of the run", "5"),
        ("error rate", "2.4%"),
    ] {
        let fact = format!("<dt>{name}</dt><dd>{fact}</dd>");
        assert_eq!(text.matches(&fact).count(), 1, "{fact} in {text}");
    }
}

#[test]
fn pauses_of_the_generator_are_listed_and_drawn() {
    let good = text(&Document::Run(Box::new(run())));
    assert!(good.contains("<dt>pauses</dt><dd>0</dd>") && !good.contains("longest pause"), "{good}");
    let text = text(&Document::Run(Box::new(failing())));
    for part in [
        "<dt>pauses</dt><dd>20</dd>",
        "<dt>longest pause</dt><dd>70.0 ms, 500 ms into the window</dd>",
        "<dt>requests in pauses</dt><dd>60</dd>",
        "</span> the load generator paused</li>",
        "The plot shows the 2 longest of 20 pauses of the load generator.",
        "The 2 longest of 20",
        "<th scope=\"row\">1.50 s</th><td>10.0 ms</td>",
    ] {
        assert!(text.contains(part) && !good.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_older_result_shows_only_its_own_values() {
    let mut report = run();
    report.requests.due = 0;
    report.requests.completed_after_window = 0;
    let text = text(&Document::Run(Box::new(report)));
    assert!(text.contains("<dt>due</dt><dd>2,000</dd></div><div><dt>completed</dt><dd>2,000</dd>"), "{text}");
    for part in ["after the window", "never sent", "cut off", "<dt>pauses"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_interval_with_only_failed_requests_is_shown() {
    let mut report = run();
    let none = Unanswered { count: 50, waited_ns_min: 1_000_000_000 };
    report.intervals = vec![Interval {
        hdr: String::new(),
        ..summary::interval(0.0, 0.0, latency::Latency::default().histogram(), none)
    }];
    let text = text(&Document::Run(Box::new(report)));
    assert!(
        text.contains("<h3>Response time</h3>") && text.contains("</span> p50, p99, max: longer"),
        "{text}"
    );
}

#[test]
fn a_comparison_and_a_sweep_mark_failed_requests() {
    let failed = failing().latency_ns.response;
    let mut of_several = comparison();
    let good = text(&Document::Comparison(Box::new(of_several.clone())));
    for round in &mut of_several.subjects[1].rounds {
        round.report.latency_ns.response = failed.clone();
    }
    let marked = text(&Document::Comparison(Box::new(of_several)));
    for part in
        ["</span> no reply from here on</li>", "twin: 300 of 12,000 requests got no reply, from p97.5 on."]
    {
        assert!(marked.contains(part) && !good.contains(part), "{part} in {marked}");
    }
    let mut curves = sweep();
    let good = text(&Document::Sweep(Box::new(curves.clone())));
    let subject = &mut curves.subjects[0];
    let level = subject.curve[1].level;
    subject.curve[1].p99_ns = None;
    for point in subject.points.iter_mut().filter(|point| point.level == level) {
        point.report.latency_ns.response = failed.clone();
    }
    let marked = text(&Document::Sweep(Box::new(curves)));
    let part = "</span> longer than this: among the failed requests</li>";
    assert!(marked.matches(part).count() == 1 && !good.contains(part), "{marked}");
}

#[test]
fn a_held_comparison_shows_the_change_of_each_metric() {
    let page = text(&Document::Comparison(Box::new(held())));
    for part in [
        "REGRESSION",
        "worse than in kept.json (tolerance: 5%)",
        "Held against kept.json",
        "the machine is not the same",
        "kept.json has no server with this name",
        "no difference shown",
        "2027-01-15T08:00:00Z",
        "gone",
    ] {
        assert!(page.contains(part), "'{part}' is not on the page");
    }
}
