//! The columns of the table of compared servers.

use crate::{
    format::{
        text::table::Column,
        words::{status_word, without_space},
    },
    result::{
        Status,
        comparison::{RoundsVerdict, Subject, SubjectStatus},
        metrics::{Metric, metric},
    },
};

/// The columns: medians of the rounds, except where a cell says otherwise.
pub(crate) static COLUMNS: &[Column<Subject>] = &[
    Column { head: "verdict", cell: |subject| Some(verdict(subject)) },
    Column { head: "replies\n/s", cell: |subject| median(subject, "replies_per_s") },
    Column { head: "resp.\np50", cell: |subject| median(subject, "response_p50_ns") },
    Column { head: "\np99", cell: |subject| median(subject, "response_p99_ns") },
    Column { head: "serv.\np50", cell: |subject| median(subject, "service_p50_ns") },
    Column { head: "\np99", cell: |subject| median(subject, "service_p99_ns") },
    Column { head: "served", cell: served },
    Column { head: "Jain", cell: jain },
    Column { head: "errs", cell: errors },
    Column { head: "CPU\n/req", cell: |subject| median(subject, "server_cpu_ns_per_request") },
    Column { head: "switch\n/req", cell: |subject| median(subject, "context_switches_per_request") },
    Column { head: "memory", cell: |subject| median(subject, "memory_bytes") },
];

fn verdict(subject: &Subject) -> String {
    match subject.status {
        SubjectStatus::Ok => rounds(&subject.verdict),
        SubjectStatus::Marked => "MARKED".to_owned(),
        SubjectStatus::Failed => "FAILED".to_owned(),
        SubjectStatus::Unmeasured => "no round".to_owned(),
    }
}

/// The verdict of the rounds, and how many rounds have it: `SUSPECT 3/5`.
fn rounds(verdict: &RoundsVerdict) -> String {
    match verdict.status {
        Status::Valid => "valid".to_owned(),
        status => format!("{} {}/{}", status_word(status), verdict.count, verdict.rounds),
    }
}

fn median(subject: &Subject, name: &str) -> Option<String> {
    Some(without_space(&metric(name)?.show_median(subject.summary.get(name)?)))
}

fn served(subject: &Subject) -> Option<String> {
    let (served, round) = (subject.summary.get("clients_served")?, subject.rounds.first()?);
    let clients = round.report.fairness.clients;
    let served = served.min?;
    Some(match served as u64 == clients {
        true => common::human::count(clients),
        false => format!("{served}/{clients}"),
    })
}

fn jain(subject: &Subject) -> Option<String> {
    Some(short(metric("jain")?, subject.summary.get("jain")?.min?))
}

fn errors(subject: &Subject) -> Option<String> {
    Some(short(metric("errors")?, subject.summary.get("errors")?.max?))
}

/// A value without the space before its unit, for tables with many columns.
fn short(metric: &Metric, value: f64) -> String {
    (metric.show)(value).replace(' ', "")
}
