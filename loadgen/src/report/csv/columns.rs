//! The columns: their names, which end in the unit where there is one, and what they say of a run.

use crate::{
    compare::metrics::metric,
    report::{Interval, Latencies, Latency, Loop, Report, SloOutcome, Status, sweep::CurvePoint},
};

/// What stands in a row; None where that is withheld or unknown.
pub(super) type Cell = Option<String>;

/// What every row begins with: whether it is of an interval or of the whole, when that began, and how long it was.
pub(super) const COLUMNS_OF_A_PART: [&str; 3] = ["scope", "t_s", "length_s"];

/// A column: its name, and what it says of a run.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: Box<dyn Fn(&Report) -> Cell>,
}

type Named<T> = (&'static str, fn(&T) -> Cell);

/// Before the times.
static WHAT: &[Named<Report>] = &[
    ("verdict", |report| Some(status(report.verdict.status).to_owned())),
    ("reasons", |report| list(report.verdict.reasons.iter().map(|reason| reason.code.as_str()))),
    ("interrupted", |report| Some(report.interrupted.to_string())),
    ("slo_met", |report| (!report.slo.is_empty()).then(|| report.slo.iter().all(|slo| slo.met).to_string())),
    ("slo_missed", |report| list(missed(report).map(|slo| slo.slo.as_str()))),
    ("server_mode", |report| report.server.as_ref()?.mode.clone()),
    ("loop", |report| Some(kind(report.plan.r#loop).to_owned())),
    ("connections", |report| count(report.plan.connections.into())),
    ("offered_per_s", |report| number(report.rate.offered_per_s?)),
    ("achieved_per_s", |report| number(report.rate.achieved_per_s)),
    ("sent", |report| count(report.requests.sent)),
    ("completed", |report| count(report.requests.completed)),
    ("failed", |report| count(report.requests.failed)),
    ("verified", |report| count(report.requests.verified)),
    ("errors", |report| metric_of("errors", report)),
    ("bytes_sent", |report| count(report.requests.bytes_sent)),
    ("bytes_received", |report| count(report.requests.bytes_received)),
];

type Get = fn(&Latencies) -> Option<&Latency>;

/// The distributions.
static TIMES: &[(&str, Get)] = &[
    ("response", |times| Some(&times.response)),
    ("service", |times| Some(&times.service)),
    ("schedule_lag", |times| times.schedule_lag.as_ref()),
    ("connect", |times| Some(&times.connect)),
    ("due_to_written", |times| Some(&times.due_to_written)),
    ("written_to_ready", |times| times.written_to_ready.as_ref()),
    ("ready_to_read", |times| times.ready_to_read.as_ref()),
];

/// What is said of each.
static FIGURES: &[Named<Latency>] = &[
    ("count", |latency| count(latency.count)),
    ("min_ns", |latency| count(latency.min?)),
    ("mean_ns", |latency| number(latency.mean?)),
    ("stdev_ns", |latency| number(latency.stdev?)),
    ("p50_ns", |latency| count(latency.p50?)),
    ("p90_ns", |latency| count(latency.p90?)),
    ("p99_ns", |latency| count(latency.p99?)),
    ("p99_9_ns", |latency| count(latency.p99_9?)),
    ("p99_99_ns", |latency| count(latency.p99_99?)),
    ("max_ns", |latency| count(latency.max?)),
];

/// After the times.
static HOW: &[Named<Report>] = &[
    ("clients", |report| count(report.fairness.clients)),
    ("clients_served", |report| count(report.fairness.served)),
    ("clients_starved", |report| count(report.fairness.starved)),
    ("jain", |report| number(report.fairness.jain?)),
    ("client_requests_min", |report| count(report.fairness.requests_min)),
    ("client_requests_max", |report| count(report.fairness.requests_max)),
    ("longest_silence_ns", |report| count(report.fairness.longest_silence_ns)),
    ("longest_stall_ns", |report| count(report.fairness.longest_stall_ns)),
    ("effective_concurrency", |report| number(report.fairness.effective_concurrency?)),
    ("service_concurrency", |report| number(report.fairness.service_concurrency?)),
    ("generator_cpu_ns_per_request", |report| number(report.generator.cpu_ns_per_request?)),
    ("generator_busiest_thread_share", |report| number(report.generator.busiest_thread_share)),
    ("generator_idle_share_min", |report| number(report.generator.idle_share_min?)),
    ("generator_cpu_wait_share_max", |report| number(report.generator.cpu_wait_share_max?)),
    ("steal_share", |report| number(report.generator.steal_share?)),
    ("retransmissions", |report| count(report.network?.retransmissions)),
    ("listen_overflows", |report| count(report.network?.listen_overflows)),
    ("server_cpu_ns_per_request", |report| metric_of("server_cpu_ns_per_request", report)),
    ("context_switches_per_request", |report| metric_of("context_switches_per_request", report)),
    ("memory_bytes", |report| metric_of("memory_bytes", report)),
];

/// What is known of an interval.
static INTERVAL: &[Named<Interval>] = &[
    ("achieved_per_s", |interval| number(interval.achieved_per_s)),
    ("completed", |interval| count(interval.completed)),
    ("failed", |interval| count(interval.failed)),
    ("response_p50_ns", |interval| count(interval.p50?)),
    ("response_p90_ns", |interval| count(interval.p90?)),
    ("response_p99_ns", |interval| count(interval.p99?)),
    ("response_p99_9_ns", |interval| count(interval.p99_9?)),
    ("response_max_ns", |interval| count(interval.max?)),
];

/// What is known of a point of a load curve.
static CURVE: &[Named<CurvePoint>] = &[
    ("verdict", |point| Some(status(point.verdict).to_owned())),
    ("reasons", |point| list(point.reasons.iter().map(String::as_str))),
    ("offered_per_s", |point| number(point.offered_per_s?)),
    ("achieved_per_s", |point| number(point.achieved_per_s)),
    ("response_mean_ns", |point| number(point.mean_ns?)),
    ("response_p50_ns", |point| count(point.p50_ns?)),
    ("response_p90_ns", |point| count(point.p90_ns?)),
    ("response_p99_ns", |point| count(point.p99_ns?)),
    ("response_p99_9_ns", |point| count(point.p99_9_ns?)),
    ("response_max_ns", |point| count(point.max_ns?)),
];

/// Every column, in the order in which they stand.
pub(super) fn columns() -> Vec<Column> {
    let plain = |(name, of): &Named<Report>| Column { name: (*name).to_owned(), of: Box::new(*of) };
    let times = TIMES.iter().flat_map(|(time, get)| {
        FIGURES.iter().map(move |(figure, of)| Column {
            name: format!("{time}_{figure}"),
            of: Box::new(move |report| of(get(&report.latency_ns)?)),
        })
    });
    WHAT.iter().map(plain).chain(times).chain(HOW.iter().map(plain)).collect()
}

/// What the column of that name says of an interval.
pub(super) fn of_interval(name: &str, interval: &Interval) -> Cell {
    of_named(INTERVAL, name, interval)
}

/// What the column of that name says of a point of a load curve.
pub(super) fn of_curve(name: &str, point: &CurvePoint) -> Cell {
    of_named(CURVE, name, point)
}

fn of_named<T>(known: &[Named<T>], name: &str, row: &T) -> Cell {
    let (_, of) = known.iter().find(|(known, _)| *known == name)?;
    of(row)
}

/// What the column of that name is called where servers are compared.
pub(super) fn metric_name(column: &str) -> &str {
    match column {
        "achieved_per_s" => "replies_per_s",
        name => name,
    }
}

/// A number as it can be read back without loss.
pub(super) fn number(number: f64) -> Cell {
    Some(number.to_string())
}

fn count(count: u64) -> Cell {
    Some(count.to_string())
}

fn metric_of(name: &str, report: &Report) -> Cell {
    number((metric(name)?.of)(report)?)
}

fn missed(report: &Report) -> impl Iterator<Item = &SloOutcome> {
    report.slo.iter().filter(|slo| !slo.met)
}

/// Several in one cell, parted by semicolons.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> Cell {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| items.join(";"))
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Valid => "valid",
        Status::Suspect => "suspect",
        Status::Invalid => "invalid",
    }
}

fn kind(kind: Loop) -> &'static str {
    match kind {
        Loop::Closed => "closed",
        Loop::Open => "open",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::compare::metrics::METRICS;

    #[test]
    fn what_is_known_of_parts_has_a_column_and_no_name_stands_twice() {
        let columns = columns();
        let names: BTreeSet<_> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names.len(), columns.len());
        let parts = INTERVAL.iter().map(|(name, _)| name).chain(CURVE.iter().map(|(name, _)| name));
        for name in parts {
            assert!(names.contains(name), "{name}");
        }
        let metrics: BTreeSet<_> = names.iter().map(|name| metric_name(name)).collect();
        for metric in METRICS {
            assert!(metrics.contains(metric.name), "{}", metric.name);
        }
    }
}
