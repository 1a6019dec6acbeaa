//! The report as text for people: as wide as the screen, with colours if the screen shows them.

pub(crate) mod comparison;
mod page;
mod run;
pub(crate) mod several;
pub(crate) mod sweep;
pub(crate) mod table;

use std::io;

use self::page::{Page, line};
use crate::{
    format::{screen::Screen, words::status_word},
    result::{Document, verdicts::Shared},
};

/// Prints a result.
pub(crate) fn write(document: &Document, screen: Screen, out: &mut dyn io::Write) -> io::Result<()> {
    let mut page = Page::new(screen);
    match document {
        Document::Run(report) => run::write(report, &mut page)?,
        Document::Comparison(comparison) => comparison::write(comparison, &mut page)?,
        Document::Sweep(sweep) => sweep::write(sweep, &mut page)?,
    }
    page.print(out)
}

/// Prints the reasons of verdicts. Servers that share a reason are listed once, with the message of the first one.
fn write_reasons(shared: &[Shared<'_>], out: &mut Page) -> io::Result<()> {
    for doubt in shared {
        let reason = doubt.reason;
        line(out, status_word(reason.status), &format!("{}: {}", reason.code, doubt.names()))?;
        let first = match doubt.servers.as_slice() {
            [(name, ..), _, ..] => format!("{name}: "),
            _ => String::new(),
        };
        line(out, "", &format!("{first}{}", reason.message))?;
        if !reason.advice.is_empty() {
            line(out, "", &format!("→ {}", reason.advice))?;
        }
    }
    Ok(())
}
