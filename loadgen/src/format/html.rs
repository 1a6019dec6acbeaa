//! The report as a page for a browser: one file without scripts and without references to other files.

mod against;
mod axis;
mod clients;
mod comparison;
mod curve;
mod draw;
mod figure;
mod figures;
mod heat;
mod numbers;
mod overlay;
mod palette;
mod parts;
mod plot;
mod rerun;
mod run;
mod several;
mod sweep;
#[cfg(test)]
mod tests;

use std::io;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(crate) use self::several::RUNS_MAX;
use crate::result::{Document, Report};

/// The style of the page. The style of the plots is generated from their palette.
const STYLE: &str = include_str!("html/page.css");
/// The browser may load nothing for the page; only the style inside it applies.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Prints a result as a page.
pub(crate) fn write(document: &Document, out: &mut dyn io::Write) -> io::Result<()> {
    let (title, content) = match document {
        Document::Run(report) => (run::title(report), run::content(report)),
        Document::Comparison(comparison) => (comparison::title(comparison), comparison::content(comparison)),
        Document::Sweep(sweep) => (sweep::title(sweep), sweep::content(sweep)),
    };
    let content = html! { (content) (rerun::commands(document)) };
    out.write_all(page(&title, &content).into_string().as_bytes())
}

/// Prints the results of at most [`RUNS_MAX`] runs on one page, each with its name.
pub(crate) fn write_several(runs: &[(String, Report)], out: &mut dyn io::Write) -> io::Result<()> {
    let content = html! { (several::content(runs)) (rerun::commands_of(runs)) };
    out.write_all(page(&several::title(runs), &content).into_string().as_bytes())
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
                // Both styles are constants of the program, so they need no escaping.
                style { (PreEscaped(STYLE)) (PreEscaped(palette::css(draw::UNITS))) }
            }
            body {
                main { (content) }
            }
        }
        "\n"
    }
}
