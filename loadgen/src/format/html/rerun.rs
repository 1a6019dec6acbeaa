//! How to reproduce a result: the command line that made it, and the seed.

use maud::{Markup, html};

use super::parts;
use crate::result::{Document, MergedPart, Report};

/// The known commands.
pub(super) fn commands(document: &Document) -> Markup {
    let (seed, runs) = match document {
        Document::Run(report) => match &report.merged {
            Some(merged) => (None, merged.parts.as_slice()),
            None => (Some(report.plan.seed), &[][..]),
        },
        Document::Comparison(comparison) => (Some(comparison.plan.seed), &[][..]),
        Document::Sweep(sweep) => (Some(sweep.plan.seed), &[][..]),
    };
    if document.command().is_none() && runs.is_empty() {
        return html! {};
    }
    let content = html! {
        @if let Some(command) = document.command() { (line(None, command, seed)) }
        @for MergedPart { name, seed, command, .. } in runs {
            @match command {
                Some(command) => (line(Some(name), command, Some(*seed))),
                None => p.small { (name) ": seed " (seed) },
            }
        }
    };
    parts::section("Reproduce", &content)
}

/// The known commands of several runs.
pub(super) fn commands_of(runs: &[(String, Report)]) -> Markup {
    let known = runs.iter().filter_map(|(name, report)| Some((name, report, report.command.as_ref()?)));
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return html! {};
    }
    let content = html! {
        @for (name, report, command) in known { (line(Some(name), command, Some(report.plan.seed))) }
    };
    parts::section("Reproduce", &content)
}

fn line(name: Option<&str>, command: &str, seed: Option<u64>) -> Markup {
    let heading = name.into_iter().map(str::to_owned).chain(seed.map(|seed| format!("seed {seed}")));
    let heading = heading.collect::<Vec<_>>().join(": ");
    html! {
        @if !heading.is_empty() { p.small { (heading) } }
        pre { code { (unbroken(command)) } }
    }
}

/// A command whose flags are not broken at their hyphens. The value of a flag may be long, so it may be broken.
fn unbroken(command: &str) -> Markup {
    html! {
        @for (index, word) in command.split(' ').enumerate() {
            @let name = if word.starts_with('-') { word.find('=').unwrap_or(word.len()) } else { 0 };
            @if index > 0 { " " }
            @if name > 0 { span.whole { (word[..name]) } }
            (word[name..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_flag_stays_whole_and_its_value_may_be_broken() {
        let markup = unbroken("loadgen  run --message='a <b>' -c 5").into_string();
        let whole = "loadgen  run <span class=\"whole\">--message</span>='a &lt;b&gt;' <span class=\"whole\">-c</span> 5";
        assert_eq!(markup, whole);
    }
}
