//! Parts that all pages share.

use std::collections::BTreeMap;

use common::human::{count, duration_ns, failed_ns, plural, words};
use maud::{Markup, html};

use super::curve;
use crate::{
    format::words::{date, load, machine, message, tls},
    result::{CLOSED_LOOP, Environment, FailedTail, Loop, PlanSummary},
};

/// A part of the page with a heading.
pub(super) fn section(heading: &str, content: &Markup) -> Markup {
    html! {
        section {
            h2 { (heading) }
            (content)
        }
    }
}

/// The requests and replies of the servers that have their own.
pub(super) fn own_messages(own: &BTreeMap<String, PlanSummary>) -> Markup {
    html! {
        @for (server, plan) in own { p.load { (server) ": " (message(plan)) } }
    }
}

/// A table whose first column names its rows. A table that is wider than the page scrolls in its own box.
pub(super) fn table(name: &str, head: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div.scroll role="region" aria-label=(name) tabindex="0" {
            table {
                thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 {
                                    th scope="row" { (cell) }
                                } @else if index + 1 == row.len() && row.len() < head.len() {
                                    // The last cell of a short row gives the reason.
                                    td.rest colspan=(head.len() - index) { (cell) }
                                } @else {
                                    td { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The heads of a table of the text format, after an empty one for the names of the rows. In the text format, columns may
/// share the first line of a head; here each head is complete.
pub(super) fn heads(heads: impl Iterator<Item = &'static str>) -> Vec<String> {
    let mut shared = "";
    let whole = heads.map(|head| {
        let (first, second) = match head.split_once('\n') {
            Some(("", second)) => (shared, second),
            Some(lines) => lines,
            None => (head, ""),
        };
        shared = first;
        // `replies /s` becomes `replies/s`.
        format!("{first} {second}").trim().replace(" /", "/")
    });
    std::iter::once(String::new()).chain(whole).collect()
}

/// Facts, each with its name. Unknown facts are omitted.
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

/// A sentence that breaks no flag at its hyphens and separates no number from its unit.
pub(super) fn prose(text: &str) -> Markup {
    html! {
        @for (index, word) in words(text).iter().enumerate() {
            @if index > 0 { " " }
            @if word.contains(' ') || is_flag(word) { span.whole { (word) } } @else { (word) }
        }
    }
}

fn is_flag(word: &str) -> bool {
    let flag = word.trim_start_matches(['(', '\'', '"']).strip_prefix('-');
    flag.is_some_and(|flag| flag.starts_with(|first: char| first == '-' || first.is_ascii_alphabetic()))
}

/// The notes. A closed loop has the note about closed loops once.
pub(super) fn notes(notes: &[String], kind: Loop) -> Markup {
    let is_noted = notes.iter().any(|note| note.contains(CLOSED_LOOP));
    html! {
        @for note in notes { p.note { (prose(note)) } }
        @if kind == Loop::Closed && !is_noted { p.note { (prose(CLOSED_LOOP)) } }
    }
}

/// A reason: the message and the advice.
pub(super) fn reason(lead: &Markup, message: &str, advice: &str) -> Markup {
    html! {
        p { (lead) " " (prose(message)) }
        @if !advice.is_empty() { p.advice { "→ " (prose(advice)) } }
    }
}

/// The plan.
pub(super) fn plan(plan: &PlanSummary) -> Vec<(&'static str, Option<String>)> {
    let sources: Vec<_> = plan.sources.iter().map(ToString::to_string).collect();
    vec![
        ("targets", Some(plan.targets.join(", ")).filter(|targets| !targets.is_empty())),
        ("load", Some(load(plan))),
        ("source addresses", Some(sources.join(", ")).filter(|sources| !sources.is_empty())),
        ("message", Some(message(plan))),
        ("TLS", tls(plan, None)),
        ("warm-up", Some(seconds(plan.warmup_s))),
        ("duration", plan.duration_s.map(seconds)),
        ("requests, at most", plan.requests.map(count)),
        ("length of an interval", Some(seconds(plan.interval_s))),
        ("reply timeout", Some(seconds(plan.timeout_s))),
        ("connect timeout", Some(seconds(plan.connect_timeout_s))),
        ("seed", Some(plan.seed.to_string())),
    ]
}

/// The machine, the program, and the start of the run.
pub(super) fn environment(
    environment: &Environment,
    started_at_unix_ms: u64,
) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("machine", Some(machine(environment))),
        ("open files limit", Some(count(environment.open_files_limit))),
        ("loadgen version", Some(environment.version.clone())),
        ("started", Some(date(started_at_unix_ms))),
    ]
}

pub(super) fn seconds(seconds: f64) -> String {
    duration_ns((seconds * 1e9) as u64)
}

pub(super) fn time(time_ns: Option<u64>) -> String {
    time_ns.map_or("-".to_owned(), duration_ns)
}

/// A percentile or the maximum, by its name in the result. It may fall among the failed requests.
pub(super) fn percentile(name: &str, time_ns: Option<u64>, tail: Option<&FailedTail>) -> String {
    match (time_ns, curve::longer_than_ns(tail, name)) {
        (None, Some(longer_than_ns)) => failed_ns(longer_than_ns),
        (time_ns, _) => time(time_ns),
    }
}

pub(super) fn clients(count: u64) -> String {
    plural(count, "client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_several_columns_share_is_repeated_in_each() {
        let heads = heads(["verdict", "replies\n/s", "resp.\np50", "\np99", "", "Jain"].into_iter());
        assert_eq!(heads, ["", "verdict", "replies/s", "resp. p50", "resp. p99", "", "Jain"]);
    }

    #[test]
    fn an_unknown_fact_is_omitted() {
        let facts = facts(&[("one", Some("1".to_owned())), ("other", None)]).into_string();
        assert_eq!(facts, "<dl class=\"facts\"><div><dt>one</dt><dd>1</dd></div></dl>");
    }

    #[test]
    fn a_flag_is_never_broken_and_a_number_keeps_its_unit() {
        for (text, markup) in [
            ("plain words", "plain words"),
            ("--rate shows <them>", "<span class=\"whole\">--rate</span> shows &lt;them&gt;"),
            ("threads (-t) or", "threads <span class=\"whole\">(-t)</span> or"),
            (
                "took 5.00 s, not 1,000 ms",
                "took <span class=\"whole\">5.00 s,</span> not <span class=\"whole\">1,000 ms</span>",
            ),
            ("a - b, 5 requests, event-loop", "a - b, 5 requests, event-loop"),
        ] {
            assert_eq!(prose(text).into_string(), markup);
        }
    }

    #[test]
    fn a_closed_loop_is_noted_once() {
        let count = |own: &[&str], kind| {
            let own: Vec<_> = own.iter().map(|note| (*note).to_owned()).collect();
            notes(&own, kind).into_string().matches(&CLOSED_LOOP[..20]).count()
        };
        let merged = format!("a.json, b.json: {CLOSED_LOOP}");
        assert_eq!(count(&[CLOSED_LOOP, "other"], Loop::Closed), 1);
        assert_eq!(count(&[&merged], Loop::Closed), 1);
        // Older results have no such note.
        assert_eq!(count(&[], Loop::Closed), 1);
        assert_eq!(count(&[], Loop::Open), 0);
    }

    #[test]
    fn a_percentile_is_a_time_or_failed_or_withheld() {
        let tail = FailedTail {
            count: 3,
            longer_than_ns: 500_000_000,
            percentiles: vec!["p99".to_owned(), "max".to_owned()],
        };
        for (name, time_ns, shown) in
            [("p50", Some(1_000_000), "1.00 ms"), ("p99", None, "> 500 ms (failed)"), ("p99_99", None, "-")]
        {
            assert_eq!(percentile(name, time_ns, Some(&tail)), shown);
        }
        assert_eq!(percentile("p99", None, None), "-");
    }
}
