//! The page of a run.

use common::human::{count, percent, rate};
use maud::{Markup, html};

use super::{
    figures, numbers,
    parts::{self, prose},
};
use crate::{
    format::words::{self, load, own_server, status_name},
    result::{Merged, Report, Status},
};

/// The title of the page.
pub(super) fn title(report: &Report) -> String {
    format!("{}: {} – loadgen", against(report), status_name(report.verdict.status))
}

/// The content of the page.
pub(super) fn content(report: &Report) -> Markup {
    html! {
        (verdict(report))
        (headline(report))
        (objectives(report))
        (parts::section("Latency", &figures::latency(report)))
        (parts::section("Over time", &figures::course(report)))
        (parts::section("Fairness and distribution", &figures::spread(report)))
        (numbers::all(report))
    }
}

fn meaning(status: Status) -> &'static str {
    match status {
        Status::Valid => "No rule of the verdict found a problem.",
        Status::Suspect => "Something disturbed the measurement: read the reasons before the numbers.",
        Status::Invalid => "Do not draw conclusions from these numbers: read the reasons.",
    }
}

fn verdict(report: &Report) -> Markup {
    let status = report.verdict.status;
    html! {
        section class={ "verdict " (status_name(status)) } {
            h1 { (status_name(status)) }
            p.meaning { (meaning(status)) }
            @if let Some(parts) = report.merged.as_ref().and_then(Merged::present_parts) {
                p { "Partial: the numbers cover " (parts) "." }
            }
            @if report.interrupted {
                p { "Interrupted: the numbers cover the part that ran." }
            }
            @if let Some(aborted) = &report.aborted {
                p { "Ended early: the numbers cover the part that ran. " (prose(&format!("{}.", words::aborted(aborted)))) }
            }
            @if !report.verdict.reasons.is_empty() {
                ul.reasons {
                    @for reason in &report.verdict.reasons {
                        li class=(status_name(reason.status)) {
                            (parts::reason(&html! { code { (reason.code) } }, &reason.message, &reason.advice))
                        }
                    }
                }
            }
            p.subject { (against(report)) }
            p.load {
                (prose(&format!("{}; {} measured", load(&report.plan), parts::seconds(report.elapsed_s))))
            }
        }
        (parts::notes(&report.notes, report.plan.r#loop))
    }
}

fn against(report: &Report) -> String {
    let targets = report.plan.targets.join(", ");
    report.server.as_ref().and_then(own_server).unwrap_or(targets)
}

/// The main numbers.
fn headline(report: &Report) -> Markup {
    let (response, fairness) = (&report.latency_ns.response, &report.fairness);
    let offered = report.rate.offered_per_s.map(|offered| format!("of {}/s offered", rate(offered)));
    let failed = match report.requests.all() {
        0 => "no request was due".to_owned(),
        all => format!("{} of {} due", percent(report.requests.error_rate()), count(all)),
    };
    let tail = response.failed_tail.as_ref();
    let named = |name, time_ns| parts::percentile(name, time_ns, tail);
    let successful = |name: &str, time_ns| match parts::percentile(name, None, tail).as_str() {
        "-" => None,
        _ => Some(format!("successful {}", parts::time(time_ns))),
    };
    let of_successful = &report.latency_ns.successful;
    let p99_9 = format!("p99.9 {}", named("p99_9", response.p99_9));
    let jain = fairness.jain.map(|jain| format!("Jain's index {jain:.3}"));
    let tiles = [
        ("achieved", format!("{}/s", rate(report.rate.achieved_per_s)), offered),
        ("response p50", named("p50", response.p50), successful("p50", of_successful.p50)),
        ("response p99", named("p99", response.p99), successful("p99", of_successful.p99).or(Some(p99_9))),
        ("longest", named("max", response.max), successful("max", of_successful.max)),
        ("failed", count(report.requests.failed), Some(failed)),
        ("clients served", format!("{} of {}", count(fairness.served), count(fairness.clients)), jain),
    ];
    html! {
        dl.tiles {
            @for (name, number, detail) in tiles {
                div {
                    dt { (name) }
                    dd.number { (prose(&number)) }
                    @if let Some(detail) = detail { dd { (detail) } }
                }
            }
        }
    }
}

/// The outcomes of the SLOs.
fn objectives(report: &Report) -> Markup {
    if report.slo.is_empty() {
        return html! {};
    }
    let content = html! {
        ul.objectives {
            @for outcome in &report.slo {
                li class=(if outcome.met { "valid" } else { "invalid" }) {
                    strong { (if outcome.met { "met" } else { "missed" }) }
                    " " code { (outcome.slo) } " " (prose(&outcome.message))
                }
            }
        }
    };
    parts::section("Objectives", &content)
}
