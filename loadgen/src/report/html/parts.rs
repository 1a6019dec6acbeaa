//! What all pages are built of.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

use crate::{
    human::{count, duration_ns},
    report::{
        Environment, Loop, PlanSummary,
        text::{load, machine, message, plural},
    },
};

/// Why the queues of a closed loop are not in its numbers.
const CLOSED_LOOP: &str = "A closed loop: each client waits for its reply before it asks again, so it cannot see the \
                           queues that this waiting keeps from forming. --rate shows them.";

/// A part of the page with a heading.
pub(super) fn section(heading: &str, content: &Markup) -> Markup {
    html! {
        section {
            h2 { (heading) }
            (content)
        }
    }
}

/// A table whose first column names its rows. Where it is wider than the page it scrolls in its own box.
pub(super) fn table(name: &str, head: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div.scroll role="region" aria-label=(name) tabindex="0" {
            table {
                thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The heads of a table of the text format, after that of its rows' names. There, a head of two lines stands over those
/// after it whose first line is empty; here each is whole.
pub(super) fn heads(heads: impl Iterator<Item = &'static str>) -> Vec<String> {
    let mut over = "";
    let whole = heads.map(|head| {
        let (first, second) = match head.split_once('\n') {
            Some(("", second)) => (over, second),
            Some(lines) => lines,
            None => (head, ""),
        };
        over = first;
        // What a number is divided by needs no space before it.
        format!("{first} {second}").trim().replace(" /", "/")
    });
    std::iter::once(String::new()).chain(whole).collect()
}

/// Facts, each with its name; what is not known is left out.
pub(super) fn facts(facts: &[(&str, Option<String>)]) -> Markup {
    let known = facts.iter().filter_map(|(name, fact)| Some((name, fact.as_ref()?)));
    html! {
        dl.facts {
            @for (name, fact) in known {
                div { dt { (name) } dd { (fact) } }
            }
        }
    }
}

/// What there is to say besides.
pub(super) fn notes(notes: &[String]) -> Markup {
    html! {
        @for note in notes { p.note { (note) } }
    }
}

/// What was to be done.
pub(super) fn plan(plan: &PlanSummary) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("targets", Some(plan.targets.join(", ")).filter(|targets| !targets.is_empty())),
        ("load", Some(load(plan))),
        ("message", Some(message(plan))),
        ("warm-up", Some(seconds(plan.warmup_s))),
        ("duration", plan.duration_s.map(seconds)),
        ("requests at most", plan.requests.map(count)),
        ("intervals of", Some(seconds(plan.interval_s))),
        ("timeout of a reply", Some(seconds(plan.timeout_s))),
        ("timeout of a connection", Some(seconds(plan.connect_timeout_s))),
        ("seed", Some(plan.seed.to_string())),
    ]
}

/// Where it was done, and when.
pub(super) fn environment(
    environment: &Environment,
    started_at_unix_ms: u64,
) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("machine", Some(machine(environment))),
        ("open files", Some(format!("{} at most", count(environment.open_files_limit)))),
        ("loadgen", Some(environment.version.clone())),
        ("began", Some(date(started_at_unix_ms))),
    ]
}

/// What a reader must know of a closed loop.
pub(super) fn closed_loop(plan: &PlanSummary) -> Markup {
    html! {
        @if plan.r#loop == Loop::Closed { p.note { (CLOSED_LOOP) } }
    }
}

pub(super) fn seconds(seconds: f64) -> String {
    duration_ns((seconds * 1e9) as u64)
}

pub(super) fn time(time_ns: Option<u64>) -> String {
    time_ns.map_or("-".to_owned(), duration_ns)
}

pub(super) fn clients(count: u64) -> String {
    plural(count, "client")
}

/// In UTC, to the second.
fn date(unix_ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_stands_over_several_columns_is_said_in_each() {
        let heads = heads(["verdict", "replies\n/s", "resp.\np50", "\np99", "", "Jain"].into_iter());
        assert_eq!(heads, ["", "verdict", "replies/s", "resp. p50", "resp. p99", "", "Jain"]);
    }

    #[test]
    fn a_fact_that_is_not_known_is_left_out() {
        let facts = facts(&[("one", Some("1".to_owned())), ("other", None)]).into_string();
        assert_eq!(facts, "<dl class=\"facts\"><div><dt>one</dt><dd>1</dd></div></dl>");
    }

    #[test]
    fn a_date_is_in_utc() {
        assert_eq!(date(1_800_000_000_999), "2027-01-15T08:00:00Z");
    }
}
