//! The report as one page for a browser: a file of its own that needs nothing else, and no script.

mod axis;
mod comparison;
mod curve;
mod draw;
mod figures;
mod numbers;
mod palette;
mod parts;
mod plot;
mod run;
mod sweep;

use std::io;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Document;

/// The page's own style. The plots' is made of their palette.
const STYLE: &str = include_str!("html/page.css");
/// What the browser may load for the page: nothing but the style that is in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Prints a result as a page.
pub fn write(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    let (title, content) = match document {
        Document::Run(report) => (run::title(report), run::content(report)),
        Document::Comparison(comparison) => (comparison::title(comparison), comparison::content(comparison)),
        Document::Sweep(sweep) => (sweep::title(sweep), sweep::content(sweep)),
    };
    out.write_all(page(&title, &content).into_string().as_bytes())
}

fn page(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                // Both are the program's own.
                style { (PreEscaped(STYLE)) (PreEscaped(palette::css(draw::UNITS))) }
            }
            body {
                main { (content) }
            }
        }
        "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recording,
        report::{
            Calibration, Floor, Latency, Merged, SloOutcome, comparison::tests::example as comparison,
            sweep::tests::example as sweep, tests::example as run,
        },
        summary,
    };

    fn text(document: &Document) -> String {
        let mut text = Vec::new();
        write(document, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_users_name_is_text_and_never_markup() {
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
        for document in [
            Document::Run(Box::new(report)),
            Document::Comparison(Box::new(of_several)),
            Document::Sweep(Box::new(curves)),
        ] {
            let text = text(&document);
            assert!(!text.contains("<script") && !text.contains("'&'"), "{text}");
            assert!(text.contains("&lt;script&gt;"), "{text}");
        }
    }

    #[test]
    fn a_page_needs_nothing_else() {
        for document in [
            Document::Run(Box::new(run())),
            Document::Comparison(Box::new(comparison())),
            Document::Sweep(Box::new(sweep())),
        ] {
            let text = text(&document).replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
            for part in ["http:", "https:", "src=", "href=", "@import", "url(", "<link", "<script"] {
                assert!(!text.contains(part), "{part} in {text}");
            }
            assert!(text.starts_with("<!DOCTYPE html>") && text.contains("default-src 'none'"), "{text}");
        }
    }

    #[test]
    fn what_is_known_of_a_run_is_on_its_page_and_what_is_not_is_left_out() {
        let plain = text(&Document::Run(Box::new(run())));
        let mut report = run();
        let response = report.latency_ns.response.clone();
        report.slo = [("p99<1ms", false), ("errors<1%", true)]
            .map(|(slo, met)| SloOutcome {
                slo: slo.to_owned(),
                met,
                actual: None,
                message: "was seen".to_owned(),
            })
            .into();
        report.calibration = Some(Calibration {
            verdict: report.verdict.clone(),
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
        report.merged = Some(Merged { generators: 3, start_skew_ns: 2_000_000 });
        let full = text(&Document::Run(Box::new(report)));
        for part in [
            "<strong>missed</strong> <code>p99&lt;1ms</code> was seen",
            "<strong>met</strong> <code>errors&lt;1%</code>",
            "got 123,456 replies a second",
            "<th scope=\"row\">p99.9</th><td>40.0 µs</td><td>20.0 µs</td><td>50.0%</td>",
            "<th scope=\"col\">written → ready</th><th scope=\"col\">ready → read</th>",
            "3 generators, which began within 2.00 ms",
        ] {
            assert!(full.contains(part) && !plain.contains(part), "{part} in {full}");
        }
    }

    #[test]
    fn a_run_without_a_reply_has_a_page() {
        let mut report = run();
        let nothing = Latency {
            hdr: summary::serialise(recording::Latency::default().histogram()),
            ..Latency::default()
        };
        report.latency_ns.response = nothing.clone();
        report.latency_ns.service = nothing.clone();
        report.latency_ns.schedule_lag = None;
        // As in results of before there was such a part.
        report.latency_ns.due_to_written = Latency::default();
        report.response_histogram.clear();
        report.fairness.replies_hdr.clear();
        let text = text(&Document::Run(Box::new(report)));
        assert!(!text.contains("<figure") && text.contains("holds no intervals"), "{text}");
    }
}
