//! The page of a run.

use maud::{Markup, html};

use super::{figures, numbers, parts};
use crate::{
    human::{count, percent, rate},
    report::{
        Report, Status,
        text::{load, run::own_server},
    },
};

/// What the browser calls the page.
pub(super) fn title(report: &Report) -> String {
    format!("{}: {} – loadgen", against(report), word(report.verdict.status))
}

/// What is on it.
pub(super) fn content(report: &Report) -> Markup {
    html! {
        (verdict(report))
        (headline(report))
        (objectives(report))
        (parts::section("How long it took", &figures::latency(report)))
        (parts::section("In the course of the run", &figures::course(report)))
        (parts::section("How evenly", &figures::spread(report)))
        (numbers::all(report))
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Valid => "valid",
        Status::Suspect => "suspect",
        Status::Invalid => "invalid",
    }
}

fn meaning(status: Status) -> &'static str {
    match status {
        Status::Valid => "These numbers deserve trust.",
        Status::Suspect => "Something was odd: read the reasons before the numbers.",
        Status::Invalid => "These numbers do not say what they seem to say.",
    }
}

fn verdict(report: &Report) -> Markup {
    let status = report.verdict.status;
    html! {
        section class={ "verdict " (word(status)) } {
            h1 { (word(status)) }
            p.meaning { (meaning(status)) }
            @if report.interrupted {
                p { "Interrupted: these are the numbers of the part that was run." }
            }
            @if !report.verdict.reasons.is_empty() {
                ul.reasons {
                    @for reason in &report.verdict.reasons {
                        li class=(word(reason.status)) {
                            p { code { (reason.code) } " " (reason.message) }
                            @if !reason.advice.is_empty() { p.advice { "→ " (reason.advice) } }
                        }
                    }
                }
            }
            p.subject { (against(report)) }
            p.load { (load(&report.plan)) "; " (parts::seconds(report.elapsed_s)) " measured" }
        }
        (parts::notes(&report.notes))
        (parts::closed_loop(&report.plan))
    }
}

fn against(report: &Report) -> String {
    let targets = report.plan.targets.join(", ");
    report.server.as_ref().and_then(own_server).unwrap_or(targets)
}

/// The numbers that are asked for first.
fn headline(report: &Report) -> Markup {
    let (response, fairness) = (&report.latency_ns.response, &report.fairness);
    let offered = report.rate.offered_per_s.map(|offered| format!("of {}/s offered", rate(offered)));
    let all = report.requests.completed + report.requests.failed;
    let failed = match all {
        0 => "no request was due".to_owned(),
        all => format!("{} of {} requests", percent(report.requests.failed as f64 / all as f64), count(all)),
    };
    let jain = fairness.jain.map(|jain| format!("Jain's index {jain:.3}"));
    let tiles = [
        ("achieved", format!("{}/s", rate(report.rate.achieved_per_s)), offered),
        ("response p50", parts::time(response.p50), None),
        ("response p99", parts::time(response.p99), Some(format!("p99.9 {}", parts::time(response.p99_9)))),
        ("longest", parts::time(response.max), None),
        ("failed", count(report.requests.failed), Some(failed)),
        ("clients served", format!("{} of {}", count(fairness.served), count(fairness.clients)), jain),
    ];
    html! {
        dl.tiles {
            @for (name, number, besides) in tiles {
                div {
                    dt { (name) }
                    dd.number { (number) }
                    @if let Some(besides) = besides { dd { (besides) } }
                }
            }
        }
    }
}

/// What was asked of the result.
fn objectives(report: &Report) -> Markup {
    if report.slo.is_empty() {
        return html! {};
    }
    let content = html! {
        ul.objectives {
            @for outcome in &report.slo {
                li class=(if outcome.met { "valid" } else { "invalid" }) {
                    strong { (if outcome.met { "met" } else { "missed" }) }
                    " " code { (outcome.slo) } " " (outcome.message)
                }
            }
        }
    };
    parts::section("Objectives", &content)
}
