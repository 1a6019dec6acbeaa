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
    use crate::report::{
        comparison::tests::example as comparison, sweep::tests::example as sweep, tests::example as run,
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
}
